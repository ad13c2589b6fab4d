"""What a person does in a session, and what they are told of it; a window only shows it.

The desk keeps a session, its folder, its recordings and its journal together. A window may be
closed and another opened on it while the session runs; without any, the same calls work.
"""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from navapp.desk.alarms import STALE_AFTER_S, judge
from navapp.desk.facts import Facts
from navapp.desk.journal import Event, Journal
from navapp.desk.live_session import LiveSession
from navapp.desk.navigation import Guidance, Plan, guide_plane, guide_tip
from navapp.desk.newest_job import NewestJob
from navapp.desk.outline import Outline, OutlineFinder
from navapp.desk.registering import Registering
from navapp.desk.replay_server import ReplayServer
from navapp.desk.session_folder import SessionFolder
from navapp.desk.surface_watch import SurfaceState, SurfaceWatch
from navapp.desk.takes import Takes
from navapp.errors import ConfigError, NavappError
from navapp.insertion import Hold
from navapp.state import LiveView
from recon.errors import ReconError
from tracking.errors import TrackingError
from tracking.transforms import Matrix, apply

_log = logging.getLogger(__name__)

_SURFACE_PERIOD_S = 0.25
_DISK_PERIOD_S = 5.0

# What a person is told in a sentence, rather than what ends a program.
EXPECTED = (NavappError, ReconError, TrackingError)


class Desk:
    """One thread, the window's or a script's, calls everything here.

    Parameters
    ----------
    session : what runs; replaced by `take_over` when another begins
    folder : where this session's files go
    replay : the recording that the session receives, where it is one of ours
    T_stylus_tip : where the tip of the stylus is, for landmarks and navigation
    """

    def __init__(
        self,
        session: LiveSession,
        folder: SessionFolder,
        *,
        replay: ReplayServer | None = None,
        T_stylus_tip: Matrix | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.folder = folder
        self.plan: Plan | None = None
        self.registering = Registering()
        self.T_stylus_tip = np.eye(4) if T_stylus_tip is None else T_stylus_tip
        self.has_stylus = T_stylus_tip is not None
        self.message = ""
        self.hidden_sweeps: frozenset[int] = frozenset()
        self.view: LiveView | None = None
        self._clock = clock
        self._surface_watch: SurfaceWatch | None = None
        self._t_surface_s = self._t_disk_s = float("-inf")
        self._free_gb = float("nan")
        self._begin(session, replay)
        self._outlines = NewestJob("outline", OutlineFinder().find)
        self._surface_job: NewestJob[LiveSession, SurfaceState | None]
        self._surface_job = NewestJob("surface", self._watch_surface)

    # -- sessions ---------------------------------------------------------------------------------

    def _begin(self, session: LiveSession, replay: ReplayServer | None) -> None:
        self.session = session
        self.replay = replay
        self.folder.begin()
        self.journal = Journal(self.folder.path)
        self.takes = Takes(self.folder.path)
        self.view = None
        self._t_view_s: float | None = None
        self._model_note = ""
        session.on_raw = self.takes.put
        self.journal.note("begin", status_line(session))
        self.note("sweep", f"{session.gate.sweep}")

    def take_over(
        self, session: LiveSession, folder: SessionFolder, replay: ReplayServer | None = None
    ) -> None:
        """Go on with another session; the old one is to be stopped by its owner."""
        self.takes.stop()
        self.folder.close()
        self.session.on_raw = None
        if self.replay is not None:
            self.replay.close()
        self.folder = folder
        self._begin(session, replay)

    def close(self) -> None:
        """End the recording and the workers; the session itself is its owner's."""
        self.takes.stop()
        self.session.on_raw = None
        self._outlines.close()
        self._surface_job.close()
        if self.replay is not None:
            self.replay.close()
        self.folder.close()

    # -- what a window shows ----------------------------------------------------------------------

    def next_view(self) -> LiveView | None:
        """The newest frame, if there is one that was not yet given; none while frozen."""
        view = self.session.views.take(0.0)
        if view is None:
            return None
        now_s = self._clock()
        self._t_view_s = now_s
        if now_s - self._t_surface_s >= _SURFACE_PERIOD_S:
            self._t_surface_s = now_s
            self._surface_job.ask(self.session)
        if self.is_frozen:
            return None
        self.view = view
        surface = self.session.surface
        if surface is not None and view.A_target_pixel is not None:
            self._outlines.ask((surface, view))
        return view

    @property
    def outline(self) -> Outline | None:
        """Where the CT surface cuts the newest image that it was computed for."""
        return self._outlines.result if self.session.surface is not None else None

    @property
    def view_age_s(self) -> float | None:
        """Since the newest view came; None before the first."""
        return None if self._t_view_s is None else self._clock() - self._t_view_s

    @property
    def _is_fresh(self) -> bool:
        """Whether images come; also a replay that is paused sends none."""
        return self.view_age_s is not None and self.view_age_s <= STALE_AFTER_S

    def facts(self) -> Facts:
        """One look at everything; cheap enough for five a second."""
        session, status = self.session, self.session.status()
        tools = session.tools()
        replay = None if self.replay is None else self.replay.state
        # A replay that a person paused is no loss; its watermark says what it is.
        is_paused = replay is not None and replay.is_paused
        alarm = None if is_paused else judge(status, self.view, self.view_age_s, tools)
        now_s = self._clock()
        if now_s - self._t_disk_s >= _DISK_PERIOD_S:
            self._t_disk_s = now_s
            self._free_gb = shutil.disk_usage(self.folder.path).free / 1e9
        self._tell_model(status.model_note)
        return Facts(
            status=status,
            alarm=alarm,
            tools=tools,
            streams=session.streams(),
            holds=session.gate.holds,
            sweep=session.gate.sweep,
            take=self.takes.state,
            free_gb=self._free_gb,
            speed=session.scene.speed if alarm is None and self._is_fresh else None,
            surface=self._surface_job.result if session.surface is not None else None,
            volume=None if session.volume is None else session.volume.state,
            guidance=self.guidance(),
            plan_name="" if self.plan is None else self.plan.name,
            replay=replay,
            replay_speed=self._replay_speed(),
            busy="",
            message=self.message,
        )

    def guidance(self) -> Guidance | None:
        """From the stylus where it is seen, else from the image plane; None without a plan."""
        if self.plan is None or self.session.status().frame != "ct":
            return None
        T_scene_tip = self.tip()
        if T_scene_tip is not None:
            return guide_tip(self.plan, T_scene_tip)
        if self.view is None or self.view.A_target_pixel is None:
            return None
        return guide_plane(self.plan, self.view.A_target_pixel)

    def tip(self) -> Matrix | None:
        """T_scene_tip of the stylus; None where it is not seen."""
        T_scene_stylus = self.session.newest_pose("Stylus") if self.has_stylus else None
        return None if T_scene_stylus is None else T_scene_stylus @ self.T_stylus_tip

    def touched_mm(self) -> NDArray[np.float64]:
        """Where the stylus, held still, touches in the scene, (3,), mm.

        Raises
        ------
        ConfigError : it has no calibration, is not seen, or was moved.
        """
        if not self.has_stylus:
            raise ConfigError("the stylus has no calibration: `navapp calibrate pivot` makes one")
        return self.session.touched_mm("Stylus", self.T_stylus_tip)

    # -- what a person does -----------------------------------------------------------------------

    @property
    def is_frozen(self) -> bool:
        return Hold.FROZEN in self.session.gate.holds

    def toggle_freeze(self) -> bool:
        """Hold picture and insertion, or let them go on; recordings are not touched."""
        return self._toggle(Hold.FROZEN, "freeze")

    def toggle_insertion(self) -> bool:
        """Hold insertion alone, or let it go on; the picture stays live."""
        return self._toggle(Hold.SWITCHED_OFF, "insertion off")

    def _toggle(self, who: Hold, kind: str) -> bool:
        gate = self.session.gate
        if who not in gate.holds:
            gate.hold(who)
            self.note(kind)
            return True
        if gate.release(who):
            self.note("sweep", f"{gate.sweep}")
        return False

    def toggle_recording(self) -> None:
        """Begin the next recording, or end the one that runs."""
        if self.takes.state.is_recording:
            result = self.takes.stop()
            if result is not None:
                name = Path(result.file).name
                self.note("record stop", name)
                self.message = result.problem or f"{name}: {result.n_messages} messages"
        else:
            path = self.takes.start()
            self.note("record", path.name)
            self.message = f"recording {path.name}"

    def undo_sweep(self) -> None:
        """Take the last sweep's points out of the cloud; what comes next is a new sweep."""
        n_before = self.session.scene.n_voxels
        sweep = self.session.undo_sweep()
        if sweep is None:
            self.message = "nothing to undo: no sweep holds an image"
            return
        n_gone = n_before - self.session.scene.n_voxels
        self.note("undo", f"{sweep}")
        self.note("sweep", f"{self.session.gate.sweep}")
        self.message = f"sweep {sweep} undone: {n_gone:,} points less"

    def clear(self) -> None:
        """Empty the cloud; what comes next is a new sweep."""
        self.session.scene.clear()
        self.note("clear")
        self.note("sweep", f"{self.session.gate.sweep}")
        self.message = "the cloud is empty"

    def mark(self, text: str = "") -> Event:
        """Keep this moment and place."""
        n = len(self.journal.of_kind("mark")) + 1
        event = self.note("mark", text or f"mark {n}")
        self.message = event.text
        return event

    def accept_registration(self) -> None:
        """Move the scene into CT space by the registration that was found.

        Raises
        ------
        ConfigError, TrackingError : there is none, or its file cannot be written.
        """
        registration = self.registering.save(self.folder.path / "registration.toml")
        self.session.scene.register(registration)
        self.note("registration", "; ".join(self.registering.lines()))
        self.message = "registered: the scene is in CT space"

    @property
    def is_inserting(self) -> bool:
        """Whether points may go into the cloud, frozen or not."""
        return Hold.SWITCHED_OFF not in self.session.gate.holds

    def hide_sweeps(self, sweeps: frozenset[int]) -> None:
        """Show the cloud without these sweeps; nothing is lost."""
        self.hidden_sweeps = sweeps

    def image_centre_mm(self) -> tuple[float, float, float] | None:
        """Where the middle of the newest image lies in the scene; None without a pose."""
        if self.view is None or self.view.A_target_pixel is None:
            return None
        return _centre_mm(self.view)

    def note(self, kind: str, text: str = "") -> Event:
        """Write an event down, with the image and the place that it belongs to."""
        view = self.view
        t_image_s = place_mm = None
        if view is not None:
            t_image_s = view.frame.stamps.t_sender_s
            if view.A_target_pixel is not None:
                place_mm = _centre_mm(view)
        replay_s = None if self.replay is None else self.replay.state.position_s
        return self.journal.note(
            kind, text, t_image_s=t_image_s, place_mm=place_mm, replay_s=replay_s
        )

    def _watch_surface(self, session: LiveSession) -> SurfaceState | None:
        mesh = session.surface
        if mesh is None:
            return None
        if self._surface_watch is None or self._surface_watch.mesh is not mesh:
            self._surface_watch = SurfaceWatch(mesh)
        return self._surface_watch.look(session.scene)

    def _tell_model(self, note: str) -> None:
        """What became of a network that was to be exchanged is told once, and written down."""
        if note != self._model_note:
            self._model_note = self.message = note
            self.note("model", note)

    def _replay_speed(self) -> str | None:
        if self.view is None:
            return None if self.replay is None else "1"
        return self.view.frame.metadata.get("ReplaySpeed")


def status_line(session: LiveSession) -> str:
    """What a session is, for its journal."""
    status = session.status()
    return f"{status.provider}, frame {status.frame}"


def _centre_mm(view: LiveView) -> tuple[float, float, float]:
    rows, columns = view.frame.pixels.shape
    if view.A_target_pixel is None:
        raise ValueError("the view has no place")
    x, y, z = apply(view.A_target_pixel, np.array(((columns / 2.0, rows / 2.0, 0.0),)))[0]
    return round(float(x), 3), round(float(y), 3), round(float(z), 3)
