"""The only definition of every reported distance and score."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import cKDTree

from recon.surface import SurfaceDistance

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class DistanceStats:
    """Distances in mm of `n_used` points; `n_rejected` were not finite. NaN where none is left."""

    mean_mm: float
    median_mm: float
    p95_mm: float
    n_used: int
    n_rejected: int


@dataclass(frozen=True, slots=True)
class LineScores:
    """How well a bone line in an image agrees with the true one, one value per threshold, 0 to 1.

    `accuracy` is the share of predicted points nearer to the truth than the threshold,
    `completeness` the share of true points nearer to the prediction, `f1` their harmonic mean.
    """

    accuracy: Array
    completeness: Array
    f1: Array


def distance_stats(distances_mm: Array, n_rejected: int = 0) -> DistanceStats:
    """The distances (N,) in the numbers that are reported."""
    n_used = len(distances_mm)
    if n_used == 0:
        return DistanceStats(np.nan, np.nan, np.nan, 0, n_rejected)
    median_mm, p95_mm = np.percentile(distances_mm, (50.0, 95.0))
    return DistanceStats(
        float(distances_mm.mean()), float(median_mm), float(p95_mm), n_used, n_rejected
    )


def cloud_to_surface(points_mm: ArrayLike, surface: SurfaceDistance) -> DistanceStats:
    """Distance of every point (N, 3) to the nearest point on a triangle of the surface."""
    used, n_rejected = _finite(points_mm)
    return distance_stats(surface.distances_mm(used), n_rejected)


def points_to_cloud(points_mm: ArrayLike, cloud_points_mm: ArrayLike) -> DistanceStats:
    """Distance of every point (N, 3) to the nearest point of a cloud (M, 3).

    With an empty cloud no point has a distance: all are rejected.
    """
    used, n_rejected = _finite(points_mm)
    cloud, _ = _finite(cloud_points_mm)
    if not len(cloud):
        return distance_stats(np.empty(0), n_rejected + len(used))
    return distance_stats(_nearest(used, cloud), n_rejected)


def line_distance_mm(
    line_px: Array, other_line_px: Array, spacing_mm: tuple[float, float]
) -> Array:
    """Distance of each point of a line to the nearest point of another line in the same image.

    Points, not the segments between them: a gap in the other line stays a gap.

    Parameters
    ----------
    line_px, other_line_px : (N, 2) and (M, 2) with (u, v)
    spacing_mm : (column, row)

    Returns
    -------
    (N,) float64, mm; infinite where the other line is empty.
    """
    if not len(other_line_px):
        return np.full(len(line_px), np.inf)
    return _nearest(line_px * np.array(spacing_mm), other_line_px * np.array(spacing_mm))


def line_scores(
    predicted_px: Array,
    truth_px: Array,
    spacing_mm: tuple[float, float],
    thresholds_mm: tuple[float, ...],
) -> LineScores:
    """Accuracy, completeness and F1 of a predicted line; a distance has to be below a threshold.

    A prediction without points scores 0, so that silence is never better than a wrong line. Where
    there is no bone and none is predicted all three are 1.

    Parameters
    ----------
    predicted_px, truth_px : (N, 2) and (M, 2) with (u, v)
    spacing_mm : (column, row)
    """
    if not len(predicted_px) and not len(truth_px):
        perfect = np.ones(len(thresholds_mm))
        return LineScores(perfect, perfect, perfect)
    accuracy = _share_below(line_distance_mm(predicted_px, truth_px, spacing_mm), thresholds_mm)
    completeness = _share_below(line_distance_mm(truth_px, predicted_px, spacing_mm), thresholds_mm)
    total = accuracy + completeness
    f1 = np.divide(2.0 * accuracy * completeness, total, out=np.zeros_like(total), where=total > 0)
    return LineScores(accuracy, completeness, f1)


def _share_below(distances_mm: Array, thresholds_mm: tuple[float, ...]) -> Array:
    if not len(distances_mm):
        return np.zeros(len(thresholds_mm))
    return (distances_mm[:, None] < np.array(thresholds_mm)).mean(axis=0)


def _finite(points_mm: ArrayLike) -> tuple[Array, int]:
    points = np.asarray(points_mm, dtype=np.float64).reshape(-1, 3)
    is_finite = np.isfinite(points).all(axis=1)
    return points[is_finite], int(np.count_nonzero(~is_finite))


def _nearest(points: Array, targets: Array) -> Array:
    distances, _ = cKDTree(targets).query(points)
    return np.asarray(distances, dtype=np.float64)
