"""Every pose of every stream for the last seconds, read at a time: interpolated, never guessed."""

from __future__ import annotations

import logging
import threading
from bisect import bisect_left
from collections.abc import Callable, Collection
from dataclasses import dataclass
from enum import Enum

from tracking.messages import PoseSample, PoseStatus
from tracking.transforms import Matrix, interpolate

logger = logging.getLogger(__name__)

# Samples of one stream may overtake each other by this much; a larger step back is a sender whose
# clock was set back or whose own recording began again: its old poses are of another time.
CLOCK_STEP_S = 0.05


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


class PoseBuffer:
    """Poses by stream name in the order of their sender's stamps.

    One thread adds, any thread reads; reading never extrapolates. Each stream keeps the last
    `span_s` seconds of stamps. A sample that is not newer than the last one of its stream is
    refused, because interpolation needs an order; when a stamp goes back by more than
    `CLOCK_STEP_S`, all streams begin anew. After a lost connection, `clear` first.
    """

    def __init__(self, span_s: float = 10.0) -> None:
        self._span_s = span_s
        self._streams: dict[str, _Stream] = {}
        self._changed = threading.Condition()
        self._is_closed = False

    def add(self, sample: PoseSample) -> bool:
        """Keep the sample; False where it is refused."""
        with self._changed:
            stream = self._streams.setdefault(sample.name, _Stream())
            if stream.times_s and sample.stamps.t_sender_s <= stream.times_s[-1]:
                step_s = stream.times_s[-1] - sample.stamps.t_sender_s
                if step_s <= CLOCK_STEP_S:
                    return False
                logger.warning("%s: its clock went back by %.3f s", sample.name, step_s)
                self._clear()
            stream.append(sample, self._span_s)
            self._changed.notify_all()
            return True

    def clear(self) -> None:
        """Forget all poses, not the names: used when the connection was lost."""
        with self._changed:
            self._clear()

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

    def wait_names(
        self, is_enough: Callable[[tuple[str, ...]], bool], timeout_s: float | None
    ) -> None:
        """Wait until the names of the streams are enough, or no more can come."""
        with self._changed:
            self._changed.wait_for(
                lambda: is_enough(tuple(self._streams)) or self._is_closed, timeout_s
            )

    def wait_covered(self, names: Collection[str], t_s: float, timeout_s: float | None) -> bool:
        """Wait until every named stream has a pose at or after `t_s`; False where none came."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_closed or self._covers(names, t_s), timeout_s)
            return self._covers(names, t_s)

    def read(self, name: str, t_s: float, *, max_gap_s: float) -> PoseRead:
        """Pose of one stream at `t_s` on the sender's clock.

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
        gap_s = after.stamps.t_sender_s - before.stamps.t_sender_s
        if gap_s > max_gap_s:
            return PoseRead(PoseOutcome.GAP)
        fraction = (t_s - before.stamps.t_sender_s) / gap_s
        return PoseRead(PoseOutcome.FOUND, interpolate(before.matrix, after.matrix, fraction))

    def _clear(self) -> None:
        for stream in self._streams.values():
            stream.times_s.clear()
            stream.samples.clear()

    def _covers(self, names: Collection[str], t_s: float) -> bool:
        streams = (self._streams.get(name) for name in names)
        return all(s is not None and s.times_s and s.times_s[-1] >= t_s for s in streams)


class _Stream:
    """Samples of one stream by ascending stamp, in two parallel lists for bisection."""

    __slots__ = ("samples", "times_s")

    def __init__(self) -> None:
        self.times_s: list[float] = []
        self.samples: list[PoseSample] = []

    def append(self, sample: PoseSample, span_s: float) -> None:
        self.times_s.append(sample.stamps.t_sender_s)
        self.samples.append(sample)
        # Trim only when half is too old: one deletion per span, not one per sample.
        n_old = bisect_left(self.times_s, sample.stamps.t_sender_s - span_s)
        if n_old > len(self.times_s) // 2:
            del self.times_s[:n_old], self.samples[:n_old]

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
