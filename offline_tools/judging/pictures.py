"""Pictures of what a network found: overlays of single images, sheets of many."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from inference.postprocess import BoneLine
from offline_tools.datasets.images import LabelledImage
from offline_tools.judging.frames import FAR_MM, JudgedFrame

Array = NDArray[np.float64]
Picture = NDArray[np.uint8]
Colour = tuple[int, int, int]

# Bright and dim bone of the label as in the paper (green, blue); what the network found is warm.
HIGH, LOW = (60, 220, 90), (90, 150, 255)
FOUND, FAR = (255, 160, 30), (255, 60, 60)
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
        canvas = colour_image(self.pixels)
        is_high = self.frame.grey_label >= (otsu_threshold or 0)
        dot(canvas, self.label_px[is_high], HIGH)
        dot(canvas, self.label_px[~is_high], LOW)
        is_far = self.frame.distances.to_truth_mm >= FAR_MM
        dot(canvas, self.line.points_px[~is_far], FOUND)
        dot(canvas, self.line.points_px[is_far], FAR)
        return canvas

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


def colour_image(pixels: NDArray[np.uint8]) -> Picture:
    """A grey image (rows, columns) to draw on, (rows, columns, 3)."""
    return np.repeat(pixels[:, :, None], 3, axis=2)


def dot(canvas: Picture, points_px: Array, colour: Colour) -> None:
    """Paint points as 2x2 pixels, so that they survive being shown smaller."""
    height, width, _ = canvas.shape
    for shift in ((0, 0), (0, 1), (1, 0), (1, 1)):
        u, v = (np.floor(points_px) + shift).astype(np.int64).T
        is_inside = (u >= 0) & (u < width) & (v >= 0) & (v < height)
        canvas[v[is_inside], u[is_inside]] = colour


def contact_sheet(
    pictures: Sequence[tuple[str, Picture]], n_columns: int = 4, width_px: int = 420
) -> Picture:
    """Pictures of any size under each other in columns, each with its name above it."""
    strip_px, gap_px = 18, 6
    tiles = []
    for name, picture in pictures:
        height, width = picture.shape[:2]
        size = (width_px, round(height * width_px / width))
        tiles.append((name, Image.fromarray(picture).resize(size, Image.Resampling.LANCZOS)))
    row_px = max(tile.height for _, tile in tiles) + strip_px + gap_px
    n_columns = min(n_columns, len(tiles))
    n_rows = -(-len(tiles) // n_columns)
    sheet = Image.new("RGB", (n_columns * (width_px + gap_px), n_rows * row_px), (18, 22, 28))
    pen = ImageDraw.Draw(sheet)
    for k, (name, tile) in enumerate(tiles):
        left, top = (k % n_columns) * (width_px + gap_px), (k // n_columns) * row_px
        pen.text((left + 3, top + 3), name, fill=(220, 226, 232))
        sheet.paste(tile, (left, top + strip_px))
    return np.asarray(sheet)


def _goodness(frame: JudgedFrame) -> float:
    """Orders frames from bad to good: F1 at 0.5 mm, among equals at 1 mm and 2 mm."""
    return frame.f1_at(0.5) + 1e-3 * frame.f1_at(1.0) + 1e-6 * frame.f1_at(2.0)
