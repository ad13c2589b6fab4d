"""Where a session's images and poses come from: a server, or a sweep read without a socket."""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import Protocol

from navapp.config import ServerSettings
from navapp.errors import SessionError
from tracking.client import Client, LinkState
from tracking.errors import SequenceError, TransformError
from tracking.messages import ImageFrame, PoseSample, PoseStatus, Stamps
from tracking.sequences import Sweep, SweepImage, SweepPose
from tracking.transforms import check_rigid
from tracking.wire import TRANSFORM, RawMessage


class Inlet(Protocol):
    """What a feed hands its findings to; called in the feed's thread, never waits in live use."""

    def raw(self, message: RawMessage) -> None:
        """A complete message of any type, before it is decoded; only a server has them."""

    def image(self, frame: ImageFrame) -> None:
        """A complete image."""

    def bad_image(self, name: str, reason: str) -> None:
        """A complete image that cannot be decoded."""

    def pose(self, sample: PoseSample) -> None:
        """A pose, valid or not."""

    def damaged_poses(self, n: int) -> None:
        """So many more poses arrived that could not be decoded."""

    def link(self, sentence: str, *, is_up: bool) -> None:
        """The connection changed."""


class Feed(Protocol):
    """Runs in the `receive` thread until its source ends or `stop` is set."""

    def run(self, inlet: Inlet, stop: threading.Event) -> None: ...


@dataclass(frozen=True, slots=True)
class LiveFeed:
    """A server on the network; connects again when the connection is lost.

    `until_closed`: the session ends with the connection, well if the server closed it between
    two messages. `gives_up`: fail where no server answers for `connect_timeout_s`; a window goes
    on trying, because a person sees what it says.
    """

    server: ServerSettings
    until_closed: bool
    gives_up: bool

    def run(self, inlet: Inlet, stop: threading.Event) -> None:
        """Receive until stopped.

        Raises
        ------
        SessionError : no server answered, or it ended inside a message with `until_closed`.
        """
        watch = _LinkWatch(self, inlet, stop)
        client = Client(
            self.server.host,
            self.server.port,
            on_image=inlet.image,
            on_pose=inlet.pose,
            on_bad_image=inlet.bad_image,
            on_state=watch.changed,
            on_raw=inlet.raw,
            connect_timeout_s=min(3.0, self.server.connect_timeout_s),
        )
        client.run(stop)
        poses = [s for s in client.statistics.streams if s.type == TRANSFORM]
        inlet.damaged_poses(sum(s.n_bad_crc + s.n_malformed for s in poses))
        if watch.failure is not None:
            raise SessionError(watch.failure)
        if self.gives_up and not watch.was_connected:
            raise SessionError(watch.sentence)


class _LinkWatch:
    """Decides when a change of the connection ends the session."""

    def __init__(self, feed: LiveFeed, inlet: Inlet, stop: threading.Event) -> None:
        self._feed, self._inlet, self._stop = feed, inlet, stop
        self._t_begin_s = time.perf_counter()
        self.was_connected = False
        self.sentence = "never tried to connect"
        self.failure: str | None = None

    def changed(self, state: LinkState, sentence: str) -> None:
        self._inlet.link(sentence, is_up=state is LinkState.CONNECTED)
        self.was_connected = self.was_connected or state is LinkState.CONNECTED
        self.sentence = sentence
        if state is LinkState.UNREACHABLE and self._has_waited_enough:
            self._end(f"{sentence} (tried for {self._feed.server.connect_timeout_s:g} s)")
        elif state is LinkState.CLOSED and self._feed.until_closed:
            self._end(None)
        elif state is LinkState.LOST and self._feed.until_closed:
            self._end(sentence)

    @property
    def _has_waited_enough(self) -> bool:
        waited_s = time.perf_counter() - self._t_begin_s
        is_due = waited_s >= self._feed.server.connect_timeout_s
        return self._feed.gives_up and not self.was_connected and is_due

    def _end(self, failure: str | None) -> None:
        self.failure = failure
        self._stop.set()


@dataclass(frozen=True, slots=True)
class SweepFeed:
    """A recorded sweep without a socket: every image once, after the poses that surround it.

    An image is held back until every pose that may count for it has gone ahead: those up to
    `max_pose_gap_s` after the moment it shows. The result then does not depend on which thread is
    faster.
    """

    sweep: Sweep
    max_pose_gap_s: float
    image_lag_s: float

    def run(self, inlet: Inlet, stop: threading.Event) -> None:
        """Read to the end; an image that cannot be loaded is reported and left out."""
        inlet.link(f"reading {self.sweep.name}", is_up=True)
        hold_s = self.max_pose_gap_s + max(0.0, -self.image_lag_s)
        held: deque[SweepImage] = deque()
        for event in self.sweep.events():
            while held and event.t_s > held[0].t_s + hold_s and not stop.is_set():
                self._release(held.popleft(), inlet)
            if stop.is_set():
                return
            if isinstance(event, SweepImage):
                held.append(event)
            else:
                inlet.pose(pose_sample(event))
        while held and not stop.is_set():
            self._release(held.popleft(), inlet)

    def _release(self, image: SweepImage, inlet: Inlet) -> None:
        try:
            pixels = image.load()
        except SequenceError as error:
            inlet.bad_image(self.sweep.image_name, str(error))
            return
        pixels.flags.writeable = False
        now_s = time.perf_counter()
        inlet.image(
            ImageFrame(
                self.sweep.image_name,
                pixels,
                Stamps(image.t_s, now_s),
                t_decoded_s=now_s,
                spacing_mm=self.sweep.spacing_mm,
            )
        )


def pose_sample(pose: SweepPose) -> PoseSample:
    """The pose as if it had come over the wire, with the same check at the same door."""
    status = pose.status
    try:
        check_rigid(pose.matrix, pose.name)
    except TransformError:
        status = PoseStatus.INVALID
    return PoseSample(pose.name, pose.matrix, status, Stamps(pose.t_s, time.perf_counter()))
