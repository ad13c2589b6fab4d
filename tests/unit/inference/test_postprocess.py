"""From probability to the bone line."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from inference.contract import ModelContract
from inference.errors import InferenceError
from inference.postprocess import bone_line, heaviest_runs
from inference.preprocess import InputPlan

# 640 x 480 pixels of 0.08 mm fill the 256 columns of 0.2 mm; rows 192 and below are padding.
SIZE_PX, SPACING_MM = (640, 480), (0.08, 0.08)
ROWS = np.arange(224.0)[:, None]
COLUMNS = np.arange(256.0)[None, :]


@pytest.fixture
def plan(contract: ModelContract) -> InputPlan:
    return InputPlan.for_image(contract, SIZE_PX, SPACING_MM)


def band(centre_row: NDArray[np.float64] | float) -> NDArray[np.float32]:
    """A line three pixels thick at a (fractional) row of each column."""
    return np.clip(2.0 - np.abs(ROWS - centre_row), 0.0, 1.0).astype(np.float32) * np.ones(
        (1, 256), np.float32
    )


def slow_runs(
    probability: NDArray[np.float32], columns: NDArray[np.float64], threshold: float
) -> tuple[list[float], list[float]]:
    """The slow twin of the kernel, in plain numpy, one column at a time."""
    centres, peaks = [], []
    for position in np.clip(columns, 0, probability.shape[1] - 1):
        left = min(int(position), probability.shape[1] - 2)
        pair = probability[:, left : left + 2].astype(np.float64)
        profile = pair @ (1 - (position - left), position - left)
        above = np.concatenate(([False], profile > threshold, [False]))
        edges = np.flatnonzero(np.diff(above.astype(int)))
        runs = [np.arange(a, b) for a, b in edges.reshape(-1, 2)]
        if not runs:
            centres.append(np.nan)
            peaks.append(0.0)
            continue
        excess = profile - threshold
        best = max(runs, key=lambda run: excess[run].sum())
        centres.append(float(np.average(best, weights=excess[best])))
        peaks.append(float(profile[best].max()))
    return centres, peaks


def test_kernel_equals_its_slow_twin() -> None:
    rng = np.random.default_rng(3)
    probability = rng.random((40, 30), dtype=np.float32)
    columns = rng.uniform(-1.0, 31.0, 200)
    found = heaviest_runs(probability, columns, 0.4)
    expected = slow_runs(probability, columns, 0.4)
    np.testing.assert_allclose(found[0], expected[0], atol=1e-9)
    np.testing.assert_allclose(found[1], expected[1], atol=1e-6)


def test_run_at_the_last_row_is_closed() -> None:
    probability = np.zeros((10, 4), dtype=np.float32)
    probability[8:] = 0.8
    centre, _ = heaviest_runs(probability, np.array([1.5]), 0.5)
    assert centre[0] == pytest.approx(8.5)


@pytest.mark.parametrize("slope", [0.0, 0.3, -0.7])
def test_line_lies_where_the_band_is(plan: InputPlan, slope: float) -> None:
    def row_of(column: NDArray[np.float64]) -> NDArray[np.float64]:
        return 95.3 + slope * (column - 128.0)

    line = bone_line(band(row_of(COLUMNS)), plan, 0.5)
    found = plan.network_from_pixel(line.points_px)
    assert len(line.points_px) == 640
    np.testing.assert_array_equal(line.points_px[:, 0], np.arange(640.0))
    inside = (found[:, 0] > 0) & (found[:, 0] < 255)
    np.testing.assert_allclose(found[inside, 1], row_of(found[inside, 0]), atol=0.1)
    np.testing.assert_allclose(line.confidence, 1.0, atol=0.2)


def test_a_blob_is_found_at_its_place_in_the_image(contract: ModelContract) -> None:
    plan = InputPlan.for_image(contract, (950, 811), (0.05392, 0.05392), (0, 0, 936, 811))
    column, row = plan.network_from_pixel(np.array([(515.0, 310.0)]))[0]
    blob = np.exp(-0.5 * ((COLUMNS - column) ** 2 / 36.0 + (ROWS - row) ** 2 / 4.0))
    line = bone_line(blob.astype(np.float32), plan, 0.5)
    assert line.points_px[:, 0].mean() == pytest.approx(515.0, abs=1.0)
    at_centre = line.points_px[line.points_px[:, 0] == 515.0][0]
    assert at_centre[1] == pytest.approx(310.0, abs=0.1 * 0.2 / 0.05392)
    assert line.confidence.max() == pytest.approx(1.0, abs=0.01)
    assert line.confidence.dtype == np.float32


def test_the_heavier_of_two_lines_is_taken(plan: InputPlan) -> None:
    weak = 0.6 * band(40.0)
    line = bone_line(np.maximum(weak, band(120.0)), plan, 0.5)
    rows = plan.network_from_pixel(line.points_px)[:, 1]
    np.testing.assert_allclose(rows, 120.0, atol=0.05)


def test_padding_never_gives_bone(plan: InputPlan) -> None:
    assert len(bone_line(band(205.0), plan, 0.5).points_px) == 0


def test_columns_outside_the_region_give_no_point(contract: ModelContract) -> None:
    plan = InputPlan.for_image(contract, SIZE_PX, SPACING_MM, (100, 20, 300, 400))
    line = bone_line(band(50.0), plan, 0.5)
    assert line.points_px[0, 0] == 100.0
    assert line.points_px[-1, 0] == 399.0


def test_narrow_fragments_are_dropped(plan: InputPlan) -> None:
    probability = band(60.0)
    probability[:, :100] = 0.0
    probability[:, 103:200] = 0.0  # leaves 3 columns, 0.6 mm, and a wide piece
    line = bone_line(probability, plan, 0.5)
    columns = plan.network_from_pixel(line.points_px)[:, 0]
    assert columns.min() > 199.0


def test_nothing_above_the_threshold_gives_an_empty_line(plan: InputPlan) -> None:
    line = bone_line(np.full((224, 256), 0.49, dtype=np.float32), plan, 0.5)
    assert line.points_px.shape == (0, 2)
    assert line.confidence.shape == (0,)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite_are_refused(plan: InputPlan, value: float) -> None:
    probability = band(60.0)
    probability[3, 4] = value
    with pytest.raises(InferenceError, match="not finite"):
        bone_line(probability, plan, 0.5)
