"""Transforms: the conventions that everything else relies on."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.spatial.transform import Rotation, Slerp

from tracking.errors import TransformError
from tracking.transforms import (
    apply,
    check_rigid,
    from_euler_xyz_deg,
    from_rotation_vector,
    interpolate,
    invert,
    rotation_angle_rad,
    to_euler_xyz_deg,
)


def _random_rigid(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    T = np.eye(4)
    T[:3, :3] = Rotation.random(random_state=rng).as_matrix()
    T[:3, 3] = rng.normal(scale=300.0, size=3)
    return T


def test_target_source_maps_source_coordinates_to_target() -> None:
    T_tracker_probe = from_rotation_vector((0.0, 0.0, math.pi / 2), (10.0, 0.0, 0.0))
    points_probe_mm = np.array([[1.0, 0.0, 0.0]])
    np.testing.assert_allclose(apply(T_tracker_probe, points_probe_mm), [[10.0, 1.0, 0.0]])


@pytest.mark.parametrize("seed", range(5))
def test_inverse_cancels(seed: int) -> None:
    T_b_a = _random_rigid(seed)
    np.testing.assert_allclose(invert(T_b_a) @ T_b_a, np.eye(4), atol=1e-12)


def test_euler_angles_are_extrinsic_xyz() -> None:
    angles_deg = (20.0, -35.0, 110.0)
    expected = Rotation.from_euler("xyz", angles_deg, degrees=True).as_matrix()
    T = from_euler_xyz_deg((1.0, 2.0, 3.0), angles_deg)
    np.testing.assert_allclose(T[:3, :3], expected, atol=1e-12)
    np.testing.assert_array_equal(T[:3, 3], (1.0, 2.0, 3.0))


@pytest.mark.parametrize(
    "angles_deg", [(20.0, -35.0, 110.0), (-170.0, 89.9, 5.0), (30.0, -90.0, 0.0)]
)
def test_euler_angles_come_back(angles_deg: tuple[float, float, float]) -> None:
    T = from_euler_xyz_deg((1.0, 2.0, 3.0), angles_deg)
    np.testing.assert_allclose(to_euler_xyz_deg(T), angles_deg, atol=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_euler_angles_of_any_rotation_give_it_again(seed: int) -> None:
    T = _random_rigid(seed)
    np.testing.assert_allclose(from_euler_xyz_deg(T[:3, 3], to_euler_xyz_deg(T)), T, atol=1e-12)


@pytest.mark.parametrize("seed", range(20))
def test_interpolation_is_slerp_and_linear(seed: int) -> None:
    T_0, T_1 = _random_rigid(seed), _random_rigid(seed + 100)
    slerp = Slerp([0, 1], Rotation.from_matrix([T_0[:3, :3], T_1[:3, :3]]))
    for fraction in (0.0, 0.3, 0.5, 1.0):
        T = interpolate(T_0, T_1, fraction)
        np.testing.assert_allclose(T[:3, :3], slerp(fraction).as_matrix(), atol=1e-9)
        np.testing.assert_allclose(T[:3, 3], (1 - fraction) * T_0[:3, 3] + fraction * T_1[:3, 3])


@pytest.mark.parametrize("angle_rad", [0.0, 1e-9, 1e-4, math.pi - 1e-9, math.pi])
@pytest.mark.parametrize("axis", [(1, 0, 0), (0, 1, 0), (0, 0, 1), (0.6, 0.0, -0.8)])
def test_half_way_is_half_the_angle_near_zero_and_near_pi(
    angle_rad: float, axis: tuple[float, float, float]
) -> None:
    T_1 = from_rotation_vector(np.array(axis) * angle_rad, (0.0, 0.0, 0.0))
    half = interpolate(np.eye(4), T_1, 0.5)
    assert rotation_angle_rad(half) == pytest.approx(angle_rad / 2, abs=1e-8)
    np.testing.assert_allclose((half @ half)[:3, :3], T_1[:3, :3], atol=1e-8)


@pytest.mark.parametrize("fraction", [-0.01, 1.01])
def test_extrapolation_is_refused(fraction: float) -> None:
    with pytest.raises(ValueError, match="within"):
        interpolate(np.eye(4), np.eye(4), fraction)


@pytest.mark.parametrize(
    ("matrix", "text"),
    [
        (np.eye(3), r"shape is \(3, 3\)"),
        (np.full((4, 4), np.nan), "not finite"),
        (np.diag((1.0, 1.0, 1.0, 2.0)), "bottom row"),
        (np.diag((0.1, 0.1, 0.1, 1.0)), "not rigid"),
        (np.diag((1.0, 1.0, -1.0, 1.0)), "left-handed"),
    ],
)
def test_a_pose_that_is_none_is_named(matrix: np.ndarray, text: str) -> None:
    with pytest.raises(TransformError, match=f"ProbeToTracker: .*{text}"):
        check_rigid(matrix, "ProbeToTracker")


def test_a_pose_of_float32_passes() -> None:
    check_rigid(_random_rigid(3).astype(np.float32), "pose")
