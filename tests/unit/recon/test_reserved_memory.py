"""Pages that are there before they are written to."""

from __future__ import annotations

import sys
import time
from platform import release

import numpy as np
import pytest

from recon.reserved_memory import Ahead, reserved

resource = pytest.importorskip("resource")
pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or [int(n) for n in release().split(".")[:2]] < [5, 14],
    reason="Linux gives pages ahead from 5.14 on",
)


def _faults(write: np.ndarray) -> int:
    """How often the system had to step in while an array was written to."""
    before = resource.getrusage(resource.RUSAGE_THREAD).ru_minflt
    write[...] = 1
    return int(resource.getrusage(resource.RUSAGE_THREAD).ru_minflt - before)


def _faults_once_asked(column: np.ndarray, rows: slice, n_allowed: int) -> int:
    """Of the rows' first write; some later ones are tried where the thread was not yet there."""
    deadline_s = time.monotonic() + 10.0
    while True:
        if (n := _faults(column[rows])) <= n_allowed or time.monotonic() > deadline_s:
            return n
        rows = slice(rows.stop, rows.stop + rows.stop - rows.start)
        time.sleep(0.05)


def test_rows_to_come_cost_no_fault() -> None:
    lines, narrow = reserved((1 << 18, 8), np.int64), reserved((1 << 18,), np.float32)
    assert _faults(lines[-6_400:]) >= 100  # nobody asked for these
    Ahead(lines, narrow).reach(0)
    rows = slice(0, 6_400)  # 100 pages
    assert _faults_once_asked(lines, rows, 5) <= 5
    assert _faults_once_asked(narrow, slice(0, 64_000), 5) <= 5


def test_the_next_ones_are_asked_for_in_time_and_not_beyond_the_end() -> None:
    lines = reserved((300_000, 8), np.int64)
    ahead = Ahead(lines)
    for n_rows in range(0, 300_001, 5_000):
        ahead.reach(n_rows)
    assert _faults_once_asked(lines, slice(200_000, 206_400), 5) <= 5
    ahead.reach(300_000)
    lines[...] = 7
    assert (lines == 7).all()
