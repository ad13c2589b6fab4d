"""Every pose of every stream for the last seconds, read at a time: interpolated, never guessed."""

from __future__ import annotations

import logging
import threading
import time
from bisect import bisect_left
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum

from tracking.clock import CLOCK_STEP_S
from tracking.messages import PoseSample, PoseStatus, TimeBase
from tracking.transforms import Matrix, interpolate

logger = logging.getLogger(__name__)


class PoseOutcome(Enum):
    """What reading a pose at a time came to."""

    FOUND = "found"
    MISSING = "missing"  # no pose near the time, before it or after it
    GAP = "gap"  # poses near on both sides, but further apart than allowed
    INVALID = "invalid"  # the tracker marked a pose beside the time as unusable


@dataclass(frozen=True, slots=True)
class PoseRead:
    """A pose at a time: `matrix` is T_target_source, (4, 4), mm, and None unless FOUND."""

    outcome: PoseOutcome
    matrix: Matrix | None = None


# A tracker of 2 kHz for ten seconds; more in the same span of stamps is a broken clock.
_MAX_SAMPLES = 20_000


class PoseBuffer:
    """Poses by stream name, in the order of the times that they are matched by.

    Any thread adds or reads; reading never extrapolates. Each stream keeps the last `span_s`
    seconds, at most 40,000 samples. A sample that is not newer than the last one of its stream,
    or that another server sends under the same name, is refused, because interpolation needs one
    order. When a stream changes between its sender's stamps and arrival times, it begins anew; when
    a stamp goes back by more than `CLOCK_STEP_S`, all of its server's streams do.
    After a lost connection, `clear` first.
    """

    def __init__(self, span_s: float = 10.0) -> None:
        self._span_s = span_s
        self._streams: dict[str, _Stream] = {}
        self._changed = threading.Condition()
        self._is_closed = False

    def add(self, sample: PoseSample) -> bool:
        """Keep the sample; False where it is refused."""
        with self._changed:
            stream = self._streams.setdefault(sample.name, _Stream(sample.stamps.base))
            if not stream.accepts(sample):
                return False
            if stream.step_back_s(sample) > CLOCK_STEP_S:
                logger.warning("%s: its clock went back", sample.name)
                self._clear(stream.base.server)
            stream.append(sample, self._span_s)
            self._changed.notify_all()
            return True

    def clear(self, server: str | None = None) -> None:
        """Forget all poses of a server (None: of all), not the names: its connection was lost."""
        with self._changed:
            self._clear(server)

    def close(self) -> None:
        """No more poses will come: whoever waits for one stops waiting."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all streams seen so far, in order of appearance."""
        with self._changed:
            return tuple(self._streams)

    def base(self, name: str) -> TimeBase | None:
        """The clock on which a stream's poses are; None where no such stream has come."""
        with self._changed:
            stream = self._streams.get(name)
            return None if stream is None else stream.base

    def wait_names(
        self, is_enough: Callable[[tuple[str, ...]], bool], timeout_s: float | None
    ) -> None:
        """Wait until the names of the streams are enough, or no more can come."""
        with self._changed:
            self._changed.wait_for(
                lambda: is_enough(tuple(self._streams)) or self._is_closed, timeout_s
            )

    def wait_covered(self, times_s: Mapping[str, float], timeout_s: float | None) -> bool:
        """Wait until every stream has a pose at or after its time; False where none came."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_closed or self._covers(times_s), timeout_s)
            return self._covers(times_s)

    def read(self, name: str, t_s: float, *, max_gap_s: float) -> PoseRead:
        """Pose of one stream at `t_s` on the clock of its `base`.

        A sample with exactly this stamp is taken as it is; else the two around it are
        interpolated (slerp and linear), if both are OK and at most `max_gap_s` apart. A sample
        more than `max_gap_s` away does not count at all: what comes later changes no outcome.
        """
        with self._changed:
            stream = self._streams.get(name)
            around = stream.around(t_s, max_gap_s) if stream is not None else None
        if around is None:
            return PoseRead(PoseOutcome.MISSING)
        before, after = around
        if PoseStatus.INVALID in (before.status, after.status):
            return PoseRead(PoseOutcome.INVALID)
        if before is after:
            return PoseRead(PoseOutcome.FOUND, after.matrix)
        gap_s = after.stamps.t_match_s - before.stamps.t_match_s
        if gap_s > max_gap_s:
            return PoseRead(PoseOutcome.GAP)
        fraction = (t_s - before.stamps.t_match_s) / gap_s
        return PoseRead(PoseOutcome.FOUND, interpolate(before.matrix, after.matrix, fraction))

    def read_nearest(self, name: str, t_s: float, *, max_distance_s: float) -> PoseRead:
        """The sample whose time is nearest, as it came: for looking, not for measuring."""
        with self._changed:
            stream = self._streams.get(name)
            sample = stream.nearest(t_s) if stream is not None else None
        if sample is None or abs(sample.stamps.t_match_s - t_s) > max_distance_s:
            return PoseRead(PoseOutcome.MISSING)
        if sample.status is PoseStatus.INVALID:
            return PoseRead(PoseOutcome.INVALID)
        return PoseRead(PoseOutcome.FOUND, sample.matrix)

    def newest(self, name: str, *, max_age_s: float) -> Matrix | None:
        """The last sample of a stream; None where it is invalid or arrived `max_age_s` ago."""
        with self._changed:
            stream = self._streams.get(name)
            sample = stream.samples[-1] if stream is not None and stream.samples else None
        if sample is None or sample.status is PoseStatus.INVALID:
            return None
        age_s = time.perf_counter() - sample.stamps.t_arrival_s
        return sample.matrix if age_s <= max_age_s else None

    def newest_time_s(self, name: str) -> float:
        """When a stream's last sample was taken, on the clock of its `base`; NaN without any."""
        with self._changed:
            stream = self._streams.get(name)
            return stream.times_s[-1] if stream is not None and stream.times_s else float("nan")

    def _clear(self, server: str | None) -> None:
        for stream in self._streams.values():
            if server in (None, stream.base.server):
                stream.clear()

    def _covers(self, times_s: Mapping[str, float]) -> bool:
        streams = ((self._streams.get(name), t_s) for name, t_s in times_s.items())
        return all(s is not None and s.times_s and s.times_s[-1] >= t_s for s, t_s in streams)


class _Stream:
    """Samples of one stream by ascending time, in two parallel lists for bisection."""

    __slots__ = ("base", "samples", "times_s")

    def __init__(self, base: TimeBase) -> None:
        self.base = base
        self.times_s: list[float] = []
        self.samples: list[PoseSample] = []

    def clear(self) -> None:
        self.times_s.clear()
        self.samples.clear()

    def accepts(self, sample: PoseSample) -> bool:
        """Is the sample of this stream's server, and newer than the last one (or far older)?"""
        base = sample.stamps.base
        if base != self.base and (base.server == self.base.server or not self.samples):
            self.clear()
            self.base = base
        step_back_s = self.step_back_s(sample)
        return base == self.base and (step_back_s < 0.0 or step_back_s > CLOCK_STEP_S)

    def step_back_s(self, sample: PoseSample) -> float:
        """How much older the sample is than the last one; negative where it is newer."""
        if not self.times_s:
            return float("-inf")
        return self.times_s[-1] - sample.stamps.t_match_s

    def append(self, sample: PoseSample, span_s: float) -> None:
        t_s = sample.stamps.t_match_s
        self.times_s.append(t_s)
        self.samples.append(sample)
        # Trim only when half is too old: one deletion per span, not one per sample.
        n_old = max(bisect_left(self.times_s, t_s - span_s), len(self.times_s) - _MAX_SAMPLES)
        if n_old > len(self.times_s) // 2 or len(self.times_s) > 2 * _MAX_SAMPLES:
            del self.times_s[:n_old], self.samples[:n_old]

    def nearest(self, t_s: float) -> PoseSample | None:
        if not self.samples:
            return None
        k = bisect_left(self.times_s, t_s)
        around = range(max(k - 1, 0), min(k + 1, len(self.samples)))
        return self.samples[min(around, key=lambda j: abs(self.times_s[j] - t_s))]

    def around(self, t_s: float, reach_s: float) -> tuple[PoseSample, PoseSample] | None:
        """The samples before and after a time, None unless both are within reach; twice the
        same where one has exactly this stamp."""
        k = bisect_left(self.times_s, t_s)
        if k < len(self.times_s) and self.times_s[k] == t_s:
            return self.samples[k], self.samples[k]
        if k == 0 or k == len(self.times_s):
            return None
        if t_s - self.times_s[k - 1] > reach_s or self.times_s[k] - t_s > reach_s:
            return None
        return self.samples[k - 1], self.samples[k]
