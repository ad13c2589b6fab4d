"""Where the camera stands so that a set of points fills the view."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from PySide6.QtGui import QMatrix3x3, QQuaternion

from tracking.transforms import Matrix

# Share of the view that the points fill.
_FILL = 0.9


def rotation_towards(direction: NDArray[np.float64], up: NDArray[np.float64]) -> Matrix:
    """(3, 3) rotation from the scene to the camera (x right, y up, z towards the viewer).

    The camera looks along `direction` with `up` upwards; neither needs to be of unit length, and
    `up` needs not be perpendicular, only not parallel to `direction`.
    """
    backward = -direction / np.linalg.norm(direction)
    right = np.cross(up, backward)
    right /= np.linalg.norm(right)
    return np.stack((right, np.cross(backward, right), backward))


def fitting_camera(
    points_mm: NDArray[np.float64], R_camera_scene: Matrix, tan_half_fov: tuple[float, float]
) -> tuple[NDArray[np.float64], float]:
    """Point to look at and distance to it (mm) from which all points are seen.

    Parameters
    ----------
    points_mm : (N, 3), N at least 1, frame of the scene
    tan_half_fov : tangent of half the angle of view, horizontal and vertical
    """
    in_camera = points_mm @ R_camera_scene.T
    centre = 0.5 * (in_camera.min(axis=0) + in_camera.max(axis=0))
    offset = in_camera - centre
    # A point at height z above the centre is seen if |x| <= (distance - z) tan.
    needed = np.abs(offset[:, :2]) / (np.asarray(tan_half_fov) * _FILL) + offset[:, 2:]
    return R_camera_scene.T @ centre, max(float(needed.max()), 1.0)


def quaternion(R: Matrix) -> QQuaternion:
    """The (3, 3) rotation as Qt's quaternion."""
    return QQuaternion.fromRotationMatrix(QMatrix3x3(R.ravel().tolist()))


def tan_half_fov(horizontal_deg: float, width: int, height: int) -> tuple[float, float]:
    """Tangents of half the angles of view of a view whose horizontal angle is given."""
    horizontal = math.tan(math.radians(horizontal_deg) / 2)
    return horizontal, horizontal * height / max(width, 1)
