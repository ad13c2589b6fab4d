"""What is told about the 3D scene: beside it its frame and colours, on it that it is a replay."""

from __future__ import annotations

from PySide6.QtCore import QRectF
from PySide6.QtGui import QImage, QPainter, QPaintEvent
from PySide6.QtWidgets import QLabel, QWidget

from navapp.gui import style
from navapp.gui.doors import reports_errors
from navapp.gui.surface_colours import SurfaceColours, colour_table, legend
from navapp.gui.tile import RIGHT, paint_text, tile_painter

_MARGIN_PX = 12
_GAP_PX = 12
_BAR_PX = 12
_WIDEST_BAR_PX = 240


class SceneNotes:
    """`strip` belongs below the view, where it hides nothing; the watermark lies on the view.

    Parameters
    ----------
    view : keeps the watermark in its corner
    """

    def __init__(self, view: QWidget) -> None:
        self._view = view
        self.strip = NoteStrip()
        self._watermark = QLabel(view)
        self._watermark.setProperty("role", "watermark")
        self._watermark.hide()

    def show_frame(self, frame: str, stride: int) -> None:
        """The frame of the scene, and how many of its points are drawn."""
        name = f"frame {frame}, mm" if frame else ""
        drawn = "" if stride == 1 else f"1 of {stride} points drawn"
        self.strip.show_texts((f"{name}   {drawn}".strip(), drawn))

    def show_watermark(self, text: str) -> None:
        """Say that this is a replay; nothing without a text."""
        if self._watermark.text() != text:
            self._watermark.setText(text)
            self.place()
        self._watermark.setVisible(bool(text))

    def show_legend(self, mode: SurfaceColours) -> None:
        """What the colours of the CT surface mean."""
        self.strip.show_mode(mode)

    def place(self) -> None:
        """The view or the text has another size."""
        self._watermark.adjustSize()
        self._watermark.move(self._view.width() - self._watermark.width() - _MARGIN_PX, _MARGIN_PX)


class NoteStrip(QWidget):
    """One line: the legend at the right, at the left the first of the texts that has room."""

    HEIGHT_PX = 30

    def __init__(self) -> None:
        super().__init__()
        self.texts: tuple[str, ...] = ()
        self.mode = SurfaceColours.PLAIN

    def show_texts(self, texts: tuple[str, ...]) -> None:
        if texts != self.texts:
            self.texts = texts
            self.update()

    def show_mode(self, mode: SurfaceColours) -> None:
        if mode is not self.mode:
            self.mode = mode
            self.update()

    @reports_errors
    def paintEvent(self, event: QPaintEvent) -> None:
        with tile_painter(self, style.VIEW, 0.0) as (painter, place):
            painter.setFont(style.font(style.CAPTION_PX))
            inside = place.adjusted(_MARGIN_PX, 0.0, -_MARGIN_PX, 0.0)
            if self.mode is not SurfaceColours.PLAIN:
                inside.setRight(self._paint_legend(painter, inside) - _GAP_PX)
            width_of = painter.fontMetrics().horizontalAdvance
            fitting = (text for text in self.texts if width_of(text) <= inside.width())
            paint_text(painter, inside, next(fitting, ""), style.MUTED)

    def _paint_legend(self, painter: QPainter, place: QRectF) -> float:
        """Title, near end, bar, far end; returns its left edge."""
        title, low, high = legend(self.mode)
        bar_width = min(_WIDEST_BAR_PX, place.width() / 6)
        right = place.right()
        right -= paint_text(painter, place, high, style.MUTED, RIGHT) + _GAP_PX
        bar = QRectF(right - bar_width, place.center().y() - _BAR_PX / 2, bar_width, _BAR_PX)
        table = colour_table(self.mode)[1:].copy()
        table[:, 3] = 255
        image = QImage(table.data, len(table), 1, 4 * len(table), QImage.Format.Format_RGBA8888)
        painter.drawImage(bar, image)
        right = bar.left() - _GAP_PX
        for text, colour in ((low, style.MUTED), (title, style.TEXT)):
            left_of = QRectF(place.left(), place.top(), right - place.left(), place.height())
            right -= paint_text(painter, left_of, text, colour, RIGHT) + _GAP_PX
        return right
