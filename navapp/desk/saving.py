"""One action saves everything of a session: report, cloud, configuration, mesh and volume."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from navapp.config import Settings
from navapp.desk.journal import Event
from navapp.desk.session_folder import SessionFolder
from navapp.desk.takes import Takes
from navapp.errors import ConfigError, SessionError
from navapp.report import conclude, write_results
from navapp.session import Session
from navapp.sweep_volume import make_volume, parse_plan
from recon.errors import ReconError
from recon.mesh_io import surface_of_cloud, write_mesh
from tracking.errors import TrackingError
from tracking.sequences import open_sweep

_VOLUME_SPACING_MM = 0.5
_EXPECTED = (ConfigError, SessionError, ReconError, TrackingError)


@dataclass(frozen=True, slots=True)
class SaveJob:
    """What is to be saved; mesh and volume take a while, so only on demand."""

    session: Session
    folder: SessionFolder
    takes: Takes
    events: tuple[Event, ...]
    has_mesh: bool = False
    has_volume: bool = False


@dataclass(frozen=True, slots=True)
class Saved:
    """The files, and a sentence for what could not be saved."""

    files: tuple[Path, ...]
    problems: tuple[str, ...]

    @property
    def sentence(self) -> str:
        """For a person."""
        said = f"saved {len(self.files)} files"
        return "; ".join((said, *self.problems))


def save_everything(job: SaveJob) -> Saved:
    """Write all that can be written; what cannot is told, and keeps nothing else from it."""
    files: list[Path] = []
    problems: list[str] = []
    folder = job.folder.path
    try:
        result = conclude(job.session, startup_s=0.0, is_complete=True)
        result.report["recordings"] = [path.name for path in job.takes.files]
        result.report["events"] = [asdict(event) for event in job.events]
        write_results(result, job.session, folder)
        files += [folder / name for name in ("report.json", "cloud.ply", "session.toml")]
    except _EXPECTED as error:
        problems.append(str(error))
    if job.has_mesh:
        try:
            points_mm = job.session.scene.snapshot().points_mm
            path = job.folder.next_name("mesh", ".stl")
            write_mesh(path, surface_of_cloud(points_mm))
            files.append(path)
        except _EXPECTED as error:
            problems.append(f"no mesh: {error}")
    if job.has_volume:
        for take in job.takes.files:
            try:
                files.append(_volume(take, job))
            except _EXPECTED as error:
                problems.append(f"no volume of {take.name}: {error}")
    files += sorted(folder.glob("*.png")) + list(job.takes.files)
    return Saved(tuple(files), tuple(problems))


def _volume(take: Path, job: SaveJob) -> Path:
    out = take.with_suffix(".mha")
    plan = parse_plan(_VOLUME_SPACING_MM, "nearest", "mean", True, None)
    make_volume(open_sweep(take), take, out, _with_files(job.session), plan)
    return out


def _with_files(session: Session) -> Settings:
    """The settings, with the files that the session found for itself."""
    settings, registration = session.settings, session.scene.registration
    found = {
        "calibration": session.equipment.calibration.source,
        "registration": None if registration is None else registration.source,
    }
    geometry = settings.geometry.model_copy(update=found)
    return settings.model_copy(update={"geometry": geometry})
