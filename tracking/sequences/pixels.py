"""Pixels of a sequence file, one frame at a time: a long sweep never enters memory."""

from __future__ import annotations

import threading
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from tracking.errors import SequenceError

_BLOCK_BYTES = 2**18
# zlib and gzip both: 15 bits of window, and 32 for "look which it is".
_ZLIB_OR_GZIP = 15 + 32


@dataclass(frozen=True, slots=True)
class PixelBlock:
    """Where a file keeps its frames: `n_frames` of `frame_bytes` each, without gaps.

    `stored_bytes` is how long the block is where the file says so.
    """

    path: Path
    offset: int
    n_frames: int
    frame_bytes: int
    is_compressed: bool
    stored_bytes: int | None = None


class PixelReader(Protocol):
    """Reads frames by their number in the file."""

    def read(self, frame: int) -> bytearray:
        """The bytes of one frame.

        Raises
        ------
        SequenceError : naming the file, the frame and what is wrong.
        """


def open_pixels(block: PixelBlock) -> PixelReader:
    """A reader for the block.

    Raises
    ------
    SequenceError : if the file is missing or shorter than it says.
    """
    expected_bytes = block.stored_bytes
    if not block.is_compressed:
        expected_bytes = block.n_frames * block.frame_bytes
    try:
        n_bytes = block.path.stat().st_size - block.offset
    except (OSError, ValueError) as error:  # ValueError: a name that cannot be one
        why = getattr(error, "strerror", None) or error
        raise SequenceError(f"{block.path}: cannot be read: {why}") from None
    if expected_bytes is not None and n_bytes < expected_bytes:
        raise SequenceError(
            f"{block.path}: truncated, it has {max(0, n_bytes)} of {expected_bytes} bytes of pixels"
        )
    return _Compressed(block) if block.is_compressed else _Raw(block)


class _Raw:
    """Frames that lie in the file as they are: any of them by seeking."""

    def __init__(self, block: PixelBlock) -> None:
        self._block = block

    def read(self, frame: int) -> bytearray:
        block = self._block
        buffer = bytearray(block.frame_bytes)
        with _opened(block.path) as file:
            file.seek(block.offset + frame * block.frame_bytes)
            n_bytes = file.readinto(buffer)  # type: ignore[attr-defined]
        if n_bytes < block.frame_bytes:
            raise SequenceError(f"{block.path}: ends inside frame {frame}")
        return buffer


class _Compressed:
    """One compressed stream: frames in order cost their own size, going back begins anew."""

    def __init__(self, block: PixelBlock) -> None:
        self._block = block
        self._lock = threading.Lock()
        self._defect: SequenceError | None = None
        self._rewind()

    def read(self, frame: int) -> bytearray:
        with self._lock:
            if frame < self._next:
                self._rewind()
            with _opened(self._block.path) as file:
                file.seek(self._position)
                while self._next < frame:
                    self._inflate_frame(file)
                return self._inflate_frame(file)

    def _rewind(self) -> None:
        self._inflater = zlib.decompressobj(_ZLIB_OR_GZIP)
        self._position = self._block.offset
        self._waiting = b""  # read from the file, not inflated yet
        self._next = 0

    def _inflate_frame(self, file: BinaryIO) -> bytearray:
        if self._defect is not None and self._next >= self._n_good:
            raise self._defect
        frame = bytearray()
        while len(frame) < self._block.frame_bytes:
            block = self._waiting or file.read(_BLOCK_BYTES)
            try:
                part = self._inflater.decompress(block, self._block.frame_bytes - len(frame))
            except zlib.error as error:
                raise self._broken(str(error)) from None
            if not part and (not block or self._inflater.eof):
                raise self._broken("the compressed pixels end")
            self._waiting = self._inflater.unconsumed_tail
            frame += part
        self._position = file.tell()
        self._next += 1
        return frame

    def _broken(self, why: str) -> SequenceError:
        """Remembered: what follows the defect is lost too, and is not inflated over and over."""
        self._n_good = self._next
        self._defect = SequenceError(
            f"{self._block.path}: frame {self._next} of {self._block.n_frames} "
            f"cannot be inflated: {why}"
        )
        return self._defect


def _opened(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise SequenceError(f"{path}: cannot be read: {error.strerror}") from None
