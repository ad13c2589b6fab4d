"""Pivot calibration on poses like those of PLUS's FakeTracker, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.stylus import PIVOT_MM, TIP_MM, fake_tracker_poses
from tracking.calibration import load_stylus
from tracking.calibration.pivot import calibrate_pivot
from tracking.errors import CalibrationError


@pytest.mark.parametrize("seed", range(10))
def test_tip_in_spite_of_outliers(seed: int) -> None:
    result = calibrate_pivot(fake_tracker_poses(seed))
    assert np.linalg.norm(result.T_stylus_tip[:3, 3] - TIP_MM) <= 0.5
    assert np.linalg.norm(result.pivot_reference_mm - PIVOT_MM) <= 0.5
    assert list(np.flatnonzero(~result.is_inlier)) == [3, 23, 43, 63, 83]
    assert result.residual.mean == pytest.approx(0.49, abs=0.1)
    assert result.held_out.rms < 1.2 * result.residual.rms
    assert "5 outliers" in result.verdict()


def test_z_points_from_marker_to_tip_as_in_plus(shared_data) -> None:
    baseline = load_stylus(shared_data / "plus" / "StylusCalibration.results.xml")
    result = calibrate_pivot(fake_tracker_poses(0))
    np.testing.assert_allclose(result.T_stylus_tip[:3, :3], baseline[:3, :3], atol=0.005)
    np.testing.assert_allclose(result.T_stylus_tip[:3, 3], baseline[:3, 3], atol=0.5)


def test_exact_poses_give_the_exact_tip() -> None:
    poses = fake_tracker_poses(1, n_outliers=1)
    poses[:, :3, 3] = PIVOT_MM - poses[:, :3, :3] @ TIP_MM
    result = calibrate_pivot(poses)
    np.testing.assert_allclose(result.T_stylus_tip[:3, 3], TIP_MM, atol=1e-9)
    assert result.residual.max < 1e-9


def _slipping() -> np.ndarray:
    poses = fake_tracker_poses(2)
    poses[:, :3, 3] += np.random.default_rng(0).normal(0.0, 12.0, (len(poses), 3))
    return poses


@pytest.mark.parametrize(
    ("poses", "text"),
    [
        (fake_tracker_poses(0)[:10], "10 poses, expected at least 20"),
        (fake_tracker_poses(0, swing_deg=4.0), r"turned by \d\.\d degrees"),
        (_slipping(), r"tip moves by \d+\.\d mm RMS, expected at most 5 mm"),
        (fake_tracker_poses(0) * ([[1, 1, 1, 0.001]] * 3 + [[1, 1, 1, 1]]), "are they in metres"),
    ],
)
def test_bad_recordings_are_refused(poses: np.ndarray, text: str) -> None:
    with pytest.raises(CalibrationError, match=text):
        calibrate_pivot(poses)
