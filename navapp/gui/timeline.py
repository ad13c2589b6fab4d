"""A recording as a line: where tools were seen, where sweeps and marks lie, and where it plays."""

from __future__ import annotations

from dataclasses import dataclass

from PySide6.QtCore import QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QColor, QMouseEvent, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QSizePolicy, QWidget

from navapp.desk.journal import Event
from navapp.gui import style
from navapp.gui.doors import reports_errors
from navapp.gui.readings import clock_time
from navapp.gui.tile import RIGHT, paint_text, tile_painter
from navapp.gui.words import counted

_ENDS_SWEEP = ("freeze", "insertion off", "sweep", "clear")
_SIDE_PX = 8
_ROW_PX = 9


@dataclass(frozen=True, slots=True)
class TimelineContent:
    """All in seconds after the recording's begin."""

    duration_s: float = 0.0
    visible_s: tuple[tuple[float, float], ...] = ()
    sweeps_s: tuple[tuple[float, float], ...] = ()
    marks_s: tuple[float, ...] = ()


def content_of(
    duration_s: float,
    visible_s: tuple[tuple[float, float], ...],
    events: tuple[Event, ...],
    begin_stamp_s: float | None,
    position_s: float,
) -> TimelineContent:
    """Place a journal's events on the line.

    Parameters
    ----------
    begin_stamp_s : stamp of the recording's first message, where the events were noted while it
        was recorded; None where they were noted while it was played
    position_s : where it plays, or its end: the sweep that is open ends here
    """

    def place_s(event: Event) -> float | None:
        if begin_stamp_s is None:
            return event.replay_s
        return None if event.t_image_s is None else event.t_image_s - begin_stamp_s

    marks = [place_s(event) for event in events if event.kind == "mark"]
    sweeps: list[tuple[float, float]] = []
    begun_s: float | None = None
    for event in events:
        t_s = place_s(event)
        if t_s is None:
            continue
        is_sought = event.kind == "seek" and begin_stamp_s is None
        was_open = begun_s is not None
        if begun_s is not None and (event.kind in _ENDS_SWEEP or is_sought):
            if t_s > max(begun_s, 0.0):
                sweeps.append((max(begun_s, 0.0), t_s))
            begun_s = None
        if event.kind == "sweep":
            begun_s = t_s
        elif is_sought and was_open:  # it goes on there
            begun_s = float(event.text)
    if begun_s is not None and position_s > begun_s:
        sweeps.append((max(begun_s, 0.0), position_s))
    inside = tuple(t_s for t_s in marks if t_s is not None and 0.0 <= t_s <= duration_s)
    return TimelineContent(duration_s, visible_s, tuple(sweeps), inside)


class Timeline(QWidget):
    """Green: seen; orange: sweeps; white ticks: marks. A click or a drag is `sought`, seconds."""

    sought = Signal(float)

    def __init__(self) -> None:
        super().__init__()
        self.content = TimelineContent()
        self.position_s = 0.0
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)

    def minimumSizeHint(self) -> QSize:
        return QSize(100, 0)

    def show_content(self, content: TimelineContent) -> None:
        """Another recording, or more events."""
        if content != self.content:
            self.content = content
            self.update()

    def show_position(self, position_s: float) -> None:
        """Where it plays."""
        if position_s != self.position_s:
            self.position_s = position_s
            self.update()

    def x_of(self, t_s: float) -> float:
        """Where a time lies, in pixels."""
        width = self.width() - 2 * _SIDE_PX
        return _SIDE_PX + width * t_s / max(self.content.duration_s, 1e-9)

    def time_at(self, x: float) -> float:
        """Which time lies there, within the recording."""
        share = (x - _SIDE_PX) / max(self.width() - 2 * _SIDE_PX, 1)
        return min(1.0, max(0.0, share)) * self.content.duration_s

    def mousePressEvent(self, event: QMouseEvent) -> None:
        self.sought.emit(self.time_at(event.position().x()))

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        self.sought.emit(self.time_at(event.position().x()))

    @reports_errors
    def paintEvent(self, event: QPaintEvent) -> None:
        with tile_painter(self, style.BACKGROUND, 0.0) as (painter, place):
            scale = self.width() / place.width()
            whole = QRectF(_SIDE_PX, 6, place.width() - 2 * _SIDE_PX, 2 * _ROW_PX + 4)
            painter.fillRect(whole, QColor(style.PANEL))
            self._paint_spans(painter, scale, self.content.visible_s, 6, style.OK)
            self._paint_spans(painter, scale, self.content.sweeps_s, 6 + _ROW_PX + 4, style.SWEEP)
            painter.setPen(QPen(QColor(style.TEXT), 2))
            for t_s in self.content.marks_s:
                x = self.x_of(t_s) / scale
                painter.drawLine(QPointF(x, 4), QPointF(x, whole.bottom() + 3))
            x = self.x_of(self.position_s) / scale
            painter.setPen(QPen(QColor(style.SKIN), 3))
            painter.drawLine(QPointF(x, 0), QPointF(x, whole.bottom() + 6))
            self._paint_words(painter, QRectF(_SIDE_PX, whole.bottom() + 6, whole.width(), 24))

    def _paint_spans(
        self,
        painter: QPainter,
        scale: float,
        spans_s: tuple[tuple[float, float], ...],
        top: float,
        colour: str,
    ) -> None:
        for begin_s, end_s in spans_s:
            left = self.x_of(begin_s) / scale
            right = self.x_of(min(end_s, self.content.duration_s)) / scale
            painter.fillRect(QRectF(left, top, max(right - left, 1.0), _ROW_PX), QColor(colour))

    def _paint_words(self, painter: QPainter, place: QRectF) -> None:
        """What the colours mean, as far as there is room beside the time."""
        painter.setFont(style.font(style.CAPTION_PX))
        here, end = clock_time(self.position_s), clock_time(self.content.duration_s)
        right = place.right() - paint_text(painter, place, f"{here} / {end}", style.MUTED, RIGHT)
        words = (
            (style.OK, "seen"),
            (style.SWEEP, counted(len(self.content.sweeps_s), "sweep")),
            (style.TEXT, counted(len(self.content.marks_s), "mark")),
        )
        x = place.left()
        for colour, word in words:
            width = painter.fontMetrics().horizontalAdvance(word) + 16
            if x + width > right:
                break
            painter.fillRect(QRectF(x, place.top() + 7, 10, 10), QColor(colour))
            paint_text(painter, QRectF(x + 16, place.top(), width, 24), word, style.MUTED)
            x += width + 14
