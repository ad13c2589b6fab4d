"""Long arrays whose memory the system gives page by page, ahead of the thread that fills them."""

from __future__ import annotations

import _thread
import ctypes
import math
import mmap
import sys
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

_T = TypeVar("_T", bound=np.generic)

# Windows has no flags: its memory is private and anonymous by the -1 alone.
_PRIVATE = {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS} if hasattr(mmap, "MAP_PRIVATE") else {}

_MADV_POPULATE_WRITE = 23  # Linux 5.14; Python has no name for it
_AHEAD_ROWS = 1 << 17  # 26 images of 5,000 new voxels, 10 MB


def reserved(shape: tuple[int, ...], dtype: type[_T]) -> NDArray[_T]:
    """An array, zero where it was never written to; its pages come one by one.

    Not from numpy, which asks the system for pages of 2 MB: each stalls a frame for milliseconds.
    """
    n_bytes = max(math.prod(shape), 1) * np.dtype(dtype).itemsize
    memory = mmap.mmap(-1, n_bytes, **_PRIVATE)
    if hasattr(mmap, "MADV_NOHUGEPAGE"):
        memory.madvise(mmap.MADV_NOHUGEPAGE)
    return np.frombuffer(memory, dtype, math.prod(shape)).reshape(shape)


class Ahead:
    """Asks for the pages of rows to come, so that their writer need not wait for them.

    The first write to a page costs 1.5 us on a virtual machine, for an image of 5,000 new voxels
    more than half of its insertion. Where the system cannot be asked, nothing else changes.
    """

    def __init__(self, *columns: NDArray[Any]) -> None:
        self._columns = columns  # each from its page's beginning
        self._n_asked = 0

    def reach(self, n_rows: int) -> None:
        """The rows so far are filled: have the next ones ready. Returns at once."""
        if n_rows + _AHEAD_ROWS // 2 <= self._n_asked or sys.platform != "linux":
            return
        first, self._n_asked = max(self._n_asked, n_rows), n_rows + _AHEAD_ROWS
        parts = [column[first : self._n_asked] for column in self._columns]
        # Not a `threading.Thread`, whose start waits until it runs: milliseconds on a busy machine.
        _thread.start_new_thread(_ask, (parts,))


def _ask(parts: list[NDArray[Any]]) -> None:
    """Not by `mmap.madvise`, which keeps the interpreter's lock for the milliseconds this takes."""
    madvise = ctypes.CDLL(None).madvise
    for part in parts:
        first = part.ctypes.data // mmap.PAGESIZE * mmap.PAGESIZE
        n_bytes = part.ctypes.data + part.nbytes - first
        madvise(ctypes.c_void_p(first), ctypes.c_size_t(n_bytes), _MADV_POPULATE_WRITE)
