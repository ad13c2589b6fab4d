"""Reported numbers on cases worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from recon.metrics import (
    THRESHOLDS_MM,
    cloud_to_surface,
    completeness,
    line_distance_mm,
    line_scores,
    points_to_cloud,
    symmetric_distances,
)
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


def test_symmetric_distances_to_a_cloud_by_hand():
    cloud_mm = [(0, 0, 0), (1, 0, 0), (np.nan, 0, 0)]
    truth_mm = [(0, 0, 0), (5, 0, 0), (7, 0, 0), (np.inf, 0, 0)]
    both = symmetric_distances(cloud_mm, truth_mm)
    assert both.to_truth.mean_mm == 0.5
    assert both.from_truth.mean_mm == pytest.approx(10.0 / 3.0)
    assert both.mean_mm == pytest.approx(0.5 * (0.5 + 10.0 / 3.0))
    assert both.hd95_mm == both.from_truth.p95_mm == pytest.approx(5.8)
    assert (both.to_truth.n_used, both.to_truth.n_rejected) == (2, 1)
    assert (both.from_truth.n_used, both.from_truth.n_rejected) == (3, 1)


def test_symmetric_distances_to_a_mesh_see_what_the_cloud_left_out():
    u, v = np.meshgrid(np.arange(0.05, 5.0, 0.1), np.arange(0.05, 10.0, 0.1))
    half_mm = np.column_stack((u.ravel(), v.ravel(), np.full(u.size, 0.2)))
    both = symmetric_distances(half_mm, SQUARE, sample_mm=0.1)
    assert both.to_truth.mean_mm == pytest.approx(0.2)
    assert both.from_truth.n_used == 10_000
    # Half of the square lies below the cloud, the other half up to 5 mm beside it.
    assert both.from_truth.mean_mm == pytest.approx(0.5 * 0.21 + 0.5 * 2.55, abs=0.05)
    assert both.hd95_mm == pytest.approx(4.5, abs=0.1)


def test_symmetric_distances_of_nothing_are_unknown():
    both = symmetric_distances(np.empty((0, 3)), SQUARE, sample_mm=1.0)
    assert math.isnan(both.mean_mm)
    assert math.isnan(both.hd95_mm)
    assert (both.to_truth.n_used, both.from_truth.n_rejected) == (0, 100)


def test_completeness_counts_what_lies_below_the_radius():
    truth_mm = [(0, 0, 0), (1, 0, 0), (2, 0, 0), (3, 0, 0), (np.nan, 0, 0)]
    found = completeness([(0, 0, 0), (np.inf, 0, 0)], truth_mm, radius_mm=2.0)
    assert (found.share, found.n_used, found.n_rejected) == (0.5, 4, 1)


def test_completeness_of_a_mesh_is_a_share_of_its_area():
    # A disc of radius 3 mm in the middle of a square of 100 mm^2.
    found = completeness([(5.0, 5.0, 4.0)], SQUARE, radius_mm=5.0, sample_mm=0.05)
    assert found.share == pytest.approx(math.pi * 9.0 / 100.0, abs=0.005)
    assert found.n_used == 40_000


def test_nothing_is_complete_with_an_empty_cloud():
    assert completeness(np.empty((0, 3)), [(0, 0, 0)], 1.0).share == 0.0
    assert math.isnan(completeness([(0, 0, 0)], np.empty((0, 3)), 1.0).share)


def test_thresholds_are_those_of_the_paper():
    assert len(THRESHOLDS_MM) == 21
    assert (THRESHOLDS_MM[0], THRESHOLDS_MM[3], THRESHOLDS_MM[5], THRESHOLDS_MM[-1]) == (
        0.0, 0.3, 0.5, 2.0,
    )  # fmt: skip
    scores = line_scores(line((0, 0)), line((0, 0)), SPACING_MM)
    assert scores.f1.tolist() == [0.0] + [1.0] * 20  # no distance is below 0
