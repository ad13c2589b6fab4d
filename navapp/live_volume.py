"""A session's images as a volume, compounded while they come."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from navapp.config import VolumeSettings
from navapp.equipment import Equipment
from navapp.state import VolumeState
from navapp.sweep_volume import compounding_for, parse_plan
from recon.errors import ReconError
from recon.volume import FreehandVolume
from recon.volume_live import GrowingVolume
from tracking.transforms import Matrix

logger = logging.getLogger(__name__)

# 2 GB, a cube of 32 cm at 0.5 mm; as much again where it is undone or saved.
_MOST_BLOCKS = 8192


class LiveVolume:
    """`GrowingVolume` by sweeps: one thread inserts, any thread undoes or looks.

    Live it takes at most half of the inserting thread's time: what comes sooner after an image
    than that one took is left out and counted. Otherwise every image goes in. Trouble ends the
    volume and not the session; `problem` says what it was. Voxels cannot be moved: when the scene
    is emptied or registered anew, which its generation tells, the volume begins anew as well.
    """

    def __init__(
        self,
        settings: VolumeSettings,
        equipment: Equipment,
        *,
        is_live: bool,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        plan = parse_plan(
            settings.spacing_mm,
            settings.interpolation,
            settings.compounding,
            settings.fill_holes,
            is_plus_mean=None,
        )
        self.fills_holes = plan.fills_holes
        self.problem: str | None = None
        self.n_left_out = 0
        self._clip_px = equipment.roi_px
        self._kind = plan.interpolation, compounding_for(plan, equipment.calibration)
        self._spacing_mm = plan.spacing_mm
        self._generation = 0
        self._has_ended = False
        self._begin_anew()
        self._undone = 0  # no sweep up to this number takes images any more
        self._is_live, self._clock = is_live, clock
        self._rests_until_s = float("-inf")
        self._lock = threading.Lock()

    @property
    def n_images(self) -> int:
        """Images in the volume, without those that were undone; waits for none that goes in."""
        return sum(n for _, n in tuple(self._sweeps))

    @property
    def state(self) -> VolumeState:
        """For a person; a window asks five times a second, and does not wait either."""
        return VolumeState(self.n_images, self.n_left_out, self.problem)

    def insert(
        self, pixels: NDArray[np.uint8], A_scene_pixel: Matrix, sweep: int, generation: int = 0
    ) -> None:
        """Put the image of a sweep in, if there is time for it."""
        with self._lock:
            self._follow(generation)
            is_elsewhere = generation < self._generation  # placed before the scene was moved
            if is_elsewhere or self._has_ended or sweep <= self._undone:
                return
            begin_s = self._clock()
            if self._is_live and begin_s < self._rests_until_s:
                self.n_left_out += 1
                return
            try:
                self._put(pixels, A_scene_pixel, sweep)
            except (ReconError, MemoryError) as error:
                self._has_ended = True
                self.problem = f"the volume ends at {self._volume.n_blocks} blocks: {error}"
                logger.warning("%s", self.problem)
            end_s = self._clock()
            self._rests_until_s = end_s + (end_s - begin_s)

    def _put(self, pixels: NDArray[np.uint8], A_scene_pixel: Matrix, sweep: int) -> None:
        if self._volume.n_blocks > _MOST_BLOCKS:
            raise ReconError("it takes no more memory: a larger spacing would have lasted longer")
        if not self._sweeps or self._sweeps[-1][0] != sweep:
            self._volume.begin_sweep()
            self._sweeps.append([sweep, 0])
        self._volume.insert(pixels, A_scene_pixel, self._clip_px)
        self._sweeps[-1][1] += 1

    def undo(self, sweep: int) -> None:
        """Take a sweep away, the last one that is still there; one without an image has no part."""
        with self._lock:
            self._undone = max(self._undone, sweep)
            if self._sweeps and self._sweeps[-1][0] == sweep:
                self._sweeps.pop()
                self._volume.undo()

    def gathered(self, generation: int = 0) -> FreehandVolume | None:
        """The volume as it is now; None where nothing can be saved, and then `problem` says why."""
        with self._lock:
            self._follow(generation)
            try:
                volume = self._volume.gathered()
            except (ReconError, MemoryError) as error:
                if not self._has_ended:
                    self.problem = str(error)
                return None
            if not self._has_ended:
                self.problem = None
            return volume

    def _follow(self, generation: int) -> None:
        if generation > self._generation:
            self._generation = generation
            self._begin_anew()

    def _begin_anew(self) -> None:
        self._volume = GrowingVolume(self._spacing_mm, (0.0, 0.0, 0.0), *self._kind)
        self._sweeps: list[list[int]] = []  # number and images of each, the last one last

    def warm_up(self) -> None:
        """Compile what an image needs, with nothing kept."""
        blank = np.zeros((2, 2), dtype=np.uint8)
        blank.setflags(write=False)  # as images are: for the compiler another type
        GrowingVolume(1.0, (0.0, 0.0, 0.0), *self._kind).insert(blank, np.eye(4))
