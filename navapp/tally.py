"""What became of every image and pose: counted once, under one lock."""

from __future__ import annotations

import threading
from collections import Counter, deque
from dataclasses import dataclass

from navapp.state import DropReason

_NAN = float("nan")


@dataclass(frozen=True, slots=True)
class FrameCounts:
    """received = processed + sum(skipped) once a session has ended."""

    received: int
    processed: int
    skipped: dict[DropReason, int]


@dataclass(frozen=True, slots=True)
class PoseCounts:
    """`lost`: sent, but not in the buffer (damaged on the way, or not newer than the last)."""

    received: int
    invalid: int
    lost: int


@dataclass(frozen=True, slots=True)
class Rates:
    """Events per second of each kind, NaN with fewer than two."""

    image_hz: float
    pose_hz: float
    processed_hz: float


class Tally:
    """Counts and rates of images and poses."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._skipped: Counter[DropReason] = Counter()
        self._poses_invalid = self._poses_lost = self._points_left_out = 0
        self._images, self._poses, self._processed = _Meter(), _Meter(), _Meter()

    def image_received(self, t_arrival_s: float) -> None:
        with self._lock:
            self._images.add(t_arrival_s)

    def image_processed(self, t_integrated_s: float) -> None:
        with self._lock:
            self._processed.add(t_integrated_s)

    def image_skipped(self, reason: DropReason) -> None:
        with self._lock:
            self._skipped[reason] += 1

    def points_left_out(self, n: int) -> None:
        """Points of an image in the cloud that were not borne out by the lines before."""
        with self._lock:
            self._points_left_out += n

    def pose_received(self, t_arrival_s: float, *, is_valid: bool, is_kept: bool) -> None:
        with self._lock:
            self._poses.add(t_arrival_s)
            self._poses_invalid += not is_valid
            self._poses_lost += not is_kept

    def poses_damaged(self, n: int) -> None:
        """Add poses that arrived damaged and were never decoded."""
        with self._lock:
            self._poses.n += n
            self._poses_lost += n

    @property
    def frames(self) -> FrameCounts:
        with self._lock:
            skipped = {reason: self._skipped[reason] for reason in DropReason}
            return FrameCounts(self._images.n, self._processed.n, skipped)

    @property
    def poses(self) -> PoseCounts:
        with self._lock:
            return PoseCounts(self._poses.n, self._poses_invalid, self._poses_lost)

    @property
    def n_points_left_out(self) -> int:
        with self._lock:
            return self._points_left_out

    @property
    def mean_rates(self) -> Rates:
        """Over the whole session, from the first to the last event."""
        with self._lock:
            return Rates(*(m.mean_hz for m in (self._images, self._poses, self._processed)))

    def recent_rates(self, now_s: float) -> Rates:
        """Over the last two seconds."""
        with self._lock:
            meters = (self._images, self._poses, self._processed)
            return Rates(*(meter.recent_hz(now_s) for meter in meters))

    @property
    def processing_span_s(self) -> tuple[float, float] | None:
        """Arrival of the first image and end of the last one's integration."""
        with self._lock:
            if self._images.n == 0 or self._processed.n == 0:
                return None
            return self._images.first_s, self._processed.last_s


class _Meter:
    """Counts events and remembers enough of their times for two rates."""

    _RECENT_S = 2.0

    def __init__(self) -> None:
        self.n = 0
        self.first_s = self.last_s = _NAN
        self._recent_s: deque[float] = deque(maxlen=8192)  # two seconds at 4 kHz

    def add(self, t_s: float) -> None:
        if self.n == 0:
            self.first_s = t_s
        self.n += 1
        self.last_s = t_s
        self._recent_s.append(t_s)

    @property
    def mean_hz(self) -> float:
        span_s = self.last_s - self.first_s
        return (self.n - 1) / span_s if self.n > 1 and span_s > 0.0 else _NAN

    def recent_hz(self, now_s: float) -> float:
        while self._recent_s and self._recent_s[0] < now_s - self._RECENT_S:
            self._recent_s.popleft()
        if not self._recent_s:
            return 0.0 if self.n else _NAN
        # Until two seconds have passed, the span is what has passed since the first event.
        return len(self._recent_s) / max(min(now_s - self.first_s, self._RECENT_S), 0.1)
