"""The four steps of a session, the buttons that lead through them, and each one's layout."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from PySide6.QtCore import Qt
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QButtonGroup, QHBoxLayout, QLabel, QPushButton, QSizePolicy, QWidget

from navapp.gui import style
from navapp.gui.actions import ActionBook


class Step(Enum):
    """The values are names of actions."""

    PREPARE = "prepare"
    REGISTER = "register"
    SCAN = "scan"
    REVIEW = "review"


@dataclass(frozen=True, slots=True)
class StepLayout:
    """Shares of the width (panel, image, scene), and which rows are below the views."""

    shares: tuple[int, int, int]
    has_gauges: bool
    has_buttons: bool
    has_replay: bool = True
    has_guidance: bool = True


LAYOUTS: dict[Step, StepLayout] = {
    Step.PREPARE: StepLayout((52, 48, 0), False, False, has_replay=False, has_guidance=False),
    Step.REGISTER: StepLayout((30, 27, 43), False, False, has_guidance=False),
    Step.SCAN: StepLayout((0, 42, 58), True, True),
    Step.REVIEW: StepLayout((30, 28, 42), True, False),
}


class StepBar(QWidget):
    """A button per step, and beside them the newest message."""

    def __init__(self, book: ActionBook) -> None:
        super().__init__()
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(style.GAP_PX)
        group = QButtonGroup(self)
        self.buttons: dict[Step, QPushButton] = {}
        for k, step in enumerate(Step):
            action = book[step.value]
            button = QPushButton(f"{k + 1}  {action.text()}")
            button.setCheckable(True)
            button.setFocusPolicy(Qt.FocusPolicy.NoFocus)
            button.setProperty("role", "step")
            button.clicked.connect(action.trigger)
            group.addButton(button)
            layout.addWidget(button)
            self.buttons[step] = button
        self.message = ""
        self._message = QLabel()
        self._message.setProperty("role", "muted")
        self._message.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self._message.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        layout.addWidget(self._message, 1)

    @property
    def shown_message(self) -> str:
        """The message as it is seen: a long one leaves out its middle, which the tooltip has."""
        return self._message.text()

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._fit_message()

    def show_step(self, step: Step) -> None:
        """Light up the button of a step."""
        self.buttons[step].setChecked(True)

    def show_message(self, text: str) -> None:
        """Say something beside the buttons."""
        if text != self.message:
            self.message = text
            self._message.setToolTip(text)
            self._fit_message()

    def _fit_message(self) -> None:
        metrics, elide = self._message.fontMetrics(), Qt.TextElideMode.ElideMiddle
        room = self.width() - self.buttons[Step.REVIEW].geometry().right() - 2 * style.GAP_PX
        self._message.setText(metrics.elidedText(self.message, elide, room))
