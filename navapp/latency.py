"""Stage times of the frames to percentiles."""

from __future__ import annotations

import threading
from enum import Enum

import numpy as np

# Frames per stage that the percentiles look back on: 18 minutes at 60 Hz. All memory is taken at
# the start, so that a session of hours does not grow.
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
        self._rings = {stage: _Ring() for stage in Stage}
        self._lock = threading.Lock()

    def add(self, stage: Stage, t_start_s: float, t_end_s: float) -> None:
        with self._lock:
            self._rings[stage].add(t_end_s, t_end_s - t_start_s)

    def count(self, stage: Stage) -> int:
        """How many durations the percentiles stand on."""
        with self._lock:
            return min(self._rings[stage].n, _KEPT)

    def percentile_ms(self, stage: Stage, percent: float, since_s: float = -np.inf) -> float:
        """Percentile of the durations that ended after `since_s`; NaN where there are none."""
        with self._lock:
            durations_s = self._rings[stage].since(since_s)
        return float(np.percentile(durations_s, percent)) * 1e3 if len(durations_s) else np.nan


class _Ring:
    """The last `_KEPT` pairs of (end, duration), the oldest overwritten."""

    def __init__(self) -> None:
        self.n = 0
        # Filled, because pages of zeros would only be taken when they are first written.
        self._ended_s = np.full(_KEPT, np.nan)
        self._durations_s = np.full(_KEPT, np.nan)

    def add(self, ended_s: float, duration_s: float) -> None:
        k = self.n % _KEPT
        self._ended_s[k], self._durations_s[k] = ended_s, duration_s
        self.n += 1

    def since(self, since_s: float) -> np.ndarray:
        used = slice(0, min(self.n, _KEPT))
        return self._durations_s[used][self._ended_s[used] >= since_s]
