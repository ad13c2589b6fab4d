"""Saves a session in the background, and tells when it is done; now and then by itself."""

from __future__ import annotations

import time

from navapp.desk.desk import Desk
from navapp.desk.newest_job import NewestJob
from navapp.desk.saving import Saved, SaveJob, save_everything
from navapp.session import Session

# What a crash may cost of the cloud; recordings and events are on disk within a second.
AUTOSAVE_S = 120.0


class SavingJobs:
    """One thread for all savings of a window."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._job: NewestJob[SaveJob, Saved] = NewestJob("save", save_everything)
        self._told: Saved | None = None
        self._t_saved_s = time.perf_counter()
        self._n_points = 0
        self._is_silent = False

    def save(self, desk: Desk, *, has_mesh: bool = False, has_volume: bool = False) -> None:
        """Save everything of the session that runs."""
        session = desk.session
        if not isinstance(session, Session):
            desk.message = "this session cannot be saved"
            return
        self._t_saved_s = time.perf_counter()
        self._is_silent = False
        job = SaveJob(session, desk.folder, desk.takes, desk.journal.events, has_mesh, has_volume)
        desk.message = "saving ..."
        self._job.ask(job)

    def poll(self) -> None:
        """Tell what is done; save by itself where it is time and there is something new."""
        saved = self._job.result
        if saved is not None and saved is not self._told:
            self._told = saved
            if not self._is_silent or saved.problems:
                self._desk.message = f"{saved.sentence} in {self._desk.folder.path}"
        elif self._job.problem is not None:
            self._desk.message = self._job.problem
        self._autosave()

    def close(self) -> None:
        """Let a saving under way end."""
        self._job.close()

    def _autosave(self) -> None:
        if time.perf_counter() - self._t_saved_s < AUTOSAVE_S:
            return
        n_points = self._desk.session.scene.n_voxels
        if n_points != self._n_points:
            message = self._desk.message
            self.save(self._desk)
            self._desk.message, self._n_points, self._is_silent = message, n_points, True
        self._t_saved_s = time.perf_counter()
