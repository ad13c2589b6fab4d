"""Labelled images: recorded ones with the CT surface's visible section, simulated ones with truth.

Labels of a recorded image are the exact section of its plane with the CT surface at the pose in
`tracking.csv`, the visible part only. With recorded poses they lie some 0.3 to 0.6 mm off the
echo, differently on each image: good enough for a soft, wide target.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from inference.contract import ModelContract
from inference.preprocess import InputPlan
from offline_tools.errors import InputError
from recon.mesh_io import read_mesh
from recon.section import VisibleLine, visible_line
from recon.simulator import SimulatedSweep, SimulatorSettings
from tracking.calibration.read import find_calibration, load_calibration
from tracking.sequences.open import open_sweep
from tracking.sequences.sweep import SweepImage

# Beyond it the surface runs along the beam and reflects nothing towards the probe (the limit of
# Wu et al. 2025).
MAX_INCIDENCE_RAD = math.radians(85.0)

# Seeds of simulated sweeps; those below 500 are left for tests and the demo.
FIRST_TRAINING_SEED = 1000
FIRST_VALIDATION_SEED = 500
_IMAGES_PER_BONE = 5
_ONE_WAY_S = 6.0  # time in which a simulated probe passes its bone once
_SURFACE_NAME = "CT_bone_model.stl"
_TABLE = "tracking.csv"

# Half width of the target, in network pixels: full bone within 1, none from 2 on. A band of 3
# pixels is what a label that is off by one or two pixels can still teach.
_BAND_FULL_PX, _BAND_END_PX = 1.0, 2.0
_LARGEST_STEP_MM = 1.0  # neighbours on a label further apart are two bones, not one flank


@dataclass(frozen=True, slots=True)
class LabelledImage:
    """One image with the line that its bone shows."""

    name: str
    pixels: NDArray[np.uint8]
    spacing_mm: tuple[float, float]
    roi_px: tuple[int, int, int, int] | None
    line: VisibleLine

    def plan(self, contract: ModelContract) -> InputPlan:
        """How this image goes into a network."""
        height, width = self.pixels.shape
        return InputPlan.for_image(contract, (width, height), self.spacing_mm, self.roi_px)


@dataclass(frozen=True, slots=True)
class Example:
    """One image as a network sees it and what it should answer, both (rows, columns) float32."""

    image: NDArray[np.float32]
    target: NDArray[np.float32]


def find_records(folders: Sequence[Path]) -> list[Path]:
    """The record folders named, or found one level below the folders named, each once, sorted.

    Raises
    ------
    InputError : a folder that is no record and holds none.
    """
    found: set[Path] = set()
    for folder in folders:
        records = {
            table.parent for pattern in ("", "*/") for table in folder.glob(pattern + _TABLE)
        }
        if not records:
            raise InputError(f"{folder}: no record there, expected a folder with {_TABLE}")
        found |= records
    return sorted(found)


def read_record(folder: Path) -> Iterator[LabelledImage]:
    """The images of an UltraBones100k record with labels from the nearest CT surface.

    Raises
    ------
    InputError : no calibration or no surface in the folder or any above it.
    """
    calibration_path, surface_path = record_companions(folder)
    calibration = load_calibration(calibration_path)
    surface = read_mesh(surface_path)
    images: dict[float, SweepImage] = {}
    for event in open_sweep(folder).events():
        if isinstance(event, SweepImage):
            images[event.t_s] = event
            continue
        image = images.pop(event.t_s)  # a record's poses carry their image's own stamp
        pixels = image.load()
        height, width = pixels.shape
        A_ct_pixel = event.matrix @ calibration.A_probe_pixel
        line = visible_line(
            surface, A_ct_pixel, (width, height), max_incidence_rad=MAX_INCIDENCE_RAD
        )
        yield LabelledImage(
            name=f"{folder.name}/{image.index}",
            pixels=pixels,
            spacing_mm=calibration.spacing_mm,
            roi_px=calibration.roi_px,
            line=line,
        )


def simulated_images(first_seed: int, n_images: int) -> Iterator[LabelledImage]:
    """Images from all over many simulated bones, a few of each, with the simulator's own truth."""
    for k in range(n_images):
        seed, index = first_seed + k // _IMAGES_PER_BONE, k % _IMAGES_PER_BONE
        if index == 0:
            settings = SimulatorSettings(
                seed=seed, n_images=_IMAGES_PER_BONE, image_rate_hz=_IMAGES_PER_BONE / _ONE_WAY_S
            )
            sweep = SimulatedSweep(settings)
        yield LabelledImage(
            name=f"simulated/{seed}/{index}",
            pixels=sweep.render(index),
            spacing_mm=settings.spacing_mm,
            roi_px=None,
            line=sweep.truth_line(index),
        )


def make_example(labelled: LabelledImage, contract: ModelContract) -> Example:
    """The image through the very preprocessing that runs live, with its target band."""
    plan = labelled.plan(contract)
    return Example(
        image=plan.prepare(labelled.pixels)[0, 0],
        target=target_band(labelled.line.points_px, plan),
    )


def target_band(line_px: NDArray[np.float64], plan: InputPlan) -> NDArray[np.float32]:
    """Soft band around a line, (rows, columns) float32: 1 near it, 0 from 2 network pixels on."""
    target = np.zeros(plan.network_size_px, dtype=np.float32)
    u0, v0, width, height = plan.roi_px
    offset = line_px - (u0, v0)
    line_px = line_px[((offset >= -0.5) & (offset < (width - 0.5, height - 0.5))).all(axis=1)]
    if len(line_px) == 0:
        return target
    dense = _densified(plan.network_from_pixel(line_px), _LARGEST_STEP_MM / plan.network_spacing_mm)
    row, column = np.indices(plan.network_size_px)
    pixels = np.column_stack((column.ravel(), row.ravel()))
    distance, _ = KDTree(dense).query(pixels, distance_upper_bound=_BAND_END_PX)
    share = (_BAND_END_PX - distance) / (_BAND_END_PX - _BAND_FULL_PX)
    return np.clip(share, 0.0, 1.0).reshape(target.shape).astype(np.float32)


def record_companions(folder: Path) -> tuple[Path, Path]:
    """Calibration and CT surface of a record: the nearest in its folder or any above it."""
    calibration = find_calibration(folder)
    if calibration is None:
        raise InputError(f"{folder}: no calibration.json or calibration.toml here or above")
    for parent in (folder.resolve(), *folder.resolve().parents):
        if (parent / _SURFACE_NAME).is_file():
            return calibration, parent / _SURFACE_NAME
    raise InputError(f"{folder}: no {_SURFACE_NAME} here or above")


def record_sha256(folder: Path) -> str:
    """Hash of everything that a record's examples are made from."""
    digest = hashlib.sha256()
    images = sorted((folder / "UltrasoundImages").glob("*.png"))
    for path in (folder / _TABLE, *record_companions(folder), *images):
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def stacked(examples: Iterable[Example]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Images and targets as two arrays, (N, 1, rows, columns) float32 each."""
    images, targets = zip(*((e.image, e.target) for e in examples), strict=True)
    return np.stack(images)[:, None], np.stack(targets)[:, None]


def _densified(points: NDArray[np.float64], largest_step: float) -> NDArray[np.float64]:
    """Points with neighbours up to `largest_step` apart joined by steps of 0.2 at most."""
    parts = [points]
    for start, end in pairwise(points):
        length = float(np.hypot(*(end - start)))
        if 0.2 < length <= largest_step:
            parts.append(np.linspace(start, end, math.ceil(length / 0.2), endpoint=False))
    return np.concatenate(parts)
