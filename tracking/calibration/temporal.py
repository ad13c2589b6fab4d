"""How much later than its moment an image is stamped, from a motion that image and tracker share.

`image_lag_s` > 0: the image is stamped late. PLUS calls the same number minus its tracker lag.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tracking.calibration.residuals import Residuals
from tracking.errors import CalibrationError

Array = NDArray[np.float64]

_STEP_S = 0.001
# Motions below these are noise and drift (PLUS's numbers).
_MIN_POSE_MOTION_MM = 8.0
_MIN_IMAGE_MOTION_PX = 30.0
_MIN_OVERLAP_S = 4.0
_MIN_SAMPLES = 30
_N_BOOTSTRAP = 200
_BLOCK_S = 1.0  # neighbouring frames err together: the bootstrap draws seconds, not frames


@dataclass(frozen=True, slots=True)
class TemporalLimits:
    """What is searched and what is refused.

    `max_second_peak` is the second highest peak of |correlation| in parts of the highest: at 1 the
    recording fits two lags equally well.
    """

    search_s: float = 0.5
    min_correlation: float = 0.9
    max_second_peak: float = 0.97
    ambiguous_second_peak: float = 0.9


@dataclass(frozen=True, slots=True)
class TemporalResult:
    """The lag with what speaks for it.

    `lags_s` and `correlations` are the whole curve (normalised cross-correlation, signed).
    `second_lag_s` is the lag of the second peak, `peak_ratio` its |correlation| in parts of the
    first (0 where there is none). `interval_s` holds 95 % of the block bootstrap, `halves_s` the
    lags of the first and second half alone. `residual` is the distance, mm, between the tracker's
    motion and the image's scaled to it; `held_out` the same with lag and scale from the other half.
    """

    image_lag_s: float
    correlation: float
    peak_ratio: float
    second_lag_s: float | None
    interval_s: tuple[float, float]
    halves_s: tuple[float, float]
    residual: Residuals
    held_out: Residuals
    n_samples: int
    motion_mm: float
    lags_s: Array
    correlations: Array

    def verdict(self, limits: TemporalLimits | None = None) -> str:
        """In words, for a person."""
        limits = limits or TemporalLimits()
        low_s, high_s = self.interval_s
        text = (
            f"images are stamped {1e3 * self.image_lag_s:.1f} ms late (95 % interval "
            f"{1e3 * low_s:.1f} to {1e3 * high_s:.1f} ms), correlation {abs(self.correlation):.3f}"
        )
        if self.second_lag_s is not None and self.peak_ratio > limits.ambiguous_second_peak:
            text += (
                f"; ambiguous: {1e3 * self.second_lag_s:.0f} ms fits {100 * self.peak_ratio:.0f} % "
                "as well (move less regularly, or search a shorter range)"
            )
        return text


def find_image_lag(
    image_t_s: Array,
    image_px: Array,
    pose_t_s: Array,
    positions_mm: Array,
    limits: TemporalLimits | None = None,
) -> TemporalResult:
    """The lag at which the image's motion and the tracker's correlate most, whatever the sign.

    Only images whose moment lies inside the poses at every lag searched are used, so that nothing
    is extrapolated. Of two peaks the larger |correlation| wins, not the smaller lag.

    Parameters
    ----------
    image_t_s, image_px : (N,) stamps and signal (such as the row of the tank's bottom); NaN where
        the image showed none
    pose_t_s, positions_mm : (M,) and (M, 3), stamps and positions of the probe, on the same clock

    Raises
    ------
    CalibrationError : no motion, no overlap, no correlation, a lag at the edge of the search, or
        two lags that fit alike; with the number that shows it.
    """
    limits = limits or TemporalLimits()
    used = _usable(image_t_s, image_px, pose_t_s, limits.search_s)
    t_s, signal_px = image_t_s[used], image_px[used]
    motion_mm = _pose_signal(t_s, pose_t_s, positions_mm, limits.search_s)
    _check_motion(signal_px, motion_mm)
    lags_s = np.arange(-limits.search_s, limits.search_s + 0.5 * _STEP_S, _STEP_S)
    moved = np.stack([np.interp(t_s - lag, pose_t_s, motion_mm) for lag in lags_s])
    correlations = _correlate(moved, signal_px, np.ones(len(t_s)))
    peaks = _peaks(np.abs(correlations))
    _check_curve(lags_s, correlations, peaks, len(t_s), limits)
    best = peaks[0]
    lag_s = _refine(lags_s, np.abs(correlations), best)
    first_half = np.arange(len(t_s)) < len(t_s) // 2
    halves_s = (
        _weighted_lag(moved, signal_px, first_half.astype(np.float64), lags_s),
        _weighted_lag(moved, signal_px, (~first_half).astype(np.float64), lags_s),
    )
    matched_mm = np.interp(t_s - lag_s, pose_t_s, motion_mm)
    return TemporalResult(
        image_lag_s=lag_s,
        correlation=float(correlations[best]),
        peak_ratio=_ratio(correlations, peaks),
        second_lag_s=float(lags_s[peaks[1]]) if len(peaks) > 1 else None,
        interval_s=_bootstrap(moved, signal_px, t_s, lags_s),
        halves_s=halves_s,
        residual=Residuals.of(matched_mm - _fitted(signal_px, matched_mm)),
        held_out=_held_out(t_s, signal_px, pose_t_s, motion_mm, halves_s, first_half),
        n_samples=len(t_s),
        motion_mm=float(np.ptp(matched_mm)),
        lags_s=lags_s,
        correlations=correlations,
    )


def _usable(
    image_t_s: Array, image_px: Array, pose_t_s: Array, search_s: float
) -> NDArray[np.intp]:
    if len(pose_t_s) < _MIN_SAMPLES or len(image_t_s) < _MIN_SAMPLES:
        raise CalibrationError(
            f"temporal: {len(image_t_s)} images and {len(pose_t_s)} poses, expected at least "
            f"{_MIN_SAMPLES} of each"
        )
    is_inside = (image_t_s >= pose_t_s[0] + search_s) & (image_t_s <= pose_t_s[-1] - search_s)
    used = np.flatnonzero(is_inside & np.isfinite(image_px))
    n_seen = int(np.isfinite(image_px).sum())
    if n_seen < _MIN_SAMPLES:
        raise CalibrationError(
            f"temporal: the line was found in {n_seen} of {len(image_px)} images, expected at "
            f"least {_MIN_SAMPLES} (set the clip rectangle to the ultrasound image)"
        )
    overlap_s = float(np.ptp(image_t_s[used])) if len(used) else 0.0
    if len(used) < _MIN_SAMPLES or overlap_s < _MIN_OVERLAP_S:
        raise CalibrationError(
            f"temporal: images and poses overlap by {overlap_s:.1f} s ({len(used)} images), "
            f"expected at least {_MIN_OVERLAP_S:g} s inside the poses by {search_s:g} s on both "
            f"sides (images from {image_t_s[0]:.1f} to {image_t_s[-1]:.1f} s, poses from "
            f"{pose_t_s[0]:.1f} to {pose_t_s[-1]:.1f} s: is it the same recording?)"
        )
    return used


def _pose_signal(t_s: Array, pose_t_s: Array, positions_mm: Array, search_s: float) -> Array:
    """The poses' motion along the axis that matters while images were taken."""
    during = (pose_t_s >= t_s[0] - search_s) & (pose_t_s <= t_s[-1] + search_s)
    centre = positions_mm[during].mean(axis=0)
    _, _, axes = np.linalg.svd(positions_mm[during] - centre, full_matrices=False)
    return np.asarray((positions_mm - centre) @ axes[0])


def _check_motion(signal_px: Array, motion_mm: Array) -> None:
    if np.ptp(motion_mm) < _MIN_POSE_MOTION_MM:
        raise CalibrationError(
            f"temporal: the probe moves by {np.ptp(motion_mm):.3g} mm, expected at least "
            f"{_MIN_POSE_MOTION_MM:g} mm (or are the poses in metres?)"
        )
    if np.ptp(signal_px) < _MIN_IMAGE_MOTION_PX:
        raise CalibrationError(
            f"temporal: the image shows {np.ptp(signal_px):.1f} px of motion, expected at least "
            f"{_MIN_IMAGE_MOTION_PX:g} px"
        )


def _check_curve(
    lags_s: Array,
    correlations: Array,
    peaks: NDArray[np.intp],
    n_samples: int,
    limits: TemporalLimits,
) -> None:
    strength = np.abs(correlations)
    if not len(peaks) or strength.max() > strength[peaks[0]]:
        edge_s = lags_s[int(strength.argmax())]
        raise CalibrationError(
            f"temporal: the correlation still rises at {edge_s:+.2f} s, the edge of the search "
            f"(|r| {strength.max():.3f}): search further, or check that the files belong together"
        )
    if strength[peaks[0]] < limits.min_correlation:
        raise CalibrationError(
            f"temporal: image and tracker correlate by {strength[peaks[0]]:.3f} at best "
            f"({n_samples} images), expected at least {limits.min_correlation:g} (is it the same "
            "recording, and the line the tank's bottom?)"
        )
    ratio = _ratio(correlations, peaks)
    if ratio > limits.max_second_peak:
        raise CalibrationError(
            f"temporal: lags of {1e3 * lags_s[peaks[0]]:.0f} and {1e3 * lags_s[peaks[1]]:.0f} ms "
            f"fit alike (second peak {100.0 * ratio:.1f} % of the first, expected at most "
            f"{100.0 * limits.max_second_peak:.0f} %): the motion repeats; move less regularly, "
            "or search less than half its period"
        )


def _correlate(moved: Array, signal: Array, weights: Array) -> Array:
    """Weighted correlation of the signal (N,) with each row of `moved` (L, N)."""
    w = weights / weights.sum()
    mean = moved @ w
    centred = (signal - w @ signal) * w
    covariance = moved @ centred
    variance = (moved**2) @ w - mean**2
    return np.asarray(covariance / np.sqrt(variance * (w @ signal**2 - (w @ signal) ** 2)))


def _peaks(strength: Array) -> NDArray[np.intp]:
    """Local maxima inside the range, the highest first."""
    inner = strength[1:-1]
    peaks = 1 + np.flatnonzero((inner >= strength[:-2]) & (inner > strength[2:]))
    return peaks[np.argsort(-strength[peaks])]


def _ratio(correlations: Array, peaks: NDArray[np.intp]) -> float:
    if len(peaks) < 2:
        return 0.0
    return float(np.abs(correlations[peaks[1]]) / np.abs(correlations[peaks[0]]))


def _refine(lags_s: Array, strength: Array, peak: int) -> float:
    """Vertex of the parabola through the peak and its neighbours."""
    if not 0 < peak < len(lags_s) - 1:
        return float(lags_s[peak])
    before, at, after = strength[peak - 1 : peak + 2]
    bend = before - 2.0 * at + after
    shift = 0.5 * (before - after) / bend if bend < 0.0 else 0.0
    return float(lags_s[peak] + shift * _STEP_S)


def _weighted_lag(moved: Array, signal: Array, weights: Array, lags_s: Array) -> float:
    strength = np.abs(_correlate(moved, signal, weights))
    return _refine(lags_s, strength, int(strength.argmax()))


def _bootstrap(moved: Array, signal: Array, t_s: Array, lags_s: Array) -> tuple[float, float]:
    """Interval that holds 95 % of the lags when seconds of the recording are drawn anew."""
    rng = np.random.default_rng(0)
    block = ((t_s - t_s[0]) / _BLOCK_S).astype(np.int64)
    n_blocks = int(block[-1]) + 1
    draws = rng.multinomial(n_blocks, np.full(n_blocks, 1.0 / n_blocks), size=_N_BOOTSTRAP)
    lags = [_weighted_lag(moved, signal, draw[block].astype(np.float64), lags_s) for draw in draws]
    low_s, high_s = np.percentile(lags, (2.5, 97.5))
    return float(low_s), float(high_s)


def _fitted(signal_px: Array, motion_mm: Array) -> Array:
    """The image's signal in mm, by the line that fits it best to the tracker's."""
    slope, offset = np.polyfit(signal_px, motion_mm, 1)
    return np.asarray(slope * signal_px + offset)


def _held_out(
    t_s: Array,
    signal_px: Array,
    pose_t_s: Array,
    motion_mm: Array,
    halves_s: tuple[float, float],
    first_half: NDArray[np.bool_],
) -> Residuals:
    errors = []
    for lag_s, made_by in zip(halves_s, (first_half, ~first_half), strict=True):
        matched_mm = np.interp(t_s - lag_s, pose_t_s, motion_mm)
        slope, offset = np.polyfit(signal_px[made_by], matched_mm[made_by], 1)
        errors.append((matched_mm - slope * signal_px - offset)[~made_by])
    return Residuals.of(np.concatenate(errors))
