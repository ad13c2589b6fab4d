"""PLUS's own recordings against the results that its developers committed.

Expected numbers and tolerances: research on PLUS, sections 2 and 6.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.support.plus import PlusRecording
from tracking.calibration import load_stylus
from tracking.calibration.landmarks import find_dwells, fit_landmarks
from tracking.calibration.plus_xml import parse_plus, read_phantom, read_plus_transforms
from tracking.calibration.temporal import TemporalResult, find_image_lag
from tracking.calibration.water_line import find_line
from tracking.messages import TransformName
from tracking.transforms import invert, rotation_angle_rad


@pytest.fixture(scope="module")
def plus(shared_data: Path) -> Path:
    return shared_data / "plus"


def _matrix(path: Path, source: str, target: str) -> np.ndarray:
    return read_plus_transforms(path)[TransformName(source, target)].matrix


def test_phantom_landmarks(plus: Path) -> None:
    recording = PlusRecording(plus / "EightLandmarkPointsTrackedForPhantomRegistration.igs.mha")
    config = plus / "PlusDeviceSet_fCal_Sim_RecordPhantomLandmarks.xml"
    tip_stylus_mm = load_stylus(config)[:3, 3]
    dwells = find_dwells(recording.t_s, recording.relative("Stylus"), tip_stylus_mm)
    assert len(dwells) == 8
    tips = [dwell.tip_reference_mm for dwell in dwells]
    fit = fit_landmarks(read_phantom(config).landmarks_mm, tips)
    baseline = plus / "PhantomRegistrationLandmarkDetection.results.xml"
    T_reference_phantom = _matrix(baseline, "Phantom", "Reference")
    offset = fit.T_target_source[:3, 3] - T_reference_phantom[:3, 3]
    assert np.linalg.norm(offset) <= 0.1
    turn = invert(T_reference_phantom) @ fit.T_target_source
    assert np.degrees(rotation_angle_rad(turn)) <= 0.3
    assert fit.fre.mean == pytest.approx(0.198, abs=0.02)
    assert fit.left_out_mm.max() < 0.5


class WaterTank:
    """Video and tracker of PLUS's water tank; the row of the bottom in each image."""

    clip_px = (225, 40, 350, 510)

    def __init__(self, plus: Path) -> None:
        video = PlusRecording(plus / "WaterTankBottomTranslationVideoBuffer.igs.mha")
        tracker = PlusRecording(plus / "WaterTankBottomTranslationTrackerBuffer-trimmed.igs.mha")
        self.lines = [find_line(pixels, self.clip_px) for pixels in video.pixels]
        centre_px = self.clip_px[0] + self.clip_px[2] / 2
        self.rows_px = np.array([line.v_px(centre_px) if line else np.nan for line in self.lines])
        self.image_t_s = video.t_s
        self.pose_t_s = tracker.t_s
        self.positions_mm = tracker.relative("Probe")[:, :3, 3]

    def lag(self, shift_s: float = 0.0) -> TemporalResult:
        return find_image_lag(
            self.image_t_s, self.rows_px, self.pose_t_s + shift_s, self.positions_mm
        )


@pytest.fixture(scope="module")
def water_tank(plus: Path) -> WaterTank:
    return WaterTank(plus)


def test_line_of_the_water_tank(plus: Path, water_tank: WaterTank) -> None:
    distances = []
    for element, line in zip(
        parse_plus(plus / "LineSegmentationResultsBaseline.xml"), water_tank.lines, strict=True
    ):
        origin = np.array(element.attrib["LineOriginPointPx"].split(), dtype=float)
        assert line is not None
        distances.append(line.distance_px(origin[None])[0])
    assert len(distances) == 201
    assert np.mean(distances) <= 0.5
    assert np.percentile(distances, 95) <= 1.5


def test_lag_of_the_water_tank(plus: Path, water_tank: WaterTank) -> None:
    baseline = parse_plus(plus / "TemporalCalibrationResultsBaseline.xml")
    result = water_tank.lag()
    assert result.image_lag_s == pytest.approx(-float(baseline.attrib["TrackerLagSec"]), abs=5e-3)
    assert result.residual.rms == pytest.approx(1.35, abs=0.1)
    assert result.residual.n == 201
    assert abs(result.correlation) >= 0.98
    assert result.interval_s[0] < 0.0648 < result.interval_s[1]
    # The second peak, of the other polarity, is the one that PLUS would take for some lags.
    assert 0.9 < result.peak_ratio < 0.95
    assert "ambiguous" in result.verdict()


@pytest.mark.parametrize("shift_s", [-0.3, -0.2, -0.1, -0.017, 0.1, 0.2, 0.3, 0.4])
def test_lag_follows_a_shifted_tracker(water_tank: WaterTank, shift_s: float) -> None:
    """PLUS's rule is off by half a second at -0.3, -0.2 and 0.4 s."""
    assert water_tank.lag(shift_s).image_lag_s == pytest.approx(
        water_tank.lag().image_lag_s - shift_s, abs=1e-3
    )
