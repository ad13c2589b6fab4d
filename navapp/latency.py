"""Stage times of the frames to percentiles."""

from __future__ import annotations

import threading
from collections import deque
from enum import Enum
from itertools import takewhile

import numpy as np

# A session of an hour at 18 frames per second; older frames leave the percentiles.
_KEPT = 65_536


class Stage(Enum):
    """Steps of a frame's journey; the values are keys of `report.json`."""

    RECEIVE = "receive"  # last byte of the body to decoded message
    INFER = "infer"  # preparation, network and bone line
    MATCH = "match"  # waiting for and reading the pose
    RECONSTRUCT = "reconstruct"  # back-projection and insertion
    END_TO_END = "end_to_end"  # arrival to shown, without a window to integrated


class LatencyLog:
    """Durations by stage with the time at which each ended, on `perf_counter()`'s clock."""

    def __init__(self) -> None:
        self._ended: dict[Stage, deque[tuple[float, float]]] = {
            stage: deque(maxlen=_KEPT) for stage in Stage
        }
        self._lock = threading.Lock()

    def add(self, stage: Stage, t_start_s: float, t_end_s: float) -> None:
        with self._lock:
            self._ended[stage].append((t_end_s, t_end_s - t_start_s))

    def count(self, stage: Stage) -> int:
        """How many durations the percentiles stand on."""
        with self._lock:
            return len(self._ended[stage])

    def percentile_ms(self, stage: Stage, percent: float, since_s: float = -np.inf) -> float:
        """Percentile of the durations that ended after `since_s`; NaN where there are none."""
        with self._lock:
            recent = takewhile(lambda ended: ended[0] >= since_s, reversed(self._ended[stage]))
            durations_s = [duration_s for _, duration_s in recent]
        return float(np.percentile(durations_s, percent)) * 1e3 if durations_s else float("nan")
