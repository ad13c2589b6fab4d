"""The actions of the second step, and what a click in 3D or in the live image means there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PySide6.QtWidgets import QFileDialog

from navapp.desk.desk import EXPECTED, Desk
from navapp.desk.newest_job import NewestJob
from navapp.desk.registering import Registering, load_landmarks
from navapp.errors import ConfigError
from navapp.gui import style
from navapp.gui.main_window import MainWindow
from navapp.gui.picking import first_hit_mm
from navapp.state import LiveView
from recon.registration import RegistrationResult
from recon.surface import SurfaceDistance, TriangleMesh
from tracking.transforms import apply

Array = NDArray[np.float64]


class RegistrationCommands:
    """While the step is open, the CT surface is seen in its own space, with the landmarks on it."""

    def __init__(self, desk: Desk, window: MainWindow) -> None:
        self._desk, self._window = desk, window
        self._problem = ""
        self._is_open = False
        self._shown: object = None
        self._job: NewestJob[tuple[Registering, Array, TriangleMesh], RegistrationResult] | None
        self._job = None
        self._job_problem: str | None = None
        window.register_page.load_button.clicked.connect(self._ask_and_load)
        window.register_page.on_chosen = self._choose
        window.closing.connect(self._close)

    def actions(self) -> dict[str, Callable[[], object]]:
        """By the names of the table."""
        return {
            "touch": self._told(self._touch),
            "choose": self._choose_next,
            "remove": self._told(self._remove),
            "fit_landmarks": self._told(self._fit),
            "refine": self._told(self._refine),
            "accept": self._told(self._accept),
            "redo": self._redo,
        }

    def enter(self, is_open: bool) -> None:
        """The step is opened, or left."""
        self._is_open = is_open
        self._window.scene_view.on_ray = self._told_ray if is_open else None
        self._window.image_view.on_picked = self._told_pick if is_open else None
        if not is_open:
            self._window.scene_view.show_landmarks(np.empty((0, 3)), style.SKIN)
            self._shown = None

    @property
    def surface(self) -> TriangleMesh | None:
        """What the scene shows of the CT: in this step it has its place in any case."""
        equipment = self._desk.session.equipment
        if self._is_open and equipment is not None:
            return equipment.surface
        return self._desk.session.surface

    def refresh(self) -> None:
        """Follow what was found, and the surface that is searched in the background."""
        scene = self._window.scene_view
        scene.is_surface_alone = self.surface is not None and self._desk.session.surface is None
        if not self._is_open:
            scene.set_surface(self.surface)
            return
        problem = None if self._job is None else self._job.problem
        if problem != self._job_problem:  # told once
            self._job_problem = problem
            self._problem = problem or ""
        registering = self._desk.registering
        frame = self._desk.session.status().frame
        scene.set_surface(self.surface)
        self._window.register_page.show_registering(registering, self._problem, frame)
        shown = tuple(tuple(mark.ct_mm) for mark in registering.landmarks)
        if shown != self._shown:
            self._shown = shown
            scene.show_landmarks(np.array(shown).reshape(-1, 3), style.SKIN)

    def load(self, path: Path) -> None:
        """The landmarks of a file, after those that are there."""
        for name, ct_mm in load_landmarks(path):
            self._desk.registering.add(name, ct_mm)

    def _ask_and_load(self) -> None:
        path, _ = QFileDialog.getOpenFileName(
            self._window, "Landmarks in CT", "", "Landmarks (*.toml)"
        )
        if path:
            self._told(lambda: self.load(Path(path)))()

    def _touch(self) -> None:
        """The stylus is on the next landmark."""
        self._find(self._desk.touched_mm())

    def _told_pick(self, view: LiveView, u: float, v: float) -> None:
        self._told(lambda: self._pick(view, u, v))()

    def _pick(self, view: LiveView, u: float, v: float) -> None:
        """A click in the live image: the pixel's place on the patient."""
        if view.A_target_pixel is None:
            raise ConfigError("this image has no pose: nobody knows where the pixel lies")
        self._find(apply(view.A_target_pixel, np.array(((u, v, 0.0),)))[0])

    def _find(self, scene_mm: Array) -> None:
        registering = self._desk.registering
        k = registering.next_to_find
        if k is None:
            raise ConfigError("every landmark is found: load more, or click more on the bone")
        registering.find(k, self._desk.reference_mm(scene_mm[None])[0])

    def _choose_next(self) -> None:
        self._desk.registering.choose_next()

    def _choose(self, k: int) -> None:
        """A click on a landmark's row: that one is next; on the chosen one, it is not."""
        registering = self._desk.registering
        registering.choose(None if registering.chosen == k else k)

    def _remove(self) -> None:
        registering = self._desk.registering
        if registering.chosen is None:
            raise ConfigError("choose the landmark that is to go: a click on its row, or the key")
        registering.remove(registering.chosen)

    def _told_ray(self, begin_mm: Array, direction: Array) -> None:
        surface = self.surface
        hit_mm = None if surface is None else first_hit_mm(surface, begin_mm, direction)
        if hit_mm is not None:
            self._desk.registering.add("", hit_mm)

    def _fit(self) -> None:
        self._desk.registering.fit()

    def _refine(self) -> None:
        surface = self.surface
        if surface is None:
            raise ConfigError("there is no CT surface to refine with")
        if self._desk.registering.start is None:
            raise ConfigError("the surface needs a start: fit the landmarks first")
        points_mm = self._desk.reference_mm(self._desk.session.scene.snapshot().points_mm)
        if self._job is None:
            self._job = NewestJob("register", _refine)
        self._job.ask((self._desk.registering, points_mm, surface))

    def _accept(self) -> None:
        self._desk.accept_registration()

    def _redo(self) -> None:
        self._problem = ""
        self._desk.message = self._desk.registering.begin_again()

    def _told(self, do: Callable[[], object]) -> Callable[[], None]:
        """Errors go beside the buttons, where the eyes are."""

        def run() -> None:
            self._problem = ""
            try:
                do()
            except EXPECTED as error:
                self._problem = self._desk.message = str(error)

        return run

    def _close(self) -> None:
        if self._job is not None:
            self._job.close()


def _refine(job: tuple[Registering, Array, TriangleMesh]) -> RegistrationResult:
    registering, points_mm, mesh = job
    return registering.refine(points_mm, SurfaceDistance(mesh))
