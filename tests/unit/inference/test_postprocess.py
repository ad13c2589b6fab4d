"""From probability to the bone line."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from inference.contract import ConfidenceMap, LineSpec, ModelContract
from inference.errors import InferenceError
from inference.postprocess import bone_line
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


@pytest.mark.parametrize("slope", [0.0, 0.3, -0.7])
def test_line_lies_where_the_band_is(
    contract: ModelContract, plan: InputPlan, slope: float
) -> None:
    def row_of(column: NDArray[np.float64]) -> NDArray[np.float64]:
        return 95.3 + slope * (column - 128.0)

    line = bone_line(band(row_of(COLUMNS)), plan, contract)
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
    line = bone_line(blob.astype(np.float32), plan, contract)
    assert line.points_px[:, 0].mean() == pytest.approx(515.0, abs=1.0)
    at_centre = line.points_px[line.points_px[:, 0] == 515.0][0]
    assert at_centre[1] == pytest.approx(310.0, abs=0.1 * 0.2 / 0.05392)
    assert line.confidence.max() == pytest.approx(1.0, abs=0.01)
    assert line.confidence.dtype == np.float32


def test_the_heavier_of_two_lines_is_taken(contract: ModelContract, plan: InputPlan) -> None:
    weak = 0.6 * band(40.0)
    line = bone_line(np.maximum(weak, band(120.0)), plan, contract)
    rows = plan.network_from_pixel(line.points_px)[:, 1]
    np.testing.assert_allclose(rows, 120.0, atol=0.05)


def test_padding_never_gives_bone(contract: ModelContract, plan: InputPlan) -> None:
    assert len(bone_line(band(205.0), plan, contract).points_px) == 0


def test_columns_outside_the_region_give_no_point(contract: ModelContract) -> None:
    plan = InputPlan.for_image(contract, SIZE_PX, SPACING_MM, (100, 20, 300, 400))
    line = bone_line(band(50.0), plan, contract)
    assert line.points_px[0, 0] == 100.0
    assert line.points_px[-1, 0] == 399.0


def test_narrow_fragments_are_dropped(contract: ModelContract, plan: InputPlan) -> None:
    probability = band(60.0)
    probability[:, :100] = 0.0
    probability[:, 103:200] = 0.0  # leaves 3 columns, 0.6 mm, and a wide piece
    line = bone_line(probability, plan, contract)
    columns = plan.network_from_pixel(line.points_px)[:, 0]
    assert columns.min() > 199.0


def test_nothing_above_the_threshold_gives_an_empty_line(
    contract: ModelContract, plan: InputPlan
) -> None:
    line = bone_line(np.full((224, 256), 0.49, dtype=np.float32), plan, contract)
    assert line.points_px.shape == (0, 2)
    assert line.confidence.shape == (0,)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite_are_refused(
    contract: ModelContract, plan: InputPlan, value: float
) -> None:
    probability = band(60.0)
    probability[3, 4] = value
    with pytest.raises(InferenceError, match="not finite"):
        bone_line(probability, plan, contract)


RULE = LineSpec(weak=0.3, strong=0.9, choice="fragment", close_gap_mm=1.0)


def read(
    contract: ModelContract, probability: NDArray[np.float32], plan: InputPlan, rule: LineSpec
) -> NDArray[np.float64]:
    """The line in network pixels."""
    line = bone_line(probability, plan, replace(contract, line=rule))
    return plan.network_from_pixel(line.points_px)


def test_weak_ends_belong_to_a_line_that_is_strong_somewhere(
    contract: ModelContract, plan: InputPlan
) -> None:
    """What falls below the threshold towards its ends is followed down to the weak one."""
    strength = np.clip(1.0 - np.abs(COLUMNS - 128.0) / 128.0, 0.0, 1.0)
    fading = band(80.0) * strength.astype(np.float32)
    plain = read(contract, fading, plan, LineSpec())
    followed = read(contract, fading, plan, RULE)
    assert np.ptp(plain[:, 0]) == pytest.approx(128.0, abs=2.0)
    assert np.ptp(followed[:, 0]) == pytest.approx(0.7 * 256.0, abs=2.0)
    assert len(read(contract, 0.8 * fading, plan, RULE)) == 0


def test_choice_between_two_lines(contract: ModelContract, plan: InputPlan) -> None:
    """A thick short echo above a thin long one, over the same columns and beside them."""
    long = band(120.0)
    short = np.maximum(band(40.0), band(42.0)) * ((COLUMNS > 100) & (COLUMNS < 120))
    both = np.maximum(long, short.astype(np.float32))
    rows = {
        choice: np.median(
            [v for u, v in read(contract, both, plan, LineSpec(choice=choice)) if 105 < u < 115]
        )
        for choice in ("run", "first", "fragment")
    }
    assert rows == pytest.approx({"run": 41.0, "first": 41.0, "fragment": 120.0}, abs=0.1)


def test_first_is_the_upper_even_if_it_weighs_less(
    contract: ModelContract, plan: InputPlan
) -> None:
    both = np.maximum(0.7 * band(40.0), band(120.0))
    rows = read(contract, both, plan, LineSpec(choice="first"))[:, 1]
    np.testing.assert_allclose(rows, 40.0, atol=0.05)


def test_small_gaps_are_closed_and_told_by_their_peak(
    contract: ModelContract, plan: InputPlan
) -> None:
    probability = band(60.0)
    probability[:, 100:104] = 0.1  # 0.8 mm
    probability[:, 200:210] = 0.1  # 2 mm
    line = bone_line(probability, plan, replace(contract, line=RULE))
    columns = plan.network_from_pixel(line.points_px)[:, 0]
    closed = (columns > 100.0) & (columns < 103.0)
    assert np.count_nonzero(closed) == 8
    np.testing.assert_allclose(line.peak[closed], 0.1, atol=1e-6)
    np.testing.assert_allclose(plan.network_from_pixel(line.points_px)[closed, 1], 60.0, atol=1e-6)
    assert not np.any((columns > 201.0) & (columns < 208.0))
    plain = bone_line(probability, plan, contract)
    assert len(plain.points_px) < len(line.points_px)
    assert plain.peak.min() > 0.5


def test_confidence_follows_the_map_and_else_the_peak(
    contract: ModelContract, plan: InputPlan
) -> None:
    plain = bone_line(0.8 * band(60.0), plan, contract)
    np.testing.assert_array_equal(plain.confidence, plain.peak)
    mapped = replace(contract, confidence=ConfidenceMap((0.5, 0.9), (0.2, 0.6)))
    line = bone_line(0.8 * band(60.0), plan, mapped)
    np.testing.assert_array_equal(line.peak, plain.peak)
    np.testing.assert_allclose(line.confidence, line.peak - 0.3, atol=1e-6)
    assert line.confidence.dtype == line.peak.dtype == np.float32


APEX = LineSpec(scan_lines="polar", apex_mm=(0.0, -40.0))


def test_rays_find_an_arc_around_the_apex(contract: ModelContract, plan: InputPlan) -> None:
    """A curved array's flat echo is an arc; one point per ray, all at one radius."""
    apex = np.array((127.5, -200.5))  # 40 mm above the top edge, in network pixels
    radius = np.hypot(COLUMNS - apex[0], ROWS - apex[1])
    arc = np.clip(2.0 - np.abs(radius - 320.3), 0.0, 1.0).astype(np.float32)
    found = read(contract, arc, plan, APEX) - apex
    inside = np.abs(found[:, 0]) < 126.0  # at the sides the image cuts it
    np.testing.assert_allclose(np.hypot(*found[inside].T), 320.3, atol=0.15)
    angles = np.arctan2(found[:, 0], found[:, 1])
    steps = np.diff(angles)
    assert np.all(steps > 0.0)
    np.testing.assert_allclose(steps, steps[0], rtol=1e-6)
    assert np.diff(found[:, 0]).max() < 0.45  # no further apart than pixels of the image


def test_rays_give_no_point_outside_the_region(contract: ModelContract) -> None:
    plan = InputPlan.for_image(contract, SIZE_PX, SPACING_MM, (100, 20, 300, 400))
    line = bone_line(np.ones((224, 256), np.float32), plan, replace(contract, line=APEX))
    u, v = line.points_px.T
    assert u.min() >= 99.5
    assert u.max() < 399.5
    assert v.min() >= 19.5
    assert len(line.points_px) > 300
    # In the middle of the region, 40 mm above its top edge: half a pixel above row 20.
    assert line.apex_px == pytest.approx((99.5 + 150.0, 19.5 - 40.0 / 0.08))


def test_scan_lines_down_the_columns_have_no_apex(contract: ModelContract, plan: InputPlan) -> None:
    assert bone_line(band(95.0), plan, contract).apex_px is None
