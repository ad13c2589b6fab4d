"""Everything of the settings' file in a drawer, checked as it is typed, saved as a profile."""

from __future__ import annotations

import json
import tomllib
import types
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tomli_w
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from PySide6.QtCore import QSize
from PySide6.QtWidgets import (
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QLineEdit,
    QPushButton,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)

from navapp.config import Settings
from navapp.errors import ConfigError
from navapp.gui.actions import remapped
from navapp.gui.panel import label
from navapp.gui.words import BEGIN_ANEW_TOOLTIP
from tracking.whole_files import write_whole

_BEGIN_ANEW, _USE = "Begin anew with these", "Use these in this session"


def changes_window_alone(old: Settings, new: Settings) -> bool:
    """Whether only keys, opacity or sounds are others: that needs no new session."""
    return new != old and new == old.model_copy(update={"window": new.window})


class SettingsDrawer(QWidget):
    """A field per setting. `on_apply` is called with settings that are right."""

    WIDTH_PX = 460

    def __init__(self) -> None:
        super().__init__()
        self.on_apply: Callable[[Settings], None] | None = None
        self._in_use = Settings()
        self.edits: dict[tuple[str, ...], QLineEdit] = {}
        inside = QWidget()
        self._form = QFormLayout(inside)
        self._form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        scroll = QScrollArea()
        scroll.setWidgetResizable(True)
        scroll.setWidget(inside)
        layout = QVBoxLayout(self)
        layout.addWidget(scroll, 1)
        self.problems = label("", "problem")
        layout.addWidget(self.problems)
        row = QHBoxLayout()
        self.apply_button = QPushButton(_BEGIN_ANEW)
        self.apply_button.setToolTip(BEGIN_ANEW_TOOLTIP)
        self.apply_button.clicked.connect(self._apply)
        self.save_button = QPushButton("Save profile...")
        self.save_button.clicked.connect(self._ask_and_save)
        row.addWidget(self.apply_button)
        row.addWidget(self.save_button)
        layout.addLayout(row)
        self._build()

    def sizeHint(self) -> QSize:
        """As narrow as it may be: the room is the views'."""
        return QSize(self.minimumWidth(), super().sizeHint().height())

    def show_settings(self, settings: Settings) -> None:
        """Fill the fields with what is not a default; defaults are seen as placeholders."""
        self._in_use = settings
        tree = settings.model_dump(mode="json", exclude_none=True)
        default = Settings().model_dump(mode="json", exclude_none=True)
        for (section, *names), edit in self.edits.items():
            value = tree.get(section) if not names else tree[section].get(names[0])
            usual = default.get(section) if not names else default[section].get(names[0])
            edit.setPlaceholderText(_as_text(usual))
            edit.setText("" if value == usual else _as_text(value))
        self.check()

    def check(self) -> Settings | None:
        """What the fields stand for; None where one is wrong, and then it is marked."""
        tree: dict[str, Any] = {}
        for path, edit in self.edits.items():
            if edit.text().strip():
                value = _value(edit.text().strip(), _field(path).annotation)
                if len(path) == 1:
                    tree[path[0]] = value
                else:
                    tree.setdefault(path[0], {})[path[1]] = value
        wrong: dict[tuple[str, ...], str] = {}
        settings = None
        try:
            settings = Settings.model_validate(tree)
        except ValidationError as error:
            for problem in error.errors():
                loc = tuple(str(part) for part in problem["loc"])
                wrong[loc[:1] if loc[:1] in self.edits else loc[:2]] = problem["msg"].lower()
        if settings is not None:
            try:
                remapped(settings.window.keys)
            except ConfigError as error:
                settings, wrong["window", "keys"] = None, str(error)
        for path, edit in self.edits.items():
            is_wrong = path in wrong
            if edit.property("is_wrong") != is_wrong:
                edit.setProperty("is_wrong", is_wrong)
                edit.style().polish(edit)
        self.problems.setText("\n".join(f"{'.'.join(p)}: {text}" for p, text in wrong.items()))
        is_window_alone = settings is not None and changes_window_alone(self._in_use, settings)
        self.apply_button.setText(_USE if is_window_alone else _BEGIN_ANEW)
        self.apply_button.setEnabled(settings is not None)
        self.save_button.setEnabled(settings is not None)
        return settings

    def save_profile(self, path: Path) -> None:
        """Write the settings as `navapp run --config` reads them.

        Raises
        ------
        OSError : if the file cannot be written.
        """
        settings = self.check()
        if settings is not None:
            tree = settings.model_dump(mode="json", exclude_none=True)
            write_whole(path, tomli_w.dumps(tree))

    def _build(self) -> None:
        for section, info in Settings.model_fields.items():
            self._form.addRow(label(f"[{section}]", "title"))
            model = info.annotation
            if isinstance(model, type) and issubclass(model, BaseModel):
                for name in model.model_fields:
                    self._add((section, name), name)
            else:
                self._add((section,), section)

    def _add(self, path: tuple[str, ...], caption: str) -> None:
        edit = QLineEdit()
        edit.textChanged.connect(lambda _: self.check())
        edit.setToolTip(_field(path).description or "")
        self.edits[path] = edit
        self._form.addRow(caption, edit)

    def _apply(self) -> None:
        settings = self.check()
        if settings is not None and self.on_apply is not None:
            self.on_apply(settings)

    def _ask_and_save(self) -> None:
        path, _ = QFileDialog.getSaveFileName(self, "Save profile", "profile.toml", "TOML (*.toml)")
        if path:
            try:
                self.save_profile(Path(path))
            except OSError as error:
                self.problems.setText(f"{path}: cannot be written: {error.strerror}")


def _field(path: tuple[str, ...]) -> FieldInfo:
    info = Settings.model_fields[path[0]]
    if len(path) == 1:
        return info
    return info.annotation.model_fields[path[1]]  # type: ignore[union-attr]


def _value(text: str, annotation: Any) -> Any:
    """Text as TOML would have it; what is text or a path needs no quotes."""
    kinds = (
        typing.get_args(annotation) if isinstance(annotation, types.UnionType) else (annotation,)
    )
    if str in kinds or Path in kinds:
        is_quoted = len(text) > 1 and text[0] == text[-1] == '"'
        return text[1:-1] if is_quoted else text
    try:
        return tomllib.loads(f"x = {text}")["x"]
    except tomllib.TOMLDecodeError:
        return text


def _as_text(value: Any) -> str:
    """As it would be typed."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        inside = ", ".join(f"{_quoted(key)} = {_quoted(item)}" for key, item in value.items())
        return f"{{{inside}}}"
    if isinstance(value, list):
        return f"[{', '.join(_quoted(item) for item in value)}]"
    return _quoted(value)


def _quoted(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)  # TOML escapes as JSON does
    return _as_text(value) if isinstance(value, dict | list) else f"{value}"
