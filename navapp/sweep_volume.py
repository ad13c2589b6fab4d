"""The images of a recorded sweep as a volume: for `navapp volume`, and when a session is saved."""

from __future__ import annotations

import itertools
import logging
import math
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from navapp.config import Settings
from navapp.equipment import calibration_misfit, image_lag_s, load_probe_calibration
from navapp.errors import ConfigError
from navapp.feeds import pose_sample
from navapp.matching import DROPPED
from navapp.state import DropReason
from recon.volume import (
    Compounding,
    FreehandVolume,
    Interpolation,
    VolumeGrid,
    clip_to_image,
    enclosing_grid,
)
from recon.volume_io import check_volume_name, write_volume
from tracking.calibration import ProbeCalibration, load_registration
from tracking.errors import SequenceError
from tracking.pose_buffer import PoseBuffer
from tracking.pose_path import find_path
from tracking.sequences import Sweep, SweepImage
from tracking.transforms import Matrix

logger = logging.getLogger(__name__)

_INTERPOLATIONS = {choice.value: choice for choice in Interpolation}
_COMPOUNDINGS = {
    choice.value: choice for choice in (Compounding.LATEST, Compounding.MAXIMUM, Compounding.MEAN)
}


@dataclass(frozen=True, slots=True)
class VolumePlan:
    """How a volume is made; `is_plus_mean` None: as PLUS where the calibration is a PLUS file."""

    spacing_mm: float
    interpolation: Interpolation
    compounding: Compounding
    fills_holes: bool
    is_plus_mean: bool | None


@dataclass(frozen=True, slots=True)
class VolumeResult:
    """What was written; `frame` is "ct" or "reference", `skipped` counts images by reason."""

    grid: VolumeGrid
    frame: str
    compounding: Compounding
    seen_fraction: float
    n_images: int
    n_inserted: int
    skipped: Counter[DropReason]


@dataclass(frozen=True, slots=True)
class _Placed:
    image: SweepImage
    A_frame_pixel: Matrix


def parse_plan(
    spacing_mm: float,
    interpolation: str,
    compounding: str,
    fills_holes: bool,
    is_plus_mean: bool | None,
) -> VolumePlan:
    """The words of the command line as a plan.

    Raises
    ------
    ConfigError : naming the word and those expected.
    """
    if not 0.0 < spacing_mm < math.inf:
        raise ConfigError(f"--spacing is {spacing_mm}, expected more than 0 mm")
    if interpolation not in _INTERPOLATIONS:
        raise ConfigError(
            f"--interpolation is {interpolation}, expected {_either(_INTERPOLATIONS)}"
        )
    if compounding not in _COMPOUNDINGS:
        raise ConfigError(f"--compounding is {compounding}, expected {_either(_COMPOUNDINGS)}")
    return VolumePlan(
        spacing_mm,
        _INTERPOLATIONS[interpolation],
        _COMPOUNDINGS[compounding],
        fills_holes,
        is_plus_mean,
    )


def as_lines(result: VolumeResult) -> str:
    """For a person."""
    grid = result.grid
    size = "x".join(str(n) for n in grid.size_voxels)
    origin = ", ".join(f"{mm:.4f}" for mm in grid.origin_mm)
    reasons = ", ".join(f"{reason.value} {n}" for reason, n in result.skipped.items())
    lines = [
        f"images     {result.n_inserted} of {result.n_images}"
        + (f" ({reasons})" if reasons else ""),
        f"volume     {size} voxels of {grid.spacing_mm:g} mm from ({origin}) mm in {result.frame}",
        f"seen       {100.0 * result.seen_fraction:.1f} % of the voxels, before holes are filled",
    ]
    if result.compounding is Compounding.MEAN_PLUS:
        lines.append(
            "mean       in whole grey values as PLUS, which darkens (--no-plus-mean: exact)"
        )
    return "\n".join(lines)


def make_volume(
    sweep: Sweep, source: Path, out: Path, settings: Settings, plan: VolumePlan
) -> VolumeResult:
    """Compound every image of a sweep that has a pose, and write the volume.

    The grid encloses every image that has a pose. Images are read once, one at a time; all poses
    are held. `source` is where the sweep lies: without a named calibration one is looked for there.

    Raises
    ------
    ConfigError, TrackingError, ReconError : one line with what is wrong.
    """
    check_volume_name(out)
    calibration = load_probe_calibration(settings, source)
    skipped: Counter[DropReason] = Counter()
    placed, frame = _place(sweep, calibration, settings, skipped)
    images = _usable(placed, sweep, calibration, skipped)
    first = next(images, None)
    if first is None:
        reasons = ", ".join(f"{reason.value} {n}" for reason, n in skipped.items())
        raise ConfigError(
            f"{source}: none of its {sweep.n_images} images can be used"
            + (f" ({reasons})" if reasons else "")
        )
    height, width = first[0].shape
    clip_px = clip_to_image(settings.geometry.roi_px or calibration.roi_px, (width, height))
    grid = enclosing_grid((p.A_frame_pixel for p in placed), clip_px, plan.spacing_mm)
    compounding = compounding_for(plan, calibration)
    n_inserted = 0
    with ThreadPoolExecutor(os.cpu_count(), "volume") as pool:
        volume = FreehandVolume(grid, plan.interpolation, compounding, pool)
        for pixels, A_frame_pixel in itertools.chain((first,), images):
            volume.insert(pixels, A_frame_pixel, clip_px)
            n_inserted += 1
        write_volume(out, volume.grey(fills_holes=plan.fills_holes), grid, frame)
    return VolumeResult(
        grid, frame, compounding, volume.seen_fraction(), sweep.n_images, n_inserted, skipped
    )


def _place(
    sweep: Sweep, calibration: ProbeCalibration, settings: Settings, skipped: Counter[DropReason]
) -> tuple[list[_Placed], str]:
    """Images with their poses, and the frame they are in; those without one are counted."""
    images: list[SweepImage] = []
    poses = PoseBuffer(span_s=math.inf)
    for event in sweep.events():
        if isinstance(event, SweepImage):
            images.append(event)
        else:
            poses.add(pose_sample(event))
    streams = settings.streams
    path = find_path(poses.names, streams.probe, streams.reference)
    if path is None:
        raise ConfigError(
            f"{sweep.name}: no way from {streams.probe} to {streams.reference} or CT among its "
            f"poses ({', '.join(poses.names) or 'it has none'})"
        )
    frame, T_frame_target = path.target, np.eye(4)
    if frame == "reference" and settings.geometry.registration is not None:
        frame = "ct"
        T_frame_target = load_registration(settings.geometry.registration).T_ct_reference
    lag_s = image_lag_s(settings, calibration)
    placed = []
    for image in images:
        times_s = dict.fromkeys(path.streams, image.t_s - lag_s)
        read = path.read(poses, times_s, max_gap_s=settings.matching.max_pose_gap_s)
        if read.matrix is None:
            skipped[DROPPED[read.outcome]] += 1
        else:
            A_frame_pixel = T_frame_target @ read.matrix @ calibration.A_probe_pixel
            placed.append(_Placed(image, A_frame_pixel))
    return placed, frame


def _usable(
    placed: list[_Placed],
    sweep: Sweep,
    calibration: ProbeCalibration,
    skipped: Counter[DropReason],
) -> Iterator[tuple[NDArray[np.uint8], Matrix]]:
    """Pixels and place of each image that can be read, fits the calibration and is of one size."""
    shape: tuple[int, ...] | None = None
    for item in placed:
        try:
            pixels = item.image.load()
        except SequenceError as error:
            logger.warning("%s", error)
            skipped[DropReason.BAD_IMAGE] += 1
            continue
        height, width = pixels.shape
        misfit = calibration_misfit(calibration, (width, height), sweep.spacing_mm)
        if misfit is not None:
            logger.warning("image %d: %s", item.image.index, misfit.sentence)
            skipped[misfit.reason] += 1
        elif shape is not None and pixels.shape != shape:
            logger.warning("image %d: its size is not that of the first", item.image.index)
            skipped[DropReason.BAD_IMAGE] += 1
        else:
            shape = pixels.shape
            yield pixels, item.A_frame_pixel


def compounding_for(plan: VolumePlan, calibration: ProbeCalibration) -> Compounding:
    """The mean of whoever has a PLUS configuration is PLUS's, unless they say otherwise."""
    is_plus = plan.is_plus_mean
    if is_plus is None:
        is_plus = calibration.source.suffix.lower() == ".xml"
    is_mean = plan.compounding is Compounding.MEAN
    return Compounding.MEAN_PLUS if is_mean and is_plus else plan.compounding


def _either(words: Iterable[str]) -> str:
    *others, last = words
    return f"{', '.join(others)} or {last}"
