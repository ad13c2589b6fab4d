"""Rigid fits of landmarks against known truth, and the pairs that are refused."""

from __future__ import annotations

import numpy as np
import pytest

from tracking.calibration.landmarks import (
    DwellSettings,
    find_dwells,
    fit_landmarks,
    fit_rigid,
)
from tracking.errors import CalibrationError
from tracking.transforms import apply, from_rotation_vector

_T = from_rotation_vector((2.0, -1.0, 0.4), (50.0, -700.0, 1200.0))
_POINTS = np.array([(0, 0, 0), (80, 5, 0), (10, 60, 20), (70, 55, -15), (30, 20, 40.0)])


def test_four_pairs_recover_the_transform() -> None:
    fit = fit_landmarks(_POINTS[:4], apply(_T, _POINTS[:4]))
    np.testing.assert_allclose(fit.T_target_source, _T, atol=1e-9)
    assert fit.fre.max < 1e-9
    assert fit.left_out_mm.max() < 1e-9


def test_a_reflection_is_never_the_answer() -> None:
    mirrored = _POINTS * (1.0, 1.0, -1.0)
    assert np.linalg.det(fit_rigid(_POINTS, mirrored)[:3, :3]) == pytest.approx(1.0)
    with pytest.raises(CalibrationError, match=r"mirror images, RMS distance 32\.6 mm"):
        fit_landmarks(_POINTS, mirrored)


def test_the_left_out_landmark_tells_the_wrong_one() -> None:
    target = apply(_T, _POINTS)
    target[2] += (4.0, 0.0, 0.0)
    fit = fit_landmarks(_POINTS, target)
    assert fit.left_out_mm.argmax() == 2
    assert fit.left_out_mm[2] == pytest.approx(4.0, abs=1e-6)
    assert fit.errors_mm[2] < 4.0


def test_expected_tre_agrees_with_simulated_noise() -> None:
    rng = np.random.default_rng(3)
    target = np.array((30.0, 30.0, 150.0))
    true, expected = [], []
    for _ in range(3000):
        noisy = apply(_T, _POINTS) + rng.normal(0.0, 0.3, _POINTS.shape)
        fit = fit_landmarks(_POINTS, noisy)
        true.append(np.sum((apply(fit.T_target_source, target) - apply(_T, target)) ** 2))
        expected.append(fit.expected_tre_mm(target) ** 2)
    assert np.sqrt(np.mean(expected)) == pytest.approx(np.sqrt(np.mean(true)), rel=0.04)


@pytest.mark.parametrize(
    ("source", "target", "text"),
    [
        (_POINTS[:2], _POINTS[:2], "2 and 2 points"),
        (_POINTS[:4], _POINTS, "4 and 5 points"),
        (np.outer(np.arange(4.0), (1, 2, 3)), _POINTS[:4], "lie on a line"),
        (_POINTS / 1000.0, _POINTS, "0.001 times the size"),
        (_POINTS[[1, 0, 3, 2, 4]], _POINTS, "same order"),
        (_POINTS[[1, 0, 2]], _POINTS[:3], "with three landmarks, any of them"),
        (_POINTS * np.nan, _POINTS, "not finite"),
    ],
)
def test_pairs_that_fix_nothing_are_refused(
    source: np.ndarray, target: np.ndarray, text: str
) -> None:
    with pytest.raises(CalibrationError, match=text):
        fit_landmarks(source, target)


def _held(tip_mm: np.ndarray, swing_rad: float, n: int) -> list[np.ndarray]:
    """Stylus poses that keep the tip of a 150 mm stylus (along x) on a point."""
    poses = []
    for angle in swing_rad * np.sin(np.linspace(0.0, 6.0, n)):
        T = from_rotation_vector((0.0, 0.3, angle), (0.0, 0.0, 0.0))
        T[:3, 3] = tip_mm - T[:3, :3] @ (150.0, 0.0, 0.0)
        poses.append(T)
    return poses


def test_only_a_pivoting_stylus_dwells() -> None:
    """Held, moved, held without pivoting, moved, held: two landmarks and one rest."""
    a, b, c = np.array([(0.0, 0.0, 0.0), (40.0, 0.0, 0.0), (40.0, 50.0, 5.0)])
    way = [_held(a + (b - a) * f, 0.0, 1)[0] for f in np.linspace(0.1, 0.9, 10)]
    held_a = _held(a, 0.4, 30)
    poses = np.array([*held_a, *way, *_held(b, 0.0, 40), *way[::-1], *held_a, *_held(c, 0.4, 30)])
    t_s = np.arange(len(poses)) / 15.0
    dwells = find_dwells(t_s, poses, np.array((150.0, 0.0, 0.0)))
    assert [dwell.n for dwell in dwells] == [16, 16]
    np.testing.assert_allclose(dwells[0].tip_reference_mm, a, atol=1e-9)
    np.testing.assert_allclose(dwells[1].tip_reference_mm, c, atol=1e-9)
    resting = DwellSettings(min_shaft_motion_mm=0.0)
    assert len(find_dwells(t_s, poses, np.array((150.0, 0.0, 0.0)), resting)) == 3
