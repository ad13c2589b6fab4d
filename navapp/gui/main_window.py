"""The window's layout; no logic."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtGui import (
    QCloseEvent,
    QColor,
    QDragEnterEvent,
    QDropEvent,
    QKeyEvent,
    QPainter,
    QPaintEvent,
    QResizeEvent,
)
from PySide6.QtWidgets import (
    QApplication,
    QDockWidget,
    QLineEdit,
    QMainWindow,
    QSplitter,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)

from navapp.gui import style
from navapp.gui.actions import ACTIONS, ActionBook, ActionSpec
from navapp.gui.buttons import ButtonBar, HoldKeys
from navapp.gui.doors import reports_errors
from navapp.gui.gauges import GaugeRow, GuidanceRow
from navapp.gui.image_view import ImageView
from navapp.gui.log_panel import LogPanel
from navapp.gui.prepare_page import PreparePage
from navapp.gui.readings import Level
from navapp.gui.register_page import RegisterPage
from navapp.gui.replay_bar import ReplayBar
from navapp.gui.review_page import ReviewPage
from navapp.gui.scene_view import SceneView
from navapp.gui.settings_drawer import SettingsDrawer
from navapp.gui.status_bar import StatusRow
from navapp.gui.steps import LAYOUTS, Step, StepBar

_MIN_SIZE_PX = (960, 540)
_MARGIN_PX = 10
_BORDER_PX = 6
_LEAVES_FIELD = (Qt.Key.Key_Return, Qt.Key.Key_Enter, Qt.Key.Key_Escape)


class MainWindow(QMainWindow):
    """Steps and chips above, panel, live image and scene side by side, numbers and buttons below.

    `closing` is sent while all still exist, `dropped` with the path of a file let fall on it.
    """

    closing = Signal()
    dropped = Signal(str)

    def __init__(
        self,
        title: str,
        spacing_mm: tuple[float, float],
        specs: tuple[ActionSpec, ...] = ACTIONS,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        super().__init__()
        self.setWindowTitle(title)
        self.setAcceptDrops(True)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.book = ActionBook(self, specs, clock)
        self.step_bar = StepBar(self.book)
        self.status_row = StatusRow()
        self.image_view = ImageView(spacing_mm)
        self.scene_view = SceneView()
        self.prepare_page = PreparePage()
        self.register_page = RegisterPage(self.book)
        self.review_page = ReviewPage(self.book)
        self.gauge_row = GaugeRow()
        self.guidance_row = GuidanceRow()
        self.button_bar = ButtonBar(self.book)
        self.replay_bar = ReplayBar(self.book)
        self.settings_drawer = SettingsDrawer()
        self.log_panel = LogPanel()
        self.step = Step.SCAN
        self._shares = {step: LAYOUTS[step].shares for step in Step}
        self._hold_keys = HoldKeys(self.button_bar.buttons)
        self._lay_out()
        self._add_menus()
        self._scale = 1.0
        self._rescale()
        self.setMinimumSize(*_MIN_SIZE_PX)
        self.resize(first_size(self.screen().availableSize()))
        self.show_step(Step.SCAN)

    def show_step(self, step: Step) -> None:
        """Go to a step, with the layout that it had when it was left."""
        self._keep_layout()
        self.step = step
        pages = {
            Step.PREPARE: self.prepare_page,
            Step.REGISTER: self.register_page,
            Step.REVIEW: self.review_page,
        }
        self._panel.setVisible(step in pages)
        if step in pages:
            self._panel.setCurrentWidget(pages[step])
        layout = LAYOUTS[step]
        self._scene.setVisible(self._shares[step][2] > 0)
        self.gauge_row.setVisible(layout.has_gauges)
        self.button_bar.setVisible(layout.has_buttons)
        self.replay_bar.is_wanted = layout.has_replay
        self.guidance_row.is_wanted = layout.has_guidance
        total = max(self._splitter.width(), _MIN_SIZE_PX[0])
        shares = self._shares[step]
        self._splitter.setSizes([total * share // sum(shares) for share in shares])
        self.step_bar.show_step(step)
        self.setFocus()  # a field that takes letters would take the keys of the actions

    def show_keys(self, specs: tuple[ActionSpec, ...]) -> None:
        """The actions have these keys from now on."""
        self.book.remap(specs)
        self.button_bar.show_specs(self.book.specs)

    def show_border(self, level: Level | None) -> None:
        """A border around both views; None for none. Its word is the banner's."""
        self._border.show_level(level)

    @property
    def border_level(self) -> Level | None:
        """What the border says now."""
        return self._border.level

    def closeEvent(self, event: QCloseEvent) -> None:
        self.closing.emit()
        self.log_panel.detach()
        super().closeEvent(event)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        scale = style.scale_of(self)
        if scale != self._scale:
            self._scale = scale
            self._rescale()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Return and Escape leave a field: the keys, and a pedal, are the actions' again."""
        if event.key() in _LEAVES_FIELD and isinstance(QApplication.focusWidget(), QLineEdit):
            self.setFocus()
        if not self._hold_keys.pressed(event):
            super().keyPressEvent(event)

    def keyReleaseEvent(self, event: QKeyEvent) -> None:
        if not self._hold_keys.released(event):
            super().keyReleaseEvent(event)

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        if event.mimeData().hasUrls():
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:
        for url in event.mimeData().urls():
            if url.isLocalFile():
                self.dropped.emit(url.toLocalFile())

    def _rescale(self) -> None:
        """All sizes follow the window's."""
        self.setStyleSheet(style.style_sheet(self._scale))
        self.settings_drawer.setMinimumWidth(round(self._scale * self.settings_drawer.WIDTH_PX))
        notes = self.scene_view.notes
        rows = (self.status_row, self.guidance_row, self.replay_bar, self.gauge_row)
        for row in (*rows, self.button_bar, notes.strip):
            row.setFixedHeight(round(self._scale * row.HEIGHT_PX))
        gap, margin = int(self._scale * style.GAP_PX), int(self._scale * _MARGIN_PX)
        for widget in (self.status_row, self.gauge_row, self.button_bar):
            widget.row.setSpacing(gap)
        for page in (self.prepare_page, self.register_page, self.review_page):
            page.column.setSpacing(gap)
        self.prepare_page.form.setSpacing(gap)
        self._column.setContentsMargins(margin, 4, margin, margin)
        notes.place()

    def _lay_out(self) -> None:
        self._panel = QStackedWidget()
        for page in (self.prepare_page, self.register_page, self.review_page):
            self._panel.addWidget(page)
        self._splitter = QSplitter(Qt.Orientation.Horizontal)
        self._splitter.setChildrenCollapsible(False)
        self._scene = QWidget()
        _column(self._scene, (self.scene_view, self.scene_view.notes.strip), self.scene_view, 0)
        for widget in (self._panel, self.image_view, self._scene):
            self._splitter.addWidget(widget)
        self._border = _Border(self._splitter)
        rows = (self.guidance_row, self.replay_bar, self.gauge_row, self.button_bar)
        views = QWidget()
        _column(views, (self._border, *rows), self._border)
        # A window in the window: drawers take their room from the views and not from the chips.
        self._room = QMainWindow()
        self._room.setWindowFlags(Qt.WindowType.Widget)
        self._room.setCentralWidget(views)
        central = QWidget()
        whole = (self.step_bar, self.status_row, self._room)
        self._column = _column(central, whole, self._room)
        self.setCentralWidget(central)
        self.settings_dock = self._dock(
            "Settings", self.settings_drawer, Qt.DockWidgetArea.RightDockWidgetArea
        )
        self.log_dock = self._dock("Log", self.log_panel, Qt.DockWidgetArea.BottomDockWidgetArea)

    def _dock(self, title: str, widget: QWidget, area: Qt.DockWidgetArea) -> QDockWidget:
        dock = QDockWidget(title, self._room)
        dock.setWidget(widget)
        dock.setFeatures(QDockWidget.DockWidgetFeature.DockWidgetClosable)
        self._room.addDockWidget(area, dock)
        dock.hide()
        return dock

    def _add_menus(self) -> None:
        for title, actions in self.book.menus().items():
            menu = self.menuBar().addMenu(f"&{title}")
            menu.addActions(actions)

    def _keep_layout(self) -> None:
        sizes = self._splitter.sizes()
        if self.isVisible() and sum(sizes) > 0:
            self._shares[self.step] = (sizes[0], sizes[1], sizes[2])


def first_size(available: QSize) -> QSize:
    """How large a window opens: as usual, or as large as the screen where that is smaller."""
    return QSize(*style.USUAL_PX).boundedTo(available)


def _column(
    parent: QWidget, widgets: Sequence[QWidget], grows: QWidget, spacing_px: int = style.GAP_PX
) -> QVBoxLayout:
    """Widgets below each other; `grows` takes the room."""
    layout = QVBoxLayout(parent)
    layout.setContentsMargins(0, 0, 0, 0)
    layout.setSpacing(spacing_px)
    for widget in widgets:
        layout.addWidget(widget, 1 if widget is grows else 0)
    return layout


class _Border(QWidget):
    """A frame around the views that lights up."""

    def __init__(self, inside: QWidget) -> None:
        super().__init__()
        self.level: Level | None = None
        layout = QVBoxLayout(self)
        layout.setContentsMargins(_BORDER_PX, _BORDER_PX, _BORDER_PX, _BORDER_PX)
        layout.addWidget(inside)

    def show_level(self, level: Level | None) -> None:
        if level is not self.level:
            self.level = level
            self.update()

    @reports_errors
    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        colour = style.BACKGROUND if self.level is None else self.level.value
        painter.fillRect(self.rect(), QColor(colour))
        inside = self.rect().adjusted(_BORDER_PX, _BORDER_PX, -_BORDER_PX, -_BORDER_PX)
        painter.fillRect(inside, QColor(style.BACKGROUND))
        painter.end()
