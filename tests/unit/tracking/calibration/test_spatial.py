"""N-wires: dots, labels, matrix and lag of a simulated sweep with known truth; bad recordings."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.support.sweeps import AlteredSweep, each
from tests.support.wire_phantom import (
    A_PROBE_PIXEL,
    SIZE_PX,
    SPACING_MM,
    T_REFERENCE_PHANTOM,
    WireSweep,
    fcal_phantom,
)
from tracking.calibration.joint import JointLimits, JointResult, search_offset
from tracking.calibration.spatial import (
    SpatialResult,
    WireFrames,
    calibrate_spatial,
    middle_phantom_mm,
)
from tracking.calibration.track import Track, read_recorded
from tracking.calibration.wire_dots import WireLabeller, find_dots
from tracking.errors import CalibrationError
from tracking.messages import PoseStatus
from tracking.sequences import SweepImage, SweepPose
from tracking.transforms import interpolate

_PHANTOM = fcal_phantom()


def _frames(sweep: WireSweep, *, noisy: bool = True) -> WireFrames:
    poses = np.array([sweep.T_reference_probe(t_s) for t_s in sweep.t_acq_s()])
    return WireFrames(sweep.points_px(noisy=noisy), poses)


def _calibrate(frames: WireFrames, **options: object) -> SpatialResult:
    return calibrate_spatial(
        frames, _PHANTOM, T_REFERENCE_PHANTOM, image_size_px=SIZE_PX, **options
    )


def _corner_error_mm(A: np.ndarray) -> float:
    width, height = SIZE_PX
    corners = np.array([(0, 0), (width, 0), (0, height), (width, height)], dtype=float)
    D = A - A_PROBE_PIXEL
    return float(np.linalg.norm(corners @ D[:3, :2].T + D[:3, 3], axis=1).max())


def test_exact_dots_give_the_exact_matrix() -> None:
    result = _calibrate(_frames(WireSweep(60), noisy=False))
    np.testing.assert_allclose(
        result.A_probe_pixel[:3, (0, 1, 3)], A_PROBE_PIXEL[:3, (0, 1, 3)], atol=1e-8
    )
    assert result.residual.max < 1e-6
    assert np.linalg.det(result.A_probe_pixel[:3, :3]) > 0.0


@pytest.mark.parametrize("refine", [False, True])
def test_noisy_dots(refine: bool) -> None:
    """Half a pixel of noise, 3 % of the middle dots astray."""
    frames = _frames(WireSweep(150, noise_px=0.5))
    frames.points_px[::33, 1, 1] += 60.0
    result = _calibrate(frames, refine=refine, scanner_spacing_mm=SPACING_MM)
    assert _corner_error_mm(result.A_probe_pixel) < (0.06 if refine else 0.1)
    assert result.is_refined is refine
    assert result.scale_error < 0.003
    assert result.held_out.median < 0.2
    assert result.residual.max > 3.0  # what was left out of the fit is not left out of the report
    assert set(result.by_wire_px) == {f"{k}{wire}" for k in range(3) for wire in "abc"}
    assert sum(errors.n for _, _, errors in result.by_depth) >= 450


def test_middle_wire_points_lie_on_the_middle_wires() -> None:
    sweep = WireSweep(5)
    points = middle_phantom_mm(sweep.points_px(noisy=False), _PHANTOM)
    for k, wires in enumerate(_PHANTOM.n_wires):
        along = wires.back_mm[1] - wires.front_mm[1]
        aside = np.cross(points[:, k] - wires.front_mm[1], along) / np.linalg.norm(along)
        assert np.abs(aside).max() < 1e-9


def test_dots_are_found_and_told_in_images() -> None:
    sweep = WireSweep(8)
    labeller = WireLabeller(_PHANTOM, 0.078)
    for points_px in sweep.points_px():
        labelled = labeller.label(find_dots(sweep.render(points_px), 0.078))
        assert labelled.points_px is not None, labelled.reason
        assert np.abs(labelled.points_px - points_px).max() < 0.3


def test_extra_dots_do_not_confuse() -> None:
    sweep = WireSweep(8, noise_px=0.5)
    labeller = WireLabeller(_PHANTOM, 0.078)
    rng = np.random.default_rng(0)
    n_told = 0
    for points_px in sweep.points_px():
        dots = np.concatenate((points_px.reshape(-1, 2), rng.uniform((0, 0), SIZE_PX, (4, 2))))
        labelled = labeller.label(rng.permutation(dots))
        if labelled.points_px is not None:
            n_told += 1
            np.testing.assert_array_equal(labelled.points_px, points_px)
    assert n_told >= 7


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda dots: dots[:7], "7 dots, expected 9"),
        (lambda dots: dots * 0.3, "no three dots"),
        (lambda dots: dots + np.random.default_rng(1).normal(0, 40, dots.shape), "no "),
    ],
)
def test_a_frame_that_cannot_be_told_says_why(change, text: str) -> None:
    dots = WireSweep(1).points_px().reshape(-1, 2)
    labelled = WireLabeller(_PHANTOM, 0.078).label(change(dots))
    assert labelled.points_px is None
    assert text in labelled.reason


def _mirrored(frames: WireFrames) -> WireFrames:
    points = frames.points_px.copy()
    points[..., 0] = SIZE_PX[0] - 1 - points[..., 0]
    return WireFrames(points, frames.T_reference_probe)


def _metres(frames: WireFrames) -> WireFrames:
    return replace(frames, T_reference_probe=frames.T_reference_probe * ([[1, 1, 1, 1e-3]] * 4))


def _still(frames: WireFrames) -> WireFrames:
    poses = np.repeat(frames.T_reference_probe[:1], len(frames), axis=0)
    return replace(frames, T_reference_probe=poses)


def _late(frames: WireFrames) -> WireFrames:
    return replace(frames, T_reference_probe=np.roll(frames.T_reference_probe, 7, axis=0))


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (
            lambda frames: frames.part(np.arange(40) < 5),
            "visible in 5 frames, expected at least 10",
        ),
        (_still, r"turns by 0\.0 degrees in the whole recording"),
        (_metres, r"poses lie 0\.\d+ mm from their origin .* in metres"),
        (_late, r"miss the phantom by \d+\.\d mm RMS, expected at most 2 mm"),
    ],
)
def test_bad_recordings_are_refused(change, text: str) -> None:
    with pytest.raises(CalibrationError, match=text):
        _calibrate(change(_frames(WireSweep(40))))


def test_a_mirrored_validation_is_named() -> None:
    frames, validation = _frames(WireSweep(40)), _frames(WireSweep(40, seed=1))
    assert _calibrate(frames, validation=validation).validation.rms < 0.2
    with pytest.raises(CalibrationError, match=r"mirrored, left and right: \d+\.\d mm RMS as they"):
        _calibrate(frames, validation=_mirrored(validation))
    with pytest.raises(CalibrationError, match="validation misses by"):
        _calibrate(frames, validation=_late(validation))


def test_another_spacing_than_the_scanners_is_refused() -> None:
    with pytest.raises(CalibrationError, match=r"25 % off the scanner's 0\.1000 x 0\.1000"):
        _calibrate(_frames(WireSweep(40)), scanner_spacing_mm=(0.1, 0.1))
    doubtful = _calibrate(_frames(WireSweep(40)), scanner_spacing_mm=(0.084, 0.075))
    assert "4.7 % off the scanner's" in doubtful.verdict()


def _search(sweep: WireSweep, **limits: float) -> JointResult:
    track = read_recorded(sweep).relative("Probe", "Reference")
    return search_offset(
        sweep.stamps_s(), sweep.points_px(), track, _PHANTOM, T_REFERENCE_PHANTOM,
        JointLimits(**limits),
    )  # fmt: skip


def test_joint_grid_finds_the_offset() -> None:
    """3,000 offsets of 0.1 ms on 200 frames; 0 is not among them."""
    result = _search(WireSweep(200, image_lag_s=0.0873))
    assert len(result.offsets_s) == len(result.errors_mm) == 3000
    assert result.offsets_s[-1] == pytest.approx(-0.0001)
    assert result.offset_s == pytest.approx(-0.0873, abs=0.0002)
    assert result.image_lag_s == -result.offset_s
    assert result.halves_s == pytest.approx((-0.0873, -0.0873), abs=0.0005)
    assert len(result.frames) == 200
    assert result.verdict().startswith("good")
    assert "doubtful" in replace(result, halves_s=(-0.0873, -0.07)).verdict()
    matrix = _calibrate(result.frames).A_probe_pixel
    assert _corner_error_mm(matrix) < 0.1


def test_dots_astray_do_not_move_the_offset() -> None:
    sweep = WireSweep(100)
    points = sweep.points_px()
    points[::10, 2, 1] += (30.0, -20.0)
    track = read_recorded(sweep).relative("Probe", "Reference")
    coarse = JointLimits(step_s=0.001)
    result = search_offset(sweep.stamps_s(), points, track, _PHANTOM, T_REFERENCE_PHANTOM, coarse)
    assert result.offset_s == pytest.approx(-0.087, abs=0.0011)
    assert result.error_mm < 0.1


@pytest.mark.parametrize(
    ("sweep", "text"),
    [
        (WireSweep(60, image_lag_s=0.4), "the edge of the search"),
        (WireSweep(60, speed=0.01, noise_px=2.0), r"at the worst offset \(1\.\d+ times\)|the edge"),
        (WireSweep(12), "12 of 12 images have poses at every offset"),
    ],
)
def test_recordings_without_a_minimum(sweep: WireSweep, text: str) -> None:
    with pytest.raises(CalibrationError, match=text):
        _search(sweep, step_s=0.002)


def test_left_handed_poses_are_named() -> None:
    flip = np.diag((1.0, 1.0, -1.0, 1.0))

    def left_handed(event: SweepImage | SweepPose) -> SweepImage | SweepPose:
        if isinstance(event, SweepImage) or event.name != "ProbeToTracker":
            return event
        return replace(event, matrix=event.matrix @ flip, status=PoseStatus.INVALID)

    recorded = read_recorded(AlteredSweep(WireSweep(3), each(left_handed)))
    with pytest.raises(CalibrationError, match=r"ProbeToTracker \(\d+ of them .* left-handed"):
        recorded.relative("Probe", "Reference")


def test_a_track_agrees_with_the_slow_interpolation() -> None:
    sweep = WireSweep(5)
    times = np.arange(100.0, 101.0, 0.05)
    track = Track(times, np.array([sweep.T_reference_probe(t) for t in times]))
    asked = np.array([100.0, 100.05, 100.512, 100.9, 99.9, 101.3])
    poses, is_known = track.at(asked, max_gap_s=0.06)
    assert is_known.tolist() == [True] * 4 + [False] * 2
    np.testing.assert_array_equal(poses[1], track.T_target_tool[1])
    slow = interpolate(track.T_target_tool[10], track.T_target_tool[11], (100.512 - 100.5) / 0.05)
    np.testing.assert_allclose(poses[2], slow, atol=1e-9)
    assert np.isnan(poses[4:]).all()
    assert track.at(asked[2:3], max_gap_s=0.04)[1].tolist() == [False]
