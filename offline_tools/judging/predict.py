"""Bone lines in images that nobody labelled: masks, overlays, points, one sheet to look at."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import map_coordinates

from inference.postprocess import BoneLine
from inference.preprocess import InputPlan
from inference.segmenter import Segmenter
from offline_tools.drawing import ORANGE, Picture, canvas, contact_sheet, draw_points
from offline_tools.errors import InputError
from tracking.calibration.probe import ProbeCalibration
from tracking.calibration.read import find_calibration, load_calibration
from tracking.errors import SequenceError
from tracking.sequences.open import open_sweep
from tracking.sequences.sweep import SweepImage

MASKS, OVERLAYS, SHEET, LINES = "masks", "overlays", "contact_sheet.png", "lines"
LEGEND = {"bone found": ORANGE}

_IMAGES = (".png", ".jpg", ".jpeg")
_VOLUMES = (".nii", ".gz", ".nrrd", ".mha", ".mhd", ".dcm", ".tif", ".tiff")
_SWEEPS = (".mcap", ".igs.mha", ".igs.nrrd", ".igs.mhd", ".igs.nhdr")
_EIGHT_BIT = ("L", "RGB", "RGBA", "P", "1", "LA")
_MOST_ON_SHEET = 96

Pixels = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class PlainImage:
    """An image without a label; `load` reads it, or raises what is wrong with it."""

    name: str
    load: Callable[[], Pixels]


@dataclass(frozen=True, slots=True)
class PlainImages:
    """Images and what is known of their geometry; `spacing_mm` (column, row) overrules a
    calibration."""

    images: Sequence[PlainImage]
    calibration: ProbeCalibration | None
    spacing_mm: tuple[float, float] | None

    @property
    def geometry(self) -> str:
        """Where the pixel spacing comes from, for a person."""
        if self.spacing_mm is not None:
            return f"{self.spacing_mm[0]:g} mm per pixel, as given"
        return f"pixel spacing of {self.calibration.source.name}" if self.calibration else ""

    def place(self, pixels: Pixels) -> tuple[tuple[float, float], tuple[int, int, int, int] | None]:
        """Spacing and region of interest of an image.

        Raises
        ------
        InputError : the calibration is for images of another size, and no spacing was given.
        """
        height, width = pixels.shape
        misfit = self.calibration.misfit((width, height)) if self.calibration else None
        if self.spacing_mm is not None:
            has_roi = self.calibration is not None and misfit is None
            return self.spacing_mm, self.calibration.roi_px if has_roi else None  # type: ignore[union-attr]
        if self.calibration is None or misfit is not None:
            raise InputError(f"{misfit}; expected --spacing MM")
        return self.calibration.spacing_mm, self.calibration.roi_px


@dataclass(frozen=True, slots=True)
class Prediction:
    """What was found in one image: bone line, mask (rows, columns) of 0 and 255, overlay."""

    name: str
    line: BoneLine
    mask: Pixels
    overlay: Picture


def open_images(source: Path, spacing_mm: float | None = None) -> PlainImages:
    """One image, a folder of PNG or JPEG images, or a recorded sweep.

    Without `spacing_mm` the nearest calibration in the folder or above it says how large a pixel
    is.

    Raises
    ------
    InputError : nothing there, a volume, or the spacing is not known.
    """
    if not source.exists():
        raise InputError(f"{source}: no such image, folder or record")
    images = _images_of(source)
    found = find_calibration(source if source.is_dir() else source.parent)
    calibration = load_calibration(found) if found else None
    if calibration is None and spacing_mm is None:
        raise InputError(
            f"{source}: pixel spacing is not known, expected --spacing MM or a calibration.json or "
            "calibration.toml here or above"
        )
    return PlainImages(images, calibration, None if spacing_mm is None else (spacing_mm,) * 2)


def predictions(
    model: Path, images: PlainImages, on_problem: Callable[[str], None]
) -> Iterator[Prediction]:
    """What the network finds in each image; one that cannot be used is told and left out.

    Raises
    ------
    InferenceError : the model cannot be run.
    """
    segmenter = Segmenter(model, "cpu")
    for image in images.images:
        try:
            pixels = image.load()
            spacing_mm, roi_px = images.place(pixels)
        except (InputError, SequenceError) as error:
            on_problem(f"{image.name}: {error}")
            continue
        height, width = pixels.shape
        plan = segmenter.prepare_for((width, height), spacing_mm, roi_px)
        found = segmenter.segment(pixels, plan)
        picture = canvas(pixels)
        draw_points(picture, found.line.points_px, ORANGE, size_px=3)
        mask = bone_mask(found.probability, plan, segmenter.contract.output.threshold)
        yield Prediction(image.name, found.line, mask, picture)


def bone_mask(probability: NDArray[np.float32], plan: InputPlan, threshold: float) -> Pixels:
    """Where the network's probability, interpolated to the image, exceeds its threshold.

    Returns
    -------
    (rows, columns) of the image, 255 on bone, 0 elsewhere and outside the region of interest.
    """
    width, height = plan.image_size_px
    u0, v0, roi_width, roi_height = plan.roi_px
    corners_px = np.array([(u0, v0), (u0 + roi_width - 1, v0 + roi_height - 1)], dtype=np.float64)
    (left, top), (right, bottom) = plan.network_from_pixel(corners_px)
    rows, columns = np.linspace(top, bottom, roi_height), np.linspace(left, right, roi_width)
    grid = np.meshgrid(rows, columns, indexing="ij")
    native = map_coordinates(probability, grid, order=1, mode="nearest")
    mask = np.zeros((height, width), dtype=np.uint8)
    mask[v0 : v0 + roi_height, u0 : u0 + roi_width] = np.where(native > threshold, 255, 0)
    return mask


@dataclass(frozen=True, slots=True)
class Written:
    """What `write_predictions` did."""

    n_images: int
    n_empty: int
    sheet: Path


def write_predictions(found: Iterable[Prediction], out: Path) -> Written:
    """Masks, overlays, `lines.csv`, `lines.npz` and a contact sheet of the first 96 images.

    Raises
    ------
    InputError : there was no image that could be used.
    """
    for folder in (MASKS, OVERLAYS):
        (out / folder).mkdir(parents=True, exist_ok=True)
    lines: dict[str, NDArray[np.float64]] = {}
    tiles: list[tuple[str, Picture]] = []
    for prediction in found:
        name = prediction.name
        Image.fromarray(prediction.mask).save(out / MASKS / f"{name}.png")
        Image.fromarray(prediction.overlay).save(out / OVERLAYS / f"{name}.png", compress_level=1)
        line = prediction.line
        lines[name] = np.column_stack((line.points_px, line.confidence)).astype(np.float64)
        if len(tiles) < _MOST_ON_SHEET:
            tiles.append((name, prediction.overlay))
    if not lines:
        raise InputError("nothing to predict: no image could be used")
    (out / f"{LINES}.csv").write_text(_lines_table(lines), encoding="utf-8")
    _write_arrays(out / f"{LINES}.npz", lines)
    Image.fromarray(sheet(tiles)).save(out / SHEET)
    return Written(len(lines), sum(len(line) == 0 for line in lines.values()), out / SHEET)


def sheet(tiles: Sequence[tuple[str, Picture]]) -> Picture:
    """A contact sheet of overlays with their names."""
    pictures = [picture for _, picture in tiles]
    return contact_sheet(pictures, [name for name, _ in tiles], LEGEND, n_columns=5)


def _write_arrays(path: Path, lines: dict[str, NDArray[np.float64]]) -> None:
    """All points in a row; `image` is the index of a point's image in `names`."""
    points = np.concatenate(list(lines.values()))
    np.savez_compressed(
        path,
        names=np.array(list(lines)),
        image=np.repeat(np.arange(len(lines)), [len(line) for line in lines.values()]),
        points_px=points[:, :2],
        confidence=points[:, 2],
    )


def _lines_table(lines: dict[str, NDArray[np.float64]]) -> str:
    table = io.StringIO()
    rows = csv.writer(table, lineterminator="\n")
    rows.writerow(["name", "u_px", "v_px", "confidence"])
    for name, line in lines.items():
        rows.writerows((name, f"{u:.3f}", f"{v:.3f}", f"{c:.4f}") for u, v, c in line)
    return table.getvalue()


def _images_of(source: Path) -> list[PlainImage]:
    is_record = source.is_dir() and (source / "tracking.csv").is_file()
    if is_record or source.name.lower().endswith(_SWEEPS):
        return _sweep_images(source)
    if source.is_file():
        if source.suffix.lower() in _IMAGES:
            return [_image_file(source)]
        if source.suffix.lower() in _VOLUMES:
            raise InputError(f"{source}: volumes cannot be predicted yet, expected images")
        raise InputError(f"{source}: expected a PNG or JPEG image, a folder of them or a record")
    paths = sorted(path for path in source.iterdir() if path.suffix.lower() in _IMAGES)
    if not paths:
        raise InputError(f"{source}: no PNG or JPEG image there, and no tracking.csv of a record")
    stems = [path.stem for path in paths]
    if len(set(stems)) < len(stems):
        twice = next(stem for stem in stems if stems.count(stem) > 1)
        raise InputError(f"{source}: two images are called {twice}, expected one of each name")
    return [_image_file(path) for path in paths]


def _sweep_images(source: Path) -> list[PlainImage]:
    events = open_sweep(source).events()
    return [
        PlainImage(str(round(event.t_s * 1000.0)), event.load)
        for event in events
        if isinstance(event, SweepImage)
    ]


def _image_file(path: Path) -> PlainImage:
    return PlainImage(path.stem, lambda: _read_grey(path))


def _read_grey(path: Path) -> Pixels:
    try:
        with Image.open(path) as image:
            if image.mode not in _EIGHT_BIT:
                raise InputError(f"mode is {image.mode}, expected 8-bit grey or colour")
            return np.array(image.convert("L"), dtype=np.uint8)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise InputError(f"cannot be read as an image: {error}") from None
