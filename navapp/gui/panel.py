"""What the panels of the steps are made of: a title, muted sentences, rows of buttons, tables."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Qt
from PySide6.QtGui import QAction
from PySide6.QtWidgets import (
    QAbstractItemView,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QPushButton,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from navapp.gui import style

_ROW_PX = 28


class Panel(QWidget):
    """A column with a title."""

    def __init__(self, title: str) -> None:
        super().__init__()
        self.column = QVBoxLayout(self)
        self.column.setContentsMargins(4, 4, 4, 4)
        self.column.setSpacing(style.GAP_PX)
        self.column.addWidget(label(title, "title"))

    def add_buttons(self, *actions: QAction) -> dict[str, QPushButton]:
        """A row of buttons for actions, each with its key; by the action's text."""
        row = QHBoxLayout()
        row.setSpacing(style.GAP_PX)
        buttons = {}
        for action in actions:
            key = action.shortcut().toString()
            button = QPushButton(f"{action.text()}  {key}".strip())
            button.setFocusPolicy(Qt.FocusPolicy.NoFocus)
            button.clicked.connect(action.trigger)
            row.addWidget(button)
            buttons[action.text()] = button
        self.column.addLayout(row)
        return buttons


def label(text: str = "", role: str = "") -> QLabel:
    """A label that breaks its lines; `role` is "title", "muted" or "problem"."""
    result = QLabel(text)
    result.setProperty("role", role)
    result.setWordWrap(role != "title")
    return result


def table(headers: Sequence[str], n_least: int = 1) -> QTableWidget:
    """An empty table that is read, not typed into; the last column takes the room.

    It is never smaller than `n_least` rows.
    """
    result = QTableWidget(0, len(headers))
    result.setHorizontalHeaderLabels(list(headers))
    result.verticalHeader().hide()
    result.verticalHeader().setDefaultSectionSize(_ROW_PX)
    result.setMinimumHeight((n_least + 1) * _ROW_PX + 2 * style.GAP_PX)
    result.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
    result.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
    result.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
    result.setFocusPolicy(Qt.FocusPolicy.NoFocus)
    result.setShowGrid(False)
    header = result.horizontalHeader()
    header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
    header.setStretchLastSection(True)
    header.setDefaultAlignment(Qt.AlignmentFlag.AlignLeft)
    return result


def fill(target: QTableWidget, rows: Sequence[Sequence[str]]) -> None:
    """Show rows of text; what is shown already is not touched."""
    if target.rowCount() != len(rows):
        target.setRowCount(len(rows))
    for i, row in enumerate(rows):
        for j, text in enumerate(row):
            item = target.item(i, j)
            if item is None:
                target.setItem(i, j, QTableWidgetItem(text))
            elif item.text() != text:
                item.setText(text)
