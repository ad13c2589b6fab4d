"""What stays from line to line is supported; what comes once is not."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from inference.line_support import SUPPORTED, LineSupport, count_near
from inference.postprocess import BoneLine

SPACING_MM = (0.1, 0.05)


def line(*pieces: tuple[int, int, float]) -> BoneLine:
    """Pieces (first u, last u, v) side by side."""
    parts = [np.column_stack((u := np.arange(a, b), np.full(u.size, v))) for a, b, v in pieces]
    points_px = np.concatenate([*parts, np.empty((0, 2))]).astype(np.float64)
    return BoneLine(points_px, *2 * [np.ones(len(points_px), np.float32)])


def is_near(
    points_mm: NDArray[np.float64], other_mm: NDArray[np.float64], near_mm: float
) -> NDArray[np.bool_]:
    """The slow twin, for one other line."""
    if not len(other_mm):
        return np.zeros(len(points_mm), dtype=np.bool_)
    after = np.searchsorted(other_mm[:, 0], points_mm[:, 0])
    sides = [(after - 1, after > 0), (after.clip(max=len(other_mm) - 1), after < len(other_mm))]
    return np.any(
        [(np.hypot(*(other_mm[k] - points_mm).T) <= near_mm) & is_there for k, is_there in sides],
        axis=0,
    )


def test_kernel_equals_its_slow_twin() -> None:
    rng = np.random.default_rng(2)
    lines = [rng.uniform(0.0, 40.0, (n, 2)) for n in (60, 0, 35, 1)]
    lines = [mm[np.argsort(mm[:, 0])] for mm in lines]
    points_mm = np.sort(rng.uniform(-5.0, 45.0, (80, 2)), axis=0)
    found = count_near(points_mm, np.concatenate(lines), np.cumsum([len(mm) for mm in lines]), 6.0)
    assert found.tolist() == np.sum([is_near(points_mm, mm, 6.0) for mm in lines], axis=0).tolist()
    assert len(set(found.tolist())) > 2


def test_the_first_line_supports_itself() -> None:
    support = LineSupport().of(line((0, 100, 50.0)), SPACING_MM, 0.0)
    assert support.dtype == np.float32
    np.testing.assert_array_equal(support, np.ones(100))


def test_what_appears_once_is_not_supported_and_the_rest_is() -> None:
    support = LineSupport(window_s=0.5, near_mm=3.0)
    for k in range(4):
        support.of(line((0, 100, 50.0 + 5.0 * k)), SPACING_MM, 0.1 * k)
    found = support.of(line((0, 100, 70.0), (100, 160, 300.0)), SPACING_MM, 0.4)
    np.testing.assert_allclose(found[:100], 1.0)
    np.testing.assert_allclose(found[100:], 0.0)
    assert found[:100].min() > SUPPORTED > found[100:].max()


def test_support_is_the_share_of_the_lines_before_and_one_for_a_whole_fragment() -> None:
    support = LineSupport(window_s=0.5, near_mm=1.0)
    for t_s, v in ((0.0, 50.0), (0.1, 50.0), (0.2, 200.0), (0.3, 200.0)):
        support.of(line((0, 80, v)), SPACING_MM, t_s)
    found = support.of(line((0, 100, 50.0)), SPACING_MM, 0.4)
    # 10 columns, 1 mm, further right still count as near; beyond them nothing was seen.
    np.testing.assert_allclose(found, 0.5 * 0.9, atol=0.006)
    assert len(set(found.tolist())) == 1


def test_lines_out_of_the_window_and_of_another_sweep_do_not_count() -> None:
    support = LineSupport(window_s=0.5)
    support.of(line((0, 80, 50.0)), SPACING_MM, 10.0)
    assert support.of(line((0, 80, 300.0)), SPACING_MM, 10.4).max() == 0.0
    assert support.of(line((0, 80, 300.0)), SPACING_MM, 10.6).min() == 1.0  # the first is too old
    assert support.of(line((0, 80, 50.0)), SPACING_MM, 3.0).min() == 1.0  # time stepped back
    support.clear()
    assert support.of(line((0, 80, 300.0)), SPACING_MM, 3.1).min() == 1.0


@pytest.mark.parametrize("before", [line(), line((0, 50, 90.0))])
def test_empty_lines_are_lines(before: BoneLine) -> None:
    support = LineSupport()
    support.of(before, SPACING_MM, 0.0)
    assert support.of(line(), SPACING_MM, 0.1).shape == (0,)
    n_before = 2
    found = support.of(line((0, 50, 90.0)), SPACING_MM, 0.2)
    np.testing.assert_allclose(found, bool(len(before.points_px)) / n_before)
