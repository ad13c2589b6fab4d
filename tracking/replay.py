"""A recorded sweep as a live server: original stamps, paced by absolute deadlines."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from tracking.errors import SequenceError
from tracking.sequences.sweep import Sweep, SweepImage, SweepPose
from tracking.server import Server
from tracking.sockets import POLL_S
from tracking.wire import Parts, encode_image, encode_transform

_logger = logging.getLogger(__name__)

_DRAIN_TIMEOUT_S = 5.0
# A stamp on the wire has 32 bits for whole seconds.
_STAMP_END_S = 2.0**32
# Between two rounds of a sweep that has but one stamp.
_LONE_STAMP_PERIOD_S = 0.1


@dataclass(frozen=True, slots=True)
class ReplayResult:
    """What was sent; `n_unreadable` images could not be loaded and were left out."""

    n_images: int = 0
    n_poses: int = 0
    n_unreadable: int = 0


class Replay:
    """Sends one sweep to all clients of a server.

    Parameters
    ----------
    speed : 1 is real time, None as fast as the clients take it (then nothing is ever dropped).
    loop : begin again at the end, with stamps that go on rising by the sweep's median period.
    from_s, to_s : part to send, seconds after the sweep's first stamp.
    on_sent : called after each image and pose, for a progress bar.

    Raises
    ------
    SequenceError : if the part is empty, or begins at a stamp that the wire cannot carry.
    """

    def __init__(
        self,
        sweep: Sweep,
        server: Server,
        *,
        speed: float | None = 1.0,
        loop: bool = False,
        from_s: float | None = None,
        to_s: float | None = None,
        on_sent: Callable[[SweepImage | SweepPose], None] | None = None,
    ) -> None:
        if speed is not None and not speed > 0.0:
            raise ValueError(f"speed is {speed}, expected above 0 or None")
        self._sweep, self._server = sweep, server
        self._speed, self._loop = speed, loop
        self._on_sent = on_sent
        self._begin_s, self._end_s = _window(sweep, from_s, to_s)
        self._unreadable: set[int] = set()

    def run(self, stop: threading.Event) -> ReplayResult:
        """Wait for a client, send everything in time, return when it is written (or at `stop`).

        Late is late: an image that loads slowly does not shift those after it.
        """
        while not self._server.wait_for_client(POLL_S):
            if stop.is_set():
                return ReplayResult()
        n_images = n_poses = n_unreadable = 0
        pace = _Pace(self._speed)
        for event, t_s in self._stamped_events():
            parts = self._encode(event, t_s)  # ahead of its time: loading takes a while
            if pace.wait_until(t_s, stop):
                break
            if parts is None:
                n_unreadable += 1
                continue
            self._server.send(parts, wait=self._speed is None)
            if isinstance(event, SweepImage):
                n_images += 1
            else:
                n_poses += 1
            if self._on_sent is not None:
                self._on_sent(event)
        if not stop.is_set():
            self._server.drain(_DRAIN_TIMEOUT_S)
        return ReplayResult(n_images, n_poses, n_unreadable)

    def _stamped_events(self) -> Iterator[tuple[SweepImage | SweepPose, float]]:
        """Every event with the stamp to send; without end where looping."""
        shift_s = 0.0
        while True:
            stamps_s, image_stamps_s = [], []
            for event in self._sweep.events():
                if event.t_s > self._end_s:
                    break
                if event.t_s < self._begin_s:
                    continue
                stamps_s.append(event.t_s)
                if isinstance(event, SweepImage):
                    image_stamps_s.append(event.t_s)
                yield event, event.t_s + shift_s
            if not self._loop or not stamps_s:
                return
            period_s = _median_period_s(image_stamps_s) or _median_period_s(stamps_s)
            shift_s += stamps_s[-1] - stamps_s[0] + (period_s or _LONE_STAMP_PERIOD_S)

    def _encode(self, event: SweepImage | SweepPose, t_s: float) -> Parts | None:
        if isinstance(event, SweepPose):
            return encode_transform(event.name, event.matrix, t_s, event.status)
        try:
            pixels = event.load()
        except SequenceError as error:
            if event.index not in self._unreadable:
                _logger.warning("image %d is left out: %s", event.index, error)
            self._unreadable.add(event.index)
            return None
        return encode_image(self._sweep.image_name, pixels, t_s, self._sweep.spacing_mm)


class _Pace:
    """Turns stamps into deadlines that never drift: each counts from the first, none adds up."""

    def __init__(self, speed: float | None) -> None:
        self._speed = speed
        self._first: tuple[float, float] | None = None  # its stamp, and when it was due

    def wait_until(self, t_s: float, stop: threading.Event) -> bool:
        """Wait until the stamp is due; True if `stop` is set."""
        if self._speed is None:
            return stop.is_set()
        now_s = time.perf_counter()
        if self._first is None:
            self._first = t_s, now_s
        t_first_s, due_first_s = self._first
        return stop.wait(max(0.0, due_first_s + (t_s - t_first_s) / self._speed - now_s))


def _window(sweep: Sweep, from_s: float | None, to_s: float | None) -> tuple[float, float]:
    """First and last stamp to send, s."""
    first_s, last_s = sweep.span_s
    begin_s = first_s + (from_s or 0.0)
    end_s = last_s if to_s is None else first_s + to_s
    if begin_s > last_s or end_s < begin_s:
        raise SequenceError(
            f"{sweep.name}: nothing lies between {begin_s - first_s:g} and {end_s - first_s:g} s, "
            f"the sweep lasts {last_s - first_s:g} s"
        )
    if begin_s <= 0.0 or end_s >= _STAMP_END_S:
        raise SequenceError(
            f"{sweep.name}: its stamps go from {begin_s:g} to {end_s:g} s, expected above 0 (which "
            "on the wire means that there is no stamp) and below 2^32 s"
        )
    return begin_s, end_s


def _median_period_s(stamps_s: list[float]) -> float | None:
    """Median of the rising steps; None where there is none."""
    steps_s = np.diff(stamps_s)
    rising_s = steps_s[steps_s > 0.0]
    return float(np.median(rising_s)) if rising_s.size else None
