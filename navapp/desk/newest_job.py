"""A worker that always does the newest job: for what a picture needs and a frame does not."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from navapp.channels import LatestSlot

_log = logging.getLogger(__name__)

T = TypeVar("T")
R = TypeVar("R")

_JOIN_S = 5.0


class NewestJob(Generic[T, R]):
    """Runs `work` on the newest item in a thread of its own; items it had no time for are skipped.

    `result` is the newest outcome. An error is logged, kept as `problem`, and ends nothing.
    """

    def __init__(self, name: str, work: Callable[[T], R]) -> None:
        self.result: R | None = None
        self.problem: str | None = None
        self._work = work
        self._jobs: LatestSlot[T] = LatestSlot()
        self._thread = threading.Thread(target=self._run, name=name)
        self._thread.start()

    def ask(self, job: T) -> None:
        """Hand over a job; returns at once."""
        self._jobs.put(job)

    def close(self) -> None:
        """Let the job under way end, and join the thread."""
        self._jobs.close()
        self._thread.join(_JOIN_S)

    def _run(self) -> None:
        for job in self._jobs:
            try:
                self.result = self._work(job)
                self.problem = None
            except Exception as error:  # noqa: BLE001  the top of a worker
                self.problem = str(error)
                _log.error("%s: %s", self._thread.name, error)
