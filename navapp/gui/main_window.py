"""The window's layout and menus; no logic."""

from __future__ import annotations

import platform
from importlib.metadata import version

from PySide6.QtCore import Signal
from PySide6.QtGui import QCloseEvent, QKeySequence
from PySide6.QtWidgets import QHBoxLayout, QMainWindow, QMessageBox, QVBoxLayout, QWidget

from navapp.gui import style
from navapp.gui.image_view import ImageView
from navapp.gui.scene_view import SceneView
from navapp.gui.status_bar import StatusRow
from navapp.gui.words import DISCLAIMER

_IMAGE_SHARE, _SCENE_SHARE = 42, 58
_SIZE_PX = (1600, 900)
_MIN_SIZE_PX = (1200, 640)
_MARGIN_PX = 10


class MainWindow(QMainWindow):
    """Status row above, live image left, scene right. `closing` is sent while all still exist."""

    closing = Signal()

    def __init__(self, title: str, spacing_mm: tuple[float, float]) -> None:
        super().__init__()
        self.setWindowTitle(title)
        self.status_row = StatusRow()
        self.image_view = ImageView(spacing_mm)
        self.scene_view = SceneView()
        views = QHBoxLayout()
        views.setSpacing(_MARGIN_PX)
        views.addWidget(self.image_view, _IMAGE_SHARE)
        views.addWidget(self.scene_view, _SCENE_SHARE)
        central = QWidget()
        layout = QVBoxLayout(central)
        layout.setContentsMargins(_MARGIN_PX, _MARGIN_PX, _MARGIN_PX, _MARGIN_PX)
        layout.setSpacing(_MARGIN_PX)
        layout.addWidget(self.status_row)
        layout.addLayout(views, 1)
        self.setCentralWidget(central)
        self._add_menus()
        self.setMinimumSize(*_MIN_SIZE_PX)
        self.resize(*_SIZE_PX)

    def closeEvent(self, event: QCloseEvent) -> None:
        self.closing.emit()
        super().closeEvent(event)

    def _add_menus(self) -> None:
        session = self.menuBar().addMenu("&Session")
        session.addAction("&Close", QKeySequence.StandardKey.Quit, self.close)
        view = self.menuBar().addMenu("&View")
        view.addAction("&Fit camera to the scene", self.scene_view.fit_camera)
        full_screen = view.addAction("Full &screen", QKeySequence("F11"))
        full_screen.setCheckable(True)
        full_screen.toggled.connect(self._show_full_screen)
        self.menuBar().addMenu("&Help").addAction("&About navapp", self._show_about)

    def _show_full_screen(self, is_on: bool) -> None:
        if is_on:
            self.showFullScreen()
        else:
            self.showNormal()

    def _show_about(self) -> None:
        QMessageBox.about(self, "About navapp", about_text())


def about_text() -> str:
    """What the program is and is not, versions, licence and credits, as rich text."""
    packages = ("PySide6_Essentials", "pyqtgraph", "onnxruntime-gpu", "numpy")
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    return (
        f"<h3>navapp {version('navapp')}</h3>"
        "<p>Real-time navigation for tracked ultrasound.</p>"
        f"<p><b>{DISCLAIMER}</b></p>"
        f"<p>Python {platform.python_version()}, {versions}.</p>"
        "<p>Licence: Apache-2.0.</p>"
        "<p>The network that ships was trained with UltraBones100k (Wu et al. 2025, CC BY 4.0).</p>"
        f"<p style='color:{style.MUTED}'>Qt is used under the LGPL version 3.</p>"
    )
