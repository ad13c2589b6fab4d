"""The numbers of a scan, large: speed, coverage, points, distance to CT, sweep; and guidance."""

from __future__ import annotations

import math
from dataclasses import dataclass

from PySide6.QtCore import QRectF, QSize, Qt
from PySide6.QtGui import QColor, QPainter, QPaintEvent
from PySide6.QtWidgets import QHBoxLayout, QSizePolicy, QWidget

from navapp.desk.facts import Facts
from navapp.gui import style
from navapp.gui.doors import reports_errors
from navapp.gui.readings import DASH, number
from navapp.gui.style import TEXT
from recon.scan_speed import Pace, ScanSpeed

_HEIGHT_PX = 64
_PADDING_PX = 14
_BAR_PX = 6
INSERTING = "inserting"
# Three times the gap between images that is still good.
_FULL_BAR_MM = 3.0
_PACE_COLOURS = {Pace.GOOD: style.OK, Pace.FAST: style.WARNING, Pace.TOO_FAST: style.PROBLEM}


@dataclass(frozen=True, slots=True)
class GaugeReading:
    """`share` fills the bar, 0 to 1; None for no bar."""

    value: str
    word: str = ""
    colour: str = TEXT
    share: float | None = None


def gauge_readings(facts: Facts) -> dict[str, GaugeReading]:
    """What each gauge says, in the order in which they stand."""
    surface = facts.surface
    covered = math.nan if surface is None else surface.seen_fraction
    median_mm = math.nan if surface is None else surface.median_mm
    return {
        "SPEED": _speed(facts.speed, _insertion_word(facts)),
        "COVERED": GaugeReading(
            DASH if math.isnan(covered) else f"{100.0 * covered:.0f} %",
            "no CT" if surface is None else "of the CT",
            share=None if math.isnan(covered) else covered,
        ),
        "POINTS": GaugeReading(f"{facts.status.n_points:,}", f"frame {facts.status.frame}"),
        "TO CT": GaugeReading(f"{_two_digits(median_mm)} mm", "median"),
        "SWEEP": GaugeReading(f"{facts.sweep}", _insertion_word(facts)),
    }


def _speed(speed: ScanSpeed | None, insertion: str) -> GaugeReading:
    """Speed, its pace in colour and word, and as bar the widest gap between images."""
    if speed is None:
        word = "no images" if insertion == INSERTING else insertion
        return GaugeReading(f"{DASH} mm/s", word, style.MUTED, 0.0)
    share = min(1.0, speed.spacing_mm / _FULL_BAR_MM)
    colour = _PACE_COLOURS[speed.pace]
    return GaugeReading(f"{speed.speed_mm_s:.0f} mm/s", speed.pace.value, colour, share)


def _insertion_word(facts: Facts) -> str:
    if facts.alarm is not None:
        return "held"
    return INSERTING if not facts.holds else facts.holds[0].value


def _two_digits(value: float) -> str:
    return DASH if math.isnan(value) else f"{value:.2f}"


class Gauge(QWidget):
    """A caption, a value, a word and a bar."""

    def __init__(self, caption: str) -> None:
        super().__init__()
        self.caption = caption
        self.reading = GaugeReading(DASH)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)

    def sizeHint(self) -> QSize:
        return QSize(150, _HEIGHT_PX)

    def show_reading(self, reading: GaugeReading) -> None:
        """Say something else; a repetition costs nothing."""
        if reading != self.reading:
            self.reading = reading
            self.update()

    @reports_errors
    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(style.PANEL))
        painter.drawRoundedRect(self.rect(), 8, 8)
        left, right = _PADDING_PX, self.width() - _PADDING_PX
        top = QRectF(left, 3, right - left, 24)
        middle = Qt.AlignmentFlag.AlignVCenter
        painter.setFont(style.font(style.SMALL_PX - 2))
        painter.setPen(QColor(style.MUTED))
        painter.drawText(top, Qt.AlignmentFlag.AlignLeft | middle, self.caption)
        painter.setPen(QColor(self.reading.colour if self.reading.word else style.MUTED))
        painter.drawText(top, Qt.AlignmentFlag.AlignRight | middle, self.reading.word)
        painter.setPen(QColor(TEXT))
        painter.setFont(style.font(style.LARGE_PX, is_bold=True))
        place = QRectF(left, 25, right - left, 28)
        painter.drawText(place, Qt.AlignmentFlag.AlignLeft | middle, self.reading.value)
        if self.reading.share is not None:
            bar = QRectF(left, self.height() - _BAR_PX - 4, right - left, _BAR_PX)
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(QColor(style.BACKGROUND))
            painter.drawRoundedRect(bar, 3, 3)
            bar.setWidth(bar.width() * self.reading.share)
            is_plain = self.reading.colour == TEXT
            painter.setBrush(QColor(style.SKIN if is_plain else self.reading.colour))
            painter.drawRoundedRect(bar, 3, 3)
        painter.end()


class GaugeRow(QWidget):
    """All gauges in a row."""

    def __init__(self) -> None:
        super().__init__()
        captions = ("SPEED", "COVERED", "POINTS", "TO CT", "SWEEP")
        self.gauges = {caption: Gauge(caption) for caption in captions}
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(style.GAP_PX)
        for gauge in self.gauges.values():
            layout.addWidget(gauge)

    def show_facts(self, facts: Facts) -> None:
        """Give every gauge its reading."""
        for caption, reading in gauge_readings(facts).items():
            self.gauges[caption].show_reading(reading)


def guidance_texts(facts: Facts) -> tuple[tuple[str, str], ...]:
    """Caption and value of each number of the guidance; dashes where nothing is seen."""
    guidance = facts.guidance
    if guidance is None:
        return (("DISTANCE", f"{DASH} mm"), ("DEPTH", f"{DASH} mm"), ("ANGLE", f"{DASH}\u00b0"))
    angle = DASH if guidance.angle_rad is None else number(math.degrees(guidance.angle_rad))
    texts = [
        ("DISTANCE", f"{guidance.distance_mm:.1f} mm"),
        ("DEPTH", f"{guidance.depth_mm:.1f} mm"),
        ("ANGLE", f"{angle}\u00b0"),
    ]
    if guidance.off_line_mm is not None:
        texts.insert(1, ("OFF LINE", f"{guidance.off_line_mm:.1f} mm"))
    return tuple(texts)


class GuidanceRow(QWidget):
    """Distance, depth and angle to the plan, readable from two metres; hidden without a plan."""

    def __init__(self) -> None:
        super().__init__()
        self.setFixedHeight(104)
        self._title = ""
        self.texts: tuple[tuple[str, str], ...] = ()
        self.hide()

    def show_facts(self, facts: Facts) -> None:
        """Follow the pointer."""
        self.setVisible(bool(facts.plan_name))
        pointer = "nothing in sight" if facts.guidance is None else facts.guidance.pointer
        title = f"{facts.plan_name} from {pointer}"
        texts = guidance_texts(facts) if facts.plan_name else ()
        if (title, texts) != (self._title, self.texts):
            self._title, self.texts = title, texts
            self.update()

    @reports_errors
    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(style.PANEL))
        painter.drawRoundedRect(self.rect(), 8, 8)
        painter.setPen(QColor(style.MUTED))
        painter.setFont(style.font(style.SMALL_PX))
        left = Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter
        painter.drawText(QRectF(_PADDING_PX, 4, self.width(), 26), left, self._title)
        width = (self.width() - 2 * _PADDING_PX) / max(len(self.texts), 1)
        for k, (caption, value) in enumerate(self.texts):
            place = QRectF(_PADDING_PX + k * width, 28, width, 72)
            painter.setPen(QColor(style.MUTED))
            painter.setFont(style.font(style.SMALL_PX))
            painter.drawText(place, left, caption)
            painter.setPen(QColor(TEXT))
            painter.setFont(style.font(style.HUGE_PX, is_bold=True))
            painter.drawText(place.adjusted(118, 0, 0, 0), left, value)
        painter.end()
