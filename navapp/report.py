"""What a session leaves behind: `report.json`, `cloud.ply` and `session.toml`."""

from __future__ import annotations

import json
import logging
import math
import platform
import subprocess
import tempfile
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w
from numpy.typing import NDArray

from navapp.config import Settings
from navapp.equipment import Equipment
from navapp.errors import ConfigError, SessionError
from navapp.latency import Stage
from navapp.scene import FAR_FROM_CT_MM, Scene
from navapp.session import Session
from recon.back_projection import back_project
from recon.errors import ReconError
from recon.mesh_io import write_cloud_ply
from recon.metrics import distance_stats, points_to_cloud
from recon.point_cloud import CloudSnapshot
from recon.section import visible_line
from recon.surface import TriangleMesh
from recon.volume import FreehandVolume
from recon.volume_io import write_volume
from tracking.errors import WriteError
from tracking.whole_files import write_whole

_PACKAGES = ("navapp", "numpy", "numba", "scipy", "onnxruntime-gpu", "open3d", "PySide6-Essentials")


VOLUME = "volume.mha"

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Result:
    """A session's outcome: the cloud, each voxel's distance to CT (mm, or None), the report, and
    the volume where one was asked for and something is in it."""

    cloud: CloudSnapshot
    distance_mm: NDArray[np.float64] | None
    report: dict[str, Any]
    volume: FreehandVolume | None = None


def conclude(session: Session, *, startup_s: float, is_complete: bool) -> Result:
    """Measure what the session built. The session has ended; its counts no longer change."""
    cloud = session.scene.snapshot()
    surface, coverage = session.surface, session.scene.coverage
    to_ct = session.scene.to_ct
    distance_mm = None if to_ct is None else to_ct.distances_mm(cloud.points_mm)
    volume = None if session.volume is None else session.volume.gathered(session.scene.generation)
    report = {
        "frame": session.scene.frame,
        "frames": _frames(session),
        "poses": asdict(session.tally.poses),
        "image_lag_s": session.equipment.image_lag_s,
        "points": len(cloud.points_mm),
        "points_per_frame": _points_per_frame(session),
        "points_not_supported": session.tally.n_points_left_out,
        "voxel_size_mm": session.scene.voxel_size_mm,
        "latency_ms": {stage.value: _latency(session, stage) for stage in Stage},
        "rate_hz": _rates(session),
        "ct_distance_mm": _cloud_to_ct(distance_mm),
        "ct_distance_reason": _ct_distance_reason(session, cloud),
        "ct_to_cloud_mm": _ct_to_cloud(session, surface, cloud),
        "coverage": {"seen_fraction": None if coverage is None else coverage.seen_fraction()},
        "volume": _volume(session, volume),
        "provider": session.equipment.segmenter.session.provider,
        "provider_reason": session.equipment.segmenter.session.provider_reason,
        "model": _model(session),
        "model_swaps": [asdict(swap) for swap in session.model_swaps],
        "calibration": _calibration(session),
        "ct": [str(path) for path in session.equipment.ct_paths],
        "warnings": [*session.warnings, *_oddities(session, distance_mm)],
        "seconds": _processing_seconds(session),
        "startup_seconds": startup_s,
        "recording": None if session.recorder is None else asdict(session.recorder.conclude()),
        "versions": _versions(),
        "complete": is_complete and session.failure is None,
    }
    if session.failure is not None:
        report["failure"] = str(session.failure)
    return Result(cloud, distance_mm, _without_nan(report), volume)


def prepare_folder(folder: Path) -> None:
    """Make sure, before anything is received, that results can be written.

    Raises
    ------
    ConfigError : where they cannot.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ConfigError(f"--out {folder}: cannot be written: {error.strerror}") from None


def save(result: Result, session: Session, folder: Path) -> Path:
    """Write everything into `folder`, or where that has become impossible, into a new one.

    Returns
    -------
    The folder that holds the results.

    Raises
    ------
    SessionError : neither can be written.
    """
    try:
        write_results(result, session, folder)
    except SessionError as error:
        logger.error("%s", error)
        folder = Path(tempfile.mkdtemp(prefix="navapp-"))
        write_results(result, session, folder)
    return folder


def write_results(result: Result, session: Session, folder: Path) -> None:
    """Write report, cloud and configuration into a folder.

    Raises
    ------
    SessionError : if one cannot be written.
    """
    text = json.dumps(result.report, indent=2, allow_nan=False)
    try:
        write_whole(folder / "report.json", text + "\n")
        settings = session_toml(session.settings, session.equipment, session.scene)
        write_whole(folder / "session.toml", settings)
        cloud = folder / "cloud.ply"
        write_cloud_ply(cloud, result.cloud, session.scene.frame, result.distance_mm)
        if result.volume is not None and session.volume is not None:
            grey = result.volume.grey(fills_holes=session.volume.fills_holes)
            write_volume(folder / VOLUME, grey, result.volume.grid, session.scene.frame)
    except OSError as error:
        where = error.filename or folder
        raise SessionError(f"{where}: cannot be written: {error.strerror}") from None
    except (ReconError, WriteError) as error:
        raise SessionError(str(error)) from None


def _frames(session: Session) -> dict[str, Any]:
    counts = session.tally.frames
    return {
        "received": counts.received,
        "processed": counts.processed,
        "skipped": {reason.value: n for reason, n in counts.skipped.items()},
    }


def _oddities(session: Session, distance_mm: NDArray[np.float64] | None) -> list[str]:
    """What a person should look at before believing the result."""
    n_processed, scene, odd = session.tally.frames.processed, session.scene, []
    is_untouched = not scene.undone and not session.tally.n_points_left_out
    if n_processed and not scene.n_voxels and is_untouched:
        odd.append(f"the network found bone in none of {n_processed} images")
    if distance_mm is not None and len(distance_mm):
        median_mm = float(np.median(distance_mm))
        if median_mm > FAR_FROM_CT_MM:
            why = "another bone, another frame, or a wrong registration?"
            odd.append(f"the points lie {median_mm:.0f} mm from the CT: {why}")
    return odd


def _points_per_frame(session: Session) -> float | None:
    placed = session.scene.placed_frames
    return float(np.mean([frame.n_points for frame in placed])) if placed else None


def _latency(session: Session, stage: Stage) -> dict[str, float] | None:
    n = session.latency.count(stage)
    if n == 0:
        return None
    return {"n": n, **{f"p{p}": session.latency.percentile_ms(stage, p) for p in (50, 95, 99)}}


def _rates(session: Session) -> dict[str, float]:
    rates = session.tally.mean_rates
    return {"image": rates.image_hz, "pose": rates.pose_hz, "processed": rates.processed_hz}


def _cloud_to_ct(distance_mm: NDArray[np.float64] | None) -> dict[str, float] | None:
    """Every voxel once, at its mean position, to the nearest point on a triangle."""
    if distance_mm is None or not len(distance_mm):
        return None
    stats = distance_stats(distance_mm)
    return {
        "mean": stats.mean_mm,
        "median": stats.median_mm,
        "p95": stats.p95_mm,
        "n_used": stats.n_used,
        "n_rejected": stats.n_rejected,
    }


def _ct_distance_reason(session: Session, cloud: CloudSnapshot) -> str:
    if session.equipment.surface is None:
        return "no CT surface was given"
    if session.surface is None:
        return "the cloud is in the reference's frame and no registration leads to CT"
    if not len(cloud.points_mm):
        return "the cloud is empty"
    return "each voxel's mean position to the nearest point of the CT surface"


def _ct_to_cloud(
    session: Session, surface: TriangleMesh | None, cloud: CloudSnapshot
) -> dict[str, float] | None:
    """The visible CT of the integrated images to the nearest point of the cloud."""
    if surface is None or not len(cloud.points_mm):
        return None
    seen_mm = _visible_ct_mm(session, surface)
    if not len(seen_mm):
        return None
    stats = points_to_cloud(seen_mm, cloud.points_mm)
    return {"mean": stats.mean_mm, "p95": stats.p95_mm, "n_used": stats.n_used}


def _visible_ct_mm(session: Session, surface: TriangleMesh) -> NDArray[np.float64]:
    """The part of the CT that the integrated images could see, (N, 3), at the poses used."""
    seen = [np.empty((0, 3))]
    for placed in session.scene.placed_frames:
        line = visible_line(surface, placed.A_scene_pixel, placed.image_size_px)
        seen.append(back_project(line.points_px, placed.A_scene_pixel))
    return np.concatenate(seen)


def _volume(session: Session, volume: FreehandVolume | None) -> dict[str, Any] | None:
    """What `volume.mha` holds, or why there is none; None where none was asked for."""
    live = session.volume
    if live is None:
        return None
    return {
        "file": VOLUME if volume else None,
        "problem": live.problem,
        "images": live.n_images,
        "images_left_out": live.n_left_out,
        "size_voxels": list(volume.grid.size_voxels) if volume else None,
        "spacing_mm": session.settings.volume.spacing_mm,
        "seen_fraction": volume.seen_fraction() if volume else None,
    }


def _model(session: Session) -> dict[str, str]:
    segmenter = session.equipment.segmenter
    return {"name": segmenter.session.path.name, "sha256": segmenter.session.sha256}


def _calibration(session: Session) -> dict[str, Any]:
    calibration = session.equipment.calibration
    return {
        "source": str(calibration.source),
        "sha256": calibration.sha256,
        "spacing_mm": list(calibration.spacing_mm),
        "provenance": calibration.provenance,
    }


def _processing_seconds(session: Session) -> float | None:
    span_s = session.tally.processing_span_s
    return None if span_s is None else span_s[1] - span_s[0]


def _versions() -> dict[str, str | None]:
    return {
        **{name: _version(name) for name in _PACKAGES},
        "python": platform.python_version(),
        "git_commit": _git_commit(),
    }


def _version(package: str) -> str | None:
    """None where it is not installed: a session without a window needs no Qt."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _git_commit() -> str | None:
    """The commit of the source tree this runs from; None where it was installed otherwise."""
    source = Path(__file__).resolve().parents[1]
    if not (source / ".git").exists():
        return None
    try:
        done = subprocess.run(
            ["git", "rev-parse", "HEAD"],
            cwd=source,
            capture_output=True,
            text=True,
            timeout=2.0,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def session_toml(settings: Settings, equipment: Equipment, scene: Scene) -> str:
    """The effective configuration: every setting, defaults included, with the files it used."""
    tree = settings.model_dump(mode="json", exclude_none=True)
    tree["matching"]["image_lag_s"] = equipment.image_lag_s
    tree["geometry"]["calibration"] = str(equipment.calibration.source.resolve())
    tree["geometry"]["ct"] = [str(path.resolve()) for path in equipment.ct_paths]
    tree["model"]["path"] = str(equipment.segmenter.session.path.resolve())
    if scene.registration is not None:  # also one that was found on the way
        tree["geometry"]["registration"] = str(scene.registration.source.resolve())
    header = "# Effective configuration of this session, in the form of `navapp run --config`.\n"
    return header + tomli_w.dumps(tree)


def _without_nan(value: Any) -> Any:
    """JSON has no NaN: what was not measured is null."""
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
