"""Where an image itself shows bone: a bright line with a shadow behind it.

`bone_line` looks without CT, an independent witness of refined poses. `echo_evidence` looks near a
contour from CT, and says how far off the echo it lies. Their limits were set by eye and on the
shared records 01, 03 and 04; they are no part of the objective.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates, uniform_filter1d

from offline_tools.labeling.values import Grey, Objective, Values, mean_below, smoothed, value_image

Array = NDArray[np.float64]

_SHADOW_FROM_MM, _SHADOW_TO_MM = 1.5, 9.0
_SHADOW_SHARE = 1.2
# What is bright itself above a line makes it the second echo of something.
_ABOVE_TO_MM, _ABOVE_GREY, _ABOVE_SHARE = 4.0, 100.0, 0.5
_LARGEST_STEP = 3  # half-size pixels from column to column, each costing
_STEP_COST = 4.0  # grey
_LEAST_GREY, _LARGEST_SHADOW_GREY, _LEAST_CONTRAST = 60.0, 50.0, 2.5
_SHORTEST_MM = 3.0
_COVER_MM = 1.0  # below the transducer: its cover, no bone

# Profiles across a contour: samples along it and across it, and what counts as behind the echo.
_ALONG_MM, _ACROSS_MM = 0.2, 0.1
_BEHIND_FROM_MM, _BEHIND_TO_MM = 0.7, 2.5
_TANGENT_MM = 1.4  # length over which the contour's direction is averaged
_PROFILE_LARGEST_STEP = 2  # samples across, from one along to the next, each costing
_PROFILE_STEP_COST = 3.0  # grey
_SUPPORT = 25.0  # grey that an echo stands out from its shadow by, at least
_STRONG = 100.0  # from here on a point is as certain as it gets
_STEEPEST_RAD = math.radians(75.0)  # steeper bone is too faint to witness anything
_FEWEST_SUPPORTED = 15  # 3 mm of echo; fewer samples say nothing
_SHORTEST_RUN = 20  # points of a contour without a gap
_ON_CONTOUR_MM = 0.4


@dataclass(frozen=True, slots=True)
class EchoEvidence:
    """What the image says about a contour.

    `offset_mm` is the mean distance, across the contour, to the echo with a shadow behind it; NaN
    where there is too little echo. `confidence` (N,), 0 to 1, says for each point of the contour
    how much it looks like an echo with a shadow.
    """

    offset_mm: float
    confidence: Array


def bone_line(
    pixels: Grey, roi_px: tuple[int, int, int, int], spacing_mm: tuple[float, float]
) -> Array:
    """Points (N, 2) of the bone line, (u, v) in pixels by ascending u; often with gaps or empty.

    At most one point in two columns, where a scan line is an image column.
    """
    u0, v0, width, height = roi_px
    column_mm, row_mm = 2.0 * spacing_mm[0], 2.0 * spacing_mm[1]
    part = np.ascontiguousarray(pixels[v0 : v0 + height, u0 : u0 + width])
    grey = smoothed(value_image(part, Objective.MEAN, spacing_mm[1]))
    shadow = mean_below(grey, round(_SHADOW_FROM_MM / row_mm), round(_SHADOW_TO_MM / row_mm))
    above = mean_below(
        np.ascontiguousarray(grey[::-1]),
        round(_SHADOW_FROM_MM / row_mm),
        round(_ABOVE_TO_MM / row_mm),
    )[::-1]
    merit = grey - _SHADOW_SHARE * shadow - _ABOVE_SHARE * np.maximum(above - _ABOVE_GREY, 0.0)
    merit[: round(_COVER_MM / row_mm)] = -255.0
    row = _best_path(np.ascontiguousarray(merit), _LARGEST_STEP, _STEP_COST)
    column = np.arange(len(row))
    echo, dark = grey[row, column], shadow[row, column]
    is_bone = (echo > _LEAST_GREY) & (dark < _LARGEST_SHADOW_GREY) & (echo > _LEAST_CONTRAST * dark)
    is_bone = _long_runs(is_bone, round(_SHORTEST_MM / column_mm))
    points = np.column_stack((column, row))[is_bone].astype(np.float64)
    return 2.0 * points + 0.5 + (u0, v0)


@numba.njit(cache=True, nogil=True)
def _best_path(merit: Values, largest_step: int, step_cost: float) -> NDArray[np.int64]:
    """Row of each column on the path of largest total merit (Viterbi)."""
    height, width = merit.shape
    total = merit[:, 0].astype(np.float64)
    came_from = np.zeros((width, height), np.int8)
    new_total = np.empty(height)
    for u in range(1, width):
        for v in range(height):
            best, best_step = -np.inf, 0
            for step in range(-largest_step, largest_step + 1):
                if 0 <= v + step < height:
                    found = total[v + step] - step_cost * abs(step)
                    if found > best:
                        best, best_step = found, step
            new_total[v] = best + merit[v, u]
            came_from[u, v] = best_step
        total[:] = new_total
    rows = np.empty(width, np.int64)
    rows[width - 1] = np.argmax(total)
    for u in range(width - 1, 0, -1):
        rows[u - 1] = rows[u] + came_from[u, rows[u]]
    return rows


def _long_runs(flags: NDArray[np.bool_], shortest: int) -> NDArray[np.bool_]:
    """Only runs of at least `shortest` columns."""
    edges = np.flatnonzero(np.diff(np.concatenate(([0], flags.astype(np.int8), [0]))))
    kept = np.zeros_like(flags)
    for first, end in zip(edges[::2], edges[1::2], strict=True):
        kept[first:end] = end - first >= shortest
    return kept


def echo_evidence(
    pixels: Grey,
    line_px: Array,
    incidence_rad: Array,
    spacing_mm: tuple[float, float],
    reach_mm: float = 3.0,
    lead_mm: float = 0.0,
) -> EchoEvidence:
    """Look for the echo up to `reach_mm` across a contour with ascending u, (N, 2).

    The image is unrolled along the contour, and the best path through it is the echo; it is
    expected `lead_mm` inside the contour.
    """
    grey = smoothed(value_image(pixels, Objective.MEAN, spacing_mm[1]))
    confidence = np.zeros(len(line_px))
    offsets: list[Array] = []
    for run in _runs(line_px, spacing_mm):
        if len(run) < _SHORTEST_RUN:
            continue
        at_mm, merit = _profiles(grey, line_px[run], spacing_mm, reach_mm)
        if not len(at_mm):
            continue
        path = _best_path(np.ascontiguousarray(merit.T), _PROFILE_LARGEST_STEP, _PROFILE_STEP_COST)
        way_mm = _way_mm(line_px[run] * spacing_mm)
        angle_rad = np.interp(at_mm, way_mm, incidence_rad[run])
        found = merit[np.arange(len(path)), path]
        is_supported = (found > _SUPPORT) & (angle_rad < _STEEPEST_RAD)
        offsets.append(np.abs(path[is_supported] * _ACROSS_MM - reach_mm - lead_mm))
        middle = round((reach_mm + lead_mm) / _ACROSS_MM)
        half = round(_ON_CONTOUR_MM / _ACROSS_MM)
        here = merit[:, middle - half : middle + half + 1].max(axis=1)
        confidence[run] = np.interp(way_mm, at_mm, np.clip(here / _STRONG, 0.0, 1.0))
    supported = np.concatenate(offsets) if offsets else np.empty(0)
    is_enough = len(supported) >= _FEWEST_SUPPORTED
    return EchoEvidence(float(supported.mean()) if is_enough else math.nan, confidence)


def _runs(line_px: Array, spacing_mm: tuple[float, float]) -> list[NDArray[np.int64]]:
    """Indices of the pieces of a contour that hang together."""
    if not len(line_px):
        return []
    across, down = (np.abs(np.diff(line_px, axis=0)) * spacing_mm).T
    cuts = np.flatnonzero((across > 1.5 * spacing_mm[0]) | (down > 2.0)) + 1
    return np.split(np.arange(len(line_px)), cuts)


def _way_mm(points_mm: Array) -> Array:
    return np.concatenate(([0.0], np.cumsum(np.linalg.norm(np.diff(points_mm, axis=0), axis=1))))


def _profiles(
    grey: Values, line_px: Array, spacing_mm: tuple[float, float], reach_mm: float
) -> tuple[Array, Values]:
    """Places along the contour, mm, and the merit (places, offsets) of an echo across it there.

    Offsets run from `reach_mm` before the contour to as far behind it.
    """
    points_mm = line_px * spacing_mm
    way_mm = _way_mm(points_mm)
    at_mm = np.arange(0.0, way_mm[-1], _ALONG_MM)
    x, y = (np.interp(at_mm, way_mm, points_mm[:, axis]) for axis in (0, 1))
    window = round(_TANGENT_MM / _ALONG_MM)
    if len(at_mm) < window:
        return at_mm[:0], np.empty((0, 0), np.float32)
    along = np.array([np.gradient(uniform_filter1d(values, window)) for values in (x, y)])
    along /= np.maximum(np.linalg.norm(along, axis=0), 1e-9)
    inward = -along[1], along[0]
    n_offsets = 2 * round(reach_mm / _ACROSS_MM) + 1
    first, last = round(_BEHIND_FROM_MM / _ACROSS_MM), round(_BEHIND_TO_MM / _ACROSS_MM)
    offset_mm = np.arange(n_offsets + last) * _ACROSS_MM - reach_mm
    u = (x[:, None] + inward[0][:, None] * offset_mm) / spacing_mm[0]
    v = (y[:, None] + inward[1][:, None] * offset_mm) / spacing_mm[1]
    profile = map_coordinates(grey, (0.5 * (v - 0.5), 0.5 * (u - 0.5)), order=1, mode="nearest")
    total = np.cumsum(np.pad(profile, ((0, 0), (1, 0))), axis=1)
    behind = (total[:, last : last + n_offsets] - total[:, first : first + n_offsets]) / (
        last - first
    )
    return at_mm, (profile[:, :n_offsets] - _SHADOW_SHARE * behind).astype(np.float32)
