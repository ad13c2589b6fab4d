"""What the program is and is not, and which key does what."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from importlib.metadata import version

from PySide6.QtCore import Qt
from PySide6.QtGui import QKeySequence
from PySide6.QtWidgets import QDialog, QGridLayout, QHBoxLayout, QLabel, QVBoxLayout, QWidget

from navapp.gui import style
from navapp.gui.actions import ActionSpec
from navapp.gui.panel import label
from navapp.gui.words import DISCLAIMER

_COLUMNS = 3
_KEY_PX = 120


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


class KeySheet(QDialog):
    """Every action with its key and the name that settings call it."""

    def __init__(self, parent: QWidget, specs: Mapping[str, ActionSpec]) -> None:
        super().__init__(parent)
        # A tool: the keys that it shows work on while it is in front.
        self.setWindowFlag(Qt.WindowType.Tool)
        self.setWindowTitle("Keys")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        layout = QVBoxLayout(self)
        layout.setSpacing(2 * style.GAP_PX)
        row = QHBoxLayout()
        row.setSpacing(4 * style.GAP_PX)
        layout.addLayout(row)
        for menus in _columns(specs):
            column = QVBoxLayout()
            column.setSpacing(2 * style.GAP_PX)
            row.addLayout(column)
            for title, inside in menus:
                column.addLayout(_menu_grid(title, inside))
            column.addStretch(1)
        hint = QLabel(
            "A pedal that sends keys works as it is. Other keys: [window.keys] in the settings, "
            'by the names in brackets, such as  record = "F5".'
        )
        hint.setProperty("role", "muted")
        layout.addWidget(hint)


def _menu_grid(title: str, specs: list[ActionSpec]) -> QGridLayout:
    """A title over keys and what they do."""
    grid = QGridLayout()
    grid.setHorizontalSpacing(2 * style.GAP_PX)
    grid.setVerticalSpacing(style.GAP_PX // 2)
    grid.setColumnMinimumWidth(0, _KEY_PX)
    grid.setColumnStretch(1, 1)
    grid.addWidget(label(title, "title"), 0, 0, 1, 2)
    for row, spec in enumerate(specs, start=1):
        key = QKeySequence(spec.key).toString(QKeySequence.SequenceFormat.NativeText)
        grid.addWidget(QLabel(f"hold {key}" if spec.needs_hold else key), row, 0)
        does = QLabel(f"{spec.text}  [{spec.name}]")
        does.setProperty("role", "muted")
        grid.addWidget(does, row, 1)
    return grid


def _columns(specs: Mapping[str, ActionSpec]) -> list[list[tuple[str, list[ActionSpec]]]]:
    """The menus one below the other, in columns of similar length."""
    menus: dict[str, list[ActionSpec]] = {}
    for spec in specs.values():
        menus.setdefault(spec.menu, []).append(spec)
    per_column = sum(len(inside) + 2 for inside in menus.values()) / _COLUMNS
    columns: list[list[tuple[str, list[ActionSpec]]]] = [[]]
    n_rows = 0
    for title, inside in menus.items():
        if n_rows and n_rows + len(inside) > per_column + 2 and len(columns) < _COLUMNS:
            columns.append([])
            n_rows = 0
        columns[-1].append((title, inside))
        n_rows += len(inside) + 2
    return columns
