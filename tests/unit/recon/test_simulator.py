"""What the simulator promises: exact truth, honest stamps, and images that are no gift."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numba.core.dispatcher import Dispatcher
from scipy.ndimage import uniform_filter

from recon import bmode
from recon.back_projection import back_project
from recon.errors import ReconError
from recon.metrics import cloud_to_surface
from recon.point_cloud import PointCloud
from recon.simulator import SimulatedSweep, SimulatorSettings
from recon.surface import SurfaceDistance
from tracking.sequences.sweep import SweepImage, SweepPose
from tracking.transforms import check_rigid, interpolate, invert

CORNERS_PX = np.array([(0.0, 0.0), (639.0, 0.0), (0.0, 479.0), (639.0, 479.0)])


@pytest.fixture(scope="module")
def sweep() -> SimulatedSweep:
    return SimulatedSweep(SimulatorSettings(n_images=40))


@pytest.fixture(scope="module")
def spread_out() -> list[SimulatedSweep]:
    """Three bones, each seen from six places along it."""
    return [
        SimulatedSweep(SimulatorSettings(seed=seed, n_images=6, image_rate_hz=1.5))
        for seed in range(3)
    ]


def poses_of(sweep: SimulatedSweep, name: str) -> list[SweepPose]:
    return [e for e in sweep.events() if isinstance(e, SweepPose) and e.name == name]


def pose_at(poses: list[SweepPose], t_s: float) -> np.ndarray:
    after = next(k for k, pose in enumerate(poses) if pose.t_s >= t_s)
    first, second = poses[after - 1], poses[after]
    fraction = (t_s - first.t_s) / (second.t_s - first.t_s)
    return interpolate(first.matrix, second.matrix, fraction)


def corner_error_mm(sweep: SimulatedSweep, index: int, t_s: float) -> float:
    """Largest error of an image corner when the poses of this moment are used."""
    T_tracker_probe = pose_at(poses_of(sweep, "ProbeToTracker"), t_s)
    T_tracker_reference = pose_at(poses_of(sweep, "ReferenceToTracker"), t_s)
    T_reference_probe = invert(T_tracker_reference) @ T_tracker_probe
    A_ct_pixel = sweep.T_ct_reference @ T_reference_probe @ sweep.A_probe_pixel
    offset_mm = back_project(CORNERS_PX, A_ct_pixel) - back_project(
        CORNERS_PX, sweep.A_ct_pixel(index)
    )
    return float(np.linalg.norm(offset_mm, axis=1).max())


def test_events_come_in_order_and_all_of_them(sweep):
    events = list(sweep.events())
    stamps_s = [event.t_s for event in events]
    assert stamps_s == sorted(stamps_s)
    images = [event for event in events if isinstance(event, SweepImage)]
    assert [image.index for image in images] == list(range(40)) and sweep.n_images == 40
    assert sweep.span_s == (stamps_s[0], stamps_s[-1])
    assert isinstance(events[0], SweepPose) and isinstance(events[-1], SweepPose)


def test_image_stamps_lag_behind_what_they_show(sweep):
    for event in sweep.events():
        if isinstance(event, SweepImage):
            assert event.t_s - sweep.t_acq_s(event.index) == pytest.approx(0.080, abs=1e-9)


def test_image_rate_and_pose_rate(sweep):
    images_s = [sweep.t_acq_s(index) for index in range(40)]
    assert (images_s[-1] - images_s[0]) / 39 == pytest.approx(1 / 24.0, rel=0.01)
    poses_s = [pose.t_s for pose in poses_of(sweep, "ProbeToTracker")]
    np.testing.assert_allclose(np.diff(poses_s), 0.01, atol=1e-9)


def test_no_pose_falls_on_an_image(sweep):
    poses_s = np.array([pose.t_s for pose in poses_of(sweep, "ProbeToTracker")])
    nearest_s = [np.abs(poses_s - sweep.t_acq_s(index)).min() for index in range(40)]
    assert min(nearest_s) > 1e-6
    assert max(nearest_s) > 0.004  # and they are not merely shifted: any phase occurs
    assert np.percentile(nearest_s, 10) < 0.002


def test_poses_are_rigid_and_both_move(sweep):
    for name in ("ProbeToTracker", "ReferenceToTracker"):
        poses = poses_of(sweep, name)
        for pose in poses[::20]:
            check_rigid(pose.matrix, name)
        assert np.linalg.norm(poses[-1].matrix[:3, 3] - poses[0].matrix[:3, 3]) > 0.3


@pytest.mark.parametrize("index", [0, 17, 39])
def test_interpolated_poses_lead_to_the_true_place(sweep, index):
    assert corner_error_mm(sweep, index, sweep.t_acq_s(index)) < 0.005


def test_ignoring_the_lag_is_clearly_wrong(sweep):
    errors_mm = [corner_error_mm(sweep, k, sweep.t_acq_s(k) + 0.080) for k in range(0, 40, 8)]
    assert max(errors_mm) > 1.5


def test_ignoring_the_reference_is_clearly_wrong(sweep):
    first, *_, last = poses_of(sweep, "ReferenceToTracker")
    moved_mm = (invert(first.matrix) @ last.matrix)[:3, 3]
    assert np.linalg.norm(moved_mm) > 0.5


def test_calibration_is_skewed_and_not_square(sweep):
    columns = sweep.A_probe_pixel[:3, :2]
    np.testing.assert_allclose(np.linalg.norm(columns, axis=0), (0.08, 0.085))
    u, v = columns.T / np.linalg.norm(columns, axis=0)[:, None]
    assert math.degrees(math.asin(u @ v)) == pytest.approx(0.3)
    assert np.linalg.norm(sweep.A_probe_pixel[:3, 3]) > 100.0


def test_truth_lies_on_the_surface(spread_out):
    for sweep in spread_out:
        surface = SurfaceDistance(sweep.mesh)
        for index in range(sweep.n_images):
            line = sweep.truth_line(index)
            assert len(line.points_px) > 100
            points_ct_mm = back_project(line.points_px, sweep.A_ct_pixel(index))
            assert surface.distances_mm(points_ct_mm).max() < 1e-6


def test_truth_lines_rebuild_the_surface(spread_out):
    for sweep in spread_out:
        cloud = PointCloud(voxel_size_mm=0.5)
        for index in range(sweep.n_images):
            points_px = sweep.truth_line(index).points_px
            points_ct_mm = back_project(points_px, sweep.A_ct_pixel(index))
            cloud.insert(points_ct_mm, np.ones(len(points_px)), sweep=1)
        stats = cloud_to_surface(cloud.snapshot().points_mm, SurfaceDistance(sweep.mesh))
        assert stats.n_used > 300
        assert stats.mean_mm < 0.01  # what averaging within a voxel does to a curved line
        assert stats.p95_mm < 0.04


def test_images_are_reproducible_whatever_came_before():
    settings = SimulatorSettings(seed=4, n_images=3)
    first, second = SimulatedSweep(settings), SimulatedSweep(settings)
    forwards = [first.render(index) for index in (0, 1, 2)]
    backwards = [second.render(index) for index in (2, 1, 0)]
    for image, again in zip(forwards, reversed(backwards), strict=True):
        np.testing.assert_array_equal(image, again)


def test_no_kernel_of_the_painter_is_free_to_round_as_it_likes():
    """With fastmath an image changed when its kernels came from the cache."""
    kernels = [value for value in vars(bmode).values() if isinstance(value, Dispatcher)]
    assert len(kernels) > 3
    assert not any(kernel.targetoptions.get("fastmath") for kernel in kernels)


def test_loaded_image_is_the_rendered_one(sweep):
    image = next(event for event in sweep.events() if isinstance(event, SweepImage))
    pixels = image.load()
    assert pixels.dtype == np.uint8 and pixels.shape == (480, 640)
    np.testing.assert_array_equal(pixels, sweep.render(image.index))


def test_other_seed_other_image():
    first, other = (
        SimulatedSweep(SimulatorSettings(seed=seed, n_images=1)).render(0).astype(float)
        for seed in (0, 1)
    )
    assert np.abs(first - other).mean() > 10.0


def columns_below(sweep, index, max_incidence_deg, offsets_mm) -> np.ndarray:
    """Grey values at depths relative to the bone, (columns, offsets), where bone is met steeply."""
    pixels = sweep.render(index).astype(np.float64)
    line = sweep.truth_line(index)
    is_steep = line.incidence_rad < math.radians(max_incidence_deg)
    u, v = line.points_px[is_steep].T
    rows = np.rint(v[:, None] + offsets_mm / sweep.settings.spacing_mm[1]).astype(int)
    return pixels[rows.clip(0, 479), u.astype(int)[:, None]]


def test_echo_begins_at_the_surface_and_peaks_just_below(spread_out):
    offsets_mm = np.arange(-1.0, 1.5, 0.085)
    for sweep in spread_out:
        profiles = [columns_below(sweep, k, 15.0, offsets_mm) for k in range(sweep.n_images)]
        profile = np.concatenate(profiles).mean(axis=0)
        assert 0.1 <= offsets_mm[profile.argmax()] <= 0.45
        assert 0.35 < np.interp(0.0, offsets_mm, profile) / profile.max() < 0.65


def test_bone_casts_a_shadow(spread_out):
    for sweep in spread_out:
        grey = np.concatenate(
            [columns_below(sweep, k, 40.0, np.array((-2.0, -1.5, 6.0, 7.0))) for k in range(6)]
        ).mean(axis=0)
        assert grey[2:].mean() < 0.5 * grey[:2].mean()


def test_echo_fades_with_incidence(spread_out):
    steep, shallow = [], []
    for sweep in spread_out:
        for index in range(sweep.n_images):
            pixels, line = sweep.render(index), sweep.truth_line(index)
            u, v = np.rint(line.points_px.T).astype(int)
            grey = pixels[(v + 3).clip(0, 479), u]
            steep.extend(grey[line.incidence_rad < math.radians(20.0)])
            shallow.extend(grey[line.incidence_rad > math.radians(70.0)])
    assert np.mean(shallow) < 0.5 * np.mean(steep)


@pytest.mark.parametrize("first_row_mm", [0.0, 5.0])
def test_brightest_pixel_is_a_bad_detector(spread_out, first_row_mm):
    """Also where the skin is left out: layers of fascia are as bright as bone."""
    for sweep in spread_out:
        spacing_mm = sweep.settings.spacing_mm[1]
        first_row = round(first_row_mm / spacing_mm)
        errors_mm = []
        for index in range(sweep.n_images):
            line = sweep.truth_line(index)
            u, v = line.points_px.T
            brightest = first_row + sweep.render(index)[first_row:, u.astype(int)].argmax(axis=0)
            errors_mm.extend(np.abs(brightest - v) * spacing_mm)
        assert np.mean(errors_mm) > 1.5


def grain(pixels: np.ndarray) -> np.ndarray:
    """Speckle of a patch of tissue under the skin, without what is larger."""
    patch = pixels[60:140, 200:440].astype(np.float64)
    return (patch - uniform_filter(patch, 9))[5:-5, 5:-5].ravel()


def test_speckle_moves_with_the_tissue():
    slow = SimulatedSweep(SimulatorSettings(n_images=2, image_rate_hz=1000.0))
    fast = SimulatedSweep(SimulatorSettings(n_images=2, image_rate_hz=2.0))
    assert np.corrcoef(grain(slow.render(0)), grain(slow.render(1)))[0, 1] > 0.8
    assert abs(np.corrcoef(grain(fast.render(0)), grain(fast.render(1)))[0, 1]) < 0.2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_images": 0}, "n_images is 0, expected more than 0"),
        ({"image_rate_hz": math.nan}, "image_rate_hz is nan"),
        ({"peak_speed_mm_s": -1.0}, "peak_speed_mm_s is -1.0"),
        ({"image_size_px": (640, 2)}, r"image_size_px is \(640, 2\)"),
        ({"spacing_mm": (0.1, 0.0)}, r"spacing_mm \(0.1, 0.0\)"),
        ({"image_lag_s": -0.1}, "image_lag_s -0.1, expected 0 or more"),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_settings_that_cannot_be_simulated(change, message):
    with pytest.raises(ReconError, match=message):
        SimulatorSettings(**change)
