"""One row above both views: is what is on the screen live, tracked, fast and complete?"""

from __future__ import annotations

from PySide6.QtCore import QPointF, QRectF, Qt, Signal
from PySide6.QtGui import QColor, QMouseEvent, QPainter, QPaintEvent, QPolygonF
from PySide6.QtWidgets import QHBoxLayout, QSizePolicy, QWidget

from navapp.desk.facts import Facts
from navapp.gui import style
from navapp.gui.doors import reports_errors
from navapp.gui.readings import CHIPS, DASH, Level, Reading, readings
from navapp.gui.tile import PADDING_PX, paint_heading, paint_text, tile_painter

_MARK_PX = 14
_INDENT_PX = _MARK_PX + 8


class Chip(QWidget):
    """A caption over a value, with a mark that has colour and shape. Its place and the size of its
    text are the window's; what does not fit ends in an ellipsis and is in the tooltip."""

    clicked = Signal(str)

    def __init__(self, caption: str) -> None:
        super().__init__()
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Expanding)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.caption = caption
        self.reading = Reading(DASH, Level.OFF)

    def show_reading(self, reading: Reading) -> None:
        """Say something else; a repetition costs nothing."""
        if reading != self.reading:
            self.reading = reading
            heading = " ".join(part for part in (self.caption, reading.word) if part)
            lines = (f"{heading}: {reading.value}", reading.tooltip)
            self.setToolTip("\n".join(line for line in lines if line))
            self.update()

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        self.clicked.emit(self.caption)

    @reports_errors
    def paintEvent(self, event: QPaintEvent) -> None:
        reading = self.reading
        with tile_painter(self) as (painter, place):
            inside = place.adjusted(PADDING_PX, 0.0, -PADDING_PX / 2, 0.0)
            top = QRectF(inside.left(), 7.0, inside.width(), 26.0)
            paint_heading(painter, top, self.caption, reading.word)
            value = QRectF(inside.left(), 34.0, inside.width(), 32.0)
            if reading.level not in (Level.PLAIN, Level.OFF):
                paint_mark(painter, QRectF(value.left(), 43.0, _MARK_PX, _MARK_PX), reading.level)
                value.setLeft(value.left() + _INDENT_PX)
            painter.setFont(style.font(style.LARGE_PX))
            colour = style.MUTED if reading.level is Level.OFF else style.TEXT
            paint_text(painter, value, reading.value, colour)


class StatusRow(QWidget):
    """The chips, in the order and width of `CHIPS`; a click on one sends its caption."""

    HEIGHT_PX = 72
    clicked = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self.chips = {caption: Chip(caption) for caption in CHIPS}
        self.row = QHBoxLayout(self)
        self.row.setContentsMargins(0, 0, 0, 0)
        self.row.setSpacing(style.GAP_PX)
        for caption, share in CHIPS.items():
            self.row.addWidget(self.chips[caption], share)
            self.chips[caption].clicked.connect(self.clicked)

    def show_facts(self, facts: Facts) -> None:
        """Give every chip its reading."""
        for caption, reading in readings(facts).items():
            self.chips[caption].show_reading(reading)


def paint_mark(painter: QPainter, place: QRectF, level: Level) -> None:
    """Disc, triangle or square: fine, look, problem."""
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(QColor(level.value))
    if level is Level.OK:
        painter.drawEllipse(place)
    elif level is Level.WARNING:
        top = QPointF(place.center().x(), place.top())
        painter.drawPolygon(QPolygonF([top, place.bottomRight(), place.bottomLeft()]))
    else:
        painter.drawRect(place)
