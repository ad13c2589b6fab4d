"""What rows of numbers and buttons are painted on: panels whose content grows with the window."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from PySide6.QtCore import QRectF, Qt
from PySide6.QtGui import QColor, QPainter
from PySide6.QtWidgets import QWidget

from navapp.gui import style

PADDING_PX = 14
RADIUS_PX = 8.0
_GAP_PX = 10

LEFT = Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter
RIGHT = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
_CUT = Qt.TextElideMode.ElideRight


@contextmanager
def tile_painter(
    widget: QWidget, colour: str = style.PANEL, radius_px: float = RADIUS_PX
) -> Iterator[tuple[QPainter, QRectF]]:
    """A painter on a panel, and the panel's place; both in pixels of the usual window."""
    scale = style.scale_of(widget.window())
    painter = QPainter(widget)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.scale(scale, scale)
    place = QRectF(0.0, 0.0, widget.width() / scale, widget.height() / scale)
    paint_panel(painter, place, QColor(colour), radius_px)
    try:
        yield painter, place
    finally:
        painter.end()


def paint_panel(
    painter: QPainter, place: QRectF, colour: QColor, radius_px: float = RADIUS_PX
) -> None:
    """A rounded panel."""
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(colour)
    painter.drawRoundedRect(place, radius_px, radius_px)


def paint_text(
    painter: QPainter,
    place: QRectF,
    text: str,
    colour: str,
    flags: Qt.AlignmentFlag = LEFT,
) -> float:
    """Text in the painter's font, with an ellipsis where it is too long; returns its width."""
    painter.setPen(QColor(colour))
    fitted = painter.fontMetrics().elidedText(text, _CUT, int(place.width()))
    painter.drawText(place, flags, fitted)
    return float(painter.fontMetrics().horizontalAdvance(fitted))


def paint_heading(
    painter: QPainter,
    place: QRectF,
    caption: str,
    word: str,
    colour: str = style.MUTED,
    size_px: int = style.CAPTION_PX,
) -> None:
    """A caption at the left, and a word at the right as far as there is room for it."""
    painter.setFont(style.font(size_px))
    used = paint_text(painter, place, caption, style.MUTED)
    if word:
        paint_text(painter, place.adjusted(used + _GAP_PX, 0.0, 0.0, 0.0), word, colour, RIGHT)
