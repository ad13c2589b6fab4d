"""The controls of a recording that plays into the window; hidden while images are live."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtGui import QAction
from PySide6.QtWidgets import QHBoxLayout, QLabel, QPushButton, QWidget

from navapp.desk.facts import Facts
from navapp.gui import style
from navapp.gui.actions import ActionBook
from navapp.gui.panel import follow
from navapp.gui.timeline import Timeline

# Times real time; the keys go through them one by one.
SPEEDS = (0.25, 0.5, 1.0, 2.0, 4.0)

_BUTTONS = (("back", "\u25c4\u25c4"), ("play", ""), ("step", "Step"), ("forward", "\u25ba\u25ba"))


class ReplayBar(QWidget):
    """Back, play, step, forward, speed, loop, and the timeline."""

    HEIGHT_PX = 58

    def __init__(self, book: ActionBook) -> None:
        super().__init__()
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(style.GAP_PX)
        self.buttons: dict[str, QPushButton] = {}
        for name, text in _BUTTONS:
            self._add(layout, book[name], name, text)
        self._add(layout, book["slower"], "slower", "\u2212")
        self.speed = QLabel()
        self.speed.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.speed.setProperty("role", "speed")
        layout.addWidget(self.speed)
        self._add(layout, book["faster"], "faster", "+")
        self._add(layout, book["loop"], "loop", "Loop")
        self.buttons["loop"].setCheckable(True)
        self.is_wanted = True
        self.timeline = Timeline()
        layout.addWidget(self.timeline, 1)
        self.hide()

    def show_facts(self, facts: Facts) -> None:
        """Follow the replay."""
        replay = facts.replay
        self.setVisible(replay is not None and self.is_wanted)
        if replay is None:
            return
        self.buttons["play"].setText("Play" if replay.is_paused else "Pause")
        self.buttons["loop"].setChecked(replay.loop)
        self.speed.setText("max" if replay.speed is None else f"{replay.speed:g}x")
        self.timeline.show_position(replay.position_s)

    def _add(self, layout: QHBoxLayout, action: QAction, name: str, text: str) -> None:
        button = QPushButton(text)
        button.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        follow(
            action,
            lambda: button.setToolTip(f"{action.text()} ({action.shortcut().toString()})"),
        )
        button.setProperty("role", "play" if name == "play" else "replay")
        button.clicked.connect(action.trigger)
        layout.addWidget(button)
        self.buttons[name] = button


def next_speed(speed: float | None, direction: int) -> float:
    """The next of `SPEEDS`, up (1) or down (-1)."""
    now = SPEEDS[-1] if speed is None else speed
    if direction > 0:
        return next((s for s in SPEEDS if s > now), SPEEDS[-1])
    return next((s for s in reversed(SPEEDS) if s < now), SPEEDS[0])
