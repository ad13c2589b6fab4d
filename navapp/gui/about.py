"""What the program is and is not, and which key does what."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from importlib.metadata import version

from PySide6.QtCore import Qt
from PySide6.QtGui import QKeySequence
from PySide6.QtWidgets import QDialog, QGridLayout, QLabel, QVBoxLayout, QWidget

from navapp.gui import style
from navapp.gui.actions import ActionSpec
from navapp.gui.words import DISCLAIMER

_COLUMNS = 3


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
        self.setWindowTitle("Keys")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        layout = QVBoxLayout(self)
        layout.setSpacing(16)
        grid = QGridLayout()
        grid.setHorizontalSpacing(20)
        grid.setVerticalSpacing(4)
        layout.addLayout(grid)
        menus: dict[str, list[ActionSpec]] = {}
        for spec in specs.values():
            menus.setdefault(spec.menu, []).append(spec)
        for (column, row), text, role in _cells(menus):
            label = QLabel(text)
            label.setProperty("role", role)
            grid.addWidget(label, row, column)
        hint = QLabel(
            "A pedal that sends keys works as it is. Other keys: [window.keys] in the settings, "
            'by the names in brackets, such as  record = "F5".'
        )
        hint.setProperty("role", "muted")
        layout.addWidget(hint)


def _cells(
    menus: Mapping[str, list[ActionSpec]],
) -> list[tuple[tuple[int, int], str, str]]:
    """Column and row, text, role; menus one below the other, in columns of similar length."""
    n_rows = sum(len(specs) + 2 for specs in menus.values())
    per_column = -(-n_rows // _COLUMNS)
    cells: list[tuple[tuple[int, int], str, str]] = []
    column = row = 0
    for menu, specs in menus.items():
        if row and row + len(specs) + 1 > per_column + 3 and column < _COLUMNS - 1:
            column, row = column + 1, 0
        cells.append(((2 * column, row), menu, "title"))
        for k, spec in enumerate(specs, start=row + 1):
            key = QKeySequence(spec.key).toString(QKeySequence.SequenceFormat.NativeText)
            text = f"hold {key}" if spec.needs_hold else key
            cells.append(((2 * column, k), text, ""))
            cells.append(((2 * column + 1, k), f"{spec.text}  [{spec.name}]", "muted"))
        row += len(specs) + 2
    return cells
