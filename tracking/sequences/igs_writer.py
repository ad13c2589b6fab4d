"""Writes any sweep as `.igs.mha` or `.igs.nrrd`, one image in memory.

A frame of these formats has one Timestamp. What a sweep has at one stamp becomes one frame; a pose
between two images becomes a frame of its own, whose image is blank and marked INVALID. So every
sample keeps its stamp, and nothing is interpolated.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from tracking.errors import SequenceError
from tracking.messages import PoseStatus
from tracking.sequences.igs import (
    FRAME_NUMBER,
    IMAGE_STATUS,
    ORIENTATION,
    STATUS,
    TIMESTAMP,
    TRANSFORM,
    UNFILTERED,
    HeaderFormat,
    IgsSweep,
)
from tracking.sequences.igs_mha import MHA
from tracking.sequences.igs_nrrd import NRRD
from tracking.sequences.sweep import Sweep, SweepImage, SweepPose
from tracking.sequences.written import Written, new_file

# 3.5 to 15 ms per image of 820x616; higher levels win a few per cent of the size.
_ZLIB_LEVEL = 1


def write_igs(path: Path, sweep: Sweep, *, is_compressed: bool) -> Written:
    """Write a new file; on an error nothing is left at `path`.

    Raises
    ------
    SequenceError : the file exists or cannot be written, or an image of the sweep cannot be read
        or has another size than the first.
    """
    is_nrrd = path.name.lower().endswith(".nrrd")
    format_ = NRRD if is_nrrd else MHA
    packing = _Packing(format_.container) if is_compressed else None
    with new_file(path) as file:
        return _Writer(file, sweep, format_, packing).write()


@dataclass(slots=True)
class _Frame:
    """What a sweep has at one stamp."""

    t_s: float
    image: SweepImage | None = None
    poses: list[SweepPose] = field(default_factory=list)
    fields: Mapping[str, str] = field(default_factory=dict)

    def takes(self, event: SweepImage | SweepPose) -> bool:
        if event.t_s != self.t_s:
            return False
        if isinstance(event, SweepImage):
            return self.image is None
        return all(pose.name != event.name for pose in self.poses)

    def add(self, event: SweepImage | SweepPose) -> None:
        self.fields = {**self.fields, **event.fields}
        if isinstance(event, SweepImage):
            self.image = event
        else:
            self.poses.append(event)


def _frames(sweep: Sweep) -> Iterator[_Frame]:
    frame: _Frame | None = None
    for event in sweep.events():
        if frame is not None and not frame.takes(event):
            yield frame
            frame = None
        frame = frame or _Frame(event.t_s)
        frame.add(event)
    if frame is not None:
        yield frame


class _Packing:
    """Deflates what passes and counts what comes out."""

    def __init__(self, container: int) -> None:
        self._deflater = zlib.compressobj(_ZLIB_LEVEL, zlib.DEFLATED, container)
        self.n_bytes = 0

    def pack(self, data: NDArray[np.uint8]) -> bytes:
        return self._count(self._deflater.compress(data.data))

    def finish(self) -> bytes:
        return self._count(self._deflater.flush())

    def _count(self, packed: bytes) -> bytes:
        self.n_bytes += len(packed)
        return packed


class _Writer:
    """One file in the making."""

    def __init__(
        self, file: BinaryIO, sweep: Sweep, format_: HeaderFormat, packing: _Packing | None
    ) -> None:
        self._file, self._sweep, self._format = file, sweep, format_
        self._packing = packing if sweep.n_images else None
        self._size_px = (0, 0)
        self._n_frames = self._n_poses = self._n_blank = self._n_unwritable = 0

    def write(self) -> Written:
        self._write_head()
        self._write_fields()
        if self._sweep.n_images:
            self._write_pixels()
        self._file.seek(0)
        self._write_head()
        return Written(self._sweep.n_images, self._n_poses, tuple(self._notes()))

    def _write_head(self) -> None:
        n_bytes = self._packing.n_bytes if self._packing else None
        head = self._format.head(self._size_px, self._n_frames, self._sweep.spacing_mm, n_bytes)
        self._file.write(head.encode())

    def _write_fields(self) -> None:
        kept = self._sweep.fields if isinstance(self._sweep, IgsSweep) else {}
        orientation = "MF" if self._sweep.n_images else "XX"
        for key, value in {**kept, ORIENTATION: orientation}.items():
            self._write_pair(key, value)
        for frame in _frames(self._sweep):
            for key, value in _frame_fields(frame, self._n_frames).items():
                self._write_pair(f"Seq_Frame{self._n_frames:04d}_{key}", value)
            self._n_frames += 1
            self._n_poses += len(frame.poses)
            self._n_blank += frame.image is None
        self._file.write(self._format.end.encode())

    def _write_pair(self, key: str, value: str) -> None:
        line = self._format.pair(key, value)
        if line is None:
            self._n_unwritable += 1
        else:
            self._file.write(line.encode(errors="surrogateescape"))

    def _write_pixels(self) -> None:
        first = next(frame.image for frame in _frames(self._sweep) if frame.image is not None)
        n_rows, n_columns = first.load().shape
        self._size_px = n_columns, n_rows
        blank = np.zeros((n_rows, n_columns), np.uint8)
        put: Callable[[NDArray[np.uint8]], object] = self._file.write  # type: ignore[assignment]
        if (packing := self._packing) is not None:
            put = lambda pixels: self._file.write(packing.pack(pixels))  # noqa: E731
        for frame in _frames(self._sweep):
            put(blank if frame.image is None else self._load(frame.image))
        if packing is not None:
            self._file.write(packing.finish())

    def _load(self, image: SweepImage) -> NDArray[np.uint8]:
        pixels = image.load()
        if pixels.shape[::-1] != self._size_px:
            raise SequenceError(
                f"{self._sweep.name}: image {image.index} is {pixels.shape[1]}x{pixels.shape[0]} "
                f"pixels, expected {self._size_px[0]}x{self._size_px[1]} as the first"
            )
        return np.ascontiguousarray(pixels)

    def _notes(self) -> Iterator[str]:
        if self._sweep.n_images and self._n_blank:
            yield f"{self._n_blank} frames hold poses between the images: their image is blank"
        if self._n_unwritable:
            yield f"{self._n_unwritable} fields are left out: the format has no line breaks"
        if self._sweep.image_name != IgsSweep.image_name:
            yield f"the name of the image stream, {self._sweep.image_name}, is left out"


def _frame_fields(frame: _Frame, number: int) -> dict[str, str]:
    """All fields of one frame, those that PLUS expects among them."""
    poses = {}
    for pose in frame.poses:
        key = pose.name + TRANSFORM
        poses[key] = " ".join(repr(float(x)) for x in pose.matrix.flat)
        poses[key + STATUS] = _status_text(pose, frame.fields.get(key + STATUS))
    return {
        FRAME_NUMBER: str(number),
        UNFILTERED: repr(frame.t_s),
        **frame.fields,  # PlusServer repeats the poses here
        **poses,
        TIMESTAMP: repr(frame.t_s),
        IMAGE_STATUS: "INVALID" if frame.image is None else "OK",
    }


def _status_text(pose: SweepPose, recorded: str | None) -> str:
    """What was recorded, where it says more of a pose that is not OK."""
    if pose.status is PoseStatus.OK or recorded in (None, PoseStatus.OK.value):
        return pose.status.value
    return recorded
