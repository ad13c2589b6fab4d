"""IGSIO sequences (`.igs.mha`, `.igs.nrrd`): what both formats share once their header is read.

A sequence is a list of frames. Each has a Timestamp, transforms with a status, an image with a
status (or none), and fields that only their writer knows.

Source: IGSIO, vtkIGSIOMetaImageSequenceIO and vtkIGSIONrrdSequenceIO.
"""

from __future__ import annotations

import functools
import itertools
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tracking.errors import SequenceError, TransformError
from tracking.messages import PoseStatus
from tracking.sequences.orientation import CODES, is_transposed, to_mf
from tracking.sequences.pixels import PixelBlock, open_pixels
from tracking.sequences.sweep import SweepImage, SweepPose
from tracking.transforms import check_rigid
from tracking.wire import parse_transform_name

ORIENTATION, IMAGE_TYPE = "UltrasoundImageOrientation", "UltrasoundImageType"
TIMESTAMP, UNFILTERED, FRAME_NUMBER = "Timestamp", "UnfilteredTimestamp", "FrameNumber"
IMAGE_STATUS, TRANSFORM, STATUS = "ImageStatus", "Transform", "Status"

_FRAME_KEY = re.compile(r"Seq_Frame(\d+)_(.+)")

# Far above any ultrasound image: a size beyond it is damage, and must not be allocated.
_MAX_PIXELS = 2**28

Fields = dict[str, str]


class HeadFormatter(Protocol):
    """Formats the first lines of a header, of the same length whatever size and numbers: they
    are written twice. `compressed_bytes` is None where the pixels are not compressed."""

    def __call__(
        self,
        size_px: tuple[int, int],
        n_frames: int,
        spacing_mm: tuple[float, float] | None,
        compressed_bytes: int | None,
    ) -> str: ...


@dataclass(frozen=True, slots=True)
class HeaderFormat:
    """How a format writes its header: `pair` gives one line, None where it cannot hold it;
    `end` stands before the pixels. `container` is zlib's number for how it wraps them."""

    head: HeadFormatter
    pair: Callable[[str, str], str | None]
    end: str
    container: int


@dataclass(frozen=True, slots=True)
class IgsHeader:
    """A header taken apart. `size_px` is (columns, rows) as stored, (0, 0) without images;
    `spacing_mm` likewise; `fields` and `frame_fields` are verbatim, without what is standard."""

    size_px: tuple[int, int]
    spacing_mm: tuple[float, float] | None
    pixels: PixelBlock
    fields: Fields
    frame_fields: dict[int, Fields]


class FieldLines:
    """Collects `key = value` pairs into those of the whole sequence and those of each frame."""

    def __init__(self) -> None:
        self.fields: Fields = {}
        self.frames: dict[int, Fields] = {}

    def add(self, key: str, value: str) -> None:
        match = _FRAME_KEY.fullmatch(key)
        if match is None:
            self.fields[key] = value
        else:
            self.frames.setdefault(int(match[1]), {})[match[2]] = value


@dataclass(frozen=True, slots=True)
class _Frame:
    number: int
    t_s: float
    has_image: bool
    poses: tuple[SweepPose, ...]
    fields: Fields


class IgsSweep:
    """One sequence file as a sweep. Frames are ordered by their Timestamp.

    Images are brought to orientation MF. A pose whose status is not OK, or whose matrix is not
    rigid, is INVALID; one without a status counts as OK and is named in `poses_without_status`.

    Raises
    ------
    SequenceError : with the file and what was expected.
    """

    image_name = "Image"

    def __init__(self, path: Path, header: IgsHeader) -> None:
        self.path = path
        self.name = path.name
        self.fields: Mapping[str, str] = header.fields
        self._size_px = header.size_px
        self._orientation = header.fields.get(ORIENTATION, "").upper()
        self._spacing_mm = header.spacing_mm
        has_pixels = header.pixels.frame_bytes > 0
        if has_pixels and self._orientation not in CODES:
            raise SequenceError(
                f"{path}: {ORIENTATION} is {self._orientation!r}, "
                "expected a code such as MF (a wrong one would mirror the bone)"
            )
        self._pixels = open_pixels(header.pixels) if has_pixels else None
        without_status: set[str] = set()
        self._frames = sorted(
            (
                _read_frame(path, k, header.frame_fields.get(k, {}), has_pixels, without_status)
                for k in range(header.pixels.n_frames)
            ),
            key=lambda frame: frame.t_s,
        )
        self.poses_without_status = tuple(sorted(without_status))
        if not any(frame.has_image or frame.poses for frame in self._frames):
            raise SequenceError(f"{path}: holds neither images nor poses")

    @property
    def n_images(self) -> int:
        return sum(frame.has_image for frame in self._frames)

    @property
    def span_s(self) -> tuple[float, float]:
        return self._frames[0].t_s, self._frames[-1].t_s

    @property
    def spacing_mm(self) -> tuple[float, float] | None:
        if self._spacing_mm is None or not is_transposed(self._orientation or "MF"):
            return self._spacing_mm
        return self._spacing_mm[1], self._spacing_mm[0]

    def events(self) -> Iterator[SweepImage | SweepPose]:
        index = itertools.count()
        for frame in self._frames:
            if frame.has_image:
                load = functools.partial(self._load, frame.number)
                yield SweepImage(next(index), frame.t_s, load, frame.fields)
            yield from frame.poses

    def _load(self, number: int) -> NDArray[np.uint8]:
        if self._pixels is None:
            raise SequenceError(f"{self.path}: holds no images")
        n_columns, n_rows = self._size_px
        stored = np.frombuffer(self._pixels.read(number), np.uint8).reshape(n_rows, n_columns)
        return to_mf(stored, self._orientation)


def check_layout(
    path: Path, sizes: list[int], element: tuple[str, bool], n_components: int
) -> tuple[tuple[int, int], int]:
    """(columns, rows) and the number of frames.

    `sizes` are columns, rows and frames, with slices before the frames where there are four;
    `element` is the type's name in the file and whether that is an unsigned byte.

    Raises
    ------
    SequenceError : for anything but grey 8-bit images in a row.
    """
    if not 2 <= len(sizes) <= 4 or min(sizes) < 0:
        raise SequenceError(f"{path}: sizes are {sizes}, expected columns, rows, frames")
    n_columns, n_rows, *rest = sizes
    n_frames = rest[-1] if rest else 1
    if len(rest) == 2 and rest[0] != 1:
        raise SequenceError(f"{path}: frames are volumes of {rest[0]} slices, expected images")
    if n_columns * n_rows == 0:
        return (0, 0), n_frames
    type_name, is_uint8 = element
    if not is_uint8 or n_components != 1:
        raise SequenceError(
            f"{path}: pixels are {n_components} x {type_name!r}, expected 1 x unsigned 8 bit"
        )
    if n_columns * n_rows > _MAX_PIXELS:
        raise SequenceError(f"{path}: images are {n_columns}x{n_rows}, expected ultrasound's size")
    return (n_columns, n_rows), n_frames


def read_numbers(where: str | Path, key: str, text: str) -> list[float]:
    """Numbers between blanks.

    Raises
    ------
    SequenceError : naming the place and the key.
    """
    try:
        return [float(word) for word in text.split()]
    except ValueError:
        raise SequenceError(f"{where}: {key} is {text!r}, expected numbers") from None


def read_sizes(path: Path, key: str, text: str) -> list[int]:
    """Whole numbers between blanks; as `read_numbers`."""
    numbers = read_numbers(path, key, text)
    if not all(number.is_integer() for number in numbers):
        raise SequenceError(f"{path}: {key} is {text!r}, expected whole numbers")
    return [int(number) for number in numbers]


def stated_spacing(spacing_mm: list[float]) -> tuple[float, float] | None:
    """PLUS writes 1 1 1 because the scale is in its calibration: that says nothing."""
    pair = spacing_mm[:2]
    is_stated = len(pair) == 2 and all(math.isfinite(s) and s > 0.0 for s in pair)
    return (pair[0], pair[1]) if is_stated and pair != [1.0, 1.0] else None


def _read_frame(
    path: Path, number: int, found: Fields, has_pixels: bool, without_status: set[str]
) -> _Frame:
    where = f"{path}: frame {number}"
    fields = dict(found)
    t_s = _read_time(where, fields)
    has_image = fields.pop(IMAGE_STATUS, "OK") == "OK" and has_pixels
    poses = []
    for key in found:
        name = key.removesuffix(TRANSFORM)
        if name == key or parse_transform_name(name) is None:
            continue
        numbers = read_numbers(where, key, fields.pop(key))
        if len(numbers) != 16:
            raise SequenceError(f"{where}: {key} has {len(numbers)} numbers, expected 16")
        text = fields.pop(key + STATUS, None)
        if text is None:
            without_status.add(name)
        matrix = np.array(numbers).reshape(4, 4)
        matrix.setflags(write=False)
        status = _read_status(text or "OK")
        if status.value != (text or "OK"):
            fields[key + STATUS] = text or ""  # a reason that we have no word for
        if status is PoseStatus.OK and not _is_rigid(matrix, name):
            status = PoseStatus.INVALID
        poses.append(SweepPose(name, t_s, matrix, status, fields))
    return _Frame(number, t_s, has_image, tuple(poses), fields)


def _read_time(where: str, fields: Fields) -> float:
    text = fields.pop(TIMESTAMP, None) or fields.get(UNFILTERED)
    if text is None:
        raise SequenceError(f"{where} has no {TIMESTAMP}, expected one in every frame")
    try:
        t_s = float(text)
    except ValueError:
        t_s = math.nan
    if not math.isfinite(t_s):
        raise SequenceError(f"{where}: {TIMESTAMP} is {text!r}, expected seconds")
    return t_s


def _read_status(text: str) -> PoseStatus:
    try:
        return PoseStatus(text)
    except ValueError:
        return PoseStatus.INVALID


def _is_rigid(matrix: NDArray[np.float64], name: str) -> bool:
    try:
        check_rigid(matrix, name)
    except TransformError:
        return False
    return True
