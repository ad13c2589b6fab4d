"""What the panels of the steps are made of: sentences, rows of buttons, tables, file names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from PySide6.QtCore import QEvent, QRect, Qt
from PySide6.QtGui import QAction, QPainter, QPaintEvent
from PySide6.QtWidgets import (
    QAbstractItemView,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QLineEdit,
    QPushButton,
    QStyle,
    QStyleOptionFrame,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from navapp.gui import style
from navapp.gui.doors import reports_errors

_ROW_LINES = 1.25
_TEXT_MARGIN_PX = 2  # as inside a QLineEdit


class Panel(QWidget):
    """A column."""

    def __init__(self) -> None:
        super().__init__()
        self.column = QVBoxLayout(self)
        self.column.setContentsMargins(4, 4, 4, 4)
        self.column.setSpacing(style.GAP_PX)

    def add_buttons(
        self, *actions: QAction, first: QPushButton | None = None
    ) -> dict[str, QPushButton]:
        """A row of equal buttons for actions, each with its key; by the action's text. `first`
        stands before them."""
        row = QHBoxLayout()
        row.setSpacing(style.GAP_PX)
        buttons = {}
        if first is not None:
            row.addWidget(first, 1)
        for action in actions:
            button = QPushButton()
            follow(action, partial(_show_key, button, action))
            button.setFocusPolicy(Qt.FocusPolicy.NoFocus)
            button.clicked.connect(action.trigger)
            row.addWidget(button, 1)
            buttons[action.text()] = button
        self.column.addLayout(row)
        return buttons


def follow(action: QAction, show: Callable[[], None]) -> None:
    """Show an action's text and key now, and whenever they are others."""
    show()
    action.changed.connect(show)


def _show_key(button: QPushButton, action: QAction) -> None:
    button.setText(f"{action.text()}  {action.shortcut().toString()}".strip())


def label(text: str = "", role: str = "") -> QLabel:
    """A label that breaks its lines; `role` is "title", "muted" or "problem"."""
    result = QLabel(text)
    result.setProperty("role", role)
    result.setWordWrap(role != "title")
    return result


class Table(QTableWidget):
    """Rows of text that are read, not typed into; the last column takes the room.

    It has room for all its rows, from `n_least` of them up to `n_most`.
    """

    def __init__(self, headers: Sequence[str], n_least: int, n_most: int) -> None:
        super().__init__(0, len(headers))
        self._n_least, self._n_most = n_least, n_most
        self.setHorizontalHeaderLabels(list(headers))
        self.verticalHeader().hide()
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setShowGrid(False)
        header = self.horizontalHeader()
        header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        header.setStretchLastSection(True)
        header.setDefaultAlignment(Qt.AlignmentFlag.AlignLeft)

    def fill(self, rows: Sequence[Sequence[str]]) -> None:
        """Show rows of text, each also as a tooltip; what is shown already is not touched."""
        if self.rowCount() != len(rows):
            self.setRowCount(len(rows))
            self._keep_room()
        for i, row in enumerate(rows):
            for j, text in enumerate(row):
                item = self.item(i, j)
                if item is None:
                    item = QTableWidgetItem()
                    self.setItem(i, j, item)
                if item.text() != text:
                    item.setText(text)
                    item.setToolTip(text)

    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if event.type() in (QEvent.Type.FontChange, QEvent.Type.StyleChange):
            self._keep_room()

    def _keep_room(self) -> None:
        row = round(_ROW_LINES * self.fontMetrics().height())
        self.verticalHeader().setDefaultSectionSize(row)
        header = self.horizontalHeader()
        above = 0 if header.isHidden() else header.sizeHint().height()
        n_rows = min(max(self.rowCount(), self._n_least), self._n_most)
        self.setMinimumHeight(above + n_rows * row + 3 * row // 4)  # and the frame


class PathEdit(QLineEdit):
    """A field for a file's path that shows the file's name also where the path is too long for it:
    an ellipsis stands for the folders, which the tooltip tells, until the field is typed into."""

    def __init__(self) -> None:
        super().__init__()
        self.textChanged.connect(self.setToolTip)

    @property
    def shown(self) -> str:
        """The text as it is seen."""
        if self.hasFocus():
            return self.text()
        elide = Qt.TextElideMode.ElideLeft
        return self.fontMetrics().elidedText(self.text(), elide, self._inside()[1].width())

    def _inside(self) -> tuple[QStyleOptionFrame, QRect]:
        option = QStyleOptionFrame()
        self.initStyleOption(option)
        contents = QStyle.SubElement.SE_LineEditContents
        inside = self.style().subElementRect(contents, option, self)
        return option, inside.adjusted(_TEXT_MARGIN_PX, 0, -_TEXT_MARGIN_PX, 0)

    @reports_errors
    def paintEvent(self, event: QPaintEvent) -> None:
        if self.shown == self.text():
            super().paintEvent(event)
            return
        option, inside = self._inside()
        painter = QPainter(self)
        self.style().drawPrimitive(QStyle.PrimitiveElement.PE_PanelLineEdit, option, painter, self)
        painter.setPen(self.palette().text().color())
        painter.drawText(inside, Qt.AlignmentFlag.AlignVCenter, self.shown)
        painter.end()
