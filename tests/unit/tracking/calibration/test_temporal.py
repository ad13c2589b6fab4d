"""The lag of simulated motions with known truth, and recordings that allow none."""

from __future__ import annotations

import numpy as np
import pytest

from tracking.calibration.temporal import TemporalLimits, TemporalResult, find_image_lag
from tracking.calibration.water_line import find_line
from tracking.errors import CalibrationError

_POSE_T = np.arange(0.0, 20.0, 0.025)
_IMAGE_T = np.arange(1.0, 19.0, 0.09)
_AXIS = np.array((0.6, -0.5, 0.62)) / np.linalg.norm((0.6, -0.5, 0.62))


def _way(t_s: np.ndarray) -> np.ndarray:
    """A hand's up and down that does not repeat, mm."""
    rates = (0.31, 0.53, 0.83)
    return sum(
        9.0 * np.sin(2.0 * np.pi * r * t_s + p) for r, p in zip(rates, (0, 2, 4), strict=True)
    )


def _periodic(t_s: np.ndarray) -> np.ndarray:
    return 12.0 * np.sin(2.0 * np.pi * 1.5 * t_s)


def _find(lag_s: float, *, way=_way, pose_scale=1.0, noise_px=1.0, **limits) -> TemporalResult:
    rng = np.random.default_rng(0)
    rows_px = 300.0 - 12.0 * way(_IMAGE_T - lag_s) + rng.normal(0.0, noise_px, len(_IMAGE_T))
    positions_mm = np.outer(way(_POSE_T), _AXIS) * pose_scale + (10.0, 20.0, 30.0) * np.array(
        pose_scale
    )
    return find_image_lag(_IMAGE_T, rows_px, _POSE_T, positions_mm, TemporalLimits(**limits))


@pytest.mark.parametrize("lag_s", [-0.4, -0.0873, 0.0, 0.0648, 0.41])
def test_lag_whatever_its_sign(lag_s: float) -> None:
    """PLUS takes the smaller |lag| of both polarities and is wrong beyond some 0.3 s."""
    result = _find(lag_s)
    assert result.image_lag_s == pytest.approx(lag_s, abs=1e-3)
    assert result.interval_s[0] < lag_s < result.interval_s[1]
    assert result.halves_s == pytest.approx((lag_s, lag_s), abs=3e-3)
    assert abs(result.correlation) > 0.999


def test_residual_is_a_root_mean_square_in_mm() -> None:
    """PLUS's is the square root of n times that."""
    result = _find(0.1, noise_px=6.0)
    assert result.residual.rms == pytest.approx(0.5, abs=0.08)
    assert result.held_out.rms == pytest.approx(0.5, abs=0.08)
    assert result.residual.rms < result.residual.max


def test_nothing_is_extrapolated() -> None:
    """Images whose moment may lie outside the poses are not used, rather than clamped."""
    result = _find(0.1)
    inside = (_POSE_T[0] + 0.5 <= _IMAGE_T) & (_POSE_T[-1] - 0.5 >= _IMAGE_T)
    assert result.n_samples == inside.sum() < len(_IMAGE_T) + 1


@pytest.mark.parametrize(
    ("case", "text"),
    [
        ({"way": np.zeros_like}, "probe moves by 0 mm, expected at least 8 mm"),
        ({"way": _periodic}, r"fit alike \(second peak \d+\.\d % of the first.*the motion repeats"),
        ({"pose_scale": 0.001}, r"probe moves by 0\.\d+ mm.*in metres"),
        ({"noise_px": 400.0}, r"correlate by 0\.\d+ at best"),
        ({"lag_s": 0.62}, "still rises at"),
    ],
)
def test_recordings_that_allow_no_lag(case: dict[str, object], text: str) -> None:
    with pytest.raises(CalibrationError, match=text):
        _find(**{"lag_s": 0.05, **case})


def test_a_periodic_motion_is_fine_within_half_a_period() -> None:
    assert _find(0.05, way=_periodic, search_s=0.15).image_lag_s == pytest.approx(0.05, abs=1e-3)


def test_files_of_different_recordings() -> None:
    way = np.outer(_way(_POSE_T), _AXIS)
    with pytest.raises(CalibrationError, match=r"overlap by 0\.0 s .* is it the same recording"):
        find_image_lag(_IMAGE_T + 500.0, 10.0 * _way(_IMAGE_T), _POSE_T, way)
    other = 10.0 * _way(_IMAGE_T[::-1] * 1.37 + 5.0)
    with pytest.raises(CalibrationError, match=r"correlate by 0\.\d+ at best|still rises"):
        find_image_lag(_IMAGE_T, other, _POSE_T, way)


def test_no_line_in_the_images() -> None:
    with pytest.raises(CalibrationError, match="line was found in 0 of"):
        find_image_lag(
            _IMAGE_T, np.full(len(_IMAGE_T), np.nan), _POSE_T, np.outer(_way(_POSE_T), _AXIS)
        )


def _image(slope: float, v_px: float) -> np.ndarray:
    rng = np.random.default_rng(0)
    v, u = np.mgrid[:300, :400]
    echo = 200.0 * np.exp(-0.5 * ((v - v_px - slope * (u - 200.0)) / 2.5) ** 2)
    image = echo + rng.uniform(0.0, 30.0, echo.shape)
    image[40:60, 100:160] = 255.0  # a bubble, brighter than the bottom
    return image.astype(np.uint8)


@pytest.mark.parametrize("slope", [-0.3, 0.0, 0.2])
def test_line_in_spite_of_a_bubble(slope: float) -> None:
    line = find_line(_image(slope, 180.3), (20, 0, 360, 300))
    assert line is not None
    assert line.v_px(200.0) == pytest.approx(180.3, abs=0.15)
    assert line.direction[1] / line.direction[0] == pytest.approx(slope, abs=0.003)
    assert line.n_inliers >= 30


def test_no_line_where_none_is() -> None:
    assert find_line(np.zeros((300, 400), np.uint8)) is None
    speckle = np.random.default_rng(1).uniform(0, 255, (300, 400)).astype(np.uint8)
    assert find_line(speckle) is None
