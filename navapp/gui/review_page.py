"""Step 4: sweeps on and off, marks, distances, undo, saving, and other sessions."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QListWidget, QListWidgetItem

from navapp.desk.facts import Facts
from navapp.desk.journal import Event
from navapp.desk.session_folder import SavedSession
from navapp.gui.actions import ActionBook
from navapp.gui.panel import Panel, label
from navapp.gui.readings import DASH
from navapp.gui.words import counted

_SWEEPS_TOOLTIP = (
    "What is switched off is not drawn. It stays in the cloud and in everything that is saved; "
    "Undo takes a sweep away."
)


class ReviewPage(Panel):
    """`on_hidden` is called with the sweeps that are switched off, `on_open` with a session."""

    def __init__(self, book: ActionBook) -> None:
        super().__init__()
        self.on_hidden: Callable[[frozenset[int]], None] | None = None
        self.on_open: Callable[[SavedSession], None] | None = None
        self.column.addWidget(label("Sweeps that are drawn; saving keeps them all", "muted"))
        self.sweeps = QListWidget()
        self.sweeps.setToolTip(_SWEEPS_TOOLTIP)
        self.sweeps.itemChanged.connect(self._changed)
        self.column.addWidget(self.sweeps, 2)
        self.add_buttons(book["undo"])
        self._marks_title = label("Marks: none yet", "muted")
        self.column.addWidget(self._marks_title)
        self.marks = QListWidget()
        self.column.addWidget(self.marks, 2)
        self.distances = label()
        self.column.addWidget(self.distances)
        self.contents = label("", "muted")
        self.column.addWidget(self.contents)
        self.add_buttons(book["save"])
        self.add_buttons(book["save_all"])
        self._sessions_title = label("Other sessions: none yet", "muted")
        self.column.addWidget(self._sessions_title)
        self.sessions = QListWidget()
        self.sessions.itemDoubleClicked.connect(self._open)
        self.column.addWidget(self.sessions, 2)
        for box in (self.sweeps, self.marks, self.sessions):
            box.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self._saved: tuple[SavedSession, ...] = ()
        self._mark_lines: list[str] = []

    def show_sweeps(self, counts: Mapping[int, int], hidden: frozenset[int]) -> None:
        """A line per sweep with its number of points, checked where it is shown."""
        self.sweeps.blockSignals(True)
        while self.sweeps.count() > len(counts):
            self.sweeps.takeItem(self.sweeps.count() - 1)
        for k, (sweep, n) in enumerate(sorted(counts.items())):
            if k == self.sweeps.count():
                self.sweeps.addItem(_switch())
            item = self.sweeps.item(k)
            not_drawn = ", not drawn" if sweep in hidden else ""
            text = f"sweep {sweep}: {n:,} points{not_drawn}"
            if item.text() != text:
                item.setText(text)
            item.setData(Qt.ItemDataRole.UserRole, sweep)
            state = Qt.CheckState.Unchecked if sweep in hidden else Qt.CheckState.Checked
            if item.checkState() != state:
                item.setCheckState(state)
        self.sweeps.blockSignals(False)

    def show_marks(self, events: tuple[Event, ...], recorded: tuple[Event, ...] = ()) -> None:
        """The marks, newest last; before them those of the session that is replayed."""
        marks = [f"{_mark_line(event)}   recorded" for event in recorded if event.kind == "mark"]
        marks += [_mark_line(event) for event in events if event.kind == "mark"]
        if marks != self._mark_lines:
            self._mark_lines = marks
            self.marks.clear()
            self.marks.addItems(marks)
            self.marks.scrollToBottom()
        self._marks_title.setText("Marks" if marks else "Marks: none yet")

    def show_facts(self, facts: Facts) -> None:
        """The distances in words, and what saving will write."""
        self.contents.setText(f"Saving writes {', '.join(_contents(facts))}.")
        surface = facts.surface
        if surface is None or math.isnan(surface.median_mm):
            self.distances.setText(f"Distance to CT: {facts.ct_gap or DASH}")
            return
        self.distances.setText(
            f"Distance to CT: median {surface.median_mm:.2f} mm\n"
            f"Covered: {100.0 * surface.seen_fraction:.0f} % of the CT surface"
            + (f"\nLook: {facts.misplacement}" if facts.misplacement else "")
        )

    def show_sessions(self, sessions: tuple[SavedSession, ...]) -> None:
        """What can be opened."""
        if sessions != self._saved:
            self._saved = sessions
            self.sessions.clear()
            self.sessions.addItems([session.line for session in sessions])
            more = "a double click opens one" if sessions else "none yet"
            self._sessions_title.setText(f"Other sessions: {more}")

    def forget(self) -> None:
        """Another session begins."""
        self.show_marks(())
        self.sweeps.clear()

    def _changed(self, item: QListWidgetItem) -> None:
        items = (self.sweeps.item(k) for k in range(self.sweeps.count()))
        hidden = frozenset(
            int(each.data(Qt.ItemDataRole.UserRole))
            for each in items
            if each.checkState() is Qt.CheckState.Unchecked
        )
        if self.on_hidden is not None:
            self.on_hidden(hidden)

    def _open(self, item: QListWidgetItem) -> None:
        if self.on_open is not None:
            self.on_open(self._saved[self.sessions.row(item)])


def _mark_line(event: Event) -> str:
    place = "" if event.place_mm is None else ", ".join(f"{x:.1f}" for x in event.place_mm)
    return f"{event.text}   {event.t_s:.1f} s   {place} {event.frame}".rstrip()


def _switch() -> QListWidgetItem:
    """An item with a box, which it has only once it was given a state."""
    item = QListWidgetItem()
    item.setCheckState(Qt.CheckState.Checked)
    return item


def _contents(facts: Facts) -> list[str]:
    """What is saved with everything."""
    parts = [f"report, settings, {facts.status.n_points:,} points"]
    if facts.take.number:
        parts.append(counted(facts.take.number, "recording"))
    if facts.volume is not None:
        parts.append(f"the volume ({counted(facts.volume.n_images, 'image')})")
    return parts
