"""Step 1: connect, see what the servers send, choose files and names, check that all is well."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from PySide6.QtGui import QColor
from PySide6.QtWidgets import (
    QCheckBox,
    QFileDialog,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPushButton,
)

from navapp.config import Settings
from navapp.desk.facts import Facts
from navapp.desk.preflight import Verdict, checks
from navapp.equipment import Equipment
from navapp.gui import style
from navapp.gui.panel import Panel, PathEdit, Table, label
from navapp.gui.words import BEGIN_ANEW, BEGIN_ANEW_TOOLTIP

_FILES = "Calibration (*.toml *.xml *.json);;Model (*.onnx);;Surface (*.stl *.ply *.obj);;All (*)"
_COLOURS = {
    Verdict.OK: style.OK,
    Verdict.LOOK: style.WARNING,
    Verdict.MISSING: style.PROBLEM,
}
# Shape before word: a disc, a triangle, a square.
_MARKS = {Verdict.OK: "\u25cf", Verdict.LOOK: "\u25b2", Verdict.MISSING: "\u25a0"}

# Field, caption, whether it names a file; two in a row.
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

_REPLAYED = "Now a recording is replayed; the server above is for the next session"


class PreparePage(Panel):
    """`on_connect` is called with the overrides that the fields stand for."""

    def __init__(self) -> None:
        super().__init__()
        self.on_connect: Callable[[dict[str, Any]], None] | None = None
        self.fields: dict[str, QLineEdit] = {}
        self.form = form = QGridLayout()
        form.setSpacing(style.GAP_PX)
        for k, (name, caption, is_file) in enumerate(_FIELDS):
            row, column = k // 2, 3 * (k % 2)
            self.fields[name] = edit = PathEdit() if is_file else QLineEdit()
            caption_label = QLabel(caption)
            caption_label.setContentsMargins(style.GAP_PX if column else 0, 0, 0, 0)
            form.addWidget(caption_label, row, column)
            form.addWidget(edit, row, column + 1, 1, 1 if is_file else 2)
            form.setColumnStretch(column + 1, 1)
            if is_file:
                form.addWidget(self._browse_button(edit, caption), row, column + 2)
        self.column.addLayout(form)
        self.volume = QCheckBox("Build a volume of the images while scanning")
        self.volume.setToolTip("volume.mha, saved with everything; from the next session on")
        self.column.addWidget(self.volume)
        self.connect_button = QPushButton(BEGIN_ANEW)
        self.connect_button.setToolTip(BEGIN_ANEW_TOOLTIP)
        self.connect_button.clicked.connect(self._connect)
        self.problem = label("", "problem")
        row_of_button = QHBoxLayout()
        row_of_button.addWidget(self.connect_button)
        row_of_button.addWidget(self.problem, 1)
        self.column.addLayout(row_of_button)
        self.origin = label("", "muted")
        self.column.addWidget(self.origin)
        self.streams = Table(("Stream", "Kind", "Rate", "Size"), 3, 5)
        self.streams.cellClicked.connect(self._choose)
        self.column.addWidget(label("What the servers send; click an image to choose it", "muted"))
        self.column.addWidget(self.streams, 1)
        self.column.addWidget(label("Before the scan", "muted"))
        self.checks = Table(("", "Check", "State", ""), 7, 8)
        self.checks.horizontalHeader().hide()
        self.column.addWidget(self.checks, 2)

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
        self.volume.setChecked(settings.volume.live)
        self.fields["image"].setPlaceholderText("the only one that comes")
        self.fields["model"].setPlaceholderText("the one that ships with the program")

    def show_facts(self, facts: Facts, equipment: Equipment | None) -> None:
        """Follow streams and checks."""
        rows = []
        for stream in facts.streams:
            size = "" if stream.size_px is None else "{} x {}".format(*stream.size_px)
            rate = "silent" if not stream.rate_hz > 0.0 else f"{stream.rate_hz:.1f} Hz"
            rows.append((stream.name, stream.kind, rate, size))
        self.streams.fill(rows)
        is_replay = facts.replay_speed is not None
        self.origin.setText(_REPLAYED if is_replay else "")
        items = checks(facts, equipment)
        lines = [(_MARKS[c.verdict], c.name, c.verdict.value, c.sentence) for c in items]
        self.checks.fill(lines)
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
            "volume": {"live": self.volume.isChecked()},
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

    def _browse_button(self, edit: QLineEdit, caption: str) -> QPushButton:
        def browse() -> None:
            path, _ = QFileDialog.getOpenFileName(self, caption, edit.text(), _FILES)
            if path:
                edit.setText(path)

        button = QPushButton("...")
        button.setToolTip(f"{caption}: choose a file")
        button.setProperty("role", "browse")
        button.clicked.connect(browse)
        return button
