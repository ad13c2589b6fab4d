"""Scores over many lines, by class, as masks, and of confidence, worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from recon.line_metrics import (
    LineDistances,
    Reliability,
    band_overlap,
    incidence_class,
    mask_overlap,
    mean_scores,
    otsu_threshold,
    pooled_scores,
)
from recon.metrics import line_scores

SPACING_MM = (0.1, 0.2)


def line(*points) -> np.ndarray:
    return np.array(points, dtype=np.float64).reshape(-1, 2)


def flat(first: int, last: int, v: float) -> np.ndarray:
    u = np.arange(first, last, dtype=np.float64)
    return np.column_stack((u, np.full_like(u, v)))


def test_distances_know_spacing_and_nearest_true_point():
    found = LineDistances.between(line((0, 0), (9, 1)), line((1, 0), (9, 3)), SPACING_MM)
    np.testing.assert_allclose(found.to_truth_mm, (0.1, 0.4))
    np.testing.assert_allclose(found.from_truth_mm, (0.1, 0.4))
    assert found.nearest_truth.tolist() == [0, 1]


def test_scores_of_distances_are_those_of_the_lines():
    rng = np.random.default_rng(3)
    predicted, truth = rng.uniform(0, 40, (50, 2)), rng.uniform(0, 40, (30, 2))
    ours = LineDistances.between(predicted, truth, SPACING_MM).scores()
    theirs = line_scores(predicted, truth, SPACING_MM)
    np.testing.assert_array_equal(ours.f1, theirs.f1)


def test_silence_and_a_line_without_bone_score_nothing():
    silent = LineDistances.between(line(), line((1, 1)), SPACING_MM)
    invented = LineDistances.between(line((1, 1)), line(), SPACING_MM)
    assert silent.scores((0.5,)).completeness == invented.scores((0.5,)).accuracy == [0.0]
    assert invented.nearest_truth.tolist() == [-1]
    assert len(invented.part(np.zeros(0, dtype=bool)).to_truth_mm) == 0


def test_pooled_weighs_points_and_the_mean_weighs_images():
    exact = LineDistances.between(flat(0, 30, 5), flat(0, 30, 5), SPACING_MM)
    missed = LineDistances.between(flat(0, 10, 25), flat(0, 10, 5), SPACING_MM)  # 4 mm off
    assert pooled_scores([exact, missed], (0.5,)).f1 == [0.75]
    assert mean_scores([x.scores((0.5,)) for x in (exact, missed)]).f1 == [0.5]


def test_mean_f1_is_not_the_f1_of_the_means():
    half = LineDistances.between(flat(0, 10, 5), flat(0, 20, 5), (1.0, 1.0))
    other = LineDistances.between(flat(0, 20, 5), flat(0, 10, 5), (1.0, 1.0))
    mean = mean_scores([x.scores((0.5,)) for x in (half, other)])
    assert (mean.accuracy[0], mean.completeness[0]) == (0.75, 0.75)
    assert mean.f1[0] == pytest.approx(2 / 3)


def test_a_class_belongs_to_the_bone_and_the_other_class_still_counts_as_near():
    truth = flat(0, 20, 10)
    predicted = np.concatenate((flat(0, 10, 10), flat(10, 20, 40)))  # second half 6 mm too deep
    whole = LineDistances.between(predicted, truth, SPACING_MM)
    is_bright = np.arange(20) < 10
    bright, dim = whole.part(is_bright), whole.part(~is_bright)
    assert bright.scores((0.25,)).f1 == [1.0]
    assert dim.scores((0.25,)).accuracy == [0.0]
    # (10, 10) and (11, 10) are 0.1 and 0.2 mm from the last good point, which is of the other class
    assert dim.scores((0.25,)).completeness == [0.2]
    assert len(bright.to_truth_mm) + len(dim.to_truth_mm) == 20


def test_otsu_lies_between_two_modes():
    rng = np.random.default_rng(0)
    grey = np.concatenate((rng.normal(60, 8, 4000), rng.normal(180, 8, 1000)))
    assert 90 < otsu_threshold(grey.clip(0, 255).astype(np.uint8)) < 150


def test_otsu_of_two_values_is_their_middle_and_of_one_is_none():
    assert otsu_threshold(np.array([10, 10, 20], dtype=np.uint8)) == 16  # of 11 ... 20
    assert otsu_threshold(np.full(9, 77, dtype=np.uint8)) is None
    assert otsu_threshold(np.empty(0, dtype=np.uint8)) is None


def test_otsu_against_a_plain_search():
    grey = np.random.default_rng(8).gamma(2.0, 30.0, 3000).clip(0, 255).astype(np.uint8)

    def between(t: int) -> float:
        low, high = grey[grey < t], grey[grey >= t]
        return len(low) * len(high) * (high.mean() - low.mean()) ** 2

    candidates = range(int(grey.min()) + 1, int(grey.max()) + 1)
    assert between(otsu_threshold(grey)) == pytest.approx(max(between(t) for t in candidates))


def test_incidence_bins():
    degrees = np.array([0, 29.9, 30, 60, 75, 85, 86, np.nan])
    assert incidence_class(np.radians(degrees)).tolist() == [0, 0, 1, 2, 3, 3, -1, -1]


def test_dice_and_iou_of_masks_by_hand():
    first, second = np.zeros((2, 6), dtype=bool), np.zeros((2, 6), dtype=bool)
    first[0, :4] = second[0, 2:] = True
    overlap = mask_overlap(first, second)
    assert (overlap.dice, overlap.iou) == (0.5, pytest.approx(1 / 3))
    nothing = mask_overlap(~np.ones((2, 2), bool), ~np.ones((2, 2), bool))
    assert (nothing.dice, nothing.iou) == (1.0, 1.0)


def test_bands_are_as_wide_in_mm_whatever_the_spacing():
    # 1 mm wide: 0.5 mm is 5 columns or 2 rows (0.4 mm), so a flat line is 5 rows thick.
    same = band_overlap(flat(0, 100, 50), flat(0, 100, 50), SPACING_MM)
    assert same.dice == same.iou == 1.0
    shifted = band_overlap(flat(0, 1000, 50), flat(0, 1000, 52), SPACING_MM)
    assert shifted.dice == pytest.approx(3 / 5, abs=0.005)
    assert band_overlap(line(), flat(0, 9, 5), SPACING_MM).dice == 0.0
    assert band_overlap(line(), line(), SPACING_MM).dice == 1.0


def test_reliability_finds_the_gap_and_ignores_rare_bins():
    promised = np.concatenate((np.full(60, 0.95), np.full(36, 0.55), np.full(4, 0.15)))
    is_near = np.concatenate((np.arange(60) < 57, np.arange(36) < 27, np.ones(4, bool)))
    found = Reliability.of(promised, is_near)
    assert (found.n.sum(), found.n_near.sum()) == (100, 88)
    assert found.largest_gap == pytest.approx(0.75 - 0.55)  # 0.15 against 1 is 4 % of the points
    assert math.isnan(Reliability.of(np.empty(0), np.empty(0, bool)).largest_gap)


def test_a_promise_of_one_is_in_the_last_bin():
    found = Reliability.of(np.array([1.0], dtype=np.float32), np.array([True]))
    assert found.n[-1] == 1
    assert found.largest_gap == 0.0
