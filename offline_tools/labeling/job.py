"""A labelling job: what is labelled with what, loaded and checked before any work begins."""

from __future__ import annotations

import hashlib
import json
import logging
import math
import tomllib
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from offline_tools.datasets.records import record_companions
from offline_tools.errors import InputError
from offline_tools.labeling.frame import LabelSettings, Reason
from offline_tools.labeling.refine import Frame
from recon.mesh_io import read_mesh
from recon.surface import TriangleMesh
from tracking.calibration import (
    ProbeCalibration,
    find_calibration,
    load_calibration,
    load_registration,
)
from tracking.errors import SequenceError
from tracking.messages import PoseSample, Stamps
from tracking.pose_buffer import PoseBuffer
from tracking.pose_path import find_path
from tracking.sequences import SweepImage, open_sweep
from tracking.transforms import Matrix, apply

logger = logging.getLogger(__name__)

Array = NDArray[np.float64]

# Poses further apart are not interpolated: as in the live program.
_MAX_POSE_GAP_S = 0.1
# Bones are 20 to 500 mm long; a fibula in metres is 0.4.
_SHORTEST_BONE_MM = 5.0
# A stated spacing that differs more is another depth setting than the calibration's.
_SPACING_TOLERANCE = 0.02
# A sweep whose images all stay this far from the bone is registered wrongly.
_FARTHEST_MM = 50.0
# Where a calibration does not say where the marker's fiducials are: a usual marker.
_USUAL_FIDUCIALS_MM = np.array(
    [(-40.0, 0.0, 0.0), (40.0, 0.0, 0.0), (0.0, -40.0, 0.0), (0.0, 40.0, 0.0)]
)


@dataclass(frozen=True, slots=True)
class LabelJob:
    """One record to label; small, so that it can be sent to another process or machine.

    `calibration` is found beside the record where None; `registration` says that the poses are
    those of a reference frame and where that lies in CT space. `is_global` is the comparison
    mode: one registration for all frames instead of one correction for each.
    """

    record: Path
    meshes: tuple[Path, ...]
    out: Path
    calibration: Path | None = None
    registration: Path | None = None
    settings: LabelSettings = field(default_factory=LabelSettings)
    is_global: bool = False

    def fingerprint(self) -> str:
        """Hash of all that decides the labels but the images: labels of two are never mixed."""
        chosen = {**asdict(self.settings), "is_global": self.is_global}
        digest = hashlib.sha256(json.dumps(chosen, sort_keys=True).encode())
        table = self.record / "tracking.csv"
        for path in (
            table if self.record.is_dir() else self.record,
            *self.meshes,
            self.calibration_path,
            *((self.registration,) if self.registration else ()),
        ):
            try:
                digest.update(hashlib.sha256(path.read_bytes()).digest())
            except OSError as error:
                raise InputError(f"{path}: cannot be read: {error.strerror}") from None
        return digest.hexdigest()

    @property
    def calibration_path(self) -> Path:
        """The calibration named, or the nearest one."""
        path = self.calibration or find_calibration(self.record)
        if path is None:
            raise InputError(
                f"{self.record}: no calibration.json or calibration.toml here or above"
            )
        return path


@dataclass(frozen=True, slots=True)
class FramePlan:
    """One image of the record and its pose in CT space, or why there is none."""

    timestamp_ms: int
    image: SweepImage | None
    T_ct_probe: Matrix | None

    @property
    def missing(self) -> Reason | None:
        """What keeps this frame from being looked at."""
        if self.image is None or self.T_ct_probe is None:
            return Reason.NO_POSE
        return None


@dataclass(frozen=True, slots=True)
class Inputs:
    """Everything that labelling a record needs, checked."""

    mesh: TriangleMesh
    calibration: ProbeCalibration
    fiducials_mm: Array
    frames: tuple[FramePlan, ...]
    warnings: tuple[str, ...]

    def load_frame(self, index: int) -> Frame | Reason:
        """The frame, or why it cannot be looked at."""
        plan = self.frames[index]
        if plan.missing is not None or plan.image is None or plan.T_ct_probe is None:
            return plan.missing or Reason.NO_POSE
        try:
            pixels = plan.image.load()
        except SequenceError as error:
            logger.warning("%s", error)
            return Reason.NO_IMAGE if "no such image" in str(error) else Reason.BAD_IMAGE
        height, width = pixels.shape
        if self.calibration.image_size_px not in (None, (width, height)):
            return Reason.BAD_IMAGE
        return Frame(
            pixels=pixels,
            T_ct_probe=plan.T_ct_probe,
            A_probe_pixel=self.calibration.A_probe_pixel,
            roi_px=self.calibration.roi_px or (0, 0, width, height),
            fiducials_mm=self.fiducials_mm,
        )


def load_inputs(job: LabelJob) -> Inputs:
    """Read and check what the job names; images are only read when they are needed.

    Raises
    ------
    InputError : naming what does not fit.
    """
    warnings: list[str] = []
    mesh = merged([_checked_mesh(path, warnings) for path in job.meshes])
    calibration = load_calibration(job.calibration_path)
    frames, spacing_mm = _plan(job, calibration)
    _check_spacing(spacing_mm, calibration)
    _check_distance(mesh, calibration, frames)
    fiducials_mm, note = _fiducials(calibration.source)
    return Inputs(mesh, calibration, fiducials_mm, frames, (*warnings, *note))


def surfaces(job_meshes: list[Path], record: Path) -> tuple[Path, ...]:
    """The surfaces named, or the nearest one of a record."""
    return tuple(job_meshes) or (record_companions(record)[1],)


def merged(meshes: list[TriangleMesh]) -> TriangleMesh:
    """Several surfaces as one: sections and distances do not care which bone a face is of."""
    if len(meshes) == 1:
        return meshes[0]
    firsts = np.cumsum([0, *(len(mesh.vertices_mm) for mesh in meshes[:-1])])
    return TriangleMesh(
        np.concatenate([mesh.vertices_mm for mesh in meshes]),
        np.concatenate([mesh.faces + first for mesh, first in zip(meshes, firsts, strict=True)]),
    )


def _checked_mesh(path: Path, warnings: list[str]) -> TriangleMesh:
    mesh = read_mesh(path)
    size_mm = float(np.linalg.norm(np.ptp(mesh.vertices_mm, axis=0)))
    if size_mm < _SHORTEST_BONE_MM:
        raise InputError(
            f"{path}: the surface is {size_mm:.3g} mm across, expected at least "
            f"{_SHORTEST_BONE_MM:.0f} mm (is it in metres?)"
        )
    n_open = n_open_edges(mesh)
    if n_open:
        warnings.append(
            f"{path.name} is not watertight: {n_open} edges have one face; bone seen through a "
            "hole has no label"
        )
    return mesh


def n_open_edges(mesh: TriangleMesh) -> int:
    """Edges that do not belong to exactly two faces: 0 for a watertight surface."""
    edges = np.sort(mesh.faces[:, ((0, 1), (1, 2), (2, 0))].reshape(-1, 2), axis=1)
    keys = edges[:, 0].astype(np.int64) * len(mesh.vertices_mm) + edges[:, 1]
    _, counts = np.unique(keys, return_counts=True)
    return int(np.count_nonzero(counts != 2))


def _plan(
    job: LabelJob, calibration: ProbeCalibration
) -> tuple[tuple[FramePlan, ...], tuple[float, float] | None]:
    """Every image with its pose, by time, and the pixel spacing that the recording states."""
    sweep = open_sweep(job.record)
    poses = PoseBuffer(span_s=math.inf)
    images = []
    for event in sweep.events():
        if isinstance(event, SweepImage):
            images.append(event)
        else:
            stamps = Stamps(t_sender_s=event.t_s, t_arrival_s=event.t_s)
            poses.add(PoseSample(event.name, event.matrix, event.status, stamps))
    T_ct_reference = None
    if job.registration is not None:
        T_ct_reference = load_registration(job.registration).T_ct_reference
    path = find_path(poses.names, "Probe", "Reference")
    if path is None:
        raise InputError(
            f"{job.record}: no way from Probe to Ct or Reference in {', '.join(poses.names)}"
        )
    if path.target != "ct" and T_ct_reference is None:
        raise InputError(
            f"{job.record}: poses are in the reference's space, expected --registration"
        )
    frames = []
    for image in images:
        times_s = dict.fromkeys(path.streams, image.t_s - (calibration.image_lag_s or 0.0))
        T = path.read(poses, times_s, max_gap_s=_MAX_POSE_GAP_S).matrix
        if T is not None and T_ct_reference is not None:
            T = T_ct_reference @ T
        frames.append(FramePlan(round(image.t_s * 1000.0), image, T))
    frames += _images_without_pose(job.record, {frame.timestamp_ms for frame in frames})
    return tuple(sorted(frames, key=lambda frame: frame.timestamp_ms)), sweep.spacing_mm


def _images_without_pose(record: Path, known_ms: set[int]) -> list[FramePlan]:
    """Images in a record's folder that its table does not name."""
    stems = [path.stem for path in (record / "UltrasoundImages").glob("*.png")]
    stamps_ms = {int(stem) for stem in stems if stem.isdecimal()}
    return [FramePlan(stamp_ms, None, None) for stamp_ms in stamps_ms - known_ms]


def _check_spacing(stated_mm: tuple[float, float] | None, calibration: ProbeCalibration) -> None:
    if stated_mm is None:
        return
    for axis, stated, measured in zip("xy", stated_mm, calibration.spacing_mm, strict=True):
        if abs(stated / measured - 1.0) > _SPACING_TOLERANCE:
            raise InputError(
                f"{calibration.source}: pixel spacing {axis} is {measured:.5g} mm, but the "
                f"recording states {stated:.5g} mm"
            )


def _check_distance(
    mesh: TriangleMesh, calibration: ProbeCalibration, frames: tuple[FramePlan, ...]
) -> None:
    """Refuse a sweep whose images all stay far from the box around the surface."""
    width, height = calibration.image_size_px or (512, 512)
    centre_px = np.array([(0.5 * width, 0.5 * height, 0.0)])
    centre_probe_mm = apply(calibration.A_probe_pixel, centre_px)
    centres_mm = [
        apply(frame.T_ct_probe, centre_probe_mm)[0]
        for frame in frames
        if frame.T_ct_probe is not None
    ]
    if not centres_mm:
        raise InputError("no image has a pose, expected poses around the images' stamps")
    low, high = mesh.vertices_mm.min(axis=0), mesh.vertices_mm.max(axis=0)
    outside = np.maximum(low - centres_mm, 0.0) + np.maximum(centres_mm - high, 0.0)
    nearest_mm = float(np.linalg.norm(outside, axis=1).min())
    if nearest_mm > _FARTHEST_MM:
        raise InputError(
            f"the surface is {nearest_mm:.0f} mm away from the nearest image, expected at most "
            f"{_FARTHEST_MM:.0f} mm (another space, or a registration is missing)"
        )


def _fiducials(calibration: Path) -> tuple[Array, tuple[str, ...]]:
    """Where the probe marker's fiducials are, (N, 3) mm, and a note where that is not known."""
    found = None
    if calibration.suffix == ".json":
        found = json.loads(calibration.read_text()).get("probe_marker_fiducials_mm")
    elif calibration.suffix == ".toml":
        found = tomllib.loads(calibration.read_text())["probe"].get("marker_fiducials_mm")
    if found is None:
        note = (
            f"{calibration.name} names no marker fiducials: four, 40 mm from its origin, are used"
        )
        return _USUAL_FIDUCIALS_MM, (note,)
    fiducials_mm = np.array(found, dtype=np.float64)
    if fiducials_mm.ndim != 2 or fiducials_mm.shape[1] != 3 or not np.isfinite(fiducials_mm).all():
        raise InputError(f"{calibration}: marker fiducials are {found}, expected (x, y, z) each")
    return fiducials_mm, ()
