"""Bone found in an image without CT: a bright line with a shadow below it.

An independent witness of refined poses. Parameters are first guesses, not fitted to any label.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from offline_tools.labeling.values import Grey, Objective, Values, mean_below, smoothed, value_image

Array = NDArray[np.float64]

_SHADOW_FROM_MM, _SHADOW_TO_MM = 1.5, 9.0
_SHADOW_SHARE = 1.2
# What is bright itself above a line makes it the second echo of something.
_ABOVE_TO_MM, _ABOVE_GREY, _ABOVE_SHARE = 4.0, 100.0, 0.5
_LARGEST_STEP = 2  # half-size pixels from column to column, each costing
_STEP_COST = 4.0  # grey
_LEAST_GREY, _LARGEST_SHADOW_GREY, _LEAST_CONTRAST = 60.0, 35.0, 2.5
_SHORTEST_MM = 3.0
_COVER_MM = 1.0  # below the transducer: its cover, no bone


def bone_line(pixels: Grey, roi_px: tuple[int, int, int, int], spacing_mm: tuple[float, float]) -> Array:
    """Points (N, 2) of the bone line, (u, v) in pixels by ascending u; often with gaps or empty.

    At most one point in two columns, where a scan line is an image column.
    """
    u0, v0, width, height = roi_px
    column_mm, row_mm = 2.0 * spacing_mm[0], 2.0 * spacing_mm[1]
    part = np.ascontiguousarray(pixels[v0 : v0 + height, u0 : u0 + width])
    grey = smoothed(value_image(part, Objective.MEAN, spacing_mm[1]))
    shadow = mean_below(grey, round(_SHADOW_FROM_MM / row_mm), round(_SHADOW_TO_MM / row_mm))
    above = mean_below(
        np.ascontiguousarray(grey[::-1]), round(_SHADOW_FROM_MM / row_mm), round(_ABOVE_TO_MM / row_mm)
    )[::-1]
    merit = grey - _SHADOW_SHARE * shadow - _ABOVE_SHARE * np.maximum(above - _ABOVE_GREY, 0.0)
    merit[: round(_COVER_MM / row_mm)] = -255.0
    row = _best_path(np.ascontiguousarray(merit), _LARGEST_STEP, _STEP_COST)
    column = np.arange(len(row))
    echo, dark = grey[row, column], shadow[row, column]
    is_bone = (
        (echo > _LEAST_GREY) & (dark < _LARGEST_SHADOW_GREY) & (echo > _LEAST_CONTRAST * dark)
    )
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
