from __future__ import annotations

import numpy as np
import pytest
from PySide6.QtGui import QVector3D

from navapp.gui.camera import fitting_camera, quaternion, rotation_towards, tan_half_fov


def test_the_camera_looks_along_the_direction_with_up_upwards() -> None:
    R = rotation_towards(np.array((0.0, 2.0, 0.0)), np.array((0.0, 0.5, 3.0)))
    np.testing.assert_allclose(R @ (0.0, 1.0, 0.0), (0.0, 0.0, -1.0), atol=1e-12)
    np.testing.assert_allclose(R @ (0.0, 0.0, 1.0), (0.0, 1.0, 0.0), atol=1e-12)
    assert np.linalg.det(R) == pytest.approx(1.0)


@pytest.mark.parametrize("seed", range(5))
def test_all_points_are_seen_and_fill_the_view(seed: int) -> None:
    rng = np.random.default_rng(seed)
    points_mm = rng.normal(size=(200, 3)) * (100.0, 10.0, 30.0) + 500.0
    R = rotation_towards(rng.normal(size=3), rng.normal(size=3))
    tangents = tan_half_fov(30.0, 900, 700)

    centre_mm, distance_mm = fitting_camera(points_mm, R, tangents)

    in_camera = (points_mm - centre_mm) @ R.T
    depth_mm = distance_mm - in_camera[:, 2]
    share = np.abs(in_camera[:, :2]) / (depth_mm[:, None] * tangents)
    assert depth_mm.min() > 0.0
    assert 0.85 < share.max() <= 0.9 + 1e-9


def test_a_single_point_keeps_a_distance() -> None:
    _, distance_mm = fitting_camera(np.zeros((1, 3)), np.eye(3), (0.3, 0.3))
    assert distance_mm == 1.0


def test_the_quaternion_turns_as_the_matrix() -> None:
    R = rotation_towards(np.array((0.3, -0.7, 0.2)), np.array((0.1, 0.2, 0.9)))
    turned = quaternion(R).rotatedVector(QVector3D(1.0, 2.0, 3.0))
    expected = R @ (1.0, 2.0, 3.0)
    np.testing.assert_allclose((turned.x(), turned.y(), turned.z()), expected, atol=1e-5)
