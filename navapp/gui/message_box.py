"""The few boxes that ask or tell something."""

from __future__ import annotations

from PySide6.QtWidgets import QMessageBox, QWidget

from navapp.desk.session_folder import SavedSession
from navapp.gui.about import about_text


def show_about(parent: QWidget) -> None:
    """What the program is and is not; the session goes on behind it."""
    box = QMessageBox(QMessageBox.Icon.NoIcon, "About navapp", about_text(), parent=parent)
    box.open()


def offer_crashed(parent: QWidget, saved: SavedSession) -> QMessageBox:
    """Ask whether to open what a crash left; the answer is the box's result, and it waits for none.

    Returns
    -------
    The box, shown; its `accepted` says yes, its `rejected` no.
    """
    box = QMessageBox(
        QMessageBox.Icon.NoIcon,
        "A session was not closed",
        f"<p>{saved.line}</p><p>{saved.folder}</p><p>Open it for review?</p>",
        QMessageBox.StandardButton.Open | QMessageBox.StandardButton.Discard,
        parent,
    )
    box.open()
    return box
