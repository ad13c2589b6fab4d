"""PLUS's own recordings against the results that its developers committed.

Expected numbers and tolerances: research on PLUS, sections 2 and 6.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.support.plus import PlusRecording
from tracking.calibration import load_phantom_placement, load_stylus
from tracking.calibration.landmarks import find_dwells, fit_landmarks, tip_positions
from tracking.calibration.plus_xml import parse_plus, read_phantom, read_plus_transforms
from tracking.calibration.spatial import (
    SpatialResult,
    WireFrames,
    calibrate_spatial,
    middle_errors_mm,
    middle_phantom_mm,
)
from tracking.calibration.temporal import TemporalResult, find_image_lag
from tracking.calibration.water_line import find_line
from tracking.calibration.wire_dots import WireLabeller, find_dots
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
    track = recording.track("Stylus")
    dwells = find_dwells(track.t_s, track.T_target_tool, tip_stylus_mm)
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


def test_later_seconds_of_a_dwell_fit_worse(plus: Path) -> None:
    """Why a dwell is its first second: a landmark left out is then found best."""
    recording = PlusRecording(plus / "EightLandmarkPointsTrackedForPhantomRegistration.igs.mha")
    config = plus / "PlusDeviceSet_fCal_Sim_RecordPhantomLandmarks.xml"
    track, tip_stylus_mm = recording.track("Stylus"), load_stylus(config)[:3, 3]
    tips = tip_positions(track.T_target_tool, tip_stylus_mm)
    dwells = find_dwells(track.t_s, track.T_target_tool, tip_stylus_mm)
    left_out_mm = []
    for seconds in (1.0, 2.0, 4.0, 6.0):
        means = []
        for dwell in dwells:
            is_near = np.linalg.norm(tips - dwell.tip_reference_mm, axis=1) < 3.0
            since_s = track.t_s - dwell.start_s
            means.append(tips[is_near & (since_s >= 0.0) & (since_s <= seconds)].mean(axis=0))
        fit = fit_landmarks(read_phantom(config).landmarks_mm, means)
        left_out_mm.append(float(np.sqrt(np.mean(fit.left_out_mm**2))))
    assert left_out_mm[0] == pytest.approx(0.285, abs=0.005)
    assert min(left_out_mm[1:]) > 0.35


class WaterTank:
    """Video and tracker of PLUS's water tank; the row of the bottom in each image."""

    clip_px = (225, 40, 350, 510)

    def __init__(self, plus: Path) -> None:
        video = PlusRecording(plus / "WaterTankBottomTranslationVideoBuffer.igs.mha")
        tracker = PlusRecording(plus / "WaterTankBottomTranslationTrackerBuffer-trimmed.igs.mha")
        self.lines = [find_line(pixels, self.clip_px) for pixels in video.pixels]
        centre_px = self.clip_px[0] + self.clip_px[2] / 2
        self.rows_px = np.array([line.v_px(centre_px) if line else np.nan for line in self.lines])
        self.image_t_s = video.image_t_s
        probe = tracker.track("Probe")
        self.pose_t_s = probe.t_s
        self.positions_mm = probe.T_target_tool[:, :3, 3]

    def lag(self, shift_s: float = 0.0) -> TemporalResult:
        return find_image_lag(
            self.image_t_s, self.rows_px, self.pose_t_s + shift_s, self.positions_mm
        )


@pytest.fixture(scope="module")
def water_tank(plus: Path) -> WaterTank:
    return WaterTank(plus)


def test_line_of_the_water_tank(plus: Path, water_tank: WaterTank) -> None:
    distances, angles_rad = [], []
    for element, line in zip(
        parse_plus(plus / "LineSegmentationResultsBaseline.xml"), water_tank.lines, strict=True
    ):
        origin = np.array(element.attrib["LineOriginPointPx"].split(), dtype=float)
        assert line is not None
        distances.append(line.distance_px(origin[None])[0])
        direction = np.array(element.attrib["LineDirectionVectorPx"].split(), dtype=float)
        angles_rad.append(np.arccos(min(1.0, abs(direction @ line.direction))))
    assert len(distances) == 201
    assert np.degrees(np.mean(angles_rad)) <= 0.5  # in degrees: PLUS compares radians with 3
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


class WirePhantom:
    """PLUS's fCal 2.0 recordings: wires as PLUS found them, and as we do."""

    clip_px = (27, 27, 766, 562)
    image_size_px = (820, 616)

    def __init__(self, plus: Path) -> None:
        self._plus = plus
        config = plus / "PlusDeviceSet_fCal_Sim_SpatialCalibration_2.0.xml"
        results = plus / "FreehandCalibration3NWires_fCal2.0.results.xml"
        self.phantom = read_phantom(config)
        self.T_reference_phantom = load_phantom_placement(config)
        self.A_baseline = _matrix(results, "Image", "Probe")
        self._results = parse_plus(results)

    def baseline_frames(self, kind: str) -> WireFrames:
        """Frames that PLUS segmented, with its points."""
        names = [name for wires in self.phantom.n_wires for name in wires.names]
        points: list[np.ndarray | None] = []
        for frame in self._results.find(f".//{kind}Data"):
            found = {
                point.attrib["WireName"]: np.array(point.attrib["Position"].split()[:2], float)
                for point in frame.findall("SegmentedPoints/Point")
            }
            is_ok = frame.attrib["SegmentationStatus"] == "OK"
            points.append(np.array([found[n] for n in names]).reshape(3, 3, 2) if is_ok else None)
        return self._frames(kind, points)

    def our_frames(self, kind: str) -> WireFrames:
        """Frames whose dots we can tell, from the images alone."""
        labeller = WireLabeller(self.phantom, 0.078)
        labelled = (
            labeller.label(find_dots(pixels, 0.078, self.clip_px))
            for pixels in self._recording(kind).pixels
        )
        return self._frames(kind, [label.points_px for label in labelled])

    def calibrate(self, frames: WireFrames, validation: WireFrames) -> SpatialResult:
        return calibrate_spatial(
            frames,
            self.phantom,
            self.T_reference_phantom,
            image_size_px=self.image_size_px,
            validation=validation,
        )

    def _frames(self, kind: str, points: list[np.ndarray | None]) -> WireFrames:
        used = [k for k, point in enumerate(points) if point is not None]
        poses = self._recording(kind).track("Probe").T_target_tool[used]
        return WireFrames(np.array([points[k] for k in used]), poses)

    def _recording(self, kind: str) -> PlusRecording:
        return PlusRecording(self._plus / f"fCal_Test_{kind}_3NWires_fCal2.0.igs.mha")


@pytest.fixture(scope="module")
def wire_phantom(plus: Path) -> WirePhantom:
    return WirePhantom(plus)


def _mean_of_lowest_95_percent(errors: np.ndarray) -> float:
    """What PLUS reports as the mean."""
    return float(np.sort(errors.ravel())[: round(0.95 * errors.size)].mean())


def test_matrix_from_the_wire_points_of_plus(wire_phantom: WirePhantom) -> None:
    frames = wire_phantom.baseline_frames("Calibration")
    validation = wire_phantom.baseline_frames("Validation")
    assert (len(frames), len(validation)) == (184, 103)
    A = wire_phantom.calibrate(frames, validation).A_probe_pixel
    np.testing.assert_allclose(A[:3, :3], wire_phantom.A_baseline[:3, :3], atol=1e-6)
    np.testing.assert_allclose(A[:3, 3], wire_phantom.A_baseline[:3, 3], atol=1e-3)
    for part, expected_mm in ((frames, 0.479116), (validation, 0.539932)):
        truth = middle_phantom_mm(part.points_px, wire_phantom.phantom)
        T = np.linalg.inv(part.T_reference_probe) @ wire_phantom.T_reference_phantom
        on_probe = np.einsum("fij,fkj->fki", T[:, :3, :3], truth) + T[:, None, :3, 3]
        errors_mm = middle_errors_mm(A, part, on_probe)
        assert _mean_of_lowest_95_percent(errors_mm) == pytest.approx(expected_mm, abs=1e-3)


def test_nothing_is_trimmed_from_our_report(wire_phantom: WirePhantom) -> None:
    result = wire_phantom.calibrate(
        wire_phantom.baseline_frames("Calibration"), wire_phantom.baseline_frames("Validation")
    )
    assert result.residual.rms == pytest.approx(0.587, abs=1e-3)
    assert result.validation is not None
    assert result.validation.rms == pytest.approx(0.624, abs=1e-3)
    assert result.residual.max == pytest.approx(1.64, abs=0.01)
    assert 90.0 + np.degrees(result.skew_rad) == pytest.approx(90.33, abs=0.01)
    assert result.held_out.rms > result.residual.rms


def test_matrix_from_the_images_alone(wire_phantom: WirePhantom) -> None:
    frames = wire_phantom.our_frames("Calibration")
    validation = wire_phantom.our_frames("Validation")
    assert len(frames) >= 175
    assert len(validation) >= 95
    result = wire_phantom.calibrate(frames, validation)
    D = result.A_probe_pixel - wire_phantom.A_baseline
    width, height = wire_phantom.image_size_px
    corners = np.array([(0, 0), (width, 0), (0, height), (width, height)])
    assert np.linalg.norm(corners @ D[:3, :2].T + D[:3, 3], axis=1).max() <= 0.15
    assert result.validation is not None
    assert result.validation.mean <= 0.60
