"""Where a session's images and poses come from: a server, or a sweep read without a socket."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from dataclasses import dataclass, replace
from typing import Protocol

from navapp.config import ServerSettings
from navapp.errors import SessionError
from tracking.client import Client, LinkState
from tracking.clock import Clocks, FrameStampFilter
from tracking.errors import SequenceError, TransformError
from tracking.messages import ImageFrame, PoseSample, PoseStatus, Stamps
from tracking.sequences import Sweep, SweepImage, SweepPose
from tracking.sockets import address_text
from tracking.transforms import check_rigid
from tracking.wire import POSE_TYPES, RawMessage


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

    def link(self, server: str, sentence: str, *, is_up: bool) -> None:
        """The connection to a server changed."""

    @property
    def clocks(self) -> Clocks:
        """The servers' clocks, learned by the feed."""


class Feed(Protocol):
    """Runs in the `receive` thread until its source ends or `stop` is set."""

    def run(self, inlet: Inlet, stop: threading.Event) -> None: ...


logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LiveFeed:
    """One or several servers on the network; connects again when a connection is lost.

    `until_closed`: the session ends with a connection, well if the server closed it between
    two messages. `gives_up`: fail where a server does not answer for `connect_timeout_s`; a window
    goes on trying, because a person sees what it says.
    """

    server: ServerSettings
    until_closed: bool
    gives_up: bool
    more_servers: tuple[ServerSettings, ...] = ()

    def run(self, inlet: Inlet, stop: threading.Event) -> None:
        """Receive until stopped. Each further server gets a thread of its own, joined here.

        Raises
        ------
        SessionError : a server did not answer, or ended inside a message with `until_closed`.
        """
        servers = (self.server, *self.more_servers)
        lock = threading.Lock()
        links = [_Link(self, server, inlet, lock, stop) for server in servers]
        others = [
            threading.Thread(target=link.run, name=f"receive-{k}")
            for k, link in enumerate(links[1:], start=2)
        ]
        for thread in others:
            thread.start()
        links[0].run()
        for thread in others:
            thread.join()
        for link in links:
            if link.failure is not None:
                raise link.failure


class _Link:
    """One server of a live feed: hands on what comes, decides when its end ends the session.

    The inlet is called by one thread at a time, whatever the number of servers.
    """

    def __init__(
        self,
        feed: LiveFeed,
        server: ServerSettings,
        inlet: Inlet,
        lock: threading.Lock,
        stop: threading.Event,
    ) -> None:
        self._feed, self._server, self._inlet = feed, server, inlet
        self._lock, self._stop = lock, stop
        self._name = address_text(server.host, server.port)
        self._stamp_filter = FrameStampFilter() if server.filter_image_stamps else None
        self._t_begin_s = time.perf_counter()
        self._was_connected = False
        self._sentence = "never tried to connect"
        self.failure: Exception | None = None

    def run(self) -> None:
        """Receive until stopped, or until the connection ends where it is not made anew."""
        client = Client(
            self._server.host,
            self._server.port,
            on_image=self._image,
            on_pose=self._pose,
            on_bad_image=self._bad_image,
            on_state=self._changed,
            on_raw=self._raw,
            clock=self._inlet.clocks.of(self._name),
            server=self._name,
            connect_timeout_s=min(3.0, self._server.connect_timeout_s),
            silence_timeout_s=self._server.silence_timeout_s or None,
            tracking_period_ms=self._server.tracking_period_ms,
            reconnect=self._server.reconnect,
        )
        try:
            client.run(self._stop)
        except Exception as error:  # noqa: BLE001  a worker's top; the feed raises it again
            self._end(error)
        poses = [s for s in client.statistics.streams if s.type in POSE_TYPES]
        with self._lock:
            self._inlet.damaged_poses(sum(s.n_bad_crc + s.n_malformed for s in poses))
        if self.failure is None and self._feed.gives_up and not self._was_connected:
            self.failure = SessionError(self._sentence)
        if not self._server.reconnect:
            self._stop.set()

    def _raw(self, message: RawMessage) -> None:
        with self._lock:
            self._inlet.raw(message)

    def _image(self, frame: ImageFrame) -> None:
        with self._lock:
            self._inlet.image(self._filtered(frame))

    def _pose(self, sample: PoseSample) -> None:
        with self._lock:
            self._inlet.pose(sample)

    def _bad_image(self, name: str, reason: str) -> None:
        with self._lock:
            self._inlet.bad_image(name, reason)

    def _filtered(self, frame: ImageFrame) -> ImageFrame:
        number = frame.metadata.get("FrameNumber", "").strip()
        if self._stamp_filter is None or not number.isdecimal():
            return frame
        t_s = self._stamp_filter.filtered_s(int(number), frame.stamps.t_sender_s)
        return replace(frame, stamps=replace(frame.stamps, t_sender_s=t_s))

    def _changed(self, state: LinkState, sentence: str) -> None:
        with self._lock:
            self._inlet.link(self._name, sentence, is_up=state is LinkState.CONNECTED)
        self._was_connected = self._was_connected or state is LinkState.CONNECTED
        self._sentence = sentence
        if state is LinkState.UNREACHABLE and self._has_waited_enough:
            waited = f"tried for {self._server.connect_timeout_s:g} s"
            self._end(SessionError(f"{sentence} ({waited})"))
        elif state is LinkState.CLOSED and self._feed.until_closed:
            self._stop.set()
        elif state is LinkState.LOST and self._feed.until_closed:
            self._end(SessionError(sentence))
        elif state in (LinkState.CLOSED, LinkState.LOST) and not self._stop.is_set():
            logger.warning("%s; trying again", sentence)

    @property
    def _has_waited_enough(self) -> bool:
        waited_s = time.perf_counter() - self._t_begin_s
        is_due = waited_s >= self._server.connect_timeout_s
        return self._feed.gives_up and not self._was_connected and is_due

    def _end(self, failure: Exception) -> None:
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
        inlet.link("", f"reading {self.sweep.name}", is_up=True)
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
