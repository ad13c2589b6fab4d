"""The numbers of a scan, large: speed, coverage, points, distance to CT, sweep; and guidance."""

from __future__ import annotations

import math
from dataclasses import dataclass

from PySide6.QtCore import QRectF, Qt
from PySide6.QtGui import QColor, QFontMetricsF, QPainter, QPaintEvent
from PySide6.QtWidgets import QHBoxLayout, QSizePolicy, QWidget

from navapp.desk.facts import Facts
from navapp.desk.navigation import IMAGE_PLANE
from navapp.gui import style
from navapp.gui.doors import reports_errors
from navapp.gui.readings import DASH, number
from navapp.gui.style import TEXT
from navapp.gui.tile import PADDING_PX, paint_heading, paint_text, tile_painter
from navapp.insertion import Hold
from navapp.state import VolumeState
from recon.scan_speed import Pace, ScanSpeed

_BAR_PX = 6
_NARROW_PX = 200
_LONGEST = "-188.8 mm "
INSERTING = "inserting"
# Three times the gap between images that is still good.
_FULL_BAR_MM = 3.0
_PACE_COLOURS = {Pace.GOOD: style.OK, Pace.FAST: style.WARNING, Pace.TOO_FAST: style.PROBLEM}


@dataclass(frozen=True, slots=True)
class GaugeReading:
    """`share` fills the bar, 0 to 1; None for no bar. `tooltip` is more for the mouse pointer."""

    value: str
    word: str = ""
    colour: str = TEXT
    share: float | None = None
    tooltip: str = ""


def gauge_readings(facts: Facts) -> dict[str, GaugeReading]:
    """What each gauge says, in the order in which they stand."""
    surface = facts.surface
    covered = math.nan if surface is None else surface.seen_fraction
    median_mm = math.nan if surface is None else surface.median_mm
    readings = {
        "SPEED": _speed(None if facts.standstill else facts.speed, _insertion_word(facts)),
        "COVERED": GaugeReading(
            DASH if math.isnan(covered) else f"{100.0 * covered:.0f} %",
            facts.ct_gap or "of the CT",
            share=None if math.isnan(covered) else covered,
        ),
        "POINTS": GaugeReading(f"{facts.status.n_points:,}", f"frame {facts.status.frame}"),
        "TO CT": _to_ct(median_mm, facts),
        "SWEEP": GaugeReading(f"{facts.sweep}", _insertion_word(facts)),
    }
    if facts.volume is not None:
        readings["VOLUME"] = _volume(facts.volume)
    return readings


def _to_ct(median_mm: float, facts: Facts) -> GaugeReading:
    """The median distance; amber where the cloud cannot belong there."""
    value = f"{_two_digits(median_mm)} mm"
    if facts.misplacement:
        return GaugeReading(value, "not on it", style.WARNING, tooltip=facts.misplacement)
    return GaugeReading(value, facts.ct_gap or "median")


def _speed(speed: ScanSpeed | None, insertion: str) -> GaugeReading:
    """Speed, its pace in colour and word, and as bar the widest gap between images."""
    if speed is None:
        word = "no images" if insertion == INSERTING else insertion
        return GaugeReading(f"{DASH} mm/s", word, style.MUTED, 0.0)
    share = min(1.0, speed.spacing_mm / _FULL_BAR_MM)
    colour = _PACE_COLOURS[speed.pace]
    return GaugeReading(f"{speed.speed_mm_s:.0f} mm/s", speed.pace.value, colour, share)


def _volume(volume: VolumeState) -> GaugeReading:
    """How much is in it; a volume that takes no more images says so."""
    if volume.problem is not None:
        return GaugeReading(f"{volume.n_images:,}", "ended", style.WARNING, tooltip=volume.problem)
    tooltip = "Images in volume.mha, which is saved with everything"
    if volume.n_left_out:
        tooltip += f"; {volume.n_left_out:,} came too fast for it"
    return GaugeReading(f"{volume.n_images:,}", "images", tooltip=tooltip)


def _insertion_word(facts: Facts) -> str:
    if facts.standstill:
        return facts.standstill
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
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Expanding)

    def show_reading(self, reading: GaugeReading) -> None:
        """Say something else; a repetition costs nothing."""
        if reading != self.reading:
            self.reading = reading
            line = f"{self.caption}: {reading.value} {reading.word}".strip()
            self.setToolTip(f"{line}\n{reading.tooltip}".strip())
            self.update()

    @reports_errors
    def paintEvent(self, event: QPaintEvent) -> None:
        reading = self.reading
        with tile_painter(self) as (painter, place):
            padding, caption_px, value_px = _sizes_px(place.width())
            inside = place.adjusted(padding, 0.0, -padding, 0.0)
            top = QRectF(inside.left(), 3.0, inside.width(), 24.0)
            paint_heading(painter, top, self.caption, reading.word, reading.colour, caption_px)
            painter.setFont(style.font(value_px, is_bold=True))
            value = QRectF(inside.left(), 26.0, inside.width(), 36.0)
            paint_text(painter, value, reading.value, TEXT)
            if reading.share is not None:
                bar = QRectF(inside.left(), place.bottom() - _BAR_PX - 3, inside.width(), _BAR_PX)
                colour = style.SKIN if reading.colour == TEXT else reading.colour
                _paint_bar(painter, bar, reading.share, colour)


def _sizes_px(width: float) -> tuple[int, int, int]:
    """Padding, caption and value: smaller beside an open drawer, where every gauge is narrow."""
    if width < _NARROW_PX:
        return 8, 14, 26
    return PADDING_PX, style.CAPTION_PX, style.GAUGE_PX


def _paint_bar(painter: QPainter, bar: QRectF, share: float, colour: str) -> None:
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(QColor(style.BACKGROUND))
    painter.drawRoundedRect(bar, 3, 3)
    bar.setWidth(bar.width() * share)
    painter.setBrush(QColor(colour))
    painter.drawRoundedRect(bar, 3, 3)


class GaugeRow(QWidget):
    """All gauges in a row; that of the volume only where one is built."""

    HEIGHT_PX = 72

    def __init__(self) -> None:
        super().__init__()
        captions = ("SPEED", "COVERED", "POINTS", "TO CT", "SWEEP", "VOLUME")
        self.gauges = {caption: Gauge(caption) for caption in captions}
        self.row = QHBoxLayout(self)
        self.row.setContentsMargins(0, 0, 0, 0)
        self.row.setSpacing(style.GAP_PX)
        for gauge in self.gauges.values():
            self.row.addWidget(gauge)

    def show_facts(self, facts: Facts) -> None:
        """Give every gauge its reading."""
        given = gauge_readings(facts)
        for caption, gauge in self.gauges.items():
            gauge.setVisible(caption in given)
            if caption in given:
                gauge.show_reading(given[caption])


def guidance_texts(facts: Facts) -> tuple[tuple[str, str], ...]:
    """Caption and value of each number of the guidance; dashes where nothing is seen."""
    guidance = facts.guidance
    if guidance is None:
        return (("DISTANCE", f"{DASH} mm"), ("DEPTH", f"{DASH} mm"), ("ANGLE", DASH))
    angle_rad = guidance.angle_rad
    angle = DASH if angle_rad is None else f"{number(math.degrees(angle_rad))}\u00b0"
    texts = [
        ("DISTANCE", f"{guidance.distance_mm:.1f} mm"),
        ("DEPTH", f"{guidance.depth_mm:.1f} mm"),
        ("ANGLE", angle),
    ]
    if guidance.off_line_mm is not None:
        texts.insert(1, ("OFF LINE", f"{guidance.off_line_mm:.1f} mm"))
    return tuple(texts)


def guidance_title(facts: Facts) -> str:
    """From what to what the numbers lead, and whether that is held."""
    pointer = "nothing in sight" if facts.guidance is None else facts.guidance.pointer
    held = facts.standstill or ("frozen" if Hold.FROZEN in facts.holds else "")
    return f"{facts.plan_name} from {held if _is_held(facts) else ''} {pointer}".replace("  ", " ")


def _is_held(facts: Facts) -> bool:
    """Whether the numbers are those of an image that is held."""
    is_still = bool(facts.standstill) or Hold.FROZEN in facts.holds
    return is_still and facts.guidance is not None and facts.guidance.pointer == IMAGE_PLANE


class GuidanceRow(QWidget):
    """Distance, depth and angle to the plan, readable from two metres; hidden without a plan."""

    HEIGHT_PX = 106

    def __init__(self) -> None:
        super().__init__()
        self.is_wanted = True
        self.title = ""
        self.is_held = False
        self.texts: tuple[tuple[str, str], ...] = ()
        self.hide()

    def show_facts(self, facts: Facts) -> None:
        """Follow the pointer."""
        self.setVisible(bool(facts.plan_name) and self.is_wanted)
        texts = guidance_texts(facts) if facts.plan_name else ()
        state = guidance_title(facts), texts, _is_held(facts)
        if state != (self.title, self.texts, self.is_held):
            self.title, self.texts, self.is_held = state
            self.update()

    @reports_errors
    def paintEvent(self, event: QPaintEvent) -> None:
        with tile_painter(self) as (painter, place):
            inside = place.adjusted(PADDING_PX, 0.0, -PADDING_PX, 0.0)
            width = inside.width() / max(len(self.texts), 1)
            size_px = _huge_px(width)
            for k, (caption, value) in enumerate(self.texts):
                left = inside.left() + k * width
                title = self.title if k == len(self.texts) - 1 else ""
                paint_heading(painter, QRectF(left, 5.0, width, 26.0), caption, title)
                painter.setFont(style.font(size_px, is_bold=True))
                colour = style.MUTED if self.is_held else TEXT
                paint_text(painter, QRectF(left, 30.0, width, 72.0), value, colour)


def _huge_px(width: float) -> int:
    """As large as the longest number that is likely leaves room for: one size for all of them."""
    metrics = QFontMetricsF(style.font(style.HUGE_PX, is_bold=True))
    return int(style.HUGE_PX * min(1.0, width / metrics.horizontalAdvance(_LONGEST)))
