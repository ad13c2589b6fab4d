"""Reported numbers on cases worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from recon.metrics import cloud_to_surface, line_distance_mm, line_scores, points_to_cloud
from recon.surface import SurfaceDistance, TriangleMesh

SQUARE = TriangleMesh([(0, 0, 0), (10, 0, 0), (10, 10, 0), (0, 10, 0)], [(0, 1, 2), (0, 2, 3)])
SPACING_MM = (0.1, 0.2)


def line(*points) -> np.ndarray:
    return np.array(points, dtype=np.float64).reshape(-1, 2)


def test_cloud_to_surface_counts_what_is_not_finite():
    heights_mm = np.arange(21) / 10.0
    points_mm = np.column_stack((np.full(21, 5.0), np.full(21, 5.0), heights_mm))
    points_mm = np.concatenate((points_mm, [(np.nan, 0, 0), (0, np.inf, 0)]))
    stats = cloud_to_surface(points_mm, SurfaceDistance(SQUARE))
    assert (stats.mean_mm, stats.median_mm, stats.p95_mm) == pytest.approx((1.0, 1.0, 1.9))
    assert (stats.n_used, stats.n_rejected) == (21, 2)


def test_far_points_are_not_rejected():
    stats = cloud_to_surface([(5.0, 5.0, 1.0), (5.0, 5.0, -999.0)], SurfaceDistance(SQUARE))
    assert stats.mean_mm == pytest.approx(500.0)
    assert stats.n_rejected == 0


def test_empty_cloud_has_no_distance():
    stats = cloud_to_surface(np.empty((0, 3)), SurfaceDistance(SQUARE))
    assert math.isnan(stats.mean_mm)
    assert (stats.n_used, stats.n_rejected) == (0, 0)


def test_points_to_cloud_takes_the_nearest():
    stats = points_to_cloud([(0, 0, 0), (4, 0, 0)], [(1, 0, 0), (9, 0, 0), (np.nan, 0, 0)])
    assert (stats.mean_mm, stats.median_mm, stats.n_used) == (2.0, 2.0, 2)


def test_points_to_an_empty_cloud_are_rejected():
    stats = points_to_cloud([(0, 0, 0), (4, 0, 0)], np.empty((0, 3)))
    assert math.isnan(stats.p95_mm)
    assert (stats.n_used, stats.n_rejected) == (0, 2)


def test_line_distance_is_in_mm_along_each_axis():
    distances_mm = line_distance_mm(line((10, 10), (13, 10), (10, 14)), line((10, 10)), SPACING_MM)
    np.testing.assert_allclose(distances_mm, (0.0, 0.3, 0.8))


def test_line_distance_to_nothing_is_infinite():
    assert np.isinf(line_distance_mm(line((1, 1)), line(), SPACING_MM)).all()


def test_line_scores_by_hand():
    truth_px = line((10, 10), (11, 10), (12, 10), (13, 10))
    predicted_px = line((10, 10), (11, 12))  # on it; 0.4 mm below
    scores = line_scores(predicted_px, truth_px, SPACING_MM, (0.15, 0.5))
    np.testing.assert_allclose(scores.accuracy, (0.5, 1.0))
    np.testing.assert_allclose(scores.completeness, (0.5, 1.0))  # (11, 10) is 0.1 mm from (10, 10)
    np.testing.assert_allclose(scores.f1, (0.5, 1.0))


def test_distance_equal_to_the_threshold_does_not_count():
    scores = line_scores(line((0, 0)), line((5, 0)), (0.1, 0.1), (0.5, 0.5000001))
    assert scores.f1.tolist() == [0.0, 1.0]


def test_f1_is_the_harmonic_mean():
    truth_px = line(*((u, 0) for u in range(100)))
    scores = line_scores(truth_px[:25], truth_px, (1.0, 1.0), (0.5,))
    assert (scores.accuracy[0], scores.completeness[0], scores.f1[0]) == (1.0, 0.25, 0.4)


@pytest.mark.parametrize(
    ("predicted_px", "truth_px", "expected"),
    [
        (line(), line((1, 1)), 0.0),  # silence
        (line((1, 1)), line(), 0.0),  # a line where there is no bone
        (line(), line(), 1.0),
    ],
)
def test_empty_lines(predicted_px, truth_px, expected):
    scores = line_scores(predicted_px, truth_px, SPACING_MM, (0.5, 1.0))
    for score in (scores.accuracy, scores.completeness, scores.f1):
        assert score.tolist() == [expected, expected]
