"""The live image with the bone line over it, in true proportions, the skin at the top."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pyqtgraph import functions
from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import (
    QColor,
    QImage,
    QMouseEvent,
    QPainter,
    QPainterPath,
    QPaintEvent,
    QTransform,
)
from PySide6.QtWidgets import QWidget

from inference.postprocess import MAX_STEP_MM, BoneLine
from navapp.desk.outline import Outline
from navapp.gui import image_overlays, style
from navapp.gui.doors import reports_errors
from navapp.gui.readings import Level
from navapp.state import LiveView

_RULER_WIDTH_PX = 66
_MARGIN_PX = 12
_BANNER_HEIGHT_PX = 44
_DIMMED = 0.3
# The outline is drawn on the image that it was computed for, or on one that is this much newer.
_OUTLINE_MAX_AGE_S = 0.15


@dataclass(frozen=True, slots=True)
class Picture:
    """How the newest image is to be shown; `banner` says in words why it may not be trusted, and
    `waiting` why there is none yet."""

    banner: str = ""
    waiting: str = ""
    level: Level = Level.PROBLEM
    is_dimmed: bool = False
    watermark: str = ""
    has_overlay: bool = True
    opacity: float = 1.0
    is_flipped_x: bool = False
    is_flipped_y: bool = False
    target_px: tuple[float, float] | None = None
    target_text: str = ""


class ImageView(QWidget):
    """Draws the newest view. `on_painted` is called once for each view that reached the screen.

    Flips are of the display alone: everything is drawn through `screen_from_pixel`, and a click is
    taken back through it, so that a pixel stays the pixel it is.

    Parameters
    ----------
    spacing_mm : pixel spacing (column, row) of the calibration
    """

    def __init__(self, spacing_mm: tuple[float, float]) -> None:
        super().__init__()
        self.setAttribute(Qt.WidgetAttribute.WA_OpaquePaintEvent)
        self.setMinimumSize(240, 200)
        self.on_painted: Callable[[LiveView], None] | None = None
        self.on_picked: Callable[[LiveView, float, float], None] | None = None
        self.picture = Picture()
        self._spacing_mm = spacing_mm
        self._view: LiveView | None = None
        self._image = QImage()
        self._line = QPainterPath()
        self._outline = QPainterPath()
        self._outline_of: Outline | None = None
        self._is_painted = False
        self._age_s: float | None = None
        self._paint_cpu_s = 0.0

    def show_view(self, view: LiveView, spacing_mm: tuple[float, float] | None = None) -> None:
        """Draw `view` at the next paint."""
        if spacing_mm is not None:
            self._spacing_mm = spacing_mm
        rows, columns = view.frame.pixels.shape
        # The QImage borrows the array's memory, so the array stays with it.
        self._pixels = np.ascontiguousarray(view.frame.pixels)
        grey = QImage.Format.Format_Grayscale8
        self._image = QImage(self._pixels.data, columns, rows, columns, grey)
        self._line = line_path(view.line, self._spacing_mm)
        self._view = view
        self._is_painted = False
        self.update()

    def forget(self) -> None:
        """Another session begins: what is on the screen is none of its images."""
        self._view, self._image, self._line = None, QImage(), QPainterPath()
        self.show_outline(None)
        self.update()

    def show_outline(self, outline: Outline | None) -> None:
        """The section of the CT surface with an image, once it is known."""
        if outline is self._outline_of:
            return
        self._outline_of = outline
        self._outline = QPainterPath() if outline is None else outline_path(outline)
        self.update()

    def show_picture(self, picture: Picture, age_s: float | None) -> None:
        """How to show it, and how old the newest result is."""
        shown_s = None if age_s is None else math.floor(10.0 * age_s) / 10.0
        if picture != self.picture or shown_s != self._age_s:
            self.picture, self._age_s = picture, shown_s
            self.update()

    @property
    def has_view(self) -> bool:
        """Whether there has been an image."""
        return self._view is not None

    @property
    def banner(self) -> str:
        """The words over the image; empty where there is nothing to say."""
        return self.picture.banner if self._view is not None else ""

    def image_rect(self) -> QRectF:
        """Where the image lies in the widget: as large as fits, millimetres square, centred."""
        width_mm = max(self._image.width(), 1) * self._spacing_mm[0]
        height_mm = max(self._image.height(), 1) * self._spacing_mm[1]
        sizes = style.scale_of(self.window())
        free_width = self.width() - sizes * (_RULER_WIDTH_PX + _MARGIN_PX)
        free_height = self.height() - sizes * 2 * (_BANNER_HEIGHT_PX + _MARGIN_PX)
        scale = max(min(free_width / width_mm, free_height / height_mm), 1e-3)
        size = (width_mm * scale, height_mm * scale)
        left = sizes * _RULER_WIDTH_PX + (free_width - size[0]) / 2
        return QRectF(left, (self.height() - size[1]) / 2, *size)

    def screen_from_pixel(self) -> QTransform:
        """Pixel (u, v), whole numbers at its centre, to widget coordinates; flips included."""
        rect = self.image_rect()
        scale_u = rect.width() / max(self._image.width(), 1)
        scale_v = rect.height() / max(self._image.height(), 1)
        plain = QTransform(
            scale_u, 0.0, 0.0, scale_v, rect.left() + 0.5 * scale_u, rect.top() + 0.5 * scale_v
        )
        flip = QTransform()
        if self.picture.is_flipped_x:
            flip = flip * QTransform(-1.0, 0.0, 0.0, 1.0, 2.0 * rect.center().x(), 0.0)
        if self.picture.is_flipped_y:
            flip = flip * QTransform(1.0, 0.0, 0.0, -1.0, 0.0, 2.0 * rect.center().y())
        return plain * flip

    def take_paint_cpu_s(self) -> float:
        """CPU time of the paints since the last call."""
        paint_cpu_s, self._paint_cpu_s = self._paint_cpu_s, 0.0
        return paint_cpu_s

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        """A click on the image picks the pixel under it."""
        if self._view is None or self.on_picked is None:
            return
        if self.image_rect().contains(event.position()):
            pixel_from_screen, _ = self.screen_from_pixel().inverted()
            pixel = pixel_from_screen.map(event.position())
            self.on_picked(self._view, pixel.x(), pixel.y())

    @reports_errors
    def paintEvent(self, event: QPaintEvent) -> None:
        cpu_start_s = time.thread_time()
        painter = QPainter(self)
        painter.fillRect(self.rect(), QColor(style.VIEW))
        if self._view is None:
            self._paint_waiting(painter)
        else:
            self._paint_image(painter)
            self._paint_overlays(painter)
        painter.end()
        self._paint_cpu_s += time.thread_time() - cpu_start_s
        if self._view is not None and not self._is_painted:
            self._is_painted = True
            if self.on_painted is not None:
                self.on_painted(self._view)

    def _paint_waiting(self, painter: QPainter) -> None:
        painter.setPen(QColor(style.MUTED))
        scale = style.scale_of(self.window())
        middle = self.rect().center().y()
        for text, size_px, shift_px in (
            ("Waiting for the first image", style.LARGE_PX, -30),
            (self.picture.waiting, style.SMALL_PX, 10),
        ):
            painter.setFont(style.font(round(scale * size_px)))
            place = self.rect().adjusted(_MARGIN_PX, 0, -_MARGIN_PX, 0)
            place.setTop(middle + round(scale * shift_px))
            wrapped = Qt.AlignmentFlag.AlignHCenter | Qt.TextFlag.TextWordWrap
            painter.drawText(place, wrapped, text)

    def _paint_image(self, painter: QPainter) -> None:
        painter.setOpacity(_DIMMED if self.picture.is_dimmed else 1.0)
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        if self.picture.is_flipped_x or self.picture.is_flipped_y:
            painter.save()
            painter.setTransform(self.screen_from_pixel())
            painter.drawImage(QPointF(-0.5, -0.5), self._image)
            painter.restore()
        else:  # the fast way
            painter.drawImage(self.image_rect(), self._image)

    def _paint_overlays(self, painter: QPainter) -> None:
        rect, picture = self.image_rect(), self.picture
        screen_from_pixel = self.screen_from_pixel()
        painter.setOpacity(picture.opacity * (_DIMMED if picture.is_dimmed else 1.0))
        if picture.has_overlay:
            if self._is_outline_fresh():
                image_overlays.paint_outline(painter, screen_from_pixel.map(self._outline), rect)
            image_overlays.paint_line(painter, screen_from_pixel.map(self._line))
        painter.setOpacity(1.0)
        # From here on in pixels of the usual window.
        scale = style.scale_of(self.window())
        painter.scale(scale, scale)
        rect = QRectF(rect.topLeft() / scale, rect.size() / scale)
        if picture.target_px is not None:
            place = screen_from_pixel.map(QPointF(*picture.target_px)) / scale
            image_overlays.paint_target(painter, place, rect, picture.target_text)
        height_mm = self._image.height() * self._spacing_mm[1]
        image_overlays.paint_ruler(painter, rect, height_mm, picture.is_flipped_y)
        image_overlays.paint_marker(painter, rect, picture.is_flipped_x, picture.is_flipped_y)
        image_overlays.paint_age(painter, rect, self._age_s)
        if picture.watermark:
            image_overlays.paint_watermark(painter, rect, picture.watermark)
        if picture.banner:
            top, width = rect.top() - _BANNER_HEIGHT_PX - 4, self.width() / scale
            above = QRectF(0.0, top, width, _BANNER_HEIGHT_PX)
            image_overlays.paint_banner(painter, rect, above, picture.banner, picture.level)

    def _is_outline_fresh(self) -> bool:
        if self._outline_of is None or self._view is None:
            return False
        newer_s = (
            self._view.frame.stamps.t_arrival_s - self._outline_of.view.frame.stamps.t_arrival_s
        )
        return abs(newer_s) <= _OUTLINE_MAX_AGE_S and self._view.A_target_pixel is not None


def line_path(line: BoneLine, spacing_mm: tuple[float, float]) -> QPainterPath:
    """The bone line in pixels, broken where a column is missing or the depth jumps."""
    u, v = line.points_px.T
    return functions.arrayToQPath(u, v, connect=_connected(u, v, spacing_mm), finiteCheck=False)


def outline_path(outline: Outline) -> QPainterPath:
    """The section's segments, each for itself: they come in no order."""
    u, v = outline.segments_px.reshape(-1, 2).T
    return functions.arrayToQPath(u, v, connect="pairs", finiteCheck=False)


def _connected(
    u: NDArray[np.float64], v: NDArray[np.float64], spacing_mm: tuple[float, float]
) -> NDArray[np.int32]:
    """1 where a point is joined to the next one."""
    joined = np.zeros(u.size, dtype=np.int32)
    joined[:-1] = (np.diff(u) < 1.5) & (np.abs(np.diff(v)) * spacing_mm[1] <= MAX_STEP_MM)
    return joined
