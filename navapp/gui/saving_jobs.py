"""Saves a session in the background, and tells when it is done; now and then by itself."""

from __future__ import annotations

import time
from collections.abc import Callable

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
        self._told_problem: str | None = None
        self._on_saved: Callable[[bool], None] | None = None
        self._asked: tuple[object, int] | None = None  # a session, and how many points it had
        self._kept: tuple[object, int] | None = None  # the same, saved
        self._t_saved_s = time.perf_counter()
        self._n_points = 0
        self._is_silent = False

    @property
    def n_unsaved(self) -> int:
        """Points of the session that runs, where they are not those that were saved last. A
        recording that is replayed has none: its points can be had again."""
        desk = self._desk
        n = desk.session.scene.n_voxels
        if desk.replay is not None or self._kept == (desk.session, n):
            return 0
        return n

    def save(
        self,
        desk: Desk,
        *,
        has_mesh: bool = False,
        has_volume: bool = False,
        on_saved: Callable[[bool], None] | None = None,
    ) -> None:
        """Save everything of the session that runs.

        Parameters
        ----------
        on_saved : called when it is done, with whether all could be saved
        """
        session = desk.session
        if not isinstance(session, Session):
            desk.message = "this session cannot be saved"
            return
        self._t_saved_s = time.perf_counter()
        self._is_silent = False
        self._on_saved = on_saved or self._on_saved  # who waits for a saving hears of this one
        self._asked = session, session.scene.n_voxels
        job = SaveJob(session, desk.folder, desk.takes, desk.journal.events, has_mesh, has_volume)
        desk.message = "saving ..."
        self._job.ask(job)

    def poll(self) -> None:
        """Tell what is done; save by itself where it is time and there is something new."""
        saved = self._job.result
        if saved is not None and saved is not self._told:
            self._told = saved
            if not saved.problems:
                self._kept = self._asked
            if not self._is_silent or saved.problems:
                self._desk.message = f"{saved.sentence} in {self._desk.folder.path}"
            self._tell(not saved.problems)
        if self._job.problem != self._told_problem:
            self._told_problem = self._job.problem
            if self._told_problem is not None:
                self._desk.message = self._told_problem
                self._tell(False)
        self._autosave()

    def close(self) -> None:
        """Let a saving under way end."""
        self._job.close()

    def _tell(self, is_complete: bool) -> None:
        on_saved, self._on_saved = self._on_saved, None
        if on_saved is not None:
            on_saved(is_complete)

    def _autosave(self) -> None:
        if time.perf_counter() - self._t_saved_s < AUTOSAVE_S:
            return
        n_points = self._desk.session.scene.n_voxels
        if n_points != self._n_points:
            message = self._desk.message
            self.save(self._desk)
            self._desk.message, self._n_points, self._is_silent = message, n_points, True
        self._t_saved_s = time.perf_counter()
