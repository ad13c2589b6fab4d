"""One row above both views: is what is on the screen live, tracked, fast and complete?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum

from PySide6.QtCore import QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QPainter, QPaintEvent, QPolygonF
from PySide6.QtWidgets import QHBoxLayout, QSizePolicy, QWidget

from navapp.gui import style
from navapp.gui.doors import reports_errors
from navapp.gui.words import DROP_SENTENCES, drop_word
from navapp.state import SessionState, SessionStatus

_HEIGHT_PX = 76
_PADDING_PX = 14
_MARK_PX = 14
_TEXT_PX = 32
_WIDE_PX = 1500  # a narrower window has smaller values rather than cut ones
_DASH = "\u2013"


class Level(Enum):
    """How a chip is marked; each has its own shape, for those who see no colour."""

    PLAIN = style.TEXT
    OFF = style.MUTED
    OK = style.OK
    WARNING = style.WARNING
    PROBLEM = style.PROBLEM


@dataclass(frozen=True, slots=True)
class Reading:
    """What a chip says: a value, its mark, and more for the mouse pointer."""

    value: str
    level: Level = Level.PLAIN
    tooltip: str = ""


# Caption and share of the row's width: no chip moves or grows with its content.
CHIPS: dict[str, int] = {
    "SESSION": 10,
    "IMAGE": 7,
    "POSES": 7,
    "TRACKING": 15,
    "MODEL": 11,
    "END-TO-END P95": 10,
    "POINTS": 8,
    "DROPPED": 13,
}

_STATE_LEVELS = {
    SessionState.IDLE: Level.OFF,
    SessionState.CONNECTING: Level.WARNING,
    SessionState.RUNNING: Level.OK,
    SessionState.DEGRADED: Level.WARNING,
    SessionState.STOPPING: Level.OFF,
    SessionState.FAILED: Level.PROBLEM,
}


def readings(status: SessionStatus) -> dict[str, Reading]:
    """What each chip of `CHIPS` says about a session."""
    tracking_level = Level.OK if status.is_tracking_ok else Level.PROBLEM
    provider = status.provider.removesuffix("ExecutionProvider")
    return {
        "SESSION": Reading(
            status.state.value.capitalize(), _STATE_LEVELS[status.state], status.detail
        ),
        "IMAGE": _measured(status.image_rate_hz, "Hz", "Images received per second"),
        "POSES": _measured(status.pose_rate_hz, "Hz", "Poses of all tools received per second"),
        "TRACKING": Reading(status.tracking, tracking_level, status.tracking),
        "MODEL": Reading(
            f"{provider}  {_number(status.infer_p50_ms)} ms",
            tooltip=f"Median time of the network. {status.provider_reason}",
        ),
        "END-TO-END P95": _measured(
            status.end_to_end_p95_ms, "ms", "From the image's arrival to the screen, 95 of 100"
        ),
        "POINTS": Reading(f"{status.n_points:,}", tooltip=f"In the cloud, frame {status.frame}"),
        "DROPPED": _dropped(status),
    }


def _dropped(status: SessionStatus) -> Reading:
    reasons = {reason: n for reason, n in status.skipped.items() if n}
    received = f"{status.n_processed} of {status.n_received} images gave their points."
    if not reasons:
        return Reading("0", tooltip=received)
    lines = [received, *(f"{n}: {DROP_SENTENCES[reason]}" for reason, n in reasons.items())]
    largest = max(reasons, key=lambda reason: reasons[reason])
    n_others = sum(reasons.values()) - reasons[largest]
    others = f" +{n_others}" if n_others else ""
    return Reading(f"{reasons[largest]} {drop_word(largest)}{others}", tooltip="\n".join(lines))


def _measured(value: float, unit: str, tooltip: str) -> Reading:
    level = Level.OFF if math.isnan(value) else Level.PLAIN
    return Reading(f"{_number(value)} {unit}", level, tooltip)


def _number(value: float) -> str:
    """Three digits, a dash where nothing was measured."""
    if math.isnan(value):
        return _DASH
    return f"{value:.1f}" if abs(value) < 100 else f"{value:.0f}"


class Chip(QWidget):
    """A caption over a value, with a mark that has colour and shape. Its width is the layout's."""

    def __init__(self, caption: str) -> None:
        super().__init__()
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.caption = caption
        self.reading = Reading(_DASH, Level.OFF)

    def sizeHint(self) -> QSize:
        return QSize(0, _HEIGHT_PX)

    def show_reading(self, reading: Reading) -> None:
        """Say something else; a repetition costs nothing."""
        if reading != self.reading:
            self.reading = reading
            self.setToolTip(reading.tooltip)
            self.update()

    @reports_errors
    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(style.PANEL))
        painter.drawRoundedRect(self.rect(), 8, 8)
        self._paint_text(painter, 0, 4, self.caption, style.MUTED, style.SMALL_PX)
        indent = 0
        if self.reading.level not in (Level.PLAIN, Level.OFF):
            self._paint_mark(painter, QRectF(_PADDING_PX, 45, _MARK_PX, _MARK_PX))
            indent = _MARK_PX + 8
        colour = style.MUTED if self.reading.level is Level.OFF else style.TEXT
        size_px = style.LARGE_PX if self.window().width() >= _WIDE_PX else style.SMALL_PX
        self._paint_text(painter, indent, 36, self.reading.value, colour, size_px)
        painter.end()

    def _paint_mark(self, painter: QPainter, place: QRectF) -> None:
        """Disc, triangle or square: fine, look, problem."""
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(self.reading.level.value))
        if self.reading.level is Level.OK:
            painter.drawEllipse(place)
        elif self.reading.level is Level.WARNING:
            top = QPointF(place.center().x(), place.top())
            painter.drawPolygon(QPolygonF([top, place.bottomRight(), place.bottomLeft()]))
        else:
            painter.drawRect(place)

    def _paint_text(
        self, painter: QPainter, indent: int, top: int, text: str, colour: str, size_px: int
    ) -> None:
        painter.setFont(style.font(size_px))
        painter.setPen(QColor(colour))
        left = _PADDING_PX + indent
        place = QRectF(left, top, self.width() - left - _PADDING_PX // 2, _TEXT_PX)
        fitted = painter.fontMetrics().elidedText(
            text, Qt.TextElideMode.ElideRight, int(place.width())
        )
        flags = Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter
        painter.drawText(place, flags, fitted)


class StatusRow(QWidget):
    """The chips, in the order and width of `CHIPS`."""

    def __init__(self) -> None:
        super().__init__()
        self.chips = {caption: Chip(caption) for caption in CHIPS}
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(8)
        for caption, share in CHIPS.items():
            layout.addWidget(self.chips[caption], share)

    def show_status(self, status: SessionStatus) -> None:
        """Give every chip its reading."""
        for caption, reading in readings(status).items():
            self.chips[caption].show_reading(reading)
