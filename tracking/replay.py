"""A recorded sweep as a live server: paced by absolute deadlines, steered while it runs.

A client steers it with STRING messages to the device "Replay" (`REMOTE_DEVICE`): play, pause,
step [n], seek SECONDS, speed FACTOR or max, loop on or off, state. The answer to each, and to every
change, is a STRING from the same device: a JSON object (see `ReplayState`), with "error" where the
command was refused. Each IMAGE has the recording's own fields in its metadata, and "ReplaySpeed".
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np

from tracking.errors import SequenceError, WireError
from tracking.faults import Fate, FaultInjector, Faults, with_flipped_bit
from tracking.messages import PoseStatus
from tracking.sequences.sweep import Sweep, SweepImage, SweepPose
from tracking.server import Server
from tracking.sockets import POLL_S
from tracking.wire import (
    STRING,
    Message,
    Parts,
    decode_string,
    encode_image,
    encode_string,
    encode_transform,
)

_logger = logging.getLogger(__name__)

REMOTE_DEVICE = "Replay"

_DRAIN_TIMEOUT_S = 5.0
# Positions are typed in decimals: what lies so little before them still counts.
_SEEK_TOLERANCE_S = 1e-6
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


@dataclass(frozen=True, slots=True)
class ReplayState:
    """Where the replay is: `position_s` of `duration_s`; `speed` None is as fast as it goes."""

    is_paused: bool
    position_s: float
    duration_s: float
    speed: float | None
    loop: bool


class Replay:
    """Sends one sweep to all clients of a server. Its steering may be called from any thread.

    Parameters
    ----------
    speed : 1 is real time, None as fast as the clients take it (then nothing is ever dropped).
    loop : begin again at the end.
    from_s, to_s : part to send, seconds after the sweep's first stamp.
    stamps : "original" sends those of the sweep, which go on rising by its median period after a
        jump back; "now" sends the time of day at which each is due.
    faults : what goes wrong on purpose.
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
        stamps: Literal["original", "now"] = "original",
        faults: Faults | None = None,
        on_sent: Callable[[SweepImage | SweepPose], None] | None = None,
    ) -> None:
        self._sweep, self._server = sweep, server
        self._stamps = stamps
        self._on_sent = on_sent
        self._begin_s, self._end_s = _window(sweep, from_s, to_s)
        self._faults = FaultInjector(faults or Faults(), self._begin_s)
        self._unreadable: set[int] = set()
        self._n_images = self._n_poses = self._n_unreadable = 0
        self._timeline = _Timeline()

        self._changed = threading.Condition()  # guards what follows
        self._speed = _checked_speed(speed)
        self._loop = loop
        self._is_paused = False
        self._n_steps = 0  # images that are let through although paused
        self._lets_poses = False  # poses too, until the next image
        self._jump_to_s: float | None = None
        self._position_s = self._begin_s
        self._pace = _Pace(self._speed)

    # -- steering ---------------------------------------------------------------------------------

    @property
    def state(self) -> ReplayState:
        with self._changed:
            return ReplayState(
                is_paused=self._is_paused,
                position_s=self._position_s - self._begin_s,
                duration_s=self._end_s - self._begin_s,
                speed=self._speed,
                loop=self._loop,
            )

    def play(self) -> None:
        """Go on after a pause."""
        self._change(is_paused=False)

    def pause(self) -> None:
        """Send nothing but that the server lives."""
        self._change(is_paused=True)

    def step(self, n_images: int = 1) -> None:
        """Send the next images, each with the poses up to the image after it; then pause."""
        if n_images < 1:
            raise ValueError(f"{n_images} steps, expected at least 1")
        self._change(is_paused=True, n_steps=n_images)

    def seek(self, position_s: float) -> None:
        """Go on at this many seconds after the begin, paused or not.

        Raises
        ------
        ValueError : if it lies outside the sweep.
        """
        duration_s = self._end_s - self._begin_s
        if not 0.0 <= position_s <= duration_s + _SEEK_TOLERANCE_S:
            raise ValueError(f"position is {position_s:g} s, expected 0 to {duration_s:g} s")
        self._change(jump_to_s=self._begin_s + position_s - _SEEK_TOLERANCE_S)

    def set_speed(self, speed: float | None) -> None:
        """Go on at another speed from the next message on; see the class for its values."""
        speed = _checked_speed(speed)
        with self._changed:
            self._speed = speed
        self._change()

    def set_loop(self, loop: bool) -> None:
        """Begin again at the end, or not."""
        with self._changed:
            self._loop = loop
        self._change()

    def command(self, text: str) -> str:
        """Obey a line of the command channel; the answer, JSON in one line."""
        problem = {}
        try:
            self._obey(text.split())
        except ValueError as error:
            problem = {"error": f"{text!r}: {error}"}
        return json.dumps({**asdict(self.state), **problem})

    def _obey(self, words: list[str]) -> None:
        match words:
            case ["play"]:
                self.play()
            case ["pause"]:
                self.pause()
            case ["step"]:
                self.step()
            case ["step", n]:
                self.step(int(n))
            case ["seek", position_s]:
                self.seek(float(position_s))
            case ["speed", speed]:
                self.set_speed(None if speed == "max" else float(speed))
            case ["loop", "on" | "off" as word]:
                self.set_loop(word == "on")
            case ["state"]:
                pass
            case _:
                raise ValueError(
                    "expected play, pause, step [n], seek s, speed x|max, loop on|off or state"
                )

    def _change(
        self,
        *,
        is_paused: bool | None = None,
        n_steps: int = 0,
        jump_to_s: float | None = None,
    ) -> None:
        with self._changed:
            if is_paused is not None:
                self._is_paused = is_paused
            self._n_steps, self._lets_poses = n_steps, n_steps > 0
            if jump_to_s is not None:
                self._jump_to_s = self._position_s = jump_to_s
            self._pace = _Pace(self._speed)  # time begins to count anew
            self._changed.notify_all()
        self._server.send(encode_string(REMOTE_DEVICE, json.dumps(asdict(self.state))))

    def _on_message(self, message: Message) -> None:
        if (message.type, message.name) != (STRING, REMOTE_DEVICE):
            return
        try:
            answer = self.command(decode_string(message).text)
        except WireError as error:
            answer = json.dumps({"error": str(error)})
        self._server.send(encode_string(REMOTE_DEVICE, answer))

    # -- sending ----------------------------------------------------------------------------------

    def run(self, stop: threading.Event) -> ReplayResult:
        """Wait for a client, send everything in time, return when it is written (or at `stop`).

        Late is late: an image that loads slowly does not shift those after it.
        """
        while not self._server.wait_for_client(POLL_S):
            if stop.is_set():
                return ReplayResult()
        self._server.on_message = self._on_message
        try:
            for event in self._events():
                self._send(event, stop)
                if stop.is_set():
                    break
            else:
                self._server.drain(_DRAIN_TIMEOUT_S)
        finally:
            self._server.on_message = None
        return ReplayResult(self._n_images, self._n_poses, self._n_unreadable)

    def _events(self) -> Iterator[SweepImage | SweepPose]:
        """Every event in the order of sending, through jumps; without end where looping."""
        begin_s: float | None = self._begin_s
        while begin_s is not None:
            has_sent = False
            for event in self._sweep.events():
                if event.t_s > self._end_s or self._has_jump:
                    break
                if event.t_s >= begin_s:
                    has_sent = True
                    yield event
            self._timeline.end_round()
            begin_s = self._next_begin_s(has_sent)

    def _next_begin_s(self, has_sent: bool) -> float | None:
        with self._changed:
            jump_to_s, self._jump_to_s = self._jump_to_s, None
            if jump_to_s is None and self._loop and has_sent:
                jump_to_s = self._begin_s
            return jump_to_s

    @property
    def _has_jump(self) -> bool:
        with self._changed:
            return self._jump_to_s is not None

    def _send(self, event: SweepImage | SweepPose, stop: threading.Event) -> None:
        parts, fate = None, self._faults.fate_of(event, event.t_s)
        shift_s = self._timeline.shift_s(event)
        if self._stamps == "original" and fate.is_sent:
            # Ahead of its time: loading takes a while.
            parts = self._encode(event, fate, fate.t_s + shift_s)
        if not self._wait_until_due(event, event.t_s + shift_s, fate.delay_s, stop):
            return
        if self._stamps == "now" and fate.is_sent:
            with self._changed:
                t_day_s = self._pace.time_of_day_s(event.t_s + shift_s)
            parts = self._encode(event, fate, fate.t_s - event.t_s + t_day_s)
        if parts is None:
            self._n_unreadable += fate.is_sent
            return
        if fate.flipped_bit is not None:
            parts = with_flipped_bit(parts, fate.flipped_bit)
        with self._changed:
            is_patient = self._speed is None
        self._server.send(parts, wait=is_patient)
        self._n_images += isinstance(event, SweepImage)
        self._n_poses += isinstance(event, SweepPose)
        if self._on_sent is not None:
            self._on_sent(event)

    def _wait_until_due(
        self, event: SweepImage | SweepPose, t_s: float, delay_s: float, stop: threading.Event
    ) -> bool:
        """Wait for its time, and for the end of a pause; False where it is not to be sent."""
        with self._changed:
            while not stop.is_set() and self._jump_to_s is None:
                if self._is_held(event):
                    self._changed.wait(POLL_S)
                    continue
                rest_s = 0.0
                if not self._is_paused:
                    rest_s = self._pace.due_s(t_s) + delay_s - time.perf_counter()
                if rest_s <= 0.0 or self._speed is None:
                    self._position_s = event.t_s
                    self._n_steps -= self._is_paused and isinstance(event, SweepImage)
                    return True
                self._changed.wait(min(rest_s, POLL_S))
        return False

    def _is_held(self, event: SweepImage | SweepPose) -> bool:
        if not self._is_paused or self._n_steps > 0:
            return False
        return isinstance(event, SweepImage) or not self._lets_poses

    def _encode(self, event: SweepImage | SweepPose, fate: Fate, t_s: float) -> Parts | None:
        if isinstance(event, SweepPose):
            status = event.status if fate.is_usable else PoseStatus.INVALID
            return encode_transform(event.name, event.matrix, t_s, status)
        try:
            pixels = event.load()
        except SequenceError as error:
            if event.index not in self._unreadable:
                _logger.warning("image %d is left out: %s", event.index, error)
            self._unreadable.add(event.index)
            return None
        with self._changed:
            speed = "max" if self._speed is None else f"{self._speed:g}"
        metadata = {**event.fields, "ReplaySpeed": speed}
        spacing_mm = self._sweep.spacing_mm
        if spacing_mm is not None:
            spacing_mm = (spacing_mm[0] * fate.spacing_scale, spacing_mm[1] * fate.spacing_scale)
        return encode_image(self._sweep.image_name, pixels, t_s, spacing_mm, metadata)


class _Timeline:
    """Keeps stamps rising: after a jump back they go on one median period after the last."""

    def __init__(self) -> None:
        self._shift_s = 0.0
        self._last_s = float("-inf")  # the last stamp, with its shift
        self._is_jump = False
        self._stamps_s: list[float] = []
        self._image_stamps_s: list[float] = []
        self._period_s = _LONE_STAMP_PERIOD_S

    def shift_s(self, event: SweepImage | SweepPose) -> float:
        """What is added to this event's stamp."""
        if self._is_jump and event.t_s + self._shift_s <= self._last_s:
            self._shift_s = self._last_s + self._period_s - event.t_s
        self._is_jump = False
        self._stamps_s.append(event.t_s)
        if isinstance(event, SweepImage):
            self._image_stamps_s.append(event.t_s)
        self._last_s = event.t_s + self._shift_s
        return self._shift_s

    def end_round(self) -> None:
        """What comes next may lie before what was."""
        self._is_jump = True
        period_s = _median_period_s(self._image_stamps_s) or _median_period_s(self._stamps_s)
        self._period_s = period_s or self._period_s
        self._stamps_s, self._image_stamps_s = [], []


class _Pace:
    """Turns stamps into deadlines that never drift: each counts from the first, none adds up."""

    def __init__(self, speed: float | None) -> None:
        self._speed = speed
        self._first: tuple[float, float, float] | None = None  # stamp, when due, time of day then

    def due_s(self, t_s: float) -> float:
        """`perf_counter()` at which this stamp is due."""
        t_first_s, due_first_s, _ = self._begun(t_s)
        return due_first_s + self._elapsed_s(t_s - t_first_s)

    def time_of_day_s(self, t_s: float) -> float:
        """What the clock on the wall shows then."""
        t_first_s, _, day_first_s = self._begun(t_s)
        return day_first_s + self._elapsed_s(t_s - t_first_s)

    def _begun(self, t_s: float) -> tuple[float, float, float]:
        if self._first is None:
            self._first = t_s, time.perf_counter(), time.time()
        return self._first

    def _elapsed_s(self, span_s: float) -> float:
        return span_s / (self._speed or 1.0)


def _checked_speed(speed: float | None) -> float | None:
    if speed is not None and not 0.0 < speed < float("inf"):
        raise ValueError(f"speed is {speed}, expected above 0 or None")
    return speed


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
