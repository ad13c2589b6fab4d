"""What stays from line to line is supported; what comes once is not."""

from __future__ import annotations

import numpy as np
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


def test_until_three_lines_came_before_all_is_supported() -> None:
    support = LineSupport()
    found = [support.of(line((0, 100, 50.0 + 90.0 * k)), SPACING_MM, 0.1 * k) for k in range(4)]
    assert found[0].dtype == np.float32
    np.testing.assert_array_equal(found[:3], np.ones((3, 100)))
    np.testing.assert_array_equal(found[3], np.zeros(100))


def test_what_appears_once_is_not_supported_and_the_rest_is() -> None:
    support = LineSupport(window_s=0.5, near_mm=3.0)
    for k in range(4):
        support.of(line((0, 100, 50.0 + 5.0 * k)), SPACING_MM, 0.1 * k)
    found = support.of(line((0, 100, 70.0), (100, 160, 300.0)), SPACING_MM, 0.4)
    np.testing.assert_allclose(found[:100], 1.0)
    np.testing.assert_allclose(found[100:], 0.0)
    assert found[:100].min() > SUPPORTED > found[100:].max()


def test_borne_out_is_the_supported_part_with_its_confidence() -> None:
    support = LineSupport()
    whole = line((0, 100, 50.0))
    for k in range(4):
        assert support.borne_out(whole, SPACING_MM, 0.1 * k) is whole
    both = line((0, 100, 50.0), (100, 160, 300.0))
    both.confidence[:] = np.arange(160)
    part = support.borne_out(both, SPACING_MM, 0.4)
    np.testing.assert_array_equal(part.points_px, whole.points_px)
    np.testing.assert_array_equal(part.confidence, np.arange(100))
    assert part.peak.shape == (100,)
    assert support.borne_out(line((100, 160, 300.0)), SPACING_MM, 0.45).points_px.shape == (0, 2)


def test_support_is_the_share_of_the_lines_before_and_one_for_a_whole_fragment() -> None:
    support = LineSupport(window_s=0.5, near_mm=1.0)
    for t_s, v in ((0.0, 50.0), (0.1, 50.0), (0.2, 200.0), (0.3, 200.0)):
        support.of(line((0, 80, v)), SPACING_MM, t_s)
    found = support.of(line((0, 100, 50.0)), SPACING_MM, 0.4)
    # 10 columns, 1 mm, further right still count as near; beyond them nothing was seen.
    np.testing.assert_allclose(found, 0.5 * 0.9, atol=0.006)
    assert len(set(found.tolist())) == 1


def test_lines_out_of_the_window_and_from_later_do_not_count() -> None:
    support = LineSupport(window_s=0.5)

    def seen(begin_s: float) -> None:
        for k in range(3):
            support.of(line((0, 80, 50.0)), SPACING_MM, begin_s + 0.01 * k)

    elsewhere = line((0, 80, 300.0))
    seen(10.0)
    assert support.of(elsewhere, SPACING_MM, 10.4).max() == 0.0
    assert support.of(elsewhere, SPACING_MM, 10.6).min() == 1.0  # the others are too old
    seen(10.6)
    assert support.of(elsewhere, SPACING_MM, 3.0).min() == 1.0  # time stepped back


def test_points_need_not_run_from_left_to_right() -> None:
    """As where the rays of a curved array meet a steep surface."""
    support, mirrored = LineSupport(), LineSupport()
    for k in range(5):
        steep = line((0, 50, 50.0), (60, 110, 50.0 + 30.0 * k))
        back = BoneLine(steep.points_px[::-1], steep.confidence, steep.peak)
        found = support.of(steep, SPACING_MM, 0.1 * k)
        np.testing.assert_array_equal(mirrored.of(back, SPACING_MM, 0.1 * k), found[::-1])
    assert found[0] == 1.0 > found[-1]


def test_stamps_that_stand_still_keep_no_line_for_ever() -> None:
    support = LineSupport()
    for _ in range(200):
        support.of(line((0, 80, 50.0)), SPACING_MM, 0.0)
    for _ in range(128):
        last = support.of(line((0, 80, 300.0)), SPACING_MM, 0.0)
    np.testing.assert_allclose(last, 127 / 128)


def test_a_probe_put_on_again_is_supported_at_once() -> None:
    """Images of air just before bear nothing out, and count as nothing."""
    support = LineSupport()
    for k in range(5):
        assert support.of(line(), SPACING_MM, 0.05 * k).shape == (0,)
    for k in range(5, 9):
        assert support.of(line((0, 50, 90.0)), SPACING_MM, 0.05 * k).min() == 1.0
