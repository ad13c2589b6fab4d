"""Step 2: landmarks touched or picked, then the surface; what speaks for it; accept or redo."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QPushButton

from navapp.desk.registering import Registering
from navapp.gui.actions import ActionBook
from navapp.gui.panel import Panel, Table, label


class RegisterPage(Panel):
    """Shows `Registering`; what it does goes through the actions. `on_chosen` is called with the
    row of a landmark that was clicked."""

    def __init__(self, book: ActionBook) -> None:
        super().__init__()
        self.on_chosen: Callable[[int], None] | None = None
        self.column.addWidget(
            label(
                "Click landmarks on the bone in 3D, or load them. Then find each on the patient: "
                "hold the stylus on it, or click it in the live image.",
                "muted",
            )
        )
        self.load_button = QPushButton("Load landmarks...")
        self.add_buttons(book["remove"], first=self.load_button)
        self.landmarks = Table(("Landmark", "In CT (mm)", "On the patient"), 4, 6)
        self.landmarks.cellClicked.connect(self._chosen)
        self.column.addWidget(self.landmarks, 1)
        self.hint = label()
        self.column.addWidget(self.hint)
        self.add_buttons(book["touch"], book["choose"])
        self.add_buttons(book["fit_landmarks"], book["refine"])
        self.column.addWidget(label("Residuals", "muted"))
        self.residuals = label("none yet")
        self.residuals.setAlignment(Qt.AlignmentFlag.AlignTop)
        self.column.addWidget(self.residuals)
        self.problem = label("", "problem")
        self.column.addWidget(self.problem)
        self.add_buttons(book["accept"], book["redo"])

    def show_registering(self, registering: Registering, problem: str, frame: str) -> None:
        """Follow the landmarks and the residuals."""
        rows = []
        errors = iter(() if registering.start is None else registering.start.errors_mm)
        for mark in registering.landmarks:
            place = ", ".join(f"{x:.1f}" for x in mark.ct_mm)
            found = "not yet" if mark.reference_mm is None else "found"
            if mark.reference_mm is not None and (error_mm := next(errors, None)) is not None:
                found = f"{error_mm:.2f} mm off"
            rows.append((mark.name, place, found))
        self.landmarks.fill(rows)
        self._show_chosen(registering.chosen)
        self.hint.setText(_hint(registering, frame))
        self.residuals.setText("\n".join(registering.lines()) or "none yet")
        self.problem.setText(problem)

    def _show_chosen(self, k: int | None) -> None:
        if k is None:
            self.landmarks.clearSelection()
        elif self.landmarks.currentRow() != k or not self.landmarks.selectedItems():
            self.landmarks.selectRow(k)

    def _chosen(self, row: int, column: int) -> None:
        if self.on_chosen is not None:
            self.on_chosen(row)


def _hint(registering: Registering, frame: str) -> str:
    """The next thing to do."""
    if registering.chosen is not None:
        mark = registering.landmarks[registering.chosen]
        again = "" if mark.reference_mm is None else " again"
        return f"Chosen: find {mark.name} on the patient{again}, or remove it."
    if registering.T_ct_reference is not None:
        return "Refine with the surface, accept, or register anew."
    if frame == "ct" and not registering.n_found:
        return "The scene is in CT space already."
    k = registering.next_to_find
    if not registering.landmarks:
        return "No landmarks yet."
    if k is not None and registering.n_found < 3:
        return f"Next: find {registering.landmarks[k].name} on the patient."
    return f"{registering.n_found} found: fit them, or find more."
