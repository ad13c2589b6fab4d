"""The big buttons under the views, made from the table of actions: text, and the key below it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from PySide6.QtCore import QRectF, QSize, Qt, QTimer
from PySide6.QtGui import QColor, QKeyEvent, QKeySequence, QMouseEvent, QPaintEvent
from PySide6.QtWidgets import QAbstractButton, QHBoxLayout, QSizePolicy, QWidget

from navapp.gui import style
from navapp.gui.actions import ActionBook, ActionSpec
from navapp.gui.doors import reports_errors
from navapp.gui.tile import paint_panel, paint_text, tile_painter

BIG_BUTTONS = ("record", "freeze", "undo", "mark", "snapshot", "clear")
HOLD_S = 1.0

_TEXT_PX = 22

_HOLD_TICK_MS = 30
_LIT = {"record": style.PROBLEM, "freeze": style.WARNING}
_LIT_TEXTS = {"record": "Stop", "freeze": "Go on"}


class BigButton(QAbstractButton):
    """A button for a finger in a glove. One that needs a hold fills while it is held.

    Parameters
    ----------
    press : called on a click, or after the hold
    """

    def __init__(self, spec: ActionSpec, press: Callable[[], object]) -> None:
        super().__init__()
        self.spec = spec
        self.is_lit = False
        self.note = ""
        self._press = press
        self._t_down_s: float | None = None
        self._timer = QTimer(self)
        self._timer.setInterval(_HOLD_TICK_MS)
        self._timer.timeout.connect(self._advance)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)  # the space key belongs to Freeze
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Expanding)
        self.setAccessibleName(spec.text)
        self.show_spec(spec)

    def show_spec(self, spec: ActionSpec) -> None:
        """The same action, maybe with another key."""
        self.spec = spec
        self.setToolTip(f"{spec.text} ({self.key_text})")
        self.update()

    @property
    def key_text(self) -> str:
        """The key, and whether to hold it."""
        key = QKeySequence(self.spec.key).toString(QKeySequence.SequenceFormat.NativeText)
        return f"hold {key}" if self.spec.needs_hold else key

    def sizeHint(self) -> QSize:
        return QSize(0, 0)  # the row's height, and an equal share of its width

    def show_state(self, is_lit: bool, note: str = "") -> None:
        """Light the button up, and say `note` instead of its key."""
        if (is_lit, note) != (self.is_lit, self.note):
            self.is_lit, self.note = is_lit, note
            self.update()

    def begin_hold(self) -> None:
        """The finger, or the key, went down."""
        if self._t_down_s is None:
            self._t_down_s = time.perf_counter()
            self._timer.start()
            self.update()

    def end_hold(self) -> None:
        """It went up again."""
        self._t_down_s = None
        self._timer.stop()
        self.update()

    @property
    def held_share(self) -> float:
        """How much of the hold is done, 0 to 1."""
        if self._t_down_s is None:
            return 0.0
        return min(1.0, (time.perf_counter() - self._t_down_s) / HOLD_S)

    def mousePressEvent(self, event: QMouseEvent) -> None:
        super().mousePressEvent(event)
        if self.spec.needs_hold:
            self.begin_hold()

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        is_click = self.isDown() and self.rect().contains(event.position().toPoint())
        super().mouseReleaseEvent(event)
        if self.spec.needs_hold:
            self.end_hold()
        elif is_click:
            self._press()

    @reports_errors
    def paintEvent(self, event: QPaintEvent) -> None:
        lit = _LIT.get(self.spec.name, style.SKIN)
        with tile_painter(self, lit if self.is_lit else style.PANEL) as (painter, place):
            if self.held_share > 0.0:
                held = QRectF(0.0, 0.0, place.width() * self.held_share, place.height())
                paint_panel(painter, held, QColor(style.PROBLEM))
            elif self.underMouse() and not self.is_lit:
                paint_panel(painter, place, QColor(255, 255, 255, 14))
            lit_text = _LIT_TEXTS.get(self.spec.name, self.spec.text)
            middle = Qt.AlignmentFlag.AlignCenter
            painter.setFont(style.font(_TEXT_PX, is_bold=True))
            top = QRectF(0.0, 8.0, place.width(), 34.0)
            colour = style.BACKGROUND if self.is_lit else style.TEXT
            paint_text(painter, top, lit_text if self.is_lit else self.spec.text, colour, middle)
            painter.setFont(style.font(style.SMALL_PX))
            below = QRectF(0.0, 42.0, place.width(), 26.0)
            colour = style.BACKGROUND if self.is_lit else style.MUTED
            paint_text(painter, below, self.note or self.key_text, colour, middle)

    def _advance(self) -> None:
        if self.held_share >= 1.0:
            self.end_hold()
            self._press()
        self.update()


class ButtonBar(QWidget):
    """The buttons of `BIG_BUTTONS`, in that order."""

    HEIGHT_PX = 76

    def __init__(self, book: ActionBook) -> None:
        super().__init__()
        self.row = QHBoxLayout(self)
        self.row.setContentsMargins(0, 0, 0, 0)
        self.row.setSpacing(style.GAP_PX)
        self.buttons = {
            name: BigButton(book.specs[name], book[name].trigger) for name in BIG_BUTTONS
        }
        for button in self.buttons.values():
            self.row.addWidget(button)

    def show_specs(self, specs: Mapping[str, ActionSpec]) -> None:
        """The same actions, maybe with other keys."""
        for name, button in self.buttons.items():
            button.show_spec(specs[name])


class HoldKeys:
    """Lets the key of a button that needs a hold do what a finger on it does."""

    def __init__(self, buttons: dict[str, BigButton]) -> None:
        self._buttons = [button for button in buttons.values() if button.spec.needs_hold]
        self._held: tuple[int, BigButton] | None = None

    def pressed(self, event: QKeyEvent) -> bool:
        """A key went down; True where it is one of ours."""
        pressed = QKeySequence(event.keyCombination())
        ours = (each for each in self._buttons if QKeySequence(each.spec.key) == pressed)
        button = next(ours, None)
        if button is None:
            return False
        if not event.isAutoRepeat():
            self._held = event.key(), button
            button.begin_hold()
        return True

    def released(self, event: QKeyEvent) -> bool:
        """A key went up; True where it is one of ours. Its modifiers may have gone before."""
        if event.isAutoRepeat() or self._held is None or event.key() != self._held[0]:
            return False
        self._held[1].end_hold()
        self._held = None
        return True
