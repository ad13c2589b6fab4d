"""Frames worth looking at, drawn with what the network found in them."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from inference.postprocess import BoneLine
from offline_tools.datasets.images import LabelledImage
from offline_tools.drawing import BLUE, GREEN, ORANGE, RED, Picture, canvas, draw_points
from offline_tools.judging.frames import FAR_MM, JudgedFrame

Array = NDArray[np.float64]

# Bright and dim bone of the label as in the paper (green, blue); what the network found is warm.
HIGH, LOW, FOUND, FAR = GREEN, BLUE, ORANGE, RED
LEGEND = (
    "Label: green where the bone is bright, blue where it is dim. Network: orange, and red where "
    f"it lies {FAR_MM:.0f} mm or more off the label."
)
_N_KEPT = 8


@dataclass(frozen=True, slots=True)
class KeptFrame:
    """A judged frame with its image and lines, to be drawn when the threshold is known."""

    frame: JudgedFrame
    pixels: Picture
    label_px: Array
    line: BoneLine

    def drawn(self, otsu_threshold: int | None) -> Picture:
        """Label and line on the image, (rows, columns, 3)."""
        picture = canvas(self.pixels)
        is_high = self.frame.grey_label >= (otsu_threshold or 0)
        draw_points(picture, self.label_px[is_high], HIGH)
        draw_points(picture, self.label_px[~is_high], LOW)
        is_far = self.frame.distances.to_truth_mm >= FAR_MM
        draw_points(picture, self.line.points_px[~is_far], FOUND)
        draw_points(picture, self.line.points_px[is_far], FAR)
        return picture

    @property
    def caption(self) -> str:
        return (
            f"{self.frame.name}: F1 {self.frame.f1_at(0.5):.2f} at 0.5 mm, "
            f"{self.frame.f1_at(1.0):.2f} at 1 mm"
        )


@dataclass(slots=True)
class Gallery:
    """Keeps the worst frames, and as many that chance picks, out of a stream of any length."""

    n_kept: int = _N_KEPT
    _worst: list[tuple[float, int, KeptFrame]] = field(default_factory=list)
    _random: list[KeptFrame] = field(default_factory=list)
    _n_offered: int = 0
    _chance: np.random.Generator = field(default_factory=lambda: np.random.default_rng(0))

    def offer(self, image: LabelledImage, frame: JudgedFrame, line: BoneLine) -> None:
        kept = KeptFrame(frame, image.pixels, image.line.points_px, line)
        # A heap gives up its smallest: the best of the worst, and of two alike the later one.
        entry = (-_goodness(frame), -self._n_offered, kept)
        if len(self._worst) < self.n_kept:
            heapq.heappush(self._worst, entry)
        else:
            heapq.heappushpop(self._worst, entry)
        # Source: Vitter 1985, algorithm R: every frame is kept with the same chance.
        place = int(self._chance.integers(self._n_offered + 1))
        if len(self._random) < self.n_kept:
            self._random.append(kept)
        elif place < self.n_kept:
            self._random[place] = kept
        self._n_offered += 1

    @property
    def worst(self) -> list[KeptFrame]:
        """The worst first."""
        return [kept for *_, kept in sorted(self._worst, key=lambda entry: entry[:2], reverse=True)]

    @property
    def random(self) -> list[KeptFrame]:
        """In the order in which they were offered, as far as chance left it."""
        return list(self._random)


def _goodness(frame: JudgedFrame) -> float:
    """Orders frames from bad to good: F1 at 0.5 mm, among equals at 1 mm and 2 mm."""
    return frame.f1_at(0.5) + 1e-3 * frame.f1_at(1.0) + 1e-6 * frame.f1_at(2.0)
