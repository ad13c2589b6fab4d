"""The few boxes that ask or tell something."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QMessageBox, QWidget

from navapp.desk.session_folder import SavedSession
from navapp.gui.about import about_text


def show_about(parent: QWidget) -> None:
    """What the program is and is not; the session goes on behind it."""
    box = QMessageBox(QMessageBox.Icon.NoIcon, "About navapp", about_text(), parent=parent)
    box.open()


def ask_to_begin(parent: QWidget, n_points: int, folder: Path) -> QMessageBox:
    """Ask whether to leave a session with points that are not saved; as `offer_crashed`.

    Returns
    -------
    The box, shown; its `accepted` says to save and begin, its `rejected` to stay.
    """
    box = QMessageBox(
        QMessageBox.Icon.NoIcon,
        "The new session is ready",
        f"<p>The session that runs holds {n_points:,} points that are not saved.</p>"
        f"<p>They are saved first, in {folder}: nothing already received is lost.</p>",
        parent=parent,
    )
    box.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
    box.addButton("Save and begin", QMessageBox.ButtonRole.AcceptRole)
    stay = box.addButton("Stay in this session", QMessageBox.ButtonRole.RejectRole)
    box.setDefaultButton(stay)  # a pedal that sends a key changes nothing
    box.open()
    return box


def offer_crashed(parent: QWidget, saved: SavedSession) -> QMessageBox:
    """Ask whether to open what a crash left; the answer is the box's result, and it waits for none.

    Returns
    -------
    The box, shown; its `accepted` says yes, its `rejected` no.
    """
    box = QMessageBox(
        QMessageBox.Icon.NoIcon,
        "A session was not closed",
        f"<p>{saved.line}</p><p>{saved.folder}</p>"
        "<p>Open it for review? It stays in the list of Review in any case.</p>",
        parent=parent,
    )
    box.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
    box.addButton("Open", QMessageBox.ButtonRole.AcceptRole)
    later = box.addButton("Not now", QMessageBox.ButtonRole.RejectRole)
    box.setDefaultButton(later)  # a pedal that sends a key changes nothing
    box.open()
    return box
