"""Rigid transforms: check, invert, apply, interpolate.

`T_target_source` maps source coordinates to target: `p_target = T_target_source @ p_source`.
Neighbouring names cancel. `T_` is rigid, (4, 4) float64, mm; `A_` is affine.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tracking.errors import TransformError

Matrix = NDArray[np.float64]
Column = Sequence[float]

# Norm of R^T R - I. Float32 poses from the wire give 1e-7, four-decimal text files 1e-4;
# a millimetre-per-pixel scale hidden in a pose gives 0.1 or more.
RIGID_TOLERANCE = 1e-3

# Trackers reach a few metres; further away is another unit, or no number that was measured.
MAX_TRANSLATION_MM = 10_000.0

# Below this angle sin(angle) loses its digits and slerp equals linear interpolation to 1e-12.
_SLERP_LINEAR_BELOW_RAD = 1e-6

# Cosine of the second Euler angle below which the other two turn about one axis.
_GIMBAL_LOCK_BELOW = 1e-9


def check_affine(matrix: ArrayLike, name: str) -> Matrix:
    """The matrix as (4, 4) float64, finite, with bottom row (0, 0, 0, 1).

    Raises
    ------
    TransformError : naming `name` and what is wrong.
    """
    A = np.asarray(matrix, dtype=np.float64)
    if A.shape != (4, 4):
        raise TransformError(f"{name}: shape is {A.shape}, expected (4, 4)")
    if not np.isfinite(A).all():
        raise TransformError(f"{name}: holds a value that is not finite")
    if A[3].tolist() != [0.0, 0.0, 0.0, 1.0] and not np.allclose(A[3], (0, 0, 0, 1), atol=1e-9):
        raise TransformError(f"{name}: bottom row is {A[3].tolist()}, expected [0, 0, 0, 1]")
    return A


def check_rigid(matrix: ArrayLike, name: str) -> Matrix:
    """The matrix as a rigid transform, (4, 4) float64.

    Called once, where a pose enters the program; inner code trusts it.

    Raises
    ------
    TransformError : if it is not finite, not affine, scaled, skewed, left-handed, or more than
        10 m away.
    """
    T = check_affine(matrix, name)
    columns = T[:3, :3].T.tolist()
    deviation = rotation_deviation(*columns)
    if deviation > RIGID_TOLERANCE:
        raise TransformError(
            f"{name}: not rigid, |R^T R - I| is {deviation:.3g}, expected at most {RIGID_TOLERANCE}"
        )
    if not is_right_handed(*columns):
        raise TransformError(f"{name}: left-handed (determinant of R is negative)")
    if np.abs(T[:3, 3]).max() > MAX_TRANSLATION_MM:
        raise TransformError(
            f"{name}: lies at {T[:3, 3].tolist()} mm, expected within {MAX_TRANSLATION_MM:g} mm"
        )
    return T


def rotation_deviation(x: Column, y: Column, z: Column) -> float:
    """|R^T R - I| (Frobenius) of the matrix with these columns; NaN or infinite where they are.

    On plain floats: for nine numbers that is ten times faster than numpy, and a tracker sends
    hundreds of poses in a second.
    """
    xx, yy, zz = _dot(x, x) - 1.0, _dot(y, y) - 1.0, _dot(z, z) - 1.0
    xy, xz, yz = _dot(x, y), _dot(x, z), _dot(y, z)
    return math.sqrt(xx * xx + yy * yy + zz * zz + 2.0 * (xy * xy + xz * xz + yz * yz))


def is_right_handed(x: Column, y: Column, z: Column) -> bool:
    """Is the determinant of the matrix with these columns positive?"""
    return (
        z[0] * (x[1] * y[2] - x[2] * y[1])
        + z[1] * (x[2] * y[0] - x[0] * y[2])
        + z[2] * (x[0] * y[1] - x[1] * y[0])
    ) > 0.0


def _dot(a: Column, b: Column) -> float:
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def invert(T_b_a: Matrix) -> Matrix:
    """T_a_b, by transposition: exact for a rigid transform only."""
    R_a_b = T_b_a[:3, :3].T
    T_a_b = np.eye(4)
    T_a_b[:3, :3] = R_a_b
    T_a_b[:3, 3] = -R_a_b @ T_b_a[:3, 3]
    return T_a_b


def apply(A_b_a: Matrix, points_a: NDArray[np.float64]) -> NDArray[np.float64]:
    """Points of frame a, shape (N, 3), in frame b."""
    return points_a @ A_b_a[:3, :3].T + A_b_a[:3, 3]


def from_euler_xyz_deg(translation_mm: ArrayLike, angles_deg: ArrayLike) -> Matrix:
    """Rigid transform from a translation and EXTRINSIC xyz angles: R = Rz(c) Ry(b) Rx(a).

    Source: convention of UltraBones100k (scipy's lower-case 'xyz').
    """
    a, b, c = np.radians(np.asarray(angles_deg, dtype=np.float64))
    ca, sa, cb, sb, cc, sc = (
        math.cos(a), math.sin(a), math.cos(b), math.sin(b), math.cos(c), math.sin(c),
    )  # fmt: skip
    T = np.eye(4)
    T[:3, :3] = (
        (cc * cb, cc * sb * sa - sc * ca, cc * sb * ca + sc * sa),
        (sc * cb, sc * sb * sa + cc * ca, sc * sb * ca - cc * sa),
        (-sb, cb * sa, cb * ca),
    )
    T[:3, 3] = translation_mm
    return T


def to_euler_xyz_deg(T: Matrix) -> tuple[float, float, float]:
    """EXTRINSIC xyz angles of the rotation part, the inverse of `from_euler_xyz_deg`.

    The second lies within 90 degrees; where it reaches them the third is 0, because only their
    sum or difference is known.
    """
    R = T[:3, :3]
    b = math.asin(min(1.0, max(-1.0, -R[2, 0])))
    if math.hypot(R[2, 1], R[2, 2]) > _GIMBAL_LOCK_BELOW:
        a, c = math.atan2(R[2, 1], R[2, 2]), math.atan2(R[1, 0], R[0, 0])
    else:
        a, c = math.atan2(-R[1, 2], R[1, 1]), 0.0
    return math.degrees(a), math.degrees(b), math.degrees(c)


def from_rotation_vector(rotation_rad: ArrayLike, translation_mm: ArrayLike) -> Matrix:
    """Rigid transform from an axis times angle (rad) and a translation (mm)."""
    T = np.eye(4)
    T[:3, :3] = _rotation_from_vector(np.asarray(rotation_rad, dtype=np.float64))
    T[:3, 3] = translation_mm
    return T


def interpolate(T_target_source_0: Matrix, T_target_source_1: Matrix, fraction: float) -> Matrix:
    """Pose between two poses: slerp of the rotation, linear in the translation.

    The translation that is interpolated is the one of `source`'s origin, as PLUS does.
    `fraction` 0 gives the first pose, 1 the second; outside [0, 1] it raises ValueError,
    because extrapolating a tracked tool is guessing.
    """
    if not 0.0 <= fraction <= 1.0:
        raise ValueError(f"fraction is {fraction}, expected within [0, 1]")
    R_0 = T_target_source_0[:3, :3]
    T = np.eye(4)
    R_relative = R_0.T @ T_target_source_1[:3, :3]
    T[:3, :3] = R_0 @ _rotation_from_vector(fraction * _rotation_vector(R_relative))
    t_0, t_1 = T_target_source_0[:3, 3], T_target_source_1[:3, 3]
    T[:3, 3] = t_0 + fraction * (t_1 - t_0)
    return T


def rotation_angle_rad(T: Matrix) -> float:
    """Angle of the rotation part, in [0, pi]."""
    return float(np.linalg.norm(_rotation_vector(T[:3, :3])))


def _rotation_vector(R: Matrix) -> NDArray[np.float64]:
    """Axis times angle. Stable near 0 and near pi, through the quaternion."""
    quat_wxyz = np.empty(4)
    trace = R[0, 0] + R[1, 1] + R[2, 2]
    k = int(np.argmax((trace, R[0, 0], R[1, 1], R[2, 2])))
    if k == 0:
        quat_wxyz[:] = (1 + trace, R[2, 1] - R[1, 2], R[0, 2] - R[2, 0], R[1, 0] - R[0, 1])
    elif k == 1:
        quat_wxyz[:] = (
            R[2, 1] - R[1, 2], 1 + 2 * R[0, 0] - trace, R[1, 0] + R[0, 1], R[0, 2] + R[2, 0],
        )  # fmt: skip
    elif k == 2:
        quat_wxyz[:] = (
            R[0, 2] - R[2, 0], R[1, 0] + R[0, 1], 1 + 2 * R[1, 1] - trace, R[2, 1] + R[1, 2],
        )  # fmt: skip
    else:
        quat_wxyz[:] = (
            R[1, 0] - R[0, 1], R[0, 2] + R[2, 0], R[2, 1] + R[1, 2], 1 + 2 * R[2, 2] - trace,
        )  # fmt: skip
    quat_wxyz /= np.linalg.norm(quat_wxyz)
    if quat_wxyz[0] < 0.0:
        quat_wxyz = -quat_wxyz
    sine = float(np.linalg.norm(quat_wxyz[1:]))
    angle = 2.0 * math.atan2(sine, float(quat_wxyz[0]))
    scale = 2.0 if sine < _SLERP_LINEAR_BELOW_RAD else angle / sine
    return scale * quat_wxyz[1:]


def _rotation_from_vector(vector: NDArray[np.float64]) -> Matrix:
    """Rodrigues' formula."""
    angle = float(np.linalg.norm(vector))
    x, y, z = vector
    K = np.array([(0.0, -z, y), (z, 0.0, -x), (-y, x, 0.0)])
    if angle < _SLERP_LINEAR_BELOW_RAD:
        return np.eye(3) + K + 0.5 * (K @ K)
    return (
        np.eye(3)
        + math.sin(angle) / angle * K
        + (1.0 - math.cos(angle)) / (angle * angle) * (K @ K)
    )
