"""A session: builds the pipeline, owns every thread, knows its state, ends in order.

    receive --frames--> infer --masks--> recon --views--> window
        \\--poses (every one)------------/

Live, the connectors never hold up the receive thread; in a reconstruction without a socket they
block instead, so that every frame is used and each run gives the same result.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from inference.line_support import LineSupport
from navapp.channels import BoundedQueue, FullPolicy, LatestSlot
from navapp.config import Settings, StreamSettings
from navapp.equipment import Equipment
from navapp.errors import ConfigError, SessionError, StreamError
from navapp.feeds import Feed
from navapp.health import POSE_LOST_AFTER_S, Health
from navapp.insertion import InsertionGate
from navapp.latency import LatencyLog, Stage
from navapp.live_volume import LiveVolume
from navapp.matching import PoseMatcher
from navapp.model_swap import ModelSwapper
from navapp.pipeline import Pipeline, SegmentedFrame
from navapp.pointing import touched_mm
from navapp.recorder import Recorder
from navapp.results import ResultSender
from navapp.scene import Scene
from navapp.state import (
    DropReason,
    LiveView,
    ModelSwap,
    SessionState,
    SessionStatus,
    StreamState,
    ToolState,
)
from navapp.stream_watch import StreamWatch
from navapp.tally import Tally
from navapp.warm_up import warm_up
from recon.surface import TriangleMesh
from tracking.clock import CLOCK_STEP_S, Clocks
from tracking.messages import ImageFrame, PoseSample, PoseStatus, Stamps
from tracking.pose_buffer import PoseBuffer
from tracking.pose_path import PosePath, find_path, tool_of
from tracking.transforms import Matrix, apply
from tracking.wire import RawMessage

logger = logging.getLogger(__name__)

# Lines that wait for their pose: half a second at 60 Hz; none waits longer than max_pose_wait_s.
_MASKS_WAITING = 32

_STATUS_OVER_S = 5.0
# A network that takes a second per frame may have two frames to finish.
_JOIN_S = 5.0


@dataclass(frozen=True, slots=True)
class SessionMode:
    """How a session is run.

    `is_live`: newest frame wins and poses are waited for; else every frame is used. `has_window`:
    end-to-end latency counts to the screen, and wrong stream names are shown rather than fatal.
    """

    is_live: bool
    has_window: bool


class Session:
    """One run from the first image to the saved result; not restartable.

    `views`, `status`, `note_shown` and `surface` are what a window needs. `failure` is the first
    error that ended it; what was integrated until then stays available.
    """

    def __init__(
        self,
        settings: Settings,
        equipment: Equipment,
        feed: Feed,
        mode: SessionMode,
        recorder: Recorder | None = None,
    ) -> None:
        self.settings = settings
        self.recorder = recorder
        self.equipment = equipment
        self.mode = mode
        self.tally = Tally()
        self.latency = LatencyLog()
        self.poses = PoseBuffer()
        self.clocks = Clocks()
        self.results: ResultSender | None = None  # from `start` on, where settings ask for it
        self.scene = Scene(
            settings.geometry.voxel_size_mm, equipment.registration, equipment.surface
        )
        self.volume = (
            LiveVolume(settings.volume, equipment, is_live=mode.is_live)
            if settings.volume.live
            else None
        )
        self.gate = InsertionGate(self.scene)
        self.on_raw: Callable[[RawMessage], None] | None = None  # a second listener, as a recorder
        self.failure: Exception | None = None
        self.t_started_s = float("nan")  # perf_counter() when it began to connect
        self.finished = threading.Event()
        # Views are a look at the newest state, not a stream: always newest wins.
        self.views: LatestSlot[LiveView] = LatestSlot()
        self._frames: BoundedQueue[ImageFrame]
        if mode.is_live:
            self._frames = LatestSlot()
            self._masks = BoundedQueue[SegmentedFrame](_MASKS_WAITING, FullPolicy.DROP_OLDEST)
        else:
            self._frames = BoundedQueue(2, FullPolicy.BLOCK)
            self._masks = BoundedQueue[SegmentedFrame](2, FullPolicy.BLOCK)
        self._streams = StreamWatch(settings.streams)
        self._health = Health(self._streams, self.clocks, recorder)
        matching = settings.matching
        self.matcher = PoseMatcher(
            self.poses,
            self.clocks,
            probe=settings.streams.probe,
            reference=settings.streams.reference,
            image_lag_s=equipment.image_lag_s,
            max_pose_gap_s=matching.max_pose_gap_s,
            max_pose_wait_s=matching.max_pose_wait_s if mode.is_live else 0.0,
        )
        self._pipeline = Pipeline(
            equipment,
            self.matcher,
            self.scene,
            self.tally,
            self.latency,
            matching.max_age_s if mode.is_live else None,
            self._health.note_output,
            LineSupport() if settings.inference.line_support else None,
            self.volume,
        )
        self._swapper = ModelSwapper(settings.model.provider, equipment, self._install)
        self._feed = feed
        self._stop = threading.Event()
        self._is_started = False
        self._last_image_s = float("-inf")
        self._shown: ImageFrame | None = None
        self._threads = [
            threading.Thread(target=self._receive, name="receive"),
            threading.Thread(target=self._infer, name="infer"),
            threading.Thread(target=self._recon, name="recon"),
            threading.Thread(target=self._swapper.run, name="model"),
        ]
        if recorder is not None:
            self._threads.append(threading.Thread(target=recorder.run, name="record"))

    # -- from outside ---------------------------------------------------------------------------

    @property
    def spacing_mm(self) -> tuple[float, float]:
        """(column, row) pixel spacing of the calibration."""
        return self.equipment.calibration.spacing_mm

    @property
    def surface(self) -> TriangleMesh | None:
        """The CT surface where the cloud is in its space; elsewhere it has no place."""
        return self.equipment.surface if self.scene.frame == "ct" else None

    @property
    def warnings(self) -> tuple[str, ...]:
        """What was wrong on the way, each sentence once."""
        return self._health.warnings

    def warm_up(self) -> None:
        """Compile and run everything once, so that the first real frame meets its budget."""
        warm_up(self.equipment)
        if self.volume is not None:
            self.volume.warm_up()

    def start(self) -> None:
        """Connect; results go out from here on, where the settings ask for it."""
        if self.settings.results.port is not None:
            self.results = ResultSender(
                self.settings.results, self.equipment.calibration.A_probe_pixel
            )
            logger.info("results at %s:%d", self.settings.results.host, self.results.port)
        self.t_started_s = time.perf_counter()
        self._swapper.begin(self.t_started_s)
        self._is_started = True
        for thread in self._threads:
            thread.start()

    def swap_model(self, path: Path) -> None:
        """Run another network from the next image on that comes after it was loaded.

        Returns at once. The network is loaded, checked against the calibration and run on a blank
        image in the thread `model`; the one before it works until then. One that cannot be used
        changes nothing: `status().model_note` and `model_swaps` say why.
        """
        self._swapper.request(path)

    @property
    def model_swaps(self) -> tuple[ModelSwap, ...]:
        """Every attempt to exchange the network that has come to an end."""
        return self._swapper.swaps

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until the session ended by itself; False where it runs on."""
        return self.finished.wait(timeout_s)

    def stop(self) -> None:
        """Stop the producer, let what is under way drain, join every thread.

        A thread that does not end in time is the session's failure; what it built can be saved.
        """
        self._stop.set()
        self._swapper.close()
        deadline_s = time.perf_counter() + _JOIN_S
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(max(0.0, deadline_s - time.perf_counter()))
        if self.results is not None:
            self.results.close()
        alive = [thread.name for thread in self._threads if thread.is_alive()]
        if alive:
            self._fail(SessionError(f"did not end within {_JOIN_S:g} s: {', '.join(alive)}"))

    def note_shown(self, view: LiveView, t_shown_s: float) -> None:
        """The window drew this view; drawn again, it is no later."""
        if view.dropped is None and view.frame is not self._shown:
            self._shown = view.frame
            self.latency.add(Stage.END_TO_END, view.frame.stamps.t_arrival_s, t_shown_s)

    def undo_sweep(self) -> int | None:
        """Take the last sweep away, from the cloud and from the volume.

        Returns
        -------
        The number of that sweep, None where there is none.
        """
        sweep = self.scene.undo_sweep()
        if sweep is not None and self.volume is not None:
            self.volume.undo(sweep)
        return sweep

    def status(self) -> SessionStatus:
        """One consistent look; cheap enough for ten a second."""
        now_s = time.perf_counter()
        state, detail = self._state(now_s)
        probe = self.settings.streams.probe
        is_tracking_ok, tracking = self._health.tracking(self._path(), probe, now_s)
        rates = self.tally.recent_rates(now_s)
        frames = self.tally.frames
        since_s = now_s - _STATUS_OVER_S
        return SessionStatus(
            state=state,
            detail=detail,
            image_rate_hz=rates.image_hz,
            pose_rate_hz=rates.pose_hz,
            is_tracking_ok=is_tracking_ok,
            tracking=tracking,
            provider=self.equipment.segmenter.session.provider,
            provider_reason=self.equipment.segmenter.session.provider_reason,
            infer_p50_ms=self.latency.percentile_ms(Stage.INFER, 50, since_s),
            end_to_end_p95_ms=self.latency.percentile_ms(Stage.END_TO_END, 95, since_s),
            n_received=frames.received,
            n_processed=frames.processed,
            skipped=frames.skipped,
            n_points=self.scene.n_voxels,
            frame=self.scene.frame,
            misfit=self._health.misfit,
            unanswered_s=self._health.unanswered_s(now_s),
            model=self.equipment.segmenter.session.path.name,
            model_note=self._swapper.note,
        )

    def tools(self) -> tuple[ToolState, ...]:
        """The streams that the probe's pose is made of, the probe's own first."""
        now_s = time.perf_counter()
        path = self._path()
        streams = () if path is None else path.streams
        ages_s = [self._streams.pose_age_s(name, now_s) for name in streams]
        return tuple(
            ToolState(name, tool_of(name), age_s, age_s <= POSE_LOST_AFTER_S)
            for name, age_s in zip(streams, ages_s, strict=True)
        )

    def streams(self) -> tuple[StreamState, ...]:
        """Every stream that the servers sent, with its rate over the last two seconds."""
        return self._streams.states(time.perf_counter())

    def newest_pose(self, tool: str) -> Matrix | None:
        """T_scene_tool as last seen, for looking and pointing; None where it is not seen."""
        path = find_path(self.poses.names, tool, self.settings.streams.reference)
        if path is None:
            return None
        read = path.read_newest(self.poses, max_age_s=POSE_LOST_AFTER_S)
        return None if read is None else self.scene.place(read, path.target)[0]

    def touched_mm(self, tool: str, T_tool_tip: Matrix) -> NDArray[np.float64]:
        """Where a tip was over the last half second, (3,), mm, frame of the scene.

        Raises
        ------
        ConfigError : the tool is not seen, or was not held still.
        """
        path = find_path(self.poses.names, tool, self.settings.streams.reference)
        if path is None or self.newest_pose(tool) is None:
            raise ConfigError(f"the {tool.lower()} is not seen")
        T_scene_target, _ = self.scene.place(np.eye(4), path.target)
        tip_mm = touched_mm(self.poses, path, T_tool_tip)
        return apply(T_scene_target, tip_mm[None])[0]

    # -- inlet: called by the feed in the receive thread ------------------------------------------

    def raw(self, message: RawMessage) -> None:
        """Every message goes into the recording, where there is one."""
        if self.recorder is not None:
            self.recorder.put(message)
        if self.on_raw is not None:
            self.on_raw(message)

    def image(self, frame: ImageFrame) -> None:
        """An image of the chosen stream goes on its way; one that does not fit is counted."""
        self._streams.image_seen(frame.name, frame.stamps.t_arrival_s, frame.pixels.shape)
        self.check_streams()
        if not self._streams.is_chosen(frame.name):
            return
        self.tally.image_received(frame.stamps.t_arrival_s)
        if self.mode.is_live:
            self.latency.add(Stage.RECEIVE, frame.stamps.t_arrival_s, frame.t_decoded_s)
        self._watch_clock(frame.stamps)
        height, width = frame.pixels.shape
        misfit = self.equipment.misfit((width, height), frame.spacing_mm)
        self._health.note_misfit(misfit.sentence if misfit else None)
        self._health.note_spacing(frame.spacing_mm)
        if misfit is not None:
            self.tally.image_skipped(misfit.reason)
            return
        self._health.note_scale(self.equipment.plan_for((width, height)).warning)
        self._health.note_image(frame.stamps.t_arrival_s)
        if self._frames.put(frame) is not None:
            self.tally.image_skipped(DropReason.SUPERSEDED)

    def bad_image(self, name: str, reason: str) -> None:
        """An image that arrived whole but cannot be decoded is received and skipped."""
        self._streams.image_seen(name)
        if self._streams.is_chosen(name):
            self.tally.image_received(time.perf_counter())
            self.tally.image_skipped(DropReason.BAD_IMAGE)
            self._health.note_misfit(f"{name}: {reason}")

    def pose(self, sample: PoseSample) -> None:
        """Every pose goes into the buffer; one that is not newer than the last is lost."""
        self._streams.pose_seen(sample.name, sample.stamps.t_arrival_s)
        is_valid = sample.status is PoseStatus.OK
        is_kept = self.poses.add(sample)
        self.tally.pose_received(sample.stamps.t_arrival_s, is_valid=is_valid, is_kept=is_kept)
        self.check_streams()

    def damaged_poses(self, n: int) -> None:
        """Poses that could not be decoded."""
        self.tally.poses_damaged(n)

    def link(self, server: str, sentence: str, *, is_up: bool) -> None:
        """A new link forgets the old one's poses: a restarted server's stamps may begin anew."""
        if is_up:
            self.poses.clear(server)
            self._streams.connected(time.perf_counter())
        if self._health.note_link(server, sentence, is_up=is_up):
            logger.info("%s", sentence)

    # -- threads ----------------------------------------------------------------------------------

    def _receive(self) -> None:
        self._guard(lambda: self._feed.run(self, self._stop))
        self._check_streams_at(float("inf"))
        self.poses.close()
        self._frames.close()
        if self.recorder is not None:
            self.recorder.end()

    def _infer(self) -> None:
        self._guard(lambda: self._pipeline.infer_frames(self._frames, self._masks))
        self._frames.close()
        self._count_unused(self._frames)
        self._masks.close()

    def _recon(self) -> None:
        self._guard(lambda: self._pipeline.reconstruct_frames(self._masks, self._publish))
        self._masks.close()
        self._count_unused(self._masks)
        self._check_names()  # not before: the last images find the way of the poses
        self.views.close()
        self.finished.set()

    def _count_unused(self, connector: Iterable[object]) -> None:
        """After an error, what still waits in a closed connector is lost, and counted."""
        for _ in connector:
            self.tally.image_skipped(DropReason.FAILED)

    def _guard(self, body: Callable[[], None]) -> None:
        """The top of every worker: an error ends the session, not the program."""
        try:
            body()
        except Exception as error:  # noqa: BLE001  one of the three doors of the house style
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        if self.failure is None:
            self.failure = error
            logger.debug("session failed", exc_info=error)
        self._stop.set()

    def _publish(self, view: LiveView) -> None:
        self._health.note_result(view.dropped)
        if self.mode.is_live and not self.mode.has_window:
            self.note_shown(view, view.t_integrated_s)
        self.views.put(view)
        if self.results is not None:
            self.results.send(view, self.scene.frame)

    # -- state ------------------------------------------------------------------------------------

    def _state(self, now_s: float) -> tuple[SessionState, str]:
        if self.failure is not None:
            return SessionState.FAILED, str(self.failure)
        if not self._is_started or self.finished.is_set():
            return SessionState.IDLE, "session ended" if self._is_started else "not started"
        if self._stop.is_set():
            return SessionState.STOPPING, "stopping"
        return self._health.running_state(self.tally.frames.received, now_s)

    @property
    def unreached(self) -> str | None:
        """Why no server was ever connected; None where one was."""
        return self._health.unreached

    def _path(self) -> PosePath | None:
        """The probe's way as its poses tell it, also while no image asks for one."""
        streams = self.settings.streams
        found = self.matcher.path
        return found or find_path(self.poses.names, streams.probe, streams.reference)

    def check_streams(self) -> None:
        """Without a window nobody can read a wrong name: end with the list of those that exist.

        A sweep that is read from disk is judged at its end only, however fast it is read.
        """
        if self.mode.is_live:
            self._check_streams_at(time.perf_counter())

    def _check_streams_at(self, now_s: float) -> None:
        problem = self._streams.problem(now_s)
        if problem is not None and not self.mode.has_window:
            self._fail(StreamError(problem))

    def _watch_clock(self, stamps: Stamps) -> None:
        """An image whose stamp goes back belongs to a clock that none of the poses belongs to."""
        if stamps.t_match_s < self._last_image_s - CLOCK_STEP_S:
            self.poses.clear(stamps.base.server)
        self._last_image_s = stamps.t_match_s

    def _check_names(self) -> None:
        """What was asked for and served no purpose may be a mistake."""
        reference, path = self.settings.streams.reference, self.matcher.path
        registration = self.settings.geometry.registration
        if path is None:
            return
        if registration is not None and path.target == "ct":
            leads = f"{', '.join(path.streams)} leads to CT already"
            self._health.warn(f"registration {registration} was not needed: {leads}")
        if reference == StreamSettings().reference:
            return
        if not any(tool_of(reference) in stream for stream in path.streams):
            used = ", ".join(path.streams)
            self._health.warn(f"reference {reference} was not needed: the poses came from {used}")

    def _install(self, equipment: Equipment) -> None:
        """Work with another network from the next image on; called in the thread `model`."""
        path = equipment.segmenter.session.path
        model = self.settings.model.model_copy(update={"path": path})
        self.settings = self.settings.model_copy(update={"model": model})
        self.equipment = self._pipeline.equipment = equipment
