"""Rigid fit of paired landmarks, with the errors that tell whether to trust it; stylus dwells."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tracking.calibration.residuals import Residuals
from tracking.errors import CalibrationError
from tracking.transforms import Matrix, apply

Array = NDArray[np.float64]

# Second singular value of the landmarks about their mean, relative to the first: below, they lie
# on a line and nothing holds the rotation about it.
_COLLINEAR_BELOW = 0.02
# Sizes of the two point sets; metres for millimetres differ by 1000, inches by 25.
_SIZE_RATIO = 1.5
# A fit this much better with a mirror means that the points themselves are mirrored.
_MIRRORED_RATIO = 0.2

_SHAFT_MM = 100.0  # where on the shaft the motion of a pivoting stylus is judged


@dataclass(frozen=True, slots=True)
class DwellSettings:
    """When a stylus counts as held on a landmark: for `duration_s` the tip is still and the shaft
    moves about it, away from landmarks already touched.

    A tip that rests in the air or on a table does not pivot. The first three are PLUS's defaults.
    """

    duration_s: float = 1.0
    max_tip_motion_mm: float = 1.5
    min_shaft_motion_mm: float = 30.0
    min_distance_mm: float = 6.0


@dataclass(frozen=True, slots=True)
class Dwell:
    """One landmark as touched: the mean of all `n` tip positions from `start_s` to `end_s`."""

    start_s: float
    end_s: float
    tip_reference_mm: Array
    spread_mm: float
    n: int


@dataclass(frozen=True, slots=True)
class LandmarkFit:
    """T_target_source with its errors: `errors_mm` (N,) is each landmark's distance after the fit,
    `left_out_mm` (N,) its distance when the others alone made the fit."""

    T_target_source: Matrix
    source_mm: Array
    errors_mm: Array
    left_out_mm: Array

    @property
    def fre(self) -> Residuals:
        """Fiducial registration error: of the landmarks that made the fit."""
        return Residuals.of(self.errors_mm)

    def expected_tre_mm(self, target_source_mm: ArrayLike) -> float:
        """Root mean square error to expect at a point (3,) of the source frame.

        Source: Fitzpatrick, West, Maurer 1998, equations 10 and 46, with the localisation error
        estimated from FRE.
        """
        n = len(self.source_mm)
        centre = self.source_mm.mean(axis=0)
        _, _, axes = np.linalg.svd(self.source_mm - centre)
        squared_along = ((self.source_mm - centre) @ axes.T) ** 2
        squared_target = ((np.asarray(target_source_mm, dtype=np.float64) - centre) @ axes.T) ** 2
        # Squared distances from each principal axis: of the target, and the mean of the landmarks.
        target = squared_target.sum() - squared_target
        landmarks = (squared_along.sum(axis=1, keepdims=True) - squared_along).mean(axis=0)
        squared_fle = self.fre.rms**2 * n / (n - 2)
        return math.sqrt(squared_fle / n * (1.0 + np.mean(target / landmarks)))


def fit_rigid(source_mm: Array, target_mm: Array, weights: Array | None = None) -> Matrix:
    """T_target_source that brings paired points (N, 3) together in the least-squares sense.

    Never a reflection: where one would fit better, the best rotation is still returned.

    Source: Arun, Huang, Blostein 1987; the sign by Umeyama 1991.
    """
    w = np.ones(len(source_mm)) if weights is None else weights
    source_centre = np.average(source_mm, axis=0, weights=w)
    target_centre = np.average(target_mm, axis=0, weights=w)
    covariance = (target_mm - target_centre).T @ (w[:, None] * (source_mm - source_centre))
    U, _, Vt = np.linalg.svd(covariance)
    T = np.eye(4)
    T[:3, :3] = U @ np.diag((1.0, 1.0, np.linalg.det(U @ Vt))) @ Vt
    T[:3, 3] = target_centre - T[:3, :3] @ source_centre
    return T


def fit_landmarks(
    source_mm: ArrayLike, target_mm: ArrayLike, *, max_fre_mm: float = 3.0
) -> LandmarkFit:
    """The rigid fit of paired landmarks.

    Parameters
    ----------
    source_mm, target_mm : (N, 3), N at least 3, in the same order

    Raises
    ------
    CalibrationError : too few, on a line, in other units, mirrored, or further apart than
        `max_fre_mm` (RMS) after the fit; with the number that shows it.
    """
    source = np.asarray(source_mm, dtype=np.float64).reshape(-1, 3)
    target = np.asarray(target_mm, dtype=np.float64).reshape(-1, 3)
    _check_pairs(source, target)
    T = fit_rigid(source, target)
    fit = LandmarkFit(T, source, _distances(T, source, target), _leave_one_out(source, target))
    if fit.fre.rms > max_fre_mm:
        mirrored = source * (1.0, 1.0, -1.0)
        mirrored_mm = Residuals.of(_distances(fit_rigid(mirrored, target), mirrored, target)).rms
        if mirrored_mm < _MIRRORED_RATIO * fit.fre.rms:
            raise CalibrationError(
                f"landmarks: the two sets are mirror images, RMS distance {fit.fre.rms:.1f} mm as "
                f"they are and {mirrored_mm:.2f} mm with one of them mirrored"
            )
        raise CalibrationError(
            f"landmarks: RMS distance after the fit is {fit.fre.rms:.2f} mm, expected at most "
            f"{max_fre_mm:g} mm ({_worst(fit)}; are they in the same order?)"
        )
    return fit


def _worst(fit: LandmarkFit) -> str:
    """The landmark that fits least to the others; of three, nobody knows which it is."""
    if not np.isfinite(fit.left_out_mm).all():
        return "with three landmarks, any of them"
    worst = int(np.argmax(fit.left_out_mm))
    return f"number {worst + 1} is {fit.left_out_mm[worst]:.1f} mm off the fit of the others"


def tip_positions(T_reference_stylus: Array, tip_stylus_mm: Array) -> Array:
    """Positions (N, 3) of a point of the stylus, by poses (N, 4, 4), frame `reference`, mm."""
    return T_reference_stylus[:, :3, :3] @ tip_stylus_mm + T_reference_stylus[:, :3, 3]


def find_dwells(
    t_s: Array,
    T_reference_stylus: Array,
    tip_stylus_mm: Array,
    settings: DwellSettings | None = None,
) -> list[Dwell]:
    """The first second (`duration_s`) on each landmark, in order of time; every sample counts.

    Later seconds on the same landmark are not used: on PLUS's recording of eight landmarks they
    raise the error of a left-out landmark from 0.28 mm to 0.36 and more, as the tip wanders while
    the user leans over. The stamps decide about durations, not a nominal rate.
    """
    settings = settings or DwellSettings()
    tips = tip_positions(T_reference_stylus, tip_stylus_mm)
    on_shaft = tip_stylus_mm * (1.0 - _SHAFT_MM / np.linalg.norm(tip_stylus_mm))
    shaft = tip_positions(T_reference_stylus, on_shaft)
    stops = np.searchsorted(t_s, t_s + settings.duration_s, side="right")
    dwells: list[Dwell] = []
    for start in range(int(np.searchsorted(t_s, t_s[-1] - settings.duration_s, side="right"))):
        window = slice(start, stops[start])
        mean = tips[window].mean(axis=0)
        if (
            _diagonal(tips[window]) <= settings.max_tip_motion_mm
            and _diagonal(shaft[window]) >= settings.min_shaft_motion_mm
            and all(_distance(mean, d.tip_reference_mm) >= settings.min_distance_mm for d in dwells)
        ):
            spread_mm = float(np.sqrt(np.mean(np.sum((tips[window] - mean) ** 2, axis=1))))
            end = int(stops[start]) - 1
            dwells.append(
                Dwell(float(t_s[start]), float(t_s[end]), mean, spread_mm, end + 1 - start)
            )
    return dwells


def _diagonal(points: Array) -> float:
    return float(np.linalg.norm(np.ptp(points, axis=0)))


def _distance(a: Array, b: Array) -> float:
    return float(np.linalg.norm(a - b))


def _distances(T: Matrix, source: Array, target: Array) -> Array:
    return np.asarray(np.linalg.norm(apply(T, source) - target, axis=1))


def _leave_one_out(source: Array, target: Array) -> Array:
    """Each landmark's distance by the others' fit; NaN where the others are only two."""
    errors = np.full(len(source), np.nan)
    if len(source) > 3:
        for k in range(len(source)):
            others = np.arange(len(source)) != k
            T = fit_rigid(source[others], target[others])
            errors[k] = _distances(T, source[k : k + 1], target[k : k + 1])[0]
    return errors


def _check_pairs(source: Array, target: Array) -> None:
    if len(source) != len(target) or len(source) < 3:
        raise CalibrationError(
            f"landmarks: {len(source)} and {len(target)} points, expected the same number, 3 at "
            "least"
        )
    if not (np.isfinite(source).all() and np.isfinite(target).all()):
        raise CalibrationError("landmarks: a coordinate is not finite")
    sizes = []
    for points in (source, target):
        values = np.linalg.svd(points - points.mean(axis=0), compute_uv=False)
        if values[1] <= _COLLINEAR_BELOW * values[0]:
            raise CalibrationError(
                f"landmarks: they lie on a line (width {values[1]:.3g} to length {values[0]:.3g} "
                "mm), expected at least three that form a triangle"
            )
        sizes.append(float(np.linalg.norm(values)))
    ratio = sizes[0] / sizes[1]
    if not 1.0 / _SIZE_RATIO < ratio < _SIZE_RATIO:
        raise CalibrationError(
            f"landmarks: the first set is {ratio:.4g} times the size of the second, expected 1 "
            "(is one in other units than mm?)"
        )
