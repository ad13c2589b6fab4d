"""The one timer: the engine's newest state to the widgets, 60 times a second."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Protocol

from PySide6.QtCore import QObject, Qt, QTimer

from navapp.channels import Source
from navapp.gui.main_window import MainWindow
from navapp.state import LiveView, SessionStatus
from recon.surface import TriangleMesh

_TICK_MS = 16
_STATUS_PERIOD_S = 0.2

# An image older than this no longer shows what the probe sees: marked in words and dimmed.
STALE_AFTER_S = 1.0

# Ticks in the statistics: one minute.
_KEPT_TICKS = 3600


class Engine(Protocol):
    """All that the window knows of a session."""

    @property
    def views(self) -> Source[LiveView]:
        """The newest frame that went through; read without waiting."""

    @property
    def surface(self) -> TriangleMesh | None:
        """The CT surface in the frame of the cloud; None until that frame is known to be CT's."""

    def status(self) -> SessionStatus:
        """A consistent look at the session; cheap enough for 10 calls a second."""

    def note_shown(self, view: LiveView, t_shown_s: float) -> None:
        """`view` was painted at `t_shown_s` (`perf_counter()`)."""


class Bridge(QObject):
    """Takes the newest view and status, hands them to the widgets, and nothing else."""

    def __init__(
        self,
        engine: Engine,
        window: MainWindow,
        after_tick: Callable[[], None] | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        super().__init__(window)
        self._engine = engine
        self._window = window
        self._after_tick = after_tick
        self._clock = clock
        self._t_view_s: float | None = None
        self._t_status_s = -float("inf")
        self.work_s: deque[float] = deque(maxlen=_KEPT_TICKS)
        window.image_view.on_painted = lambda view: engine.note_shown(view, clock())
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
        view = self._engine.views.take(0.0)
        if view is not None:
            self._t_view_s = now_s
            self._window.image_view.show_view(view)
            self._window.scene_view.show_view(view)
        self._show_age(now_s)
        self._window.scene_view.refresh(now_s)
        if now_s - self._t_status_s >= _STATUS_PERIOD_S:
            self._t_status_s = now_s
            self._show_status(self._engine.status())
        paint_s = self._window.image_view.take_paint_cpu_s()
        self.work_s.append(time.thread_time() - cpu_start_s + paint_s)
        if self._after_tick is not None:
            self._after_tick()

    def _show_status(self, status: SessionStatus) -> None:
        self._window.status_row.show_status(status)
        self._window.scene_view.set_frame(status.frame)
        self._window.scene_view.set_surface(self._engine.surface)

    def _show_age(self, now_s: float) -> None:
        if self._t_view_s is None:
            return
        age_s = now_s - self._t_view_s
        stale_s = age_s if age_s > STALE_AFTER_S else None
        self._window.image_view.set_stale(stale_s)
        self._window.scene_view.set_stale(stale_s is not None)
