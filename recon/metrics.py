"""The only definition of every reported distance and score.

Of bone lines over many images `recon/line_metrics.py` makes shares by class and pools them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import cKDTree

from recon.surface import SurfaceDistance, TriangleMesh, sample_surface

Array = NDArray[np.float64]

# 0 to 2 mm in steps of 0.1, as UltraBones100k reports them.
THRESHOLDS_MM = tuple(k / 10 for k in range(21))


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


@dataclass(frozen=True, slots=True)
class SymmetricDistances:
    """Both ways between a cloud and the truth; each way has its own counts.

    Each way counts for half in the mean, however many points it has. NaN where a way has none.
    """

    to_truth: DistanceStats
    from_truth: DistanceStats

    @property
    def mean_mm(self) -> float:
        return 0.5 * (self.to_truth.mean_mm + self.from_truth.mean_mm)

    @property
    def hd95_mm(self) -> float:
        """The larger 95th percentile of both ways; the Hausdorff distance without outliers."""
        return float(np.maximum(self.to_truth.p95_mm, self.from_truth.p95_mm))


@dataclass(frozen=True, slots=True)
class Completeness:
    """Share, 0 to 1, of `n_used` points of the truth nearer to the cloud than `radius_mm`.

    `n_rejected` points of the truth were not finite. NaN where none is left.
    """

    share: float
    radius_mm: float
    n_used: int
    n_rejected: int


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


def symmetric_distances(
    points_mm: ArrayLike, truth: ArrayLike | TriangleMesh, sample_mm: float = 0.5
) -> SymmetricDistances:
    """Distances from a cloud (N, 3) to what it should be, and back.

    To a mesh the distance is exact; back, it is from points `sample_mm` apart on the mesh to the
    nearest point of the cloud. A truth given as a cloud is (M, 3).
    """
    if isinstance(truth, TriangleMesh):
        to_truth = cloud_to_surface(points_mm, SurfaceDistance(truth))
    else:
        to_truth = points_to_cloud(points_mm, truth)
    return SymmetricDistances(to_truth, points_to_cloud(_truth_points(truth, sample_mm), points_mm))


def completeness(
    points_mm: ArrayLike,
    truth: ArrayLike | TriangleMesh,
    radius_mm: float,
    sample_mm: float = 0.5,
) -> Completeness:
    """How much of the truth (a cloud (M, 3) or a mesh) has a point of the cloud near it.

    A mesh is looked at in points `sample_mm` apart. A distance has to be below the radius; with an
    empty cloud nothing is complete.
    """
    used, n_rejected = _finite(_truth_points(truth, sample_mm))
    cloud, _ = _finite(points_mm)
    if not len(used):
        return Completeness(np.nan, radius_mm, 0, n_rejected)
    n_near = np.count_nonzero(_nearest(used, cloud) < radius_mm) if len(cloud) else 0
    return Completeness(n_near / len(used), radius_mm, len(used), n_rejected)


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
    thresholds_mm: Sequence[float] = THRESHOLDS_MM,
) -> LineScores:
    """Accuracy, completeness and F1 of a predicted line; a distance has to be below a threshold.

    A prediction without points scores 0, so that silence is never better than a wrong line; so
    does a line where there is no bone. Where there is no bone and none is predicted all three
    are 1.

    Parameters
    ----------
    predicted_px, truth_px : (N, 2) and (M, 2) with (u, v)
    spacing_mm : (column, row)
    """
    return scores_of_distances(
        line_distance_mm(predicted_px, truth_px, spacing_mm),
        line_distance_mm(truth_px, predicted_px, spacing_mm),
        thresholds_mm,
    )


def scores_of_distances(
    to_truth_mm: Array, from_truth_mm: Array, thresholds_mm: Sequence[float] = THRESHOLDS_MM
) -> LineScores:
    """`line_scores` of distances that are known: of predicted points (N,), of true ones (M,)."""
    if not len(to_truth_mm) and not len(from_truth_mm):
        perfect = np.ones(len(thresholds_mm))
        return LineScores(perfect, perfect, perfect)
    accuracy = _share_below(to_truth_mm, thresholds_mm)
    completeness = _share_below(from_truth_mm, thresholds_mm)
    return LineScores(accuracy, completeness, harmonic_mean(accuracy, completeness))


def harmonic_mean(accuracy: Array, completeness: Array) -> Array:
    """F1, element by element; 0 where both are 0."""
    total = accuracy + completeness
    return np.divide(
        2.0 * accuracy * completeness, total, out=np.zeros_like(total), where=total > 0
    )


def _truth_points(truth: ArrayLike | TriangleMesh, sample_mm: float) -> ArrayLike:
    return sample_surface(truth, sample_mm) if isinstance(truth, TriangleMesh) else truth


def _share_below(distances_mm: Array, thresholds_mm: Sequence[float]) -> Array:
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
