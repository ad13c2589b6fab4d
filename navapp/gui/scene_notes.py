"""Words over the 3D scene: its frame, what its colours mean, and that it is a replay."""

from __future__ import annotations

from PySide6.QtCore import QRectF, Qt
from PySide6.QtGui import QColor, QImage, QPainter, QPaintEvent
from PySide6.QtWidgets import QLabel, QWidget

from navapp.gui import style
from navapp.gui.doors import reports_errors
from navapp.gui.surface_colours import SurfaceColours, colour_table, legend

_MARGIN_PX = 12


class SceneNotes:
    """Labels that lie on the view and keep to its corners."""

    def __init__(self, view: QWidget) -> None:
        self._view = view
        self._frame = QLabel(view)
        self._watermark = QLabel(view)
        self._legend = _Legend(view)
        plain = f"color: {style.MUTED}; background: transparent;"
        self._frame.setStyleSheet(plain)
        self._watermark.setStyleSheet(
            f"color: {style.WARNING}; background: {style.VIEW}; border: 2px solid {style.WARNING};"
            "border-radius: 6px; padding: 3px 10px; font-weight: bold;"
        )
        self._frame.setFont(style.font(style.SMALL_PX))
        self._watermark.setFont(style.font(style.LARGE_PX, is_bold=True))
        self._watermark.hide()
        self._legend.hide()

    def show_frame(self, frame: str, stride: int) -> None:
        """The frame of the scene, and how many of its points are drawn."""
        drawn = "" if stride == 1 else f"   1 of {stride} points drawn"
        self._set(self._frame, f"frame {frame}, mm{drawn}" if frame else "")

    def show_watermark(self, text: str) -> None:
        """Say that this is a replay; nothing without a text."""
        self._set(self._watermark, text)
        self._watermark.setVisible(bool(text))

    def show_legend(self, mode: SurfaceColours) -> None:
        """What the colours of the CT surface mean."""
        self._legend.show_mode(mode)
        self._legend.setVisible(bool(legend(mode)[0]))

    def place(self) -> None:
        """The view has another size."""
        bottom = self._view.height() - self._frame.height() - 8
        self._frame.move(_MARGIN_PX, bottom)
        self._watermark.move(self._view.width() - self._watermark.width() - _MARGIN_PX, _MARGIN_PX)
        self._legend.move(_MARGIN_PX, _MARGIN_PX)

    def _set(self, label: QLabel, text: str) -> None:
        if label.text() != text:
            label.setText(text)
            label.adjustSize()
            self.place()


class _Legend(QWidget):
    """A title, a bar of the colours, and words at both ends."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self._mode = SurfaceColours.PLAIN
        self.setFixedSize(380, 66)

    def show_mode(self, mode: SurfaceColours) -> None:
        self._mode = mode
        self.update()

    @reports_errors
    def paintEvent(self, event: QPaintEvent) -> None:
        title, low, high = legend(self._mode)
        painter = QPainter(self)
        painter.fillRect(self.rect(), QColor(style.VIEW))
        painter.setFont(style.font(style.SMALL_PX - 2))
        painter.setPen(QColor(style.TEXT))
        width = float(self.width())
        left, right = Qt.AlignmentFlag.AlignLeft, Qt.AlignmentFlag.AlignRight
        painter.drawText(QRectF(0, 0, width, 22), left, title)
        table = colour_table(self._mode)[1:].copy()
        table[:, 3] = 255
        image = QImage(table.data, len(table), 1, 4 * len(table), QImage.Format.Format_RGBA8888)
        painter.drawImage(QRectF(0, 24, width, 12), image)
        painter.setPen(QColor(style.MUTED))
        painter.drawText(QRectF(0, 40, width, 22), left, low)
        painter.drawText(QRectF(0, 40, width, 22), right, high)
        painter.end()
