"""Scores of bone lines over many images: pooled, by class, as masks, and of their confidence.

The definitions of one image's distances and scores are in `recon/metrics.py`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt
from scipy.spatial import cKDTree

from recon.metrics import THRESHOLDS_MM, LineScores, line_distance_mm, scores_of_distances

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]

# Bins of incidence; the last one holds its upper edge, the label's usual limit.
INCIDENCE_EDGES_DEG = (0.0, 30.0, 60.0, 75.0, 85.0)

# Lines have no area: Dice and IoU are those of bands this far to both sides, 1 mm wide in all.
BAND_HALF_WIDTH_MM = 0.5

CONFIDENCE_EDGES = np.linspace(0.0, 1.0, 51)
# A gap is looked for in bins of 0.1 that hold at least 5 % of the points: fewer say little.
_FINE_BINS_PER_BIN = 5
_LEAST_SHARE = 0.05


@dataclass(frozen=True, slots=True)
class LineDistances:
    """Distances in mm between a predicted line and the true one; infinite where the other is empty.

    `to_truth_mm` (N,) and `nearest_truth` (N,), the index of the true point that is nearest (-1
    where there is none), are of the predicted points; `from_truth_mm` (M,) of the true ones.
    """

    to_truth_mm: Array
    nearest_truth: NDArray[np.int64]
    from_truth_mm: Array

    @classmethod
    def between(cls, predicted_px: Array, truth_px: Array, spacing_mm: tuple[float, float]) -> Self:
        """Of lines (N, 2) and (M, 2) as (u, v), with (column, row) spacing."""
        nearest = np.full(len(predicted_px), -1, dtype=np.int64)
        if len(truth_px) and len(predicted_px):
            _, found = cKDTree(truth_px * spacing_mm).query(predicted_px * np.array(spacing_mm))
            nearest = np.asarray(found, dtype=np.int64)
        return cls(
            to_truth_mm=line_distance_mm(predicted_px, truth_px, spacing_mm),
            nearest_truth=nearest,
            from_truth_mm=line_distance_mm(truth_px, predicted_px, spacing_mm),
        )

    def scores(self, thresholds_mm: Sequence[float] = THRESHOLDS_MM) -> LineScores:
        """As `recon.metrics.line_scores`."""
        return scores_of_distances(self.to_truth_mm, self.from_truth_mm, thresholds_mm)

    def part(self, is_in: Flags) -> LineDistances:
        """The true points chosen (M,) bool, and the predicted points that are nearest to them.

        A class is thus a property of the bone: a wrong point counts against the stretch of bone
        that it misses, wherever it lies itself, and a point beyond a border between classes
        still has its counterpart. Where the truth is empty, predicted points are of no class.
        """
        of_class = np.append(is_in, False)[self.nearest_truth]  # index -1: no truth, no class
        return LineDistances(
            self.to_truth_mm[of_class], self.nearest_truth[of_class], self.from_truth_mm[is_in]
        )


def pooled_scores(
    lines: Sequence[LineDistances], thresholds_mm: Sequence[float] = THRESHOLDS_MM
) -> LineScores:
    """Scores over the points of all images together: long lines weigh more."""
    return scores_of_distances(
        np.concatenate([line.to_truth_mm for line in lines]),
        np.concatenate([line.from_truth_mm for line in lines]),
        thresholds_mm,
    )


def mean_scores(scores: Sequence[LineScores]) -> LineScores:
    """The mean over images, each of the same weight. Its F1 is not that of its other two."""
    return LineScores(
        np.mean([s.accuracy for s in scores], axis=0),
        np.mean([s.completeness for s in scores], axis=0),
        np.mean([s.f1 for s in scores], axis=0),
    )


def otsu_threshold(grey: NDArray[np.uint8]) -> int | None:
    """The grey value from which on (>=) a value is high; None where all values are the same.

    Source: N. Otsu 1979, largest variance between the classes, over 256 bins of width 1. Of
    several thresholds that are as good (a gap between the classes) the middle one.
    """
    counts = np.bincount(grey, minlength=256).astype(np.float64)
    n_low = np.cumsum(counts)[:-1]  # of the class below the threshold 1 ... 255
    n_high = counts.sum() - n_low
    sum_low = np.cumsum(counts * np.arange(256))[:-1]
    sum_high = float((counts * np.arange(256)).sum()) - sum_low
    both = (n_low > 0) & (n_high > 0)
    if not both.any():
        return None
    apart = sum_high[both] / n_high[both] - sum_low[both] / n_low[both]
    between = n_low[both] * n_high[both] * apart**2
    best = np.flatnonzero(both)[between >= between.max() * (1.0 - 1e-12)] + 1
    return int(best[len(best) // 2])


def incidence_class(incidence_rad: Array) -> NDArray[np.int64]:
    """Bin of `INCIDENCE_EDGES_DEG` of each angle; -1 where it is unknown or beyond the last."""
    degrees = np.round(np.degrees(incidence_rad), 9)  # 30 degrees in radians are 29.999...
    bins = np.searchsorted(INCIDENCE_EDGES_DEG, degrees, side="right") - 1
    last = len(INCIDENCE_EDGES_DEG) - 2
    bins[degrees == INCIDENCE_EDGES_DEG[-1]] = last
    return np.where(np.isnan(degrees) | (bins > last), -1, bins)


@dataclass(frozen=True, slots=True)
class Overlap:
    """Pixels of two masks: in both, in the first, in the second."""

    n_both: int
    n_first: int
    n_second: int

    @property
    def dice(self) -> float:
        """1 where both are empty."""
        total = self.n_first + self.n_second
        return 2.0 * self.n_both / total if total else 1.0

    @property
    def iou(self) -> float:
        """Intersection over union; 1 where both are empty."""
        union = self.n_first + self.n_second - self.n_both
        return self.n_both / union if union else 1.0


def mask_overlap(first: Flags, second: Flags) -> Overlap:
    """Of two masks of the same shape."""
    return Overlap(
        int(np.count_nonzero(first & second)),
        int(np.count_nonzero(first)),
        int(np.count_nonzero(second)),
    )


def band_overlap(
    first_px: Array,
    second_px: Array,
    spacing_mm: tuple[float, float],
    half_width_mm: float = BAND_HALF_WIDTH_MM,
) -> Overlap:
    """Overlap of two lines drawn as bands, pixel centres up to `half_width_mm` from a point.

    Not cut at the image's border, so that a line there is as wide as any other.
    """
    points_px = np.concatenate((first_px, second_px))
    if not len(points_px):
        return Overlap(0, 0, 0)
    margin = np.ceil(half_width_mm / np.array(spacing_mm)).astype(np.int64) + 1
    origin = np.floor(points_px.min(axis=0)).astype(np.int64) - margin
    width, height = np.ceil(points_px.max(axis=0)).astype(np.int64) + margin + 1 - origin
    bands = [
        _band(line_px - origin, (height, width), spacing_mm, half_width_mm)
        for line_px in (first_px, second_px)
    ]
    return mask_overlap(*bands)


def _band(
    line_px: Array, shape: tuple[int, int], spacing_mm: tuple[float, float], half_width_mm: float
) -> Flags:
    if not len(line_px):
        return np.zeros(shape, dtype=np.bool_)
    is_away = np.ones(shape, dtype=np.bool_)
    u, v = np.rint(line_px).astype(np.int64).T
    is_away[v, u] = False
    distance_mm = distance_transform_edt(is_away, sampling=spacing_mm[::-1])
    return np.asarray(distance_mm <= half_width_mm, dtype=np.bool_)


@dataclass(frozen=True, slots=True)
class Reliability:
    """What was promised against what came: counts in the bins of `CONFIDENCE_EDGES`.

    `n` points, `n_near` of them nearer to the truth than the limit, `total` the sum of what was
    promised: all (50,), so that several evaluations can be added.
    """

    n: NDArray[np.int64]
    n_near: NDArray[np.int64]
    total: Array

    @classmethod
    def of(cls, promised: NDArray[np.floating], is_near: Flags) -> Self:
        """Of points (N,): the promised share 0 to 1, and whether it was kept."""
        edges = CONFIDENCE_EDGES
        promised = np.asarray(promised, dtype=np.float64)
        return cls(
            np.histogram(promised, edges)[0],
            np.histogram(promised[is_near], edges)[0],
            np.histogram(promised, edges, weights=promised)[0],
        )

    @classmethod
    def from_lists(cls, n: Sequence[int], n_near: Sequence[int], total: Sequence[float]) -> Self:
        """As they were written to a file."""
        return cls(np.array(n), np.array(n_near), np.array(total, dtype=np.float64))

    def coarse(self) -> Reliability:
        """In bins of 0.1."""
        n, n_near, total = (
            a.reshape(-1, _FINE_BINS_PER_BIN).sum(axis=1) for a in (self.n, self.n_near, self.total)
        )
        return Reliability(n, n_near, total)

    def held(self) -> tuple[list[float], list[float]]:
        """Mean promise and share kept of each bin of 0.1 that holds at least 5 % of the points."""
        bins = self.coarse()
        is_held = (bins.n > 0) & (bins.n >= _LEAST_SHARE * bins.n.sum())
        n = bins.n[is_held]
        return (bins.total[is_held] / n).tolist(), (bins.n_near[is_held] / n).tolist()

    @property
    def largest_gap(self) -> float:
        """The largest difference between promise and share kept in `held`; NaN without a point."""
        promised, kept = self.held()
        return max((abs(a - b) for a, b in zip(promised, kept, strict=True)), default=math.nan)
