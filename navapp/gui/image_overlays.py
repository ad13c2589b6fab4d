"""What is painted over and around the live image; each in screen coordinates."""

from __future__ import annotations

from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QPainter, QPainterPath, QPen

from navapp.gui import style
from navapp.gui.readings import Level

_LINE_WIDTH_PX = 2.5
_TICK_MM = 10
_TICK_LABEL_PX = 54
_AGE_BAR_PX = 6
_WATERMARK_PX = 36
_AGE_FULL_S = 1.0
_FRESH_S, _OLD_S = 0.1, 0.2


def paint_line(painter: QPainter, line: QPainterPath) -> None:
    """The bone line that the network found."""
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setBrush(Qt.BrushStyle.NoBrush)
    painter.setPen(QPen(QColor(style.BONE_FOUND), _LINE_WIDTH_PX))
    painter.drawPath(line)


def paint_outline(painter: QPainter, outline: QPainterPath, rect: QRectF) -> None:
    """The section of the CT surface, within the image."""
    painter.save()
    painter.setClipRect(rect)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setBrush(Qt.BrushStyle.NoBrush)
    painter.setPen(QPen(QColor(style.BONE_CT), 2.0))
    painter.drawPath(outline)
    painter.restore()


def paint_ruler(painter: QPainter, rect: QRectF, height_mm: float, is_flipped: bool) -> None:
    """Depth below the transducer's side, a tick per centimetre."""
    pixels_per_mm = rect.height() / height_mm
    painter.setPen(QColor(style.MUTED))
    painter.setFont(style.font(style.SMALL_PX))
    flags = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
    for depth_mm in range(0, int(height_mm) + 1, _TICK_MM):
        down_px = depth_mm * pixels_per_mm
        y = rect.bottom() - down_px if is_flipped else rect.top() + down_px
        painter.drawLine(QPointF(rect.left() - 8, y), QPointF(rect.left() - 2, y))
        label = QRectF(rect.left() - _TICK_LABEL_PX - 12, y - 12, _TICK_LABEL_PX, 24)
        painter.drawText(label, flags, f"{depth_mm}" if depth_mm else "0 mm")


def paint_marker(painter: QPainter, rect: QRectF, is_flipped_x: bool, is_flipped_y: bool) -> None:
    """The side of the image's first column, as the notch of the probe; and whether flipped."""
    radius = 9.0
    inset = radius + 8.0
    x = rect.right() - inset if is_flipped_x else rect.left() + inset
    y = rect.bottom() - inset if is_flipped_y else rect.top() + inset
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setPen(QPen(QColor(style.VIEW), 2))
    painter.setBrush(QColor(style.SKIN))
    painter.drawEllipse(QPointF(x, y), radius, radius)
    painter.setPen(QColor(style.VIEW))
    painter.setFont(style.font(13, is_bold=True))
    box = QRectF(x - radius, y - radius, 2 * radius, 2 * radius)
    painter.drawText(box, Qt.AlignmentFlag.AlignCenter, "1")
    if is_flipped_x or is_flipped_y:
        painter.setPen(QColor(style.WARNING))
        painter.setFont(style.font(style.SMALL_PX, is_bold=True))
        place = QRectF(rect.left(), rect.bottom() + 14, rect.width(), 26)
        flags = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        painter.drawText(place, flags, "display flipped")


def paint_age(painter: QPainter, rect: QRectF, age_s: float | None) -> None:
    """A bar under the image: short and green is fresh, long and red is not; with its number."""
    if age_s is None:
        return
    bar = QRectF(rect.left(), rect.bottom() + 6, rect.width(), _AGE_BAR_PX)
    colour = style.OK if age_s < _FRESH_S else style.WARNING if age_s < _OLD_S else style.PROBLEM
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(QColor(style.PANEL))
    painter.drawRect(bar)
    painter.setBrush(QColor(colour))
    share = min(1.0, max(age_s, 0.02) / _AGE_FULL_S)
    painter.drawRect(QRectF(bar.left(), bar.top(), bar.width() * share, bar.height()))
    painter.setPen(QColor(style.MUTED))
    painter.setFont(style.font(style.SMALL_PX))
    text = "fresh" if age_s < _FRESH_S else f"{age_s:.1f} s old"
    flags = Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter
    painter.drawText(QRectF(rect.left(), rect.bottom() + 14, rect.width(), 26), flags, text)


def paint_watermark(painter: QPainter, rect: QRectF, text: str) -> None:
    """So that nobody takes a recording for the patient."""
    painter.setFont(style.font(style.LARGE_PX, is_bold=True))
    if painter.fontMetrics().horizontalAdvance(text) > 0.75 * rect.width():
        painter.setFont(style.font(style.SMALL_PX - 3, is_bold=True))
    width = painter.fontMetrics().horizontalAdvance(text) + 24
    box = QRectF(rect.right() - width - 8, rect.top() + 8, width, _WATERMARK_PX)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setPen(QPen(QColor(style.WARNING), 2))
    painter.setBrush(QColor(7, 9, 12, 200))
    painter.drawRoundedRect(box, 6, 6)
    painter.setPen(QColor(style.WARNING))
    painter.drawText(box, Qt.AlignmentFlag.AlignCenter, text)


def paint_target(painter: QPainter, place: QPointF, rect: QRectF, text: str) -> None:
    """A cross at the target's projection; at the rim, where it lies outside of the image."""
    x = min(max(place.x(), rect.left()), rect.right())
    y = min(max(place.y(), rect.top()), rect.bottom())
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setPen(QPen(QColor(style.TARGET), 3))
    painter.setBrush(Qt.BrushStyle.NoBrush)
    painter.drawEllipse(QPointF(x, y), 12, 12)
    for dx, dy in ((1, 0), (-1, 0), (0, 1), (0, -1)):
        painter.drawLine(QPointF(x + 6 * dx, y + 6 * dy), QPointF(x + 20 * dx, y + 20 * dy))
    painter.setFont(style.font(style.SMALL_PX, is_bold=True))
    painter.setPen(QColor(style.TARGET))
    width = painter.fontMetrics().horizontalAdvance(text)
    left = min(x + 22, rect.right() - width - 6)
    top = y - 42 if y > rect.top() + _WATERMARK_PX + 42 else y + 24
    box = QRectF(left - 4, top, width + 8, 24)
    painter.fillRect(box, QColor(7, 9, 12, 170))
    painter.drawText(box, Qt.AlignmentFlag.AlignCenter, text)


def paint_banner(painter: QPainter, rect: QRectF, above: QRectF, text: str, level: Level) -> None:
    """A border around the image and the reason in words above it."""
    painter.setPen(QPen(QColor(level.value), 4))
    painter.setBrush(Qt.BrushStyle.NoBrush)
    painter.drawRect(rect)
    painter.setFont(style.font(style.LARGE_PX, is_bold=True))
    if painter.fontMetrics().horizontalAdvance(text) > above.width() - 16:
        painter.setFont(style.font(style.SMALL_PX, is_bold=True))
    # Two lines where one is too short; of what is longer still, the beginning.
    fitted = painter.fontMetrics().elidedText(
        text, Qt.TextElideMode.ElideRight, int(1.8 * (above.width() - 16))
    )
    flags = Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextWordWrap
    painter.drawText(above.adjusted(8, 0, -8, 0), flags, fitted)
