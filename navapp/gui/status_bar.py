"""One row above both views: is what is on the screen live, tracked, fast and complete?"""

from __future__ import annotations

from PySide6.QtCore import QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QColor, QMouseEvent, QPainter, QPaintEvent, QPolygonF
from PySide6.QtWidgets import QHBoxLayout, QSizePolicy, QWidget

from navapp.desk.facts import Facts
from navapp.gui import style
from navapp.gui.doors import reports_errors
from navapp.gui.readings import CHIPS, DASH, Level, Reading, readings

_HEIGHT_PX = 72
_PADDING_PX = 14
_MARK_PX = 14
_TEXT_PX = 32
_WIDE_PX = 1500  # a narrower window has smaller values rather than cut ones


class Chip(QWidget):
    """A caption over a value, with a mark that has colour and shape. Its width is the layout's."""

    clicked = Signal(str)

    def __init__(self, caption: str) -> None:
        super().__init__()
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.caption = caption
        self.reading = Reading(DASH, Level.OFF)

    def sizeHint(self) -> QSize:
        return QSize(0, _HEIGHT_PX)

    def show_reading(self, reading: Reading) -> None:
        """Say something else; a repetition costs nothing."""
        if reading != self.reading:
            self.reading = reading
            self.setToolTip(reading.tooltip)
            self.update()

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        self.clicked.emit(self.caption)

    @reports_errors
    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(style.PANEL))
        painter.drawRoundedRect(self.rect(), 8, 8)
        self._paint_text(painter, 0, 4, self.caption, style.MUTED, style.SMALL_PX)
        if self.reading.word:
            indent = painter.fontMetrics().horizontalAdvance(self.caption) + 10
            self._paint_text(painter, indent, 4, self.reading.word, style.MUTED, style.SMALL_PX)
        indent = 0
        if self.reading.level not in (Level.PLAIN, Level.OFF):
            paint_mark(painter, QRectF(_PADDING_PX, 43, _MARK_PX, _MARK_PX), self.reading.level)
            indent = _MARK_PX + 8
        colour = style.MUTED if self.reading.level is Level.OFF else style.TEXT
        size_px = style.LARGE_PX if self.window().width() >= _WIDE_PX else style.SMALL_PX
        self._paint_text(painter, indent, 34, self.reading.value, colour, size_px)
        painter.end()

    def _paint_text(
        self, painter: QPainter, indent: int, top: int, text: str, colour: str, size_px: int
    ) -> None:
        left = _PADDING_PX + indent
        place = QRectF(left, top, self.width() - left - _PADDING_PX // 2, _TEXT_PX)
        painter.setFont(style.font(size_px))
        if painter.fontMetrics().horizontalAdvance(text) > place.width():
            painter.setFont(style.font(style.SMALL_PX - 2))
        painter.setPen(QColor(colour))
        fitted = painter.fontMetrics().elidedText(
            text, Qt.TextElideMode.ElideRight, int(place.width())
        )
        flags = Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter
        painter.drawText(place, flags, fitted)


class StatusRow(QWidget):
    """The chips, in the order and width of `CHIPS`; a click on one sends its caption."""

    clicked = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self.chips = {caption: Chip(caption) for caption in CHIPS}
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(style.GAP_PX)
        for caption, share in CHIPS.items():
            layout.addWidget(self.chips[caption], share)
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
