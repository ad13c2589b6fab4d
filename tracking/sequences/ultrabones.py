"""Reader of an UltraBones100k record: `tracking.csv` and `UltrasoundImages/<timestamp>.png`.

Each row holds the pose of the probe marker in CT space at the image's own time: x, y, z in mm
and EXTRINSIC xyz angles in degrees; stamps are milliseconds. Poses and images are already
synchronised, so both get the same stamp. A frame whose refined pose is empty was rejected when the
record was labelled: with poses "optimized" it is not part of the sweep.

Source: Wu et al. 2025, UltraBones100k (CC BY 4.0); conventions checked to 0.01 px against the
authors' drawings.
"""

from __future__ import annotations

import csv
import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tracking.errors import SequenceError, TransformError
from tracking.sequences.sweep import SweepImage, SweepPose
from tracking.transforms import Matrix, check_rigid, from_euler_xyz_deg

_POSE_COLUMNS = ("x", "y", "z", "euler_x", "euler_y", "euler_z")
_SUFFIX = {"original": "", "optimized": "_optimized"}


@dataclass(frozen=True, slots=True)
class _Row:
    timestamp_ms: int
    T_ct_probe: Matrix
    spacing_mm: float


class UltraBonesRecord:
    """One record folder as a stream of images and `ProbeToCt` poses.

    Rows are sorted by time. An image named in the table but missing on disk is found out when it
    is loaded; a broken table is found out here.

    Raises
    ------
    SequenceError : with the file, the line and what was expected.
    """

    image_name = "Image"
    pose_name = "ProbeToCt"

    def __init__(self, folder: Path, *, poses: str = "original") -> None:
        if poses not in _SUFFIX:
            raise SequenceError(f"poses is {poses!r}, expected one of {', '.join(_SUFFIX)}")
        self._images = folder / "UltrasoundImages"
        table = folder / "tracking.csv"
        if not table.is_file():
            raise SequenceError(f"{folder}: no tracking.csv, expected an UltraBones100k record")
        if not self._images.is_dir():
            raise SequenceError(f"{folder}: no folder UltrasoundImages with the record's images")
        self._rows = _read_table(table, _SUFFIX[poses])
        self.name = f"{folder.resolve().parent.name}/{folder.resolve().name}"

    @property
    def n_images(self) -> int:
        return len(self._rows)

    @property
    def span_s(self) -> tuple[float, float]:
        return self._rows[0].timestamp_ms / 1000.0, self._rows[-1].timestamp_ms / 1000.0

    @property
    def spacing_mm(self) -> tuple[float, float] | None:
        spacing_mm = self._rows[0].spacing_mm
        return None if math.isnan(spacing_mm) else (spacing_mm, spacing_mm)

    def events(self) -> Iterator[SweepImage | SweepPose]:
        for index, row in enumerate(self._rows):
            t_s = row.timestamp_ms / 1000.0
            yield SweepImage(index, t_s, lambda t_ms=row.timestamp_ms: self._load(t_ms))  # type: ignore[misc]
            yield SweepPose(self.pose_name, t_s, row.T_ct_probe)

    def _load(self, timestamp_ms: int) -> NDArray[np.uint8]:
        path = self._images / f"{timestamp_ms}.png"
        try:
            with Image.open(path) as image:
                if image.mode != "L":
                    raise SequenceError(f"{path}: mode is {image.mode}, expected 8-bit grey")
                return np.array(image, dtype=np.uint8)
        except FileNotFoundError:
            raise SequenceError(f"{path}: no such image, but tracking.csv names it") from None
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            # Pillow's PNG reader raises all of these on a broken file.
            raise SequenceError(f"{path}: cannot be read as an image: {error}") from None


def _read_table(path: Path, suffix: str) -> list[_Row]:
    names = ("timestamp", *(name + suffix for name in _POSE_COLUMNS))
    try:
        with path.open(newline="") as file:
            reader = csv.DictReader(file)
            missing = [name for name in names if name not in (reader.fieldnames or ())]
            if missing:
                raise SequenceError(f"{path}: column {', '.join(missing)} is missing")
            rows = [
                _read_row(path, reader.line_num, row, suffix)
                for row in reader
                if not suffix or any(row[name] for name in names[1:])
            ]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SequenceError(f"{path}: cannot be read: {error}") from None
    if not rows:
        raise SequenceError(f"{path}: has no rows, expected one per image")
    rows.sort(key=lambda row: row.timestamp_ms)
    for earlier, later in itertools.pairwise(rows):
        if earlier.timestamp_ms == later.timestamp_ms:
            raise SequenceError(f"{path}: timestamp {later.timestamp_ms} occurs twice")
    return rows


def _read_row(path: Path, line: int, row: dict[str, str], suffix: str) -> _Row:
    where = f"{path}, line {line}"
    try:
        numbers = [float(row[name + suffix]) for name in _POSE_COLUMNS]
        timestamp_ms = int(row["timestamp"])
        spacing_mm = float(row.get("space_factor") or "nan")
    except (TypeError, ValueError) as error:
        raise SequenceError(f"{where}: not a pose row: {error}") from None
    try:
        T_ct_probe = check_rigid(from_euler_xyz_deg(numbers[:3], numbers[3:]), where)
    except TransformError as error:
        raise SequenceError(str(error)) from None
    return _Row(timestamp_ms, T_ct_probe, spacing_mm)
