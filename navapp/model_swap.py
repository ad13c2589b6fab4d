"""Exchange the network of a running session: load and try the new one aside, then hand it over."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from inference.errors import InferenceError
from inference.segmenter import Segmenter
from navapp.channels import LatestSlot
from navapp.equipment import Equipment
from navapp.state import ModelSwap
from navapp.warm_up import warm_up

logger = logging.getLogger(__name__)


class ModelSwapper:
    """Loads requested networks one after the other in a thread of its own, see `run`.

    `install` gets the equipment with a network that was loaded, fits the calibration and has run;
    until then, and where it cannot be used, everything stays as it is.
    """

    def __init__(
        self, provider: str, equipment: Equipment, install: Callable[[Equipment], None]
    ) -> None:
        self._provider = provider
        self._equipment = equipment
        self._install = install
        self._requests: LatestSlot[Path] = LatestSlot()
        self._swaps: list[ModelSwap] = []
        self._begin_s = float("nan")
        self.note = ""  # what became of the last request, for the screen

    def begin(self, t_s: float) -> None:
        """Times of swaps count from here, on `perf_counter()`'s clock."""
        self._begin_s = t_s

    def request(self, path: Path) -> None:
        """Ask for another network; a request that still waits is overtaken by it."""
        lost = self._requests.put(path)
        if lost is path:
            self._note(path, None, "the session has ended")
        elif lost is not None:
            self._note(lost, None, f"overtaken by {path.name}")

    def run(self) -> None:
        """Thread body: until closed, each request to its end."""
        for path in self._requests:
            self.note = f"loading {path.name}"
            try:
                self._exchange(path)
            except InferenceError as error:
                self._note(path, None, str(error))
            except Exception as error:  # a worker's top: the network before it runs on
                logger.debug("network not exchanged", exc_info=error)
                self._note(path, None, f"unexpected {type(error).__name__}: {error}")

    def close(self) -> None:
        """No more requests."""
        self._requests.close()

    @property
    def swaps(self) -> tuple[ModelSwap, ...]:
        """Every attempt that has come to an end, in order."""
        return tuple(self._swaps)

    def _exchange(self, path: Path) -> None:
        equipment = replace(self._equipment, segmenter=Segmenter(path, self._provider))
        warm_up(equipment)
        self._install(equipment)
        self._equipment = equipment
        self._note(path, equipment.segmenter.session.sha256, None)

    def _note(self, path: Path, sha256: str | None, problem: str | None) -> None:
        swap = ModelSwap(path.name, sha256, time.perf_counter() - self._begin_s, problem)
        self._swaps.append(swap)
        if problem is None:
            self.note = f"{path.name} runs since {swap.t_s:.0f} s"
            logger.info("network %s took over", path.name)
            return
        running = self._equipment.segmenter.session.path.name
        self.note = f"{path.name} not used: {problem}; {running} runs on"
        logger.warning("%s", self.note)
