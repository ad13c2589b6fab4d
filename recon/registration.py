"""Rigid registration of a bone cloud to the CT surface: a result to judge, not a bare matrix.

Trimmed point-to-plane ICP. A few thousand points find the way, all of them judge the end. Where the
surface does not tell where the cloud lies, as along a bone, it stays where the landmarks put it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.transform import Rotation

from recon.errors import ReconError
from recon.surface import SurfaceDistance
from tracking.calibration.residuals import Residuals
from tracking.errors import TransformError
from tracking.transforms import (
    Matrix,
    apply,
    check_rigid,
    from_rotation_vector,
    invert,
    rotation_angle_rad,
)

Array = NDArray[np.float64]
Number = TypeVar("Number", bound=np.generic)

_MOTION_NAMES = (
    "slide along the bone", "slide across (1)", "slide across (2)",
    "turn about the bone", "turn across (1)", "turn across (2)",
)  # fmt: skip

# A normal equation needs no more points; 100,000 cost 0.2 s for each search.
_N_FINE = 6_000
# Points, most steps and damping of the coarse and the fine stage. Damping is in squared grip: a
# motion held by less than 0.03 creeps in the coarse stage, because far from the surface it would
# run off along the bone (seen: 30 mm, without damping); near it, the little grip there is decides.
_STAGES = ((2_000, 40, 1e-3), (_N_FINE, 30, 1e-5))
_STILL_MM = 5e-3  # largest motion of a point by a step that ends its stage
# Converged is what no longer changes the distances; along a bone the cloud may still creep.
_CONVERGED_MM = 2e-3  # RMS change of the heights by the last step

# Points further off than 3 robust sigmas are not bone, or not this bone.
_TRIM_SIGMAS = 3.0
_MAD_TO_SIGMA = 1.4826
_LEAST_TRIM_MM = 0.1  # so that a perfect cloud keeps its points

# Landmarks on bone are found no better, however well a few of them happen to fit.
_LEAST_START_SIGMA_MM = 1.0

# A motion of 1 mm that raises the RMS residual by less is not held by the surface.
_HELD_FROM = 0.15
# Rise of the RMS residual, as a share of it, that tells two positions apart.
_RISE_SEEN = 0.1
_RISE = math.sqrt((1.0 + _RISE_SEEN) ** 2 - 1.0)  # what it takes on top, summed in squares

_N_SEGMENTS = 10  # along the bone; odd against even ones make the two halves


@dataclass(frozen=True, slots=True)
class Motion:
    """How well the surface holds the cloud against one motion, all others being free to follow.

    `axis_ct` is the direction or the axis through the cloud's centre. `grip` is the RMS residual
    that 1 mm of the motion causes (for turns: 1 mm at the cloud's RMS distance from its centre):
    1 is a wall, 0 is ice. `slack_mm` is how far it goes until the residual has risen by 10 %.
    """

    name: str
    axis_ct: Array
    grip: float
    slack_mm: float

    @property
    def is_degenerate(self) -> bool:
        """Whether the surface hardly tells where along this motion the cloud lies."""
        return self.grip < _HELD_FROM


@dataclass(frozen=True, slots=True)
class _Start:
    """Where the search begins, and how sure that is (standard deviation, None: not at all)."""

    T_ct_reference: Matrix
    sigma_mm: float | None

    def pull(self, T: Matrix, centre: Array, scale_mm: float) -> Array:
        """The three slides and three turns (6,) about the centre that lead from here to T."""
        off = T @ invert(self.T_ct_reference)
        slide = centre - apply(invert(off), centre[None])[0]
        return np.concatenate((slide, scale_mm * Rotation.from_matrix(off[:3, :3]).as_rotvec()))

    def weight(self, rms_mm: float) -> float:
        """Squared grip at which surface and start count alike. Half a motion's slack is taken for
        one standard deviation: of that size are the errors along simulated bones."""
        if self.sigma_mm is None:
            return 0.0
        return (0.5 * _RISE * rms_mm / max(self.sigma_mm, _LEAST_START_SIGMA_MM)) ** 2


@dataclass(frozen=True, slots=True)
class RegistrationResult:
    """T_ct_reference and what speaks for it.

    `residual` is the distance of all inliers from the surface, `all_points` of every point.
    `held_out` is the distance of every other stretch of the bone by the fit of the rest, and
    `halves_disagree_mm` the largest distance between the two fits at a point of the cloud.
    """

    T_ct_reference: Matrix
    is_converged: bool
    n_steps: int
    n_points: int
    n_inliers: int
    trim_mm: float
    residual: Residuals
    all_points: Residuals
    held_out: Residuals
    halves_disagree_mm: float
    motions: tuple[Motion, ...]
    moved_mm: float
    turned_rad: float

    @property
    def degenerate(self) -> tuple[Motion, ...]:
        """The motions that the surface does not hold."""
        return tuple(motion for motion in self.motions if motion.is_degenerate)

    def verdict(self) -> str:
        """In words, for a person."""
        quality = f"{self.residual.rms:.2f} mm RMS over {self.n_inliers} of {self.n_points} points"
        if not self.is_converged:
            return f"not converged after {self.n_steps} steps: {quality}"
        if not self.degenerate:
            return f"held in every direction: {quality}"
        free = ", ".join(f"{m.name} ({m.slack_mm:.1f} mm slack)" for m in self.degenerate)
        return f"not held against: {free}; otherwise {quality}"


def register_cloud(
    points_reference_mm: ArrayLike,
    surface: SurfaceDistance,
    T_ct_reference_start: ArrayLike,
    *,
    start_sigma_mm: float | None = None,
    max_residual_mm: float = 2.0,
    min_inlier_share: float = 0.5,
) -> RegistrationResult:
    """Move a cloud onto the surface, from a start some millimetres and degrees off.

    Each step trims the points beyond three robust sigmas (by the median distance) and solves for
    the motion that minimises the distances to the planes of the nearest triangles. The same input
    gives the same result.

    Parameters
    ----------
    points_reference_mm : (N, 3), frame `reference`, N at least 100
    surface : in CT space, mm
    T_ct_reference_start : (4, 4), from landmarks or set by hand
    start_sigma_mm : how far off the start may be, one standard deviation at the cloud, as by
        `LandmarkFit.expected_tre_mm`; less than 1 mm is not believed. It holds the cloud in the
        motions that the surface tells less about. None: the surface alone decides.

    Raises
    ------
    ReconError : too few points, another unit, a start that is no rigid transform, or an end that
        is no registration (residual or share of inliers); with the number that shows it.

    Source: Chen, Medioni 1992 (point to plane); Chetverikov et al. 2002 (trimming); the grip by
    the normal equations as in Gelfand et al. 2003; the start as a prior after Zhang et al. 2016.
    """
    points = np.asarray(points_reference_mm, dtype=np.float64).reshape(-1, 3)
    points = points[np.isfinite(points).all(axis=1)]
    start = _Start(_checked_start(T_ct_reference_start), start_sigma_mm)
    if len(points) < 100:
        raise ReconError(f"registration: the cloud has {len(points)} points, expected 100 or more")
    _check_size(points, surface)
    T, n_steps, is_converged = _align(points, surface, start.T_ct_reference, start)
    distances_mm, is_inlier, trim_mm = _trimmed(apply(T, points), surface)
    _check_end(distances_mm, is_inlier, max_residual_mm, min_inlier_share)
    motions = _motions(apply(T, points[is_inlier]), surface)
    held_out_mm, disagree_mm = _halves(points, surface, T, start)
    moved = apply(T, points) - apply(start.T_ct_reference, points)
    return RegistrationResult(
        T_ct_reference=T,
        is_converged=is_converged,
        n_steps=n_steps,
        n_points=len(points),
        n_inliers=int(is_inlier.sum()),
        trim_mm=trim_mm,
        residual=Residuals.of(distances_mm[is_inlier]),
        all_points=Residuals.of(distances_mm),
        held_out=Residuals.of(held_out_mm[held_out_mm <= trim_mm]),
        halves_disagree_mm=disagree_mm,
        motions=motions,
        moved_mm=float(np.linalg.norm(moved.mean(axis=0))),
        turned_rad=rotation_angle_rad(invert(start.T_ct_reference) @ T),
    )


def _align(
    points: Array,
    surface: SurfaceDistance,
    T: Matrix,
    start: _Start,
    stages: tuple[tuple[int, int, float], ...] = _STAGES,
) -> tuple[Matrix, int, bool]:
    """From T to where it no longer moves: transform, steps, whether it converged."""
    n_total = 0
    changed_mm = math.inf
    for n_points, max_steps, damping in stages:
        used = _thinned(points, n_points)
        for _ in range(max_steps):
            step, changed_mm = _step(used, surface, T, start, damping)
            moved_mm = np.abs(apply(step @ T, used) - apply(T, used)).max()
            T = step @ T
            n_total += 1
            if moved_mm < _STILL_MM:
                break
    return T, n_total, changed_mm < _CONVERGED_MM


def _step(
    points: Array, surface: SurfaceDistance, T: Matrix, start: _Start, damping: float
) -> tuple[Matrix, float]:
    """The rigid motion in CT space that brings the inliers nearest to their planes, and by how
    much it changes their heights (RMS, mm)."""
    points_ct = apply(T, points)
    distances_mm, triangles_mm = surface.nearest_triangles_mm(points_ct)
    is_inlier = distances_mm <= _trim_mm(distances_mm)
    centre = points_ct[is_inlier].mean(axis=0)
    scale_mm = _rms_radius(points_ct[is_inlier], centre)
    J, heights_mm = _equations(points_ct[is_inlier], triangles_mm[is_inlier], centre)
    weight = len(J) * start.weight(float(np.sqrt(np.mean(heights_mm**2))))
    H = J.T @ J + (weight + damping * len(J)) * np.eye(6)
    motion = -np.linalg.solve(H, J.T @ heights_mm + weight * start.pull(T, centre, scale_mm))
    turn = from_rotation_vector(motion[3:] / scale_mm, np.zeros(3))
    turn[:3, 3] = centre - turn[:3, :3] @ centre + motion[:3]
    return turn, float(np.sqrt(np.mean((J @ motion) ** 2)))


def _equations(points_ct: Array, triangles_mm: Array, centre: Array) -> tuple[Array, Array]:
    """How each point's height over its plane changes with three slides and three turns, (N, 6),
    and the heights, (N,). Turns are in mm at the cloud's RMS radius, so that all six compare."""
    edges = triangles_mm[:, 1:] - triangles_mm[:, :1]
    normals = np.cross(edges[:, 0], edges[:, 1])
    lengths = np.linalg.norm(normals, axis=1, keepdims=True)
    normals = np.divide(normals, lengths, out=np.zeros_like(normals), where=lengths > 0.0)
    heights_mm = np.einsum("ij,ij->i", points_ct - triangles_mm[:, 0], normals)
    arms = (points_ct - centre) / _rms_radius(points_ct, centre)
    return np.hstack((normals, np.cross(arms, normals))), heights_mm


def _motions(inliers_ct: Array, surface: SurfaceDistance) -> tuple[Motion, ...]:
    """Grip on the six motions along and about the cloud's principal axes."""
    used = _thinned(inliers_ct, _N_FINE)
    distances_mm, triangles_mm = surface.nearest_triangles_mm(used)
    centre = used.mean(axis=0)
    _, _, axes = np.linalg.svd(used - centre, full_matrices=False)
    J, _ = _equations(used, triangles_mm, centre)
    J = np.hstack((J[:, :3] @ axes.T, J[:, 3:] @ axes.T))
    covariance = np.linalg.pinv(J.T @ J / len(used), hermitian=True, rcond=1e-12)
    grips = 1.0 / np.sqrt(np.maximum(np.diag(covariance), 1e-12))
    rise_mm = _RISE * float(np.sqrt(np.mean(distances_mm**2)))
    return tuple(
        Motion(name, axes[k % 3], float(grip), rise_mm / float(grip))
        for k, (name, grip) in enumerate(zip(_MOTION_NAMES, grips, strict=True))
    )


def _halves(
    points: Array, surface: SurfaceDistance, T: Matrix, start: _Start
) -> tuple[Array, float]:
    """Distance of every point by the fit of the other half, and how far the two fits disagree."""
    centred = points - points.mean(axis=0)
    _, _, axes = np.linalg.svd(_thinned(centred, _N_FINE), full_matrices=False)
    along = centred @ axes[0]
    segment = ((along - along.min()) / np.ptp(along) * _N_SEGMENTS).astype(np.int64)
    is_odd = segment % 2 == 1
    fits = [_align(points[part], surface, T, start, _STAGES[1:])[0] for part in (is_odd, ~is_odd)]
    seen = _thinned(points, _N_FINE)
    disagree_mm = np.linalg.norm(apply(fits[0], seen) - apply(fits[1], seen), axis=1).max()
    used = _thinned(np.arange(len(points)), _N_FINE)
    moved = np.where(is_odd[used, None], apply(fits[1], points[used]), apply(fits[0], points[used]))
    return surface.distances_mm(moved), float(disagree_mm)


def _trimmed(points_ct: Array, surface: SurfaceDistance) -> tuple[Array, NDArray[np.bool_], float]:
    distances_mm = surface.distances_mm(points_ct)
    trim_mm = _trim_mm(distances_mm)
    return distances_mm, distances_mm <= trim_mm, trim_mm


def _trim_mm(distances_mm: Array) -> float:
    return max(_TRIM_SIGMAS * _MAD_TO_SIGMA * float(np.median(distances_mm)), _LEAST_TRIM_MM)


def _thinned(values: NDArray[Number], n: int) -> NDArray[Number]:
    """At most `n` of the values, evenly from all along the array."""
    if len(values) <= n:
        return values
    return values[np.linspace(0, len(values) - 1, n).astype(np.int64)]


def _rms_radius(points: Array, centre: Array) -> float:
    return float(np.sqrt(np.mean(np.sum((points - centre) ** 2, axis=1))))


def _checked_start(matrix: ArrayLike) -> Matrix:
    try:
        return check_rigid(matrix, "registration: start")
    except TransformError as error:
        raise ReconError(str(error)) from None


def _check_size(points: Array, surface: SurfaceDistance) -> None:
    cloud_mm = float(np.linalg.norm(np.ptp(points, axis=0)))
    surface_mm = surface.diagonal_mm
    if not surface_mm / 100.0 < cloud_mm < 3.0 * surface_mm:
        raise ReconError(
            f"registration: the cloud is {cloud_mm:.4g} mm across, the surface {surface_mm:.4g} "
            "mm (is one of them in metres?)"
        )


def _check_end(
    distances_mm: Array, is_inlier: NDArray[np.bool_], max_residual_mm: float, min_share: float
) -> None:
    rms_mm = float(np.sqrt(np.mean(distances_mm[is_inlier] ** 2)))
    share = float(is_inlier.mean())
    if rms_mm > max_residual_mm or share < min_share:
        raise ReconError(
            f"registration: {100.0 * share:.0f} % of the points lie on the surface with "
            f"{rms_mm:.2f} mm RMS, expected at least {100.0 * min_share:.0f} % with at most "
            f"{max_residual_mm:g} mm (start nearer, with landmarks; is it the right bone?)"
        )
