"""Step 1: connect, see what the servers send, choose files and names, check that all is well."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from PySide6.QtGui import QColor
from PySide6.QtWidgets import (
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QWidget,
)

from navapp.config import Settings
from navapp.desk.facts import Facts
from navapp.desk.preflight import Verdict, checks
from navapp.equipment import Equipment
from navapp.gui import style
from navapp.gui.panel import Panel, fill, label, table

_FILES = "Calibration (*.toml *.xml *.json);;Model (*.onnx);;Surface (*.stl *.ply *.obj);;All (*)"
_COLOURS = {
    Verdict.OK: style.OK,
    Verdict.LOOK: style.WARNING,
    Verdict.MISSING: style.PROBLEM,
}
# Shape before word: a disc, a triangle, a square.
_MARKS = {Verdict.OK: "\u25cf", Verdict.LOOK: "\u25b2", Verdict.MISSING: "\u25a0"}

# Field, caption, whether it names a file.
_FIELDS = (
    ("server", "Server", False),
    ("image", "Image", False),
    ("probe", "Probe", False),
    ("reference", "Reference", False),
    ("calibration", "Calibration", True),
    ("model", "Model", True),
    ("ct", "CT surface", True),
    ("registration", "Registration", True),
)


_IN_A_ROW = ("image", "probe", "reference")


class PreparePage(Panel):
    """`on_connect` is called with the overrides that the fields stand for."""

    def __init__(self) -> None:
        super().__init__("Prepare")
        self.on_connect: Callable[[dict[str, Any]], None] | None = None
        self.fields: dict[str, QLineEdit] = {}
        form = QFormLayout()
        form.setVerticalSpacing(6)
        names = QHBoxLayout()
        for name, caption, is_file in _FIELDS:
            self.fields[name] = edit = QLineEdit()
            if name in _IN_A_ROW:
                names.addWidget(QLabel(f"  {caption}  " if names.count() else f"{caption}  "))
                names.addWidget(edit, 1)
            else:
                form.addRow(caption, self._with_button(edit) if is_file else edit)
            if name == "server":
                form.addRow(names)
        self.column.addLayout(form)
        self.connect_button = QPushButton("Connect with these")
        self.connect_button.clicked.connect(self._connect)
        self.problem = label("", "problem")
        row = QHBoxLayout()
        row.addWidget(self.connect_button)
        row.addWidget(self.problem, 1)
        self.column.addLayout(row)
        self.streams = table(("Stream", "Kind", "Rate", "Size"), n_least=3)
        self.streams.cellClicked.connect(self._choose)
        self.column.addWidget(label("What the servers send; click an image to choose it", "muted"))
        self.column.addWidget(self.streams, 2)
        self.column.addWidget(label("Before the scan", "muted"))
        self.checks = table(("", "Check", "State", ""))
        self.checks.horizontalHeader().hide()
        self.column.addWidget(self.checks, 3)

    def show_settings(self, settings: Settings) -> None:
        """Fill the fields."""
        geometry = settings.geometry
        texts = {
            "server": f"{settings.server.host}:{settings.server.port}",
            "image": settings.streams.image or "",
            "probe": settings.streams.probe,
            "reference": settings.streams.reference,
            "calibration": str(geometry.calibration or ""),
            "model": str(settings.model.path or ""),
            "ct": ", ".join(str(path) for path in geometry.ct),
            "registration": str(geometry.registration or ""),
        }
        for name, text in texts.items():
            self.fields[name].setText(text)
        self.fields["image"].setPlaceholderText("the only one that comes")
        self.fields["model"].setPlaceholderText("the one that ships with the program")

    def show_facts(self, facts: Facts, equipment: Equipment | None) -> None:
        """Follow streams and checks."""
        rows = []
        for stream in facts.streams:
            size = "" if stream.size_px is None else "{} x {}".format(*stream.size_px)
            rate = "silent" if not stream.rate_hz > 0.0 else f"{stream.rate_hz:.1f} Hz"
            rows.append((stream.name, stream.kind, rate, size))
        fill(self.streams, rows)
        items = checks(facts, equipment)
        lines = [(_MARKS[c.verdict], c.name, c.verdict.value, c.sentence) for c in items]
        fill(self.checks, lines)
        for i, check in enumerate(items):
            for j in (0, 2):
                item = self.checks.item(i, j)
                if item is not None:
                    item.setForeground(QColor(_COLOURS[check.verdict]))

    def overrides(self) -> dict[str, Any]:
        """The fields as `load_settings` takes them; empty ones are left out.

        Raises
        ------
        ValueError : the server is not HOST:PORT.
        """
        text = {name: edit.text().strip() for name, edit in self.fields.items()}
        host, separator, port = text["server"].rpartition(":")
        if not separator or not port.isdecimal():
            raise ValueError(f"server is {text['server']!r}, expected HOST:PORT")
        paths = tuple(Path(part.strip()) for part in text["ct"].split(",") if part.strip())
        return {
            "server": {"host": host, "port": int(port)},
            "streams": {k: text[k] or None for k in ("image", "probe", "reference")},
            "model": {"path": text["model"] or None},
            "geometry": {
                "calibration": text["calibration"] or None,
                "registration": text["registration"] or None,
                "ct": paths or None,
            },
        }

    def _connect(self) -> None:
        self.problem.setText("")
        try:
            overrides = self.overrides()
        except ValueError as error:
            self.problem.setText(str(error))
            return
        if self.on_connect is not None:
            self.on_connect(overrides)

    def _choose(self, row: int, column: int) -> None:
        name, kind = self.streams.item(row, 0), self.streams.item(row, 1)
        if name is not None and kind is not None and kind.text() == "image":
            self.fields["image"].setText(name.text())

    def _with_button(self, edit: QLineEdit) -> QWidget:
        def browse() -> None:
            path, _ = QFileDialog.getOpenFileName(self, "Choose a file", edit.text(), _FILES)
            if path:
                edit.setText(path)

        box = QWidget()
        row = QHBoxLayout(box)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(edit, 1)
        button = QPushButton("...")
        button.clicked.connect(browse)
        row.addWidget(button)
        return box
