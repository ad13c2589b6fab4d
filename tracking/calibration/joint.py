"""Temporal and spatial calibration at once, from images of an N-wire phantom.

For every lag the poses at the images' moments give a spatial solution of their own; where its
localisation error is least, the lag is right.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tracking.calibration.plus_xml import Phantom
from tracking.calibration.spatial import WireFrames, middle_phantom_mm
from tracking.calibration.track import Track
from tracking.errors import CalibrationError
from tracking.transforms import Matrix, apply

Array = NDArray[np.float64]

_MIN_FRAMES = 20
# Dots beyond this many medians at the first minimum are left out of the second pass.
_OUTLIER_MEDIANS = 4.0
# Halves further from the whole than this: at 20 mm/s it is 0.2 mm.
_DOUBTFUL_S = 0.01
_OFFSETS_AT_ONCE = 100  # 20,000 poses: 10 MB


@dataclass(frozen=True, slots=True)
class JointLimits:
    """The offsets tried, from `first_s` up to but without `last_s`, and what is refused.

    An offset is added to an image's stamp to find its pose: the lag with its sign turned. At
    `min_rise` the error at the worst offset is hardly above the least: the probe hardly moved.
    """

    first_s: float = -0.3
    last_s: float = 0.0
    step_s: float = 0.0001
    max_gap_s: float = 0.1
    min_rise: float = 1.2


@dataclass(frozen=True, slots=True)
class JointResult:
    """Mean 3D localisation error, mm, of every offset, and the least.

    `halves_s` holds the offset that the first and the second half of the frames find alone.
    `frames` are those used, with the poses at the best offset.
    """

    offsets_s: Array
    errors_mm: Array
    offset_s: float
    error_mm: float
    halves_s: tuple[float, float]
    frames: WireFrames

    @property
    def image_lag_s(self) -> float:
        """How much later than its moment an image is stamped."""
        return -self.offset_s

    def verdict(self) -> str:
        """In words, for a person."""
        first, second = (f"{-1e3 * offset:.1f}" for offset in self.halves_s)
        disagree_s = max(abs(offset - self.offset_s) for offset in self.halves_s)
        grade = "doubtful, the halves disagree" if disagree_s > _DOUBTFUL_S else "good"
        return (
            f"{grade}: images are stamped {1e3 * self.image_lag_s:.1f} ms late (halves of the "
            f"recording: {first} and {second} ms), localisation error "
            f"{self.error_mm:.2f} mm there, {self.errors_mm.max():.2f} mm at the worst offset"
        )


def search_offset(
    image_t_s: Array,
    points_px: Array,
    track: Track,
    phantom: Phantom,
    T_reference_phantom: Matrix,
    limits: JointLimits | None = None,
) -> JointResult:
    """The offset whose spatial solution has the least mean 3D localisation error.

    Only images whose poses are known at every offset are used, so that all are compared on the
    same ones. Each solution is linear; dots that are far off at the first minimum are left out and
    the search done again.

    Parameters
    ----------
    image_t_s : (F,) stamps of the labelled images
    points_px : (F, K, 3, 2) their dots, in the phantom's order
    track : T_reference_probe over the recording, on the same clock

    Raises
    ------
    CalibrationError : too few images with poses, a minimum at the edge, or no minimum to speak of;
        with the number that shows it.

    Source: Wu et al. 2025 (UltraBones100k), 3.1.
    """
    limits = limits or JointLimits()
    n = round((limits.last_s - limits.first_s) / limits.step_s)
    offsets_s: Array = limits.first_s + limits.step_s * np.arange(n, dtype=np.float64)
    is_used = _known_throughout(image_t_s, track, limits)
    if is_used.sum() < _MIN_FRAMES:
        raise CalibrationError(
            f"joint: {int(is_used.sum())} of {len(image_t_s)} images have poses at every offset "
            f"from {limits.first_s:g} to {limits.last_s:g} s, expected at least {_MIN_FRAMES}"
        )
    t_s, dots_px = image_t_s[is_used], points_px[is_used]
    wires_reference = apply(
        T_reference_phantom, middle_phantom_mm(dots_px, phantom).reshape(-1, 3)
    ).reshape(len(t_s), -1, 3)
    middle_px = dots_px[:, :, 1]
    placed = np.concatenate(
        [
            _on_probe(track, t_s + part[:, None], wires_reference)
            for part in np.array_split(offsets_s, max(1, n // _OFFSETS_AT_ONCE))
        ]
    )
    weights = np.ones(middle_px.shape[:2])
    first = _errors(placed, middle_px, weights)
    at_best = first[int(_means(first, weights).argmin())]
    weights = (at_best <= _OUTLIER_MEDIANS * np.median(at_best)).astype(np.float64)
    errors_mm = _means(_errors(placed, middle_px, weights), weights)
    best = int(errors_mm.argmin())
    _check_minimum(offsets_s, errors_mm, best, limits)
    is_first = (np.arange(len(t_s)) < len(t_s) // 2)[:, None]
    halves = [
        float(offsets_s[_means(_errors(placed, middle_px, part), part).argmin()])
        for part in (weights * is_first, weights * ~is_first)
    ]
    T_reference_probe, _ = track.at(t_s + offsets_s[best], max_gap_s=limits.max_gap_s)
    return JointResult(
        offsets_s=offsets_s,
        errors_mm=errors_mm,
        offset_s=float(offsets_s[best]),
        error_mm=float(errors_mm[best]),
        halves_s=(halves[0], halves[1]),
        frames=WireFrames(dots_px, T_reference_probe),
    )


def _known_throughout(image_t_s: Array, track: Track, limits: JointLimits) -> NDArray[np.bool_]:
    """Images with poses from the first to the last offset, without a gap between."""
    first = np.searchsorted(track.t_s, image_t_s + limits.first_s, side="right") - 1
    last = np.searchsorted(track.t_s, image_t_s + limits.last_s, side="left")
    gaps = np.diff(track.t_s) > limits.max_gap_s
    n_gaps = np.concatenate(([0], np.cumsum(gaps)))
    is_inside = (first >= 0) & (last < len(track.t_s))
    inner_last = last.clip(0, len(track.t_s) - 1)
    return np.asarray(is_inside & (n_gaps[inner_last] == n_gaps[first.clip(0)]))


def _on_probe(track: Track, t_s: Array, points_reference: Array) -> Array:
    """Points (F, K, 3) of frame `reference` on the probe at each frame's times (O, F)."""
    T, _ = track.at(t_s.ravel(), max_gap_s=np.inf)
    T = T.reshape(*t_s.shape, 4, 4)
    offset = points_reference - T[:, :, None, :3, 3]
    return np.asarray(np.einsum("ofji,ofkj->ofki", T[..., :3, :3], offset, optimize=True))


def _errors(placed: Array, middle_px: Array, weights: Array) -> Array:
    """Distance of every dot by the weighted linear solution of its offset, (O, F, K)."""
    design = np.column_stack((middle_px.reshape(-1, 2), np.ones(middle_px[..., 0].size)))
    w = weights.reshape(-1, 1)
    # The images are the same at every offset: one matrix solves all of them.
    solve = np.linalg.solve(design.T @ (w * design), (w * design).T)
    points = placed.reshape(len(placed), -1, 3)
    residuals = points - design @ (solve @ points)
    return np.asarray(np.linalg.norm(residuals, axis=2).reshape(placed.shape[:3]))


def _means(errors: Array, weights: Array) -> Array:
    return np.asarray(np.einsum("ofk,fk->o", errors, weights) / weights.sum())


def _check_minimum(offsets_s: Array, errors_mm: Array, best: int, limits: JointLimits) -> None:
    if best in (0, len(offsets_s) - 1):
        raise CalibrationError(
            f"joint: the error is least at {1e3 * offsets_s[best]:.1f} ms, the edge of the search "
            f"({errors_mm[best]:.2f} mm): search further, or check that images and poses are of "
            "one recording"
        )
    rise = float(errors_mm.max() / errors_mm[best])
    if rise < limits.min_rise:
        raise CalibrationError(
            f"joint: the error is {errors_mm[best]:.2f} mm at the best and {errors_mm.max():.2f} "
            f"mm at the worst offset ({rise:.2f} times), expected at least {limits.min_rise:g} "
            "times: move the probe faster"
        )
