"""Where a stylus's tip lies, from poses taken while it turns about a fixed point."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tracking.calibration.residuals import Residuals
from tracking.errors import CalibrationError
from tracking.transforms import Matrix

Array = NDArray[np.float64]

_MIN_POSES = 20
# A pose further from the pivot than this many medians is an outlier; normal noise in three
# directions lies beyond it once in 30,000.
_OUTLIER_MEDIANS = 3.0
_LEAST_OUTLIER_MM = 0.1
_MAX_ROUNDS = 30
_N_FOLDS = 5
_PARALLEL_RAD = math.radians(20.0)
_METRES_BELOW_MM = 5.0  # no tracker stands nearer to its tools; 3 m are "3" in metres


@dataclass(frozen=True, slots=True)
class PivotLimits:
    """What is refused. A residual of 5 mm is a slipping tip or a bent stylus."""

    min_spread_rad: float = math.radians(15.0)
    max_residual_mm: float = 5.0
    max_outlier_share: float = 0.3


@dataclass(frozen=True, slots=True)
class PivotResult:
    """T_stylus_tip: origin at the tip, z from the marker to the tip, y as PLUS chooses it.

    `errors_mm` (N,) is each pose's distance of the tip from the pivot, outliers included.
    `held_out` is that of poses that did not make the fit (five stretches, each left out once).
    `spread_rad` is the smaller of the two ranges of turning across the shaft.
    """

    T_stylus_tip: Matrix
    pivot_reference_mm: Array
    errors_mm: Array
    is_inlier: NDArray[np.bool_]
    residual: Residuals
    held_out: Residuals
    tip_uncertainty_mm: float
    spread_rad: float

    def verdict(self) -> str:
        """In words, for a person."""
        grade = "good" if self.residual.rms < 1.0 else "usable, but not accurate"
        n_out = int((~self.is_inlier).sum())
        return (
            f"{grade}: tip {np.linalg.norm(self.T_stylus_tip[:3, 3]):.1f} mm from the marker, "
            f"{self.residual.rms:.2f} mm RMS over {self.residual.n} poses, {n_out} outliers, "
            f"{self.held_out.rms:.2f} mm RMS held out, turned by "
            f"{math.degrees(self.spread_rad):.0f} degrees"
        )


def calibrate_pivot(
    T_reference_stylus: ArrayLike, limits: PivotLimits | None = None
) -> PivotResult:
    """The tip of a stylus that turned about a fixed point.

    Solves R tip + t = pivot for all poses by least squares; whole poses that lie further off than
    three medians are left out and the rest solved again, until the same ones stay.

    Parameters
    ----------
    T_reference_stylus : (N, 4, 4) rigid, mm

    Raises
    ------
    CalibrationError : too few poses or orientations, metres, or a tip that does not stay; with the
        number that shows it.
    """
    limits = limits or PivotLimits()
    poses = np.asarray(T_reference_stylus, dtype=np.float64).reshape(-1, 4, 4)
    if len(poses) < _MIN_POSES:
        raise CalibrationError(f"pivot: {len(poses)} poses, expected at least {_MIN_POSES}")
    check_millimetres(poses, "pivot")
    tip, pivot, is_inlier = _robust_tip(poses)
    errors = _errors_mm(poses, tip, pivot)
    residual = Residuals.of(errors[is_inlier])
    spread_rad = _spread_rad(poses[is_inlier], tip)
    if spread_rad < limits.min_spread_rad:
        raise CalibrationError(
            f"pivot: the stylus turned by {math.degrees(spread_rad):.1f} degrees in the direction "
            f"in which it turned least, expected at least {math.degrees(limits.min_spread_rad):.0f}"
        )
    if residual.rms > limits.max_residual_mm:
        raise CalibrationError(
            f"pivot: the tip moves by {residual.rms:.1f} mm RMS, expected at most "
            f"{limits.max_residual_mm:g} mm (did it slip out of its hole?)"
        )
    outlier_share = 1.0 - float(is_inlier.mean())
    if outlier_share > limits.max_outlier_share:
        raise CalibrationError(
            f"pivot: {100 * outlier_share:.0f} % of the poses do not fit, expected at most "
            f"{100 * limits.max_outlier_share:.0f} %"
        )
    return PivotResult(
        T_stylus_tip=_tip_frame(tip),
        pivot_reference_mm=pivot,
        errors_mm=errors,
        is_inlier=is_inlier,
        residual=residual,
        held_out=_held_out(poses[is_inlier]),
        tip_uncertainty_mm=_uncertainty_mm(poses[is_inlier], residual.rms),
        spread_rad=spread_rad,
    )


def check_millimetres(poses: Array, what: str) -> None:
    """Refuse poses (N, 4, 4) whose translations can only be metres.

    Raises
    ------
    CalibrationError : with their median length.
    """
    length = float(np.median(np.linalg.norm(poses[:, :3, 3], axis=1)))
    if length < _METRES_BELOW_MM:
        raise CalibrationError(
            f"{what}: the poses lie {length:.3g} mm from their origin (median), expected tens of "
            "mm and more: are they in metres?"
        )


def _solve(poses: Array) -> tuple[Array, Array]:
    """Tip in `stylus` and pivot in `reference`, by least squares."""
    n = len(poses)
    A = np.concatenate((poses[:, :3, :3], np.broadcast_to(-np.eye(3), (n, 3, 3))), axis=2)
    solution, *_ = np.linalg.lstsq(A.reshape(-1, 6), -poses[:, :3, 3].reshape(-1), rcond=None)
    x = solution.astype(np.float64)
    return x[:3], x[3:]


def _robust_tip(poses: Array) -> tuple[Array, Array, NDArray[np.bool_]]:
    is_inlier = np.ones(len(poses), dtype=np.bool_)
    for _ in range(_MAX_ROUNDS):
        tip, pivot = _solve(poses[is_inlier])
        errors = _errors_mm(poses, tip, pivot)
        limit_mm = max(_OUTLIER_MEDIANS * float(np.median(errors)), _LEAST_OUTLIER_MM)
        still = errors <= limit_mm
        if np.array_equal(still, is_inlier):
            break
        is_inlier = still
    return tip, pivot, is_inlier


def _errors_mm(poses: Array, tip: Array, pivot: Array) -> Array:
    tips = poses[:, :3, :3] @ tip + poses[:, :3, 3]
    return np.asarray(np.linalg.norm(tips - pivot, axis=1))


def _spread_rad(poses: Array, tip: Array) -> float:
    """Range of the shaft's directions, in the direction across it in which it ranges least."""
    shafts = poses[:, :3, :3] @ (tip / np.linalg.norm(tip))
    mean = shafts.mean(axis=0)
    _, _, axes = np.linalg.svd(shafts - mean, full_matrices=False)
    # The third axis is the bulge of the sphere; the ranges are along the first two.
    ranges = np.ptp((shafts - mean) @ axes[:2].T, axis=0)
    return float(2.0 * np.arcsin(np.clip(0.5 * ranges.min(), 0.0, 1.0)))


def _held_out(poses: Array) -> Residuals:
    fold = np.arange(len(poses)) * _N_FOLDS // len(poses)
    errors = [_errors_mm(poses[fold == k], *_solve(poses[fold != k])) for k in range(_N_FOLDS)]
    return Residuals.of(np.concatenate(errors))


def _uncertainty_mm(poses: Array, rms_mm: float) -> float:
    """Standard deviation of the tip that the scatter of independent poses would cause."""
    n = len(poses)
    A = np.concatenate((poses[:, :3, :3], np.broadcast_to(-np.eye(3), (n, 3, 3))), axis=2)
    A = A.reshape(-1, 6)
    covariance = np.linalg.inv(A.T @ A) * rms_mm**2 / 3.0
    return float(np.sqrt(np.trace(covariance[:3, :3])))


def _tip_frame(tip: Array) -> Matrix:
    """PLUS's: z from marker to tip, y = z cross x of the marker (y of it where z is near x)."""
    z = tip / np.linalg.norm(tip)
    other = np.array((1.0, 0.0, 0.0))
    if abs(z[0]) > math.cos(_PARALLEL_RAD):
        other = np.array((0.0, 1.0, 0.0))
    y = np.cross(z, other)
    y /= np.linalg.norm(y)
    T = np.eye(4)
    T[:3, :3] = np.column_stack((np.cross(y, z), y, z))
    T[:3, 3] = tip
    return T
