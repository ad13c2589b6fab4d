"""What a person does in a session, and what they are told of it; a window only shows it.

The desk keeps a session, its folder, its recordings and its journal together. A window may be
closed and another opened on it while the session runs; without any, the same calls work.
"""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from navapp.config import WindowSettings
from navapp.desk.alarms import Alarm, judge
from navapp.desk.facts import Facts
from navapp.desk.journal import Event, Journal
from navapp.desk.live_session import LiveSession
from navapp.desk.navigation import Guidance, Plan, guide_plane, guide_tip
from navapp.desk.newest_job import NewestJob
from navapp.desk.outline import Outline, OutlineFinder
from navapp.desk.registering import Registering
from navapp.desk.replay_server import ReplayServer
from navapp.desk.session_folder import SessionFolder
from navapp.desk.surface_look import SurfaceLook
from navapp.desk.takes import Takes
from navapp.errors import ConfigError, NavappError, SessionError
from navapp.insertion import Hold
from navapp.report import session_toml
from navapp.state import LiveView, SessionStatus, ToolState
from recon.errors import ReconError
from tracking.errors import TrackingError
from tracking.transforms import Matrix, apply, invert
from tracking.whole_files import write_whole

_log = logging.getLogger(__name__)

_DISK_PERIOD_S = 5.0
# A stylus that is lost leaves no numbers for so long: those of the image plane mean something else.
_STYLUS_MISSED_S = 3.0

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
        self.message = ""
        self._clock = clock
        self._t_disk_s = float("-inf")
        self._free_gb = float("nan")
        folder.begin()
        self._surface = SurfaceLook()
        self._begin(session, replay, T_stylus_tip)
        self._outlines = NewestJob("outline", OutlineFinder().find)

    # -- sessions ---------------------------------------------------------------------------------

    def _begin(
        self, session: LiveSession, replay: ReplayServer | None, T_stylus_tip: Matrix | None
    ) -> None:
        self.session = session
        self.replay = replay
        self.T_stylus_tip = np.eye(4) if T_stylus_tip is None else T_stylus_tip
        self.has_stylus = T_stylus_tip is not None
        self.hidden_sweeps: frozenset[int] = frozenset()
        self.journal = Journal(self.folder.path)
        self.takes = Takes(self.folder.path)
        # On the screen, which may be held; and the newest, with when its image came.
        self.view: LiveView | None = None
        self._newest: LiveView | None = None
        self._t_image_s: float | None = None
        self._t_tip_s = float("-inf")
        self._is_redrawn = False
        self._surface.is_due = True
        self._least_cloud = 0, 0  # generation and undos of a view that is not outdated
        self._model_note = ""
        self._take_problem: str | None = None
        session.on_raw = self.takes.put
        self._note_quietly("begin", status_line(session))
        self._note_quietly("sweep", f"{session.gate.sweep}")
        self._write_settings()

    def take_over(
        self,
        session: LiveSession,
        folder: SessionFolder,
        replay: ReplayServer | None = None,
        T_stylus_tip: Matrix | None = None,
    ) -> None:
        """Go on with another session; the old one is to be stopped by its owner.

        What was found on the patient is forgotten; what was planned in CT stays with the same CT.

        Raises
        ------
        SessionError : the folder cannot be written; the old session goes on.
        """
        folder.begin()
        if _ct_of(session) == _ct_of(self.session):
            self.registering = self.registering.begun_anew()
        else:
            self.plan, self.registering = None, Registering()
        self.takes.stop()
        self.folder.close()
        self.session.on_raw = None
        if self.replay is not None:
            self.replay.close()
        self.folder = folder
        self._begin(session, replay, T_stylus_tip)

    def close(self) -> None:
        """End the recording and the workers; the session itself is its owner's."""
        self.takes.stop()
        self.session.on_raw = None
        self._outlines.close()
        self._surface.close()
        if self.replay is not None:
            self.replay.close()
        self.folder.close()

    # -- what a window shows ----------------------------------------------------------------------

    def next_view(self) -> LiveView | None:
        """The newest frame, if there is one that was not yet given; none while frozen.

        The one on the screen is given again when its cloud was changed by a person.
        """
        view = self.session.views.take(0.0)
        if view is not None:
            # What was under way for too long is old when it comes.
            on_its_way_s = max(0.0, view.t_integrated_s - view.frame.stamps.t_arrival_s)
            self._t_image_s = self._clock() - on_its_way_s
            self._newest = view
            self._surface.is_due = True
            is_outdated = (view.cloud.generation, len(view.cloud.undone)) < self._least_cloud
            if not (self.is_frozen or is_outdated):
                self._is_redrawn = True
                self.view = view
                surface = self.session.surface
                if surface is not None and view.A_target_pixel is not None:
                    self._outlines.ask((surface, view))
        is_redrawn, self._is_redrawn = self._is_redrawn, False
        return self.view if is_redrawn else None

    def _redraw(self, T_new_old: Matrix | None = None) -> None:
        """Show the scene as it is now, also while frozen and while no image comes.

        Parameters
        ----------
        T_new_old : where the scene went
        """
        scene = self.session.scene
        self._surface.is_due = True
        self._least_cloud = scene.generation, len(scene.undone)
        if self.view is None:
            return
        A_scene_pixel = self.view.A_target_pixel
        if T_new_old is not None and A_scene_pixel is not None:
            A_scene_pixel = T_new_old @ A_scene_pixel
        self.view = replace(self.view, cloud=scene.drawn(), A_target_pixel=A_scene_pixel)
        self._is_redrawn = True

    @property
    def outline(self) -> Outline | None:
        """Where the CT surface cuts the newest image that it was computed for."""
        return self._outlines.result if self.session.surface is not None else None

    @property
    def view_age_s(self) -> float | None:
        """Since the newest view's image came; None before the first."""
        return None if self._t_image_s is None else self._clock() - self._t_image_s

    @property
    def _is_fresh(self) -> bool:
        """Whether images come; also a replay that is paused sends none."""
        age_s = self.view_age_s
        return age_s is not None and age_s <= self.session.settings.matching.max_age_s

    def _alarm(self, status: SessionStatus, tools: tuple[ToolState, ...]) -> Alarm | None:
        # A replay that a person paused is no loss; its watermark says what it is.
        if self.replay is not None and self.replay.state.is_paused:
            return None
        max_age_s = self.session.settings.matching.max_age_s
        return judge(status, self._newest, self.view_age_s, tools, max_age_s)

    def facts(self) -> Facts:
        """One look at everything; cheap enough for five a second."""
        session, status = self.session, self.session.status()
        tools = session.tools()
        replay = None if self.replay is None else self.replay.state
        alarm = self._alarm(status, tools)
        now_s = self._clock()
        if now_s - self._t_disk_s >= _DISK_PERIOD_S:
            self._t_disk_s = now_s
            self._free_gb = _free_gb(self.folder.path)
        self._tell_model(status.model_note)
        take = self.takes.state
        self._tell_take(take.problem)
        return Facts(
            status=status,
            alarm=alarm,
            tools=tools,
            streams=session.streams(),
            holds=session.gate.holds,
            sweep=session.gate.sweep,
            take=take,
            free_gb=self._free_gb,
            speed=session.scene.speed if alarm is None and self._is_fresh else None,
            has_ct=bool(_ct_of(session)),
            surface=self._surface.state(session, now_s),
            volume=None if session.volume is None else session.volume.state,
            guidance=self.guidance(alarm),
            plan_name="" if self.plan is None else self.plan.name,
            replay=replay,
            replay_speed=self._replay_speed(),
            busy="",
            message=self.message,
        )

    def guidance(self, alarm: Alarm | None = None) -> Guidance | None:
        """From the stylus where it is seen, else from the image plane; None without a plan.

        None as well where the image is not to be trusted, and just after the stylus was lost: its
        numbers are not to go over into others unseen.
        """
        if self.plan is None or self.session.status().frame != "ct":
            return None
        T_scene_tip = self.tip()
        if T_scene_tip is not None:
            self._t_tip_s = self._clock()
            return guide_tip(self.plan, T_scene_tip)
        is_stylus_missed = self._clock() - self._t_tip_s < _STYLUS_MISSED_S
        if alarm is not None or is_stylus_missed or self.view is None:
            return None
        A_ct_pixel = self.view.A_target_pixel
        return None if A_ct_pixel is None else guide_plane(self.plan, A_ct_pixel)

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

    def seek(self, position_s: float) -> None:
        """Go elsewhere in the recording that plays; nothing while images are live."""
        if self.replay is not None:
            replay = self.replay.replay
            to_s = min(max(position_s, 0.0), replay.state.duration_s)
            self._note_quietly("seek", f"{to_s:.3f}")  # a sweep does not cover what is left out
            replay.seek(to_s)

    def undo_sweep(self) -> None:
        """Take the last sweep's points out of the cloud; what comes next is a new sweep."""
        n_before = self.session.scene.n_voxels
        sweep = self.session.undo_sweep()
        if sweep is None:
            self.message = "nothing to undo: no sweep holds an image"
            return
        n_gone = n_before - self.session.scene.n_voxels
        self._redraw()
        self.note("undo", f"{sweep}")
        self.note("sweep", f"{self.session.gate.sweep}")
        what = f"{n_gone:,} points less" if n_gone else "its points lay where others had been"
        self.message = f"sweep {sweep} undone: {what}"

    def clear(self) -> None:
        """Empty the cloud; what comes next is a new sweep."""
        self.session.scene.clear()
        self._redraw()
        self.note("clear")
        self.note("sweep", f"{self.session.gate.sweep}")
        self.message = "the cloud is empty"

    def mark(self, text: str = "") -> Event:
        """Keep this moment and place."""
        n = len(self.journal.of_kind("mark")) + 1
        event = self.note("mark", text or f"mark {n}")
        self.message = event.text
        return event

    def use_window(self, window: WindowSettings) -> None:
        """Other keys, opacity or sounds from now on; nothing that is measured with changes."""
        session = self.session
        session.settings = session.settings.model_copy(update={"window": window})
        self.message = "the settings of the window are in use; the session goes on"
        self._write_settings()

    def accept_registration(self) -> None:
        """Move the scene into CT space by the registration that was found.

        Raises
        ------
        ConfigError, TrackingError : there is none, or its file cannot be written.
        """
        self.reference_mm(np.empty((0, 3)))  # or why there is no way from the reference
        registration = self.registering.save(self.folder.path / "registration.toml")
        T_ct_scene = self.session.scene.register(registration)
        self.journal.move(T_ct_scene, "ct")
        self._redraw(T_ct_scene)
        self._write_settings()
        anew = "" if self.session.volume is None else "; the volume begins anew"
        self.message = f"registered: the scene is in CT space{anew}"
        self.note("registration", "; ".join(self.registering.lines()))

    def reference_mm(self, points_scene_mm: NDArray[np.float64]) -> NDArray[np.float64]:
        """Points of the scene in the frame of the reference, (N, 3), mm: there they are registered.

        Raises
        ------
        ConfigError : the poses lead to CT by themselves.
        """
        scene = self.session.scene
        if scene.frame == "reference":
            return points_scene_mm
        if scene.registration is None:
            raise ConfigError("the poses are in CT space already: there is nothing to register")
        return apply(invert(scene.registration.T_ct_reference), points_scene_mm)

    @property
    def is_inserting(self) -> bool:
        """Whether points may go into the cloud, frozen or not."""
        return Hold.SWITCHED_OFF not in self.session.gate.holds

    def hide_sweeps(self, sweeps: frozenset[int]) -> None:
        """Show the cloud without these sweeps; nothing is lost."""
        self.hidden_sweeps = sweeps
        self._is_redrawn = self.view is not None

    def target_here(self) -> Plan:
        """A target at the middle of the image on the screen.

        Raises
        ------
        ConfigError : nobody knows where that is in CT.
        """
        status = self.session.status()
        if status.frame != "ct":
            raise ConfigError("a target lies in CT space: register the scene first")
        alarm = self._alarm(status, self.session.tools())
        if alarm is not None:
            raise ConfigError(f"no target in an image that is not to be trusted: {alarm.text}")
        if self.view is None or self.view.A_target_pixel is None:
            raise ConfigError("there is no image with a pose to set the target in")
        return Plan("target", np.array(_centre_mm(self.view)))

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
            kind,
            text,
            t_image_s=t_image_s,
            place_mm=place_mm,
            replay_s=replay_s,
            frame=self.session.scene.frame if place_mm is not None else "",
        )

    def _note_quietly(self, kind: str, text: str) -> None:
        """As `note`, where nobody asked for anything: a disk that is full ends nothing."""
        try:
            self.note(kind, text)
        except SessionError as error:
            self.message = str(error)

    def _write_settings(self) -> None:
        """What the session measures with, on disk from its first minute on: for after a crash."""
        session = self.session
        if session.equipment is None:
            return
        try:
            text = session_toml(session.settings, session.equipment, session.scene)
            write_whole(self.folder.path / "session.toml", text)
        except OSError as error:
            self.message = f"{error.filename}: cannot be written: {error.strerror}"

    def _tell_model(self, note: str) -> None:
        """What became of a network that was to be exchanged is told once, and written down."""
        if note != self._model_note:
            self._model_note = self.message = note
            self._note_quietly("model", note)

    def _tell_take(self, problem: str | None) -> None:
        """That a recording ended by itself is told once."""
        if problem != self._take_problem:
            self._take_problem = problem
            if problem is not None:
                self.message = problem
                self._note_quietly("record failed", problem)

    def _replay_speed(self) -> str | None:
        if self.view is None:
            return None if self.replay is None else "1"
        return self.view.frame.metadata.get("ReplaySpeed")


def status_line(session: LiveSession) -> str:
    """What a session is, for its journal."""
    status = session.status()
    return f"{status.provider}, frame {status.frame}"


def _ct_of(session: LiveSession) -> tuple[Path, ...]:
    """The files of the CT surface that plans and landmarks belong to."""
    paths = () if session.equipment is None else session.equipment.ct_paths
    return tuple(path.resolve() for path in paths)


def _free_gb(path: Path) -> float:
    """Of the disk; NaN where it is gone."""
    try:
        return shutil.disk_usage(path).free / 1e9
    except OSError:
        return float("nan")


def _centre_mm(view: LiveView) -> tuple[float, float, float]:
    rows, columns = view.frame.pixels.shape
    if view.A_target_pixel is None:
        raise ValueError("the view has no place")
    x, y, z = apply(view.A_target_pixel, np.array(((columns / 2.0, rows / 2.0, 0.0),)))[0]
    return round(float(x), 3), round(float(y), 3), round(float(z), 3)
