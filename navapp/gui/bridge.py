"""The one timer: the desk's newest state to the widgets, 60 times a second."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from PySide6.QtCore import QObject, Qt, QTimer

from navapp.desk.alarms import AlarmBell
from navapp.desk.desk import Desk
from navapp.desk.facts import Facts
from navapp.gui.commands import Commands
from navapp.gui.history import History, HistoryDialog
from navapp.gui.main_window import MainWindow
from navapp.gui.opening import Opening
from navapp.gui.picture import Display, picture_of, watermark
from navapp.gui.readings import clock_time, readings
from navapp.gui.steps import Step
from navapp.gui.timeline import content_of
from navapp.insertion import Hold
from navapp.state import DrawnCloud, LiveView

_TICK_MS = 16
_STATUS_PERIOD_S = 0.2
_SWEEPS_PERIOD_S = 1.0

# Ticks in the statistics: one minute.
_KEPT_TICKS = 3600


class Bridge(QObject):
    """Takes the newest view and facts, hands them to the widgets, and nothing else.

    Parameters
    ----------
    beep : called with "loss" or "return" when there is something to be heard
    """

    def __init__(
        self,
        desk: Desk,
        window: MainWindow,
        display: Display,
        commands: Commands,
        opening: Opening,
        *,
        beep: Callable[[str], None],
        after_tick: Callable[[], None] | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        super().__init__(window)
        self._desk, self._window, self._display = desk, window, display
        self._commands, self._opening = commands, opening
        self._beep, self._after_tick, self._clock = beep, after_tick, clock
        self._bell = AlarmBell()
        self._history = History()
        self._plots: dict[str, HistoryDialog] = {}
        self._t_status_s = self._t_sweeps_s = -float("inf")
        self._take_problem: str | None = None
        self._hidden: tuple[object, np.ndarray] | None = None
        self.facts: Facts | None = None
        self.work_s: deque[float] = deque(maxlen=_KEPT_TICKS)
        if desk.view is not None:  # of a session that ran before the window
            self._show_view(desk.view)
        window.image_view.on_painted = lambda view: desk.session.note_shown(view, clock())
        window.status_row.clicked.connect(self._show_plot)
        self._timer = QTimer(self)
        self._timer.setTimerType(Qt.TimerType.PreciseTimer)
        self._timer.setInterval(_TICK_MS)
        self._timer.timeout.connect(self.tick)

    def start(self) -> None:
        self._timer.start()

    def stop(self) -> None:
        self._timer.stop()

    def tick(self) -> None:
        """One round. Its CPU time, with the image's paint since the last, goes to `work_s`."""
        cpu_start_s = time.thread_time()
        now_s = self._clock()
        window = self._window
        view = self._desk.next_view()
        if view is not None:
            self._show_view(view)
        window.image_view.show_outline(self._desk.outline)
        window.scene_view.refresh(now_s)
        if now_s - self._t_status_s >= _STATUS_PERIOD_S:
            self._t_status_s = now_s
            self._show_facts(self._desk.facts(), now_s)
        paint_s = window.image_view.take_paint_cpu_s()
        self.work_s.append(time.thread_time() - cpu_start_s + paint_s)
        if self._after_tick is not None:
            self._after_tick()

    def _show_view(self, view: LiveView) -> None:
        self._window.image_view.show_view(view, self._desk.session.spacing_mm)
        self._window.scene_view.show_view(self._without_hidden(view))

    def _show_facts(self, facts: Facts, now_s: float) -> None:
        self.facts = facts
        self._history.add(facts, now_s)
        self._opening.poll()
        self._commands.refresh()
        self._show_safety(facts, now_s)
        window = self._window
        window.status_row.show_facts(facts)
        window.gauge_row.show_facts(facts)
        window.guidance_row.show_facts(facts)
        window.replay_bar.show_facts(facts)
        window.step_bar.show_message(self._opening.busy or facts.message)
        window.log_panel.refresh()
        self._show_buttons(facts)
        self._show_scene(facts)
        self._show_page(facts, now_s)
        for caption, plot in self._plots.items():
            plot.refresh(readings(facts)[caption].tooltip)

    def _show_safety(self, facts: Facts, now_s: float) -> None:
        """Banner, border and sound."""
        picture = picture_of(facts, self._display, self._desk.view, self._desk.plan)
        # A picture that is held says so; how new the images are that it does not show is no age.
        is_held = bool(facts.standstill) or Hold.FROZEN in facts.holds
        age_s = None if is_held and facts.alarm is None else self._desk.view_age_s
        self._window.image_view.show_picture(picture, age_s)
        self._window.scene_view.set_stale(facts.alarm is not None)
        self._window.show_border(picture.level if picture.banner else None)
        sound = self._bell.sound_for(facts.alarm, now_s)
        if facts.take.problem != self._take_problem:
            self._take_problem = facts.take.problem
            sound = sound or ("loss" if self._take_problem is not None else None)
        if sound is not None:
            self._beep(sound)

    def _show_scene(self, facts: Facts) -> None:
        scene = self._window.scene_view
        scene.show_plan(self._desk.plan if facts.status.frame == "ct" else None)
        scene.set_frame("ct" if scene.is_surface_alone else facts.status.frame)
        scene.show_surface_state(facts.surface)
        scene.show_stylus(self._desk.tip())
        scene.notes.show_watermark(watermark(facts))

    def _show_buttons(self, facts: Facts) -> None:
        buttons = self._window.button_bar.buttons
        note = f"REC {clock_time(facts.take.elapsed_s)}" if facts.take.is_recording else ""
        buttons["record"].show_state(facts.take.is_recording, note)
        buttons["freeze"].show_state(Hold.FROZEN in facts.holds)

    def _show_page(self, facts: Facts, now_s: float) -> None:
        window = self._window
        if facts.replay is not None:
            self._show_timeline(facts)
        if window.step is Step.PREPARE:
            window.prepare_page.show_facts(facts, self._desk.session.equipment)
        elif window.step is Step.REVIEW:
            window.review_page.show_facts(facts)
            window.review_page.show_marks(self._desk.journal.events, self._opening.events)
            if now_s - self._t_sweeps_s >= _SWEEPS_PERIOD_S:
                self._t_sweeps_s = now_s
                counts = self._desk.session.scene.sweep_counts()
                window.review_page.show_sweeps(counts, self._desk.hidden_sweeps)

    def _show_timeline(self, facts: Facts) -> None:
        replay = facts.replay
        server = self._desk.replay
        if replay is None or server is None:
            return
        duration_s, old = replay.duration_s, self._opening.events
        visible_s, now = self._opening.visible_s, self._desk.journal.events
        content = content_of(duration_s, visible_s, now, None, replay.position_s)
        if old:  # its sweeps, and the marks of both
            then = content_of(duration_s, visible_s, old, server.sweep.span_s[0], duration_s)
            content = replace(then, marks_s=(*then.marks_s, *content.marks_s))
        self._window.replay_bar.timeline.show_content(content)

    def _without_hidden(self, view: LiveView) -> LiveView:
        """The view with the sweeps left out that a person switched off."""
        hidden = self._desk.hidden_sweeps
        if not hidden:
            return view
        cloud = view.cloud
        key = (cloud.generation, cloud.undone, len(cloud.points_mm), hidden)
        if self._hidden is None or self._hidden[0] != key:
            sweeps = self._desk.session.scene.row_sweeps()[: len(cloud.points_mm)]
            is_shown = ~np.isin(sweeps, list(hidden))
            self._hidden = key, cloud.points_mm[: len(sweeps)][is_shown]
        # Another generation than any of the scene's: the GPU begins anew.
        generation = -1 - hash(key) % 1_000_000
        return replace(view, cloud=DrawnCloud(self._hidden[1], generation=generation))

    def _show_plot(self, caption: str) -> None:
        if caption in self._plots:
            self._plots[caption].raise_()
            return
        plot = HistoryDialog(self._window, caption, self._history)
        self._plots[caption] = plot
        plot.finished.connect(lambda _: self._plots.pop(caption, None))
        plot.show()

    @property
    def plots(self) -> dict[str, HistoryDialog]:
        """The open plots by the caption of their chip."""
        return self._plots
