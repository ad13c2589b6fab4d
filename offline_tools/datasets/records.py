"""Records on disk as sources of labelled images: UltraBones100k's layout, and our labelled records.

    AI_Ultrasound_dataset/cadaverNN_CODE/CT_bone_model.stl
    AI_Ultrasound_dataset/cadaverNN_CODE/recordNN/tracking.csv
    AI_Ultrasound_dataset/cadaverNN_CODE/recordNN/UltrasoundImages/<timestamp>.png
    AI_Ultrasound_dataset/cadaverNN_CODE/recordNN/Labels/<timestamp>_label.png

A record labelled by `offline-tools label` has the same shape, with its own surface, `contours.npz`
and `labels.csv`; specimen and record are those named in its `label.json`.
"""

from __future__ import annotations

import csv
import functools
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from offline_tools.datasets.anatomy import bone_axis
from offline_tools.datasets.images import LabelledImage, donor_of
from offline_tools.datasets.labels import (
    CONTOURS,
    MASKS,
    UNREADABLE,
    ContourLabels,
    Labels,
    MaskLabels,
    SectionLabels,
)
from offline_tools.errors import InputError
from tracking.calibration.probe import ProbeCalibration
from tracking.calibration.read import find_calibration, load_calibration
from tracking.sequences.sweep import SweepImage
from tracking.sequences.ultrabones import UltraBonesRecord
from tracking.transforms import Matrix, apply

SURFACE = "CT_bone_model.stl"
IMAGES = "UltrasoundImages"
TABLE = "tracking.csv"
LABEL_KINDS = ("auto", "contours", "masks", "section")
# Where a dataset is looked for that nobody named, as UltraBones100k's own code does.
DEFAULT_DATA = Path("../data/AI_Ultrasound_dataset")

_LEVELS = ("", "*/", "*/*/")  # a record, a specimen's folder, a dataset's


@dataclass(frozen=True, slots=True)
class LeftOut:
    """An image that is no example, and why; `is_decided` where labelling it decided so."""

    name: str
    reason: str
    is_decided: bool = False


class Record:
    """The labelled images of one record folder, which may be none. An `ImageSource`.

    Parameters and errors: see `open_record`.
    """

    def __init__(self, folder: Path, labels: str = "auto", poses: str = "original") -> None:
        self.folder = folder
        self.specimen, self.record = specimen_and_record(folder)
        self.donor = donor_of(self.specimen)
        sweep = UltraBonesRecord(folder)
        self._images = {
            round(event.t_s * 1000.0): event
            for event in sweep.events()
            if isinstance(event, SweepImage)
        }
        self._T_recorded = _poses(sweep)
        self._T_refined = _refined_poses(folder, is_needed=poses == "optimized")
        calibration_path = find_calibration(folder)
        self._calibration = load_calibration(calibration_path) if calibration_path else None
        self._surface = _nearest_surface(folder)
        self.spacing_mm = _spacing_mm(folder, self._calibration, sweep.spacing_mm)
        self.label_kind = _label_kind(folder) if labels == "auto" else labels
        self.poses = poses
        self._labels = self._open_labels()
        self._stamps_ms, self.left_out = self._sorted_out()
        self.names = tuple(f"{self.prefix}/{stamp_ms}" for stamp_ms in self._stamps_ms)

    @property
    def prefix(self) -> str:
        """Specimen and record: what the names of its images begin with."""
        return f"{self.specimen}/{self.record}"

    @property
    def n_labels(self) -> int:
        """Of frames, usable or not."""
        return len(set(self._labels.stamps_ms))

    @property
    def problems(self) -> Sequence[str]:
        return [f"{left.name}: {left.reason}" for left in self.left_out]

    @property
    def label_note(self) -> str | None:
        """What a reader must know of the labels; None where they are labels in earnest."""
        if self.label_kind != "section":
            return None
        return (
            f"{self.prefix}: no labels there, the section of the CT surface at {self.poses} poses"
        )

    @functools.cached_property
    def sha256(self) -> str:
        """Of the files that images and labels are made from; reads all of them, once."""
        digest = hashlib.sha256(f"{self.prefix} {self.label_kind} {self.poses}".encode())
        images = (self._image_path(stamp_ms) for stamp_ms in self._stamps_ms)
        calibration = (self._calibration.source,) if self._calibration else ()
        for path in (self.folder / TABLE, *calibration, *self._labels.files, *images):
            digest.update(hashlib.sha256(path.read_bytes()).digest())
        return digest.hexdigest()

    def load(self, index: int) -> LabelledImage:
        """Read one image and its label.

        Raises
        ------
        SequenceError : the image cannot be read.
        """
        stamp_ms = self._stamps_ms[index]
        pixels = self._images[stamp_ms].load()
        height, width = pixels.shape
        return LabelledImage(
            name=self.names[index],
            pixels=pixels,
            spacing_mm=self.spacing_mm,
            roi_px=self._calibration.roi_px if self._calibration else None,
            line=self._labels.line(stamp_ms, (width, height)),
            A_ct_pixel=self._A_ct_pixel(self._T_recorded, stamp_ms),
            A_ct_pixel_refined=self._A_ct_pixel(self._T_refined, stamp_ms),
            surface=self._surface,
        )

    def image_size_px(self, index: int) -> tuple[int, int]:
        """(width, height) of one image, without reading it."""
        return _image_head(self._image_path(self._stamps_ms[index]))[0]

    def position_mm(self, index: int) -> float | None:
        """Of the label's centroid along the bone, mm from its middle, at the refined pose where
        there is one; None without a pose, a surface or a point."""
        stamp_ms = self._stamps_ms[index]
        A_ct_pixel = self._A_ct_pixel(self._T_refined, stamp_ms)
        if A_ct_pixel is None:
            A_ct_pixel = self._A_ct_pixel(self._T_recorded, stamp_ms)
        if A_ct_pixel is None or self._surface is None:
            return None
        points_px = self._labels.line(stamp_ms, self.image_size_px(index)).points_px
        if len(points_px) == 0:
            return None
        centre_px = np.array([(*points_px.mean(axis=0), 0.0)])
        return bone_axis(self._surface).position_mm(apply(A_ct_pixel, centre_px)[0])

    def _open_labels(self) -> Labels:
        if self.label_kind == "contours":
            return ContourLabels(self.folder / CONTOURS)
        if self.label_kind == "masks":
            return MaskLabels(self.folder / MASKS)
        _, surface = record_companions(self.folder)
        T_ct_probe = self._T_refined if self.poses == "optimized" else self._T_recorded
        A_ct_pixel = {stamp_ms: self._A_ct_pixel(T_ct_probe, stamp_ms) for stamp_ms in T_ct_probe}
        return SectionLabels(surface, {k: A for k, A in A_ct_pixel.items() if A is not None})

    def _sorted_out(self) -> tuple[tuple[int, ...], tuple[LeftOut, ...]]:
        """Stamps of the frames that are examples, and the others with the reason."""
        on_disk = {int(p.stem) for p in (self.folder / IMAGES).glob("*.png") if p.stem.isdecimal()}
        decided = {} if self.label_kind == "section" else _decided(self.folder)
        good, left_out = [], []
        for stamp_ms in sorted(on_disk | self._images.keys() | set(self._labels.stamps_ms)):
            reason = decided.get(stamp_ms) or self._fault(stamp_ms, on_disk)
            if reason is None:
                good.append(stamp_ms)
            else:
                name = f"{self.prefix}/{stamp_ms}"
                left_out.append(LeftOut(name, reason, is_decided=stamp_ms in decided))
        return tuple(good), tuple(left_out)

    def _fault(self, stamp_ms: int, on_disk: set[int]) -> str | None:
        if stamp_ms not in on_disk:
            return "no image"
        if stamp_ms not in self._images:
            return f"no row in {TABLE}"
        try:
            size_px, mode = _image_head(self._image_path(stamp_ms))
        except UNREADABLE as error:
            return f"image cannot be read: {error}"
        if mode != "L":
            return f"image's mode is {mode}, expected 8-bit grey"
        if self._calibration and (misfit := self._calibration.misfit(image_size_px=size_px)):
            return misfit
        return self._labels.fault(stamp_ms, size_px)

    def _A_ct_pixel(self, T_ct_probe: Mapping[int, Matrix], stamp_ms: int) -> Matrix | None:
        if self._calibration is None or stamp_ms not in T_ct_probe:
            return None
        return T_ct_probe[stamp_ms] @ self._calibration.A_probe_pixel

    def _image_path(self, stamp_ms: int) -> Path:
        return self.folder / IMAGES / f"{stamp_ms}.png"


def open_record(folder: Path, labels: str = "auto", poses: str = "original") -> Record:
    """The labelled images of a record; images are read when they are asked for.

    Parameters
    ----------
    labels : where they come from: "contours" (`contours.npz`), "masks" (`Labels/`), "section" (of
        the CT surface), or "auto": the first of these that is there.
    poses : "original" or "optimized": at which poses of `tracking.csv` sections are cut.

    Raises
    ------
    InputError : no image has a usable label, or what the labels need is missing.
    TrackingError : `tracking.csv` or the calibration is broken, or has no optimised poses.
    """
    if labels not in LABEL_KINDS:
        raise InputError(f"labels is {labels!r}, expected one of {', '.join(LABEL_KINDS)}")
    record = Record(folder, labels, poses)
    if not record.names:
        reason = record.left_out[0].reason if record.left_out else "no image"
        raise InputError(
            f"{folder}: none of {len(record.left_out)} images has a usable label (the first: "
            f"{reason}); expected {CONTOURS}, masks {MASKS}/<timestamp>_label.png of 0 and 255, or "
            f"{SURFACE} and a calibration here or above"
        )
    return record


def open_records(folders: Sequence[Path], labels: str = "auto") -> list[Record]:
    """Every record in the folders, see `find_records` and `open_record`.

    Raises
    ------
    InputError : also where two of them are the same record.
    """
    opened: dict[str, Record] = {}
    for folder in find_records(folders):
        record = open_record(folder, labels)
        if record.prefix in opened:
            raise InputError(
                f"{folder} and {opened[record.prefix].folder} are both {record.prefix}, expected "
                "each record once"
            )
        opened[record.prefix] = record
    return list(opened.values())


def find_records(folders: Sequence[Path]) -> list[Path]:
    """The record folders named, or found up to two levels below the folders named (a specimen's
    folder, a dataset's), each once, sorted.

    Raises
    ------
    InputError : a folder that is no record and holds none.
    """
    found: set[Path] = set()
    for folder in folders:
        records = {table.parent for level in _LEVELS for table in folder.glob(level + TABLE)}
        if not records:
            raise InputError(f"{folder}: no record there, expected a folder with {TABLE}")
        found |= records
    return sorted(found)


def read_record(folder: Path) -> Iterator[LabelledImage]:
    """The labelled images of a record, in order of time."""
    record = open_record(folder)
    return (record.load(index) for index in range(len(record.names)))


def record_companions(folder: Path) -> tuple[Path, Path]:
    """Calibration and CT surface of a record: the nearest in its folder or any above it."""
    calibration = find_calibration(folder)
    if calibration is None:
        raise InputError(f"{folder}: no calibration.json or calibration.toml here or above")
    surface = _nearest_surface(folder)
    if surface is None:
        raise InputError(f"{folder}: no {SURFACE} here or above")
    return calibration, surface


def _nearest_surface(folder: Path) -> Path | None:
    for parent in (folder.resolve(), *folder.resolve().parents):
        if (parent / SURFACE).is_file():
            return parent / SURFACE
    return None


def _label_kind(folder: Path) -> str:
    if (folder / CONTOURS).is_file():
        return "contours"
    if (folder / MASKS).is_dir():  # an empty one as well: labels were meant to be there
        return "masks"
    has_section = find_calibration(folder) is not None and _nearest_surface(folder) is not None
    return "section" if has_section else "masks"


def specimen_and_record(folder: Path) -> tuple[str, str]:
    """As its `label.json` has them, else the names of its folders."""
    path = folder / "label.json"
    if path.is_file():
        try:
            specimen, record = json.loads(path.read_text(encoding="utf-8"))["record"].split("/")
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            raise InputError(f'{path}: expected "record": "SPECIMEN/RECORD" in it') from None
        return specimen, record
    folder = folder.resolve()
    return folder.parent.name, folder.name


def _poses(sweep: UltraBonesRecord) -> dict[int, Matrix]:
    return {
        round(event.t_s * 1000.0): event.matrix
        for event in sweep.events()
        if not isinstance(event, SweepImage)
    }


def _refined_poses(folder: Path, *, is_needed: bool) -> dict[int, Matrix]:
    """Empty where the table has none and nobody asked for them."""
    header = (folder / TABLE).read_text(encoding="utf-8", errors="replace").partition("\n")[0]
    if not is_needed and "x_optimized" not in header.split(","):
        return {}
    return _poses(UltraBonesRecord(folder, poses="optimized"))


def _spacing_mm(
    folder: Path, calibration: ProbeCalibration | None, stated_mm: tuple[float, float] | None
) -> tuple[float, float]:
    if calibration is not None:
        return calibration.spacing_mm
    if stated_mm is None:
        raise InputError(
            f"{folder}: pixel spacing is not known, expected a calibration here or above, or "
            f"space_factor in {TABLE}"
        )
    return stated_mm


def _decided(folder: Path) -> dict[int, str]:
    """Frames that `offline-tools label` gave no label, with its reason."""
    path = folder / "labels.csv"
    if not path.is_file():
        return {}
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    try:
        return {
            int(row["timestamp"]): f"{row['status']} when labelled ({row['reason']})"
            for row in rows
            if row["status"] != "labelled"
        }
    except (KeyError, ValueError, TypeError) as error:
        raise InputError(f"{path}: not a table of labels: {error}") from None


def _image_head(path: Path) -> tuple[tuple[int, int], str]:
    """(width, height) and Pillow's mode, without decoding the image."""
    with Image.open(path) as image:
        return image.size, image.mode
