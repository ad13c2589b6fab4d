"""The dots that the wires of a phantom make in an image, and which wire made which dot.

A plane cuts parallel wires in an affine picture of their arrangement, whatever its tilt. So the
outer wires of all N's must appear as an affine image of their known places; that settles scale,
side and order at once, with nothing about the probe known but a rough pixel size.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from tracking.calibration.plus_xml import Phantom

Array = NDArray[np.float64]

_SMOOTHING_PX = 1.0
_OPENING_PX = 5  # removes speckle and thin lines, keeps dots
_THRESHOLD_SHARE = 0.1  # of the brightest pixel
_MAX_DOTS = 25
_DOT_AREA_MM2 = (0.05, 15.0)
_MAX_DOT_LENGTH_MM = 8.0


@dataclass(frozen=True, slots=True)
class LabelLimits:
    """What counts as the picture of the phantom; lengths in mm by the rough pixel size."""

    scale_tolerance: float = 0.35
    collinear_mm: float = 0.8
    parallel_rad: float = math.radians(15.0)
    max_residual_mm: float = 0.9
    ambiguous_ratio: float = 0.7


@dataclass(frozen=True, slots=True)
class Labelled:
    """Dots by wire: (K, 3, 2) px for the K N-wires in the phantom's order, None where they could
    not be told; then `reason` says why."""

    points_px: Array | None
    reason: str = ""
    residual_px: float = math.nan


def find_dots(
    pixels: NDArray[np.uint8],
    spacing_mm: float,
    clip_px: tuple[int, int, int, int] | None = None,
) -> Array:
    """Bright compact spots, (N, 2) px (u, v), the brightest first, at most 25.

    Parameters
    ----------
    pixels : (rows, columns) uint8
    spacing_mm : rough size of a pixel
    clip_px : column, row, width, height of the part to look at; None: all of it
    """
    column, row, width, height = clip_px or (0, 0, pixels.shape[1], pixels.shape[0])
    part = pixels[row : row + height, column : column + width].astype(np.float32)
    smooth = ndimage.gaussian_filter(part, _SMOOTHING_PX)
    opened = ndimage.grey_opening(smooth, (_OPENING_PX, _OPENING_PX))
    is_bright = opened > _THRESHOLD_SHARE * opened.max()
    labels, n = ndimage.label(is_bright)
    if n == 0:
        return np.empty((0, 2))
    dots = []
    for k, (rows, columns) in enumerate(ndimage.find_objects(labels), start=1):
        is_dot = labels[rows, columns] == k
        longest_mm = max(is_dot.shape) * spacing_mm
        area_mm2 = int(is_dot.sum()) * spacing_mm**2
        if longest_mm > _MAX_DOT_LENGTH_MM or not _DOT_AREA_MM2[0] < area_mm2 < _DOT_AREA_MM2[1]:
            continue
        weights = np.where(is_dot, opened[rows, columns], 0.0)
        total = float(weights.sum())
        v, u = np.nonzero(is_dot)
        values = weights[v, u]
        dots.append(
            (
                total,
                column + columns.start + float(u @ values) / total,
                row + rows.start + float(v @ values) / total,
            )
        )
    dots.sort(reverse=True)
    return np.array(dots[:_MAX_DOTS]).reshape(-1, 3)[:, 1:]


class WireLabeller:
    """Tells the dots of one phantom; what depends on the phantom alone is made once."""

    def __init__(
        self, phantom: Phantom, spacing_mm: float, limits: LabelLimits | None = None
    ) -> None:
        self._limits = limits or LabelLimits()
        self._spacing_mm = spacing_mm
        fronts = np.array([wires.front_mm for wires in phantom.n_wires])
        backs = np.array([wires.back_mm for wires in phantom.n_wires])
        along = (backs - fronts)[:, (0, 2)].reshape(-1, 3)
        axis = along.mean(axis=0) / np.linalg.norm(along.mean(axis=0))
        # Coordinates across the outer wires, mm: two axes at right angles to them.
        _, _, frame = np.linalg.svd(axis[None])
        self._outer_mm = (fronts[:, (0, 2)] @ frame[1:].T).reshape(-1, 2)
        self._width_mm = np.linalg.norm(np.diff(self._outer_mm.reshape(-1, 2, 2), axis=1), axis=2)
        design = np.column_stack((self._outer_mm, np.ones(len(self._outer_mm))))
        self._to_affine = np.linalg.pinv(design)
        self._misfit = np.eye(len(design)) - design @ self._to_affine

    def label(self, dots_px: Array) -> Labelled:
        """Which dot is which wire, or why that cannot be told."""
        n_wires = 3 * len(self._width_mm)
        if len(dots_px) < n_wires:
            return Labelled(None, f"{len(dots_px)} dots, expected {n_wires}")
        rows = [self._triples(dots_px, float(width)) for width in self._width_mm[:, 0]]
        if any(len(triples) == 0 for triples in rows):
            return Labelled(None, "no three dots on a line of the right length")
        chosen = rows[0][:, None]
        for triples in rows[1:]:
            chosen = self._extend(dots_px, chosen, triples)
        if not len(chosen):
            return Labelled(None, "no parallel lines of three dots")
        return self._best(dots_px, chosen)

    def _triples(self, dots: Array, width_mm: float) -> NDArray[np.intp]:
        """Ordered (first, middle, last) dots on a line of about this width, (T, 3)."""
        limits = self._limits
        n = len(dots)
        first, last = np.nonzero(~np.eye(n, dtype=np.bool_))
        along = dots[last] - dots[first]
        length = np.linalg.norm(along, axis=1)
        ratio = length * self._spacing_mm / width_mm
        fits = (ratio > 1.0 - limits.scale_tolerance) & (ratio < 1.0 + limits.scale_tolerance)
        first, last, along, length = first[fits], last[fits], along[fits], length[fits]
        offset = dots[None] - dots[first][:, None]
        share = np.einsum("tnx,tx->tn", offset, along) / length[:, None] ** 2
        aside = np.abs(offset[..., 0] * along[:, None, 1] - offset[..., 1] * along[:, None, 0])
        aside_mm = aside / length[:, None] * self._spacing_mm
        pair, middle = np.nonzero(
            (share > 0.02) & (share < 0.98) & (aside_mm < limits.collinear_mm)
        )
        return np.column_stack((first[pair], middle, last[pair]))

    def _extend(
        self, dots: Array, chosen: NDArray[np.intp], triples: NDArray[np.intp]
    ) -> NDArray[np.intp]:
        """Every choice so far with every triple that runs parallel to it and shares no dot."""
        ends = chosen[:, 0]
        direction = _unit(dots[ends[:, 2]] - dots[ends[:, 0]])
        other = _unit(dots[triples[:, 2]] - dots[triples[:, 0]])
        is_parallel = direction @ other.T > math.cos(self._limits.parallel_rad)
        used = chosen.reshape(len(chosen), chosen.shape[1] * 3)
        shares_dot = (used[:, None, :, None] == triples[None, :, None, :]).any(axis=(2, 3))
        a, b = np.nonzero(is_parallel & ~shares_dot)
        return np.concatenate((chosen[a], triples[b][:, None]), axis=1)

    def _best(self, dots: Array, chosen: NDArray[np.intp]) -> Labelled:
        limits = self._limits
        outer = dots[chosen[:, :, (0, 2)]].reshape(len(chosen), -1, 2)
        affine = self._to_affine @ outer
        scales = np.linalg.svd(affine[:, :2], compute_uv=False) * self._spacing_mm
        is_scaled = (scales[:, 1] > 1.0 - limits.scale_tolerance) & (
            scales[:, 0] < (1.0 + limits.scale_tolerance) / math.cos(math.radians(35.0))
        )
        chosen, outer = chosen[is_scaled], outer[is_scaled]
        if not len(chosen):
            return Labelled(None, "no arrangement of the right size")
        squared = np.sum((self._misfit @ outer) ** 2, axis=(1, 2)) / outer.shape[1]
        squared += np.mean(_aside_px(dots[chosen]) ** 2, axis=1)
        residual = np.sqrt(squared)
        order = np.argsort(residual)
        best = order[0]
        if residual[best] * self._spacing_mm > limits.max_residual_mm:
            return Labelled(
                None, f"no arrangement fits, the best by {residual[best] * self._spacing_mm:.1f} mm"
            )
        if len(order) > 1 and residual[best] > limits.ambiguous_ratio * residual[order[1]]:
            return Labelled(
                None,
                f"two arrangements fit alike ({residual[best]:.1f} and "
                f"{residual[order[1]]:.1f} px)",
            )
        return Labelled(dots[chosen[best]], residual_px=float(residual[best]))


def _unit(vectors: Array) -> Array:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def _aside_px(triples_px: Array) -> Array:
    """Distance of each middle dot from the line through the outer two; (..., 3, 2) to (...)."""
    along = triples_px[..., 2, :] - triples_px[..., 0, :]
    offset = triples_px[..., 1, :] - triples_px[..., 0, :]
    cross = along[..., 0] * offset[..., 1] - along[..., 1] * offset[..., 0]
    return np.asarray(np.abs(cross) / np.linalg.norm(along, axis=-1))
