"""Other computers' clocks: map them to ours, and notice stamps that cannot be trusted.

The only place where times of different clocks are subtracted. The host's clock is
`time.perf_counter()`; a sender's is whatever its messages say.
"""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from tracking.messages import Stamps, TimeBase

# A sender's clock drifts by some 50 ppm: 1.5 ms in this time. In a shorter window the fastest
# message would often be a slow one.
WINDOW_S = 30.0
_BUCKET_S = 1.0
# Below this span a slope through the fastest messages is their jitter, not the clock's rate.
_MIN_SLOPE_SPAN_S = 5.0
# A stream whose stamp has not moved for so long, while messages come, has no clock behind it.
_STANDSTILL_S = 1.0
_N_DELAYS = 512  # a few seconds of images and poses, for the jitter

# Samples of one stream may overtake each other by this much; a larger step back is a clock that was
# set back, or a recording that began again.
CLOCK_STEP_S = 0.05

_N_FILTERED = 20  # as PLUS
_MAX_CORRECTION_S = 0.5  # as PLUS: beyond it the numbers count something else


@dataclass(frozen=True, slots=True)
class ClockEstimate:
    """host = sender + offset_s + drift * (sender - t_ref_s), for times near `t_ref_s`.

    The fastest messages define it, so that the shortest way through the network is part of the
    offset. `drift` is seconds per second; `jitter_s` the 95th percentile of the delay beyond the
    fastest messages'.
    """

    t_ref_s: float
    offset_s: float
    drift: float
    jitter_s: float

    def to_host_s(self, t_sender_s: float) -> float:
        return t_sender_s + self.offset_s + self.drift * (t_sender_s - self.t_ref_s)

    def to_sender_s(self, t_host_s: float) -> float:
        elapsed_s = (t_host_s - self.offset_s - self.t_ref_s) / (1.0 + self.drift)
        return self.t_ref_s + elapsed_s


class SenderClock:
    """One server's clock, learned from what arrives; one thread observes, any thread asks.

    The offset is the minimum of arrival minus stamp over the last 30 s, which delays cannot
    spoil; the drift is the slope of the line below all of them. Stamps that are 0, run backwards
    or stand still are not to be trusted: until 30 s after the last such one, `observe` says so.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last: dict[str, tuple[float, float]] = {}  # stream: its stamp and when that came
        self._t_distrusted_until_s = float("-inf")
        self._fault: str | None = None
        self._restart()

    def observe(self, stream: str, stamps: Stamps) -> bool:
        """Learn from one image or pose; may its stamp be trusted?"""
        with self._lock:
            fault = self._fault_of(stream, stamps)
            if fault is not None:
                self._fault = fault
                self._t_distrusted_until_s = stamps.t_arrival_s + WINDOW_S
                self._restart()
                return False
            self._add(stamps)
            if stamps.t_arrival_s < self._t_distrusted_until_s:
                return False
            self._fault = None
            return True

    def forget(self) -> None:
        """After a lost connection: the server may have been restarted, with a new clock."""
        with self._lock:
            self._last.clear()
            self._restart()

    @property
    def fault(self) -> str | None:
        """What is wrong with the stamps, as the end of a sentence; None while all is well."""
        with self._lock:
            return self._fault

    @property
    def estimate(self) -> ClockEstimate | None:
        """None before the first trustworthy stamp."""
        with self._lock:
            fastest = list(self._fastest)
            delays_s = np.array(self._delays_s)
        if not fastest:
            return None
        t_ref_s, offset_s, slope = _line_below(fastest)
        late_s = delays_s[:, 1] - (offset_s + slope * (delays_s[:, 0] - t_ref_s))
        return ClockEstimate(t_ref_s, offset_s, slope, float(np.percentile(late_s, 95)))

    def _fault_of(self, stream: str, stamps: Stamps) -> str | None:
        t_s = stamps.t_sender_s
        if t_s == 0.0:
            return "sends no stamps"
        t_last_s, t_arrival_s = self._last.get(stream, (float("-inf"), 0.0))
        if t_last_s - CLOCK_STEP_S <= t_s < t_last_s:
            return None
        if t_s != t_last_s:
            self._last[stream] = (t_s, stamps.t_arrival_s)
        if t_s < t_last_s:
            return f"sends stamps that run backwards ({stream})"
        if t_s == t_last_s and stamps.t_arrival_s - t_arrival_s > _STANDSTILL_S:
            return f"sends stamps that stand still ({stream})"
        return None

    def _restart(self) -> None:
        # The fastest message of each second as (stamp, arrival minus stamp).
        self._fastest: deque[tuple[float, float]] = deque(maxlen=int(WINDOW_S / _BUCKET_S))
        self._t_bucket_end_s = float("-inf")
        self._delays_s: deque[tuple[float, float]] = deque(maxlen=_N_DELAYS)

    def _add(self, stamps: Stamps) -> None:
        point = (stamps.t_sender_s, stamps.t_arrival_s - stamps.t_sender_s)
        self._delays_s.append(point)
        if stamps.t_arrival_s >= self._t_bucket_end_s:
            self._t_bucket_end_s = stamps.t_arrival_s + _BUCKET_S
            self._fastest.append(point)
        elif point[1] < self._fastest[-1][1]:
            self._fastest[-1] = point


def _line_below(points: list[tuple[float, float]]) -> tuple[float, float, float]:
    """The highest line that has no point below it, at the middle of the points' times: that
    time, the line's height there and its slope. Over a short time the lowest point, slope 0.

    Source: Moon, Skelly, Towsley, INFOCOM 1999 (clock skew from one-way delays); the line is the
    edge of the lower convex hull that passes the mean time.
    """
    points = sorted(points)
    t_s = [t for t, _ in points]
    t_mean_s = sum(t - t_s[0] for t in t_s) / len(t_s) + t_s[0]
    if t_s[-1] - t_s[0] < _MIN_SLOPE_SPAN_S:
        return t_mean_s, min(height for _, height in points), 0.0
    hull: list[tuple[float, float]] = []
    for point in points:
        while len(hull) > 1 and _turns_right(hull[-2], hull[-1], point):
            hull.pop()
        hull.append(point)
    for (t_0_s, height_0), (t_1_s, height_1) in pairwise(hull):
        if t_1_s >= t_mean_s:
            slope = (height_1 - height_0) / (t_1_s - t_0_s) if t_1_s > t_0_s else 0.0
            return t_mean_s, height_0 + slope * (t_mean_s - t_0_s), slope
    return t_mean_s, hull[-1][1], 0.0


def _turns_right(a: tuple[float, float], b: tuple[float, float], c: tuple[float, float]) -> bool:
    """Is b on or above the line from a to c?"""
    return (b[0] - a[0]) * (c[1] - a[1]) <= (b[1] - a[1]) * (c[0] - a[0])


class Clocks:
    """Every server's clock by the server's name; `convert` takes a time from one to another."""

    def __init__(self) -> None:
        self._clocks: dict[str, SenderClock] = {}

    def of(self, server: str) -> SenderClock:
        """The clock of a server, made when it is first asked for."""
        return self._clocks.setdefault(server, SenderClock())

    def convert(self, t_s: float, base: TimeBase, to: TimeBase) -> float | None:
        """The same moment on another time base; None where a clock is not known (yet).

        On one and the same base nothing is calculated, so that equal stamps stay equal.
        """
        if base == to:
            return t_s
        t_host_s: float | None = t_s
        if not base.is_arrival:
            estimate = self.of(base.server).estimate
            t_host_s = None if estimate is None else estimate.to_host_s(t_s)
        if t_host_s is None or to.is_arrival:
            return t_host_s
        estimate = self.of(to.server).estimate
        return None if estimate is None else estimate.to_sender_s(t_host_s)

    @property
    def problem(self) -> str | None:
        """A sentence about the first server whose stamps cannot be trusted."""
        for server, clock in tuple(self._clocks.items()):
            fault = clock.fault
            if fault is not None:
                who = server or "the server"
                return f"{who} {fault}: its images and poses are matched by their arrival"
        return None


class FrameStampFilter:
    """Takes the jitter out of a frame grabber's stamps: frames are counted evenly, read unevenly.

    The stamp is that of a line through the last 20 pairs of frame number and stamp, the present
    one included. Where the line is more than 0.5 s off, or numbers do not rise, it begins anew
    and the stamp stays as it came.

    Source: vtkPlusTimestampedCircularBuffer (PlusLib), own implementation.
    """

    def __init__(self) -> None:
        self._pairs: deque[tuple[int, float]] = deque(maxlen=_N_FILTERED)

    def filtered_s(self, frame_number: int, t_s: float) -> float:
        """The stamp without its jitter, on the same clock."""
        if self._pairs and frame_number <= self._pairs[-1][0]:
            self._pairs.clear()
        self._pairs.append((frame_number, t_s))
        if len(self._pairs) < _N_FILTERED:
            return t_s
        numbers, stamps_s = np.array(self._pairs).T
        n, t = numbers - numbers.mean(), stamps_s - stamps_s.mean()
        filtered_s = float(stamps_s.mean() + n[-1] * (n @ t) / (n @ n))
        if abs(filtered_s - t_s) > _MAX_CORRECTION_S:
            self._pairs.clear()
            return t_s
        return filtered_s
