"""How fast the probe moves, against how fast it may move to leave no gaps."""

from __future__ import annotations

import itertools
import math
from collections import deque
from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from recon.back_projection import back_project
from tracking.transforms import Matrix

_OVER_S = 0.5
_TOO_FAST = 2.0  # times the recommended spacing


class Pace(Enum):
    """Good up to the recommended spacing of images, fast up to twice that."""

    GOOD = "good"
    FAST = "fast"
    TOO_FAST = "too fast"


@dataclass(frozen=True, slots=True)
class ScanSpeed:
    """The last half second: `speed_mm_s` of the image's centre along its way; `spacing_mm`, the
    widest gap between successive images; `recommended_mm_s`, the speed that would keep the gap at
    the recommended one at the rate at which images come now."""

    speed_mm_s: float
    spacing_mm: float
    recommended_mm_s: float
    pace: Pace


class SpeedGauge:
    """Judges the places of successive images.

    The gap between two images is how far the corners of one lie off the plane of the other, at
    most: an image that slides within its own plane leaves none. The rule: images at most
    `spacing_mm` apart, 1 mm unless told otherwise; so 30 images a second allow 30 mm/s, and a
    network that is slower than the stream allows less.

    Source: own rule, from the two wishes of SlicerIGT issue 56 (coverage, and speed against gaps).
    """

    def __init__(self, recommended_spacing_mm: float = 1.0) -> None:
        self.recommended_spacing_mm = recommended_spacing_mm
        self._images: deque[tuple[float, NDArray[np.float64], float]] = deque()
        self._last: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None

    def add(self, t_s: float, A_scene_pixel: Matrix, image_size_px: tuple[int, int]) -> None:
        """An image that went into the cloud; a time that runs back begins anew."""
        if self._images and not t_s > self._images[-1][0]:
            self.clear()
        width, height = image_size_px
        ends_px = np.array([(u, v) for u in (0, width - 1) for v in (0, height - 1)], dtype=float)
        corners_mm = back_project(ends_px, A_scene_pixel)
        normal = np.cross(A_scene_pixel[:3, 0], A_scene_pixel[:3, 1])
        normal /= np.linalg.norm(normal)
        gap_mm = 0.0
        if self._last is not None:
            last_mm, last_normal = self._last
            gap_mm = float(np.abs((corners_mm - last_mm[0]) @ last_normal).max())
        self._last = corners_mm, normal
        self._images.append((t_s, corners_mm.mean(axis=0), gap_mm))
        while self._images[0][0] < t_s - _OVER_S:
            self._images.popleft()

    def clear(self) -> None:
        """Forget the way so far: what follows does not continue it."""
        self._images.clear()
        self._last = None

    def reading(self) -> ScanSpeed | None:
        """None before two images within half a second."""
        if len(self._images) < 2:
            return None
        images = tuple(self._images)
        seconds = images[-1][0] - images[0][0]
        way_mm = sum(
            math.dist(at_mm, next_mm)
            for (_, at_mm, _), (_, next_mm, _) in itertools.pairwise(images)
        )
        spacing_mm = max(gap_mm for _, _, gap_mm in images[1:])
        excess = spacing_mm / self.recommended_spacing_mm
        pace = Pace.GOOD if excess <= 1.0 else Pace.FAST if excess <= _TOO_FAST else Pace.TOO_FAST
        rate_hz = (len(images) - 1) / seconds
        return ScanSpeed(way_mm / seconds, spacing_mm, self.recommended_spacing_mm * rate_hz, pace)
