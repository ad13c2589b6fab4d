"""Each kernel of the bone line against its slow twin, on noise full of runs."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from inference import line_kernels
from inference.line_kernels import MAX_RUNS, Runs
from tests.support import line_twins

THRESHOLD = 0.55


@pytest.fixture
def probability() -> NDArray[np.float32]:
    """Blobs some five pixels large, a quarter of the image above the threshold."""
    noise = gaussian_filter(np.random.default_rng(3).random((60, 50)), (1.0, 2.5))
    return ((noise - noise.min()) / np.ptp(noise)).astype(np.float32)


@pytest.fixture
def columns() -> NDArray[np.float64]:
    return np.linspace(-1.0, 51.0, 200)


def as_lists(runs: Runs) -> list[list[tuple[float, float, float]]]:
    return [
        [(runs.centre[i, k], runs.weight[i, k], runs.peak[i, k]) for k in range(count)]
        for i, count in enumerate(runs.n_runs)
    ]


def assert_same_runs(found: Runs, expected: list[list[tuple[float, float, float]]]) -> None:
    expected = [line[:MAX_RUNS] for line in expected]
    assert [len(line) for line in as_lists(found)] == [len(line) for line in expected]
    np.testing.assert_allclose(
        [run for line in as_lists(found) for run in line],
        [run for line in expected for run in line],
        atol=1e-5,
    )


def test_column_runs(probability: NDArray[np.float32], columns: NDArray[np.float64]) -> None:
    found = line_kernels.column_runs(probability, columns, THRESHOLD)
    assert found.n_runs.max() > 3
    assert_same_runs(found, line_twins.column_runs(probability, columns, THRESHOLD))


@pytest.mark.parametrize("apex", [(24.5, -20.0), (10.0, -3.5)])
def test_ray_runs(probability: NDArray[np.float32], apex: tuple[float, float]) -> None:
    rays = (apex, np.linspace(-0.9, 0.8, 120), 90, THRESHOLD)
    found = line_kernels.ray_runs(probability, *rays)
    assert found.n_runs.max() > 3
    assert_same_runs(found, line_twins.ray_runs(probability, *rays))


def test_more_runs_than_are_kept_leaves_the_first() -> None:
    stripes = np.zeros((40, 2), np.float32)
    stripes[::3] = 0.9
    found = line_kernels.column_runs(stripes, np.array([0.5]), 0.5)
    assert found.n_runs[0] == MAX_RUNS
    np.testing.assert_allclose(found.centre[0], 3.0 * np.arange(MAX_RUNS))


def test_a_run_at_the_last_row_is_closed() -> None:
    probability = np.zeros((10, 4), np.float32)
    probability[8:] = 0.8
    found = line_kernels.column_runs(probability, np.array([1.5]), 0.5)
    assert found.centre[0, 0] == pytest.approx(8.5)


def test_heaviest_run_of_each_line(
    probability: NDArray[np.float32], columns: NDArray[np.float64]
) -> None:
    runs = line_kernels.column_runs(probability, columns, THRESHOLD)
    expected = [
        [max(line[:MAX_RUNS], key=lambda run: run[1])] if line else [] for line in as_lists(runs)
    ]
    line_kernels.keep_heaviest(runs)
    assert_same_runs(runs, expected)


@pytest.mark.parametrize(("max_gap", "max_step"), [(1.0, 2.0), (6.0, 1.0), (3.5, 5.0)])
@pytest.mark.parametrize("is_first", [False, True])
def test_fragments_and_the_choice(
    probability: NDArray[np.float32],
    columns: NDArray[np.float64],
    max_gap: float,
    max_step: float,
    is_first: bool,
) -> None:
    runs = line_kernels.column_runs(probability, columns, THRESHOLD)
    centres = [[run[0] for run in line] for line in as_lists(runs)]
    fragment, n_fragments = line_kernels.link_runs(runs, max_gap, max_step)
    expected = line_twins.link_runs(centres, max_gap, max_step)
    found = [fragment[i, :count].tolist() for i, count in enumerate(runs.n_runs)]
    assert found == expected
    assert n_fragments == 1 + max(number for line in expected for number in line) > 5

    rule = (40.0, 0.85, is_first)
    chosen, number = line_kernels.choose_runs(runs, fragment, n_fragments, *rule)
    assert chosen.tolist() == line_twins.choose_runs(as_lists(runs), expected, *rule)
    assert 0 < np.count_nonzero(chosen >= 0) < 200
    assert [n for n, k in zip(number, chosen, strict=True) if k < 0] == [-1] * int(
        np.count_nonzero(chosen < 0)
    )


def test_gaps_are_filled_on_a_straight_line() -> None:
    runs = line_kernels.column_runs(np.zeros((4, 4), np.float32), np.zeros(9), 0.5)
    runs.centre[:, 0], runs.peak[:, 0] = 2.0 * np.arange(9.0), 0.9
    chosen = np.array([0, -1, -1, 0, -1, -1, -1, 0, 0])
    number = np.where(chosen < 0, -1, 5)
    position, peak = line_kernels.place_points(runs, chosen, number, 2.0)
    np.testing.assert_allclose(position, [0, 2, 4, 6, np.nan, np.nan, np.nan, 14, 16])
    np.testing.assert_allclose(peak, [0.9, *[np.nan] * 2, 0.9, *[np.nan] * 3, 0.9, 0.9])
    number[3:] = 6  # another fragment: nothing joins the two
    assert np.isnan(line_kernels.place_points(runs, chosen, number, 2.0)[0][1:3]).all()


def test_filled_points_get_the_probability_found_there(probability: NDArray[np.float32]) -> None:
    points = np.array([(3.25, 7.5), (-0.4, 59.3), (-0.6, 9.0), (10.0, 10.0)])
    peak = np.array([np.nan, np.nan, np.nan, 0.9])
    line_kernels.fill_peaks(probability, points, peak)
    p = probability.astype(np.float64)
    between = (p[7:9, 3:5].T @ (0.5, 0.5)) @ (0.75, 0.25)
    np.testing.assert_allclose(peak, [between, p[-1, 0], 0.0, 0.9])
