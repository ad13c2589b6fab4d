"""The live image with the bone line over it, in true proportions, the skin at the top."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from pyqtgraph import functions
from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QImage, QPainter, QPainterPath, QPaintEvent, QPen, QTransform
from PySide6.QtWidgets import QWidget

from inference.postprocess import MAX_STEP_MM, BoneLine
from navapp.gui import style
from navapp.gui.doors import reports_errors
from navapp.gui.words import DROP_SENTENCES
from navapp.state import LiveView

_LINE_WIDTH_PX = 2.5
_RULER_WIDTH_PX = 66
_MARGIN_PX = 12
_BANNER_HEIGHT_PX = 44
_TICK_MM = 10
_DIMMED = 0.3


class ImageView(QWidget):
    """Draws the newest view. `on_painted` is called once for each view that reached the screen.

    Parameters
    ----------
    spacing_mm : pixel spacing (column, row) of the calibration
    """

    def __init__(self, spacing_mm: tuple[float, float]) -> None:
        super().__init__()
        self.setAttribute(Qt.WidgetAttribute.WA_OpaquePaintEvent)
        self.setMinimumSize(320, 240)
        self.on_painted: Callable[[LiveView], None] | None = None
        self._spacing_mm = spacing_mm
        self._view: LiveView | None = None
        self._image = QImage()
        self._line = QPainterPath()
        self._is_painted = False
        self._stale_s: float | None = None
        self._paint_cpu_s = 0.0

    def show_view(self, view: LiveView) -> None:
        """Draw `view` at the next paint."""
        rows, columns = view.frame.pixels.shape
        # The QImage borrows the array's memory, so the array stays with it.
        self._pixels = np.ascontiguousarray(view.frame.pixels)
        grey = QImage.Format.Format_Grayscale8
        self._image = QImage(self._pixels.data, columns, rows, columns, grey)
        self._line = line_path(view.line, self._spacing_mm)
        self._view = view
        self._is_painted = False
        self.update()

    def set_stale(self, age_s: float | None) -> None:
        """Mark the image as `age_s` old, None where it is fresh."""
        shown_s = None if age_s is None else float(int(age_s))
        if shown_s != self._stale_s:
            self._stale_s = shown_s
            self.update()

    @property
    def has_view(self) -> bool:
        """Whether there has been an image."""
        return self._view is not None

    @property
    def banner(self) -> str:
        """The words over the image; empty where there is nothing to say."""
        if self._view is None:
            return ""
        if self._stale_s is not None:
            return f"NO NEW IMAGE for {self._stale_s:.0f} s"
        if self._view.dropped is None:
            return ""
        head = "NO POSE" if self._view.A_target_pixel is None else "NO POINTS"
        return f"{head}: {DROP_SENTENCES[self._view.dropped]}"

    def image_rect(self) -> QRectF:
        """Where the image lies in the widget: as large as fits, millimetres square, centred."""
        width_mm = max(self._image.width(), 1) * self._spacing_mm[0]
        height_mm = max(self._image.height(), 1) * self._spacing_mm[1]
        free_width = self.width() - _RULER_WIDTH_PX - _MARGIN_PX
        free_height = self.height() - 2 * (_BANNER_HEIGHT_PX + _MARGIN_PX)
        scale = max(min(free_width / width_mm, free_height / height_mm), 1e-3)
        size = (width_mm * scale, height_mm * scale)
        left = _RULER_WIDTH_PX + (free_width - size[0]) / 2
        return QRectF(left, (self.height() - size[1]) / 2, *size)

    def screen_from_pixel(self) -> QTransform:
        """Pixel (u, v) to widget coordinates; a pixel's centre is a whole number."""
        rect = self.image_rect()
        scale_u = rect.width() / max(self._image.width(), 1)
        scale_v = rect.height() / max(self._image.height(), 1)
        return QTransform(
            scale_u, 0.0, 0.0, scale_v, rect.left() + 0.5 * scale_u, rect.top() + 0.5 * scale_v
        )

    def take_paint_cpu_s(self) -> float:
        """CPU time of the paints since the last call."""
        paint_cpu_s, self._paint_cpu_s = self._paint_cpu_s, 0.0
        return paint_cpu_s

    @reports_errors
    def paintEvent(self, event: QPaintEvent) -> None:
        cpu_start_s = time.thread_time()
        painter = QPainter(self)
        painter.fillRect(self.rect(), QColor(style.VIEW))
        if self._view is None:
            self._paint_waiting(painter)
        else:
            self._paint_image(painter)
            self._paint_line(painter)
            self._paint_ruler(painter)
            self._paint_banner(painter)
        painter.end()
        self._paint_cpu_s += time.thread_time() - cpu_start_s
        if self._view is not None and not self._is_painted:
            self._is_painted = True
            if self.on_painted is not None:
                self.on_painted(self._view)

    def _paint_waiting(self, painter: QPainter) -> None:
        painter.setPen(QColor(style.MUTED))
        painter.setFont(style.font(style.LARGE_PX))
        painter.drawText(self.rect(), Qt.AlignmentFlag.AlignCenter, "Waiting for the first image")

    def _paint_image(self, painter: QPainter) -> None:
        painter.setOpacity(1.0 if self._stale_s is None else _DIMMED)
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        painter.drawImage(self.image_rect(), self._image)

    def _paint_line(self, painter: QPainter) -> None:
        pen = QPen(QColor(style.BONE_FOUND), _LINE_WIDTH_PX)
        pen.setCosmetic(True)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(pen)
        painter.drawPath(self.screen_from_pixel().map(self._line))
        painter.setOpacity(1.0)

    def _paint_ruler(self, painter: QPainter) -> None:
        rect = self.image_rect()
        pixels_per_mm = rect.height() / (self._image.height() * self._spacing_mm[1])
        painter.setPen(QColor(style.MUTED))
        painter.setFont(style.font(style.SMALL_PX))
        for depth_mm in range(0, int(rect.height() / pixels_per_mm) + 1, _TICK_MM):
            y = rect.top() + depth_mm * pixels_per_mm
            painter.drawLine(QPointF(rect.left() - 8, y), QPointF(rect.left() - 2, y))
            label = QRectF(rect.left() - _RULER_WIDTH_PX, y - 12, _RULER_WIDTH_PX - 12, 24)
            flags = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
            painter.drawText(label, flags, f"{depth_mm}" if depth_mm else "0 mm")

    def _paint_banner(self, painter: QPainter) -> None:
        text = self.banner
        if not text:
            return
        rect = self.image_rect()
        painter.setPen(QPen(QColor(style.PROBLEM), 4))
        painter.drawRect(rect)
        half = min(rect.center().x(), self.width() - rect.center().x())
        top = rect.top() - _BANNER_HEIGHT_PX - 4
        place = QRectF(rect.center().x() - half, top, 2 * half, _BANNER_HEIGHT_PX)
        painter.setFont(style.font(style.LARGE_PX, is_bold=True))
        fitted = painter.fontMetrics().elidedText(
            text, Qt.TextElideMode.ElideRight, int(place.width())
        )
        painter.drawText(place, Qt.AlignmentFlag.AlignCenter, fitted)


def line_path(line: BoneLine, spacing_mm: tuple[float, float]) -> QPainterPath:
    """The bone line in pixels, broken where a column is missing or the depth jumps."""
    u, v = line.points_px.T
    return functions.arrayToQPath(u, v, connect=_connected(u, v, spacing_mm), finiteCheck=False)


def _connected(
    u: NDArray[np.float64], v: NDArray[np.float64], spacing_mm: tuple[float, float]
) -> NDArray[np.int32]:
    """1 where a point is joined to the next one."""
    joined = np.zeros(u.size, dtype=np.int32)
    joined[:-1] = (np.diff(u) < 1.5) & (np.abs(np.diff(v)) * spacing_mm[1] <= MAX_STEP_MM)
    return joined
