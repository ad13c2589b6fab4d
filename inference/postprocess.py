"""From the network's probability to the bone line: one sub-pixel point per image column."""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from inference.errors import InferenceError
from inference.preprocess import InputPlan

# Points of a line that lie further apart than this, along or across, belong to two fragments.
MAX_STEP_MM = 1.0

# A fragment narrower than this is noise: bone reflects over millimetres.
MIN_FRAGMENT_MM = 1.0


@dataclass(frozen=True, slots=True)
class BoneLine:
    """Where the bone is: `points_px` (N, 2) float64 as (u, v) of the image, by ascending u, and
    `confidence` (N,) float32, the highest probability that the network gave in that column."""

    points_px: NDArray[np.float64]
    confidence: NDArray[np.float32]


def bone_line(probability: NDArray[np.float32], plan: InputPlan, threshold: float) -> BoneLine:
    """The bone line in a probability image (rows, columns) of the network.

    For each image column inside the region of interest: the probability is interpolated between
    network columns, the heaviest run of rows that exceeds `threshold` is taken, and its centre,
    weighted by the excess, is the point. (Weights that fall to 0 at the ends of the run keep the
    centre from jumping when a row enters it: 0.05 instead of 0.3 network pixels.) Columns without
    a run, and fragments narrower than `MIN_FRAGMENT_MM`, give no point.

    Raises
    ------
    InferenceError : the probability holds a value that is not finite.
    """
    if not np.isfinite(probability).all():
        raise InferenceError("the network returned a value that is not finite")
    u0, v0, width, height = plan.roi_px
    u = np.arange(u0, u0 + width, dtype=np.float64)
    corners_px = np.array([(u0, v0), (u0, v0 + height - 1)], dtype=np.float64)
    # Rows whose centre lies on the region of interest; below it is padding.
    last_row = int(plan.network_from_pixel(corners_px)[1, 1])
    columns = plan.network_from_pixel(np.column_stack((u, np.zeros_like(u))))[:, 0]
    rows, confidence = heaviest_runs(probability[: last_row + 1], columns, threshold)
    v = plan.pixel_from_network(np.column_stack((columns, rows)))[:, 1]
    keep = _in_wide_fragments(u, v, plan.spacing_mm)
    return BoneLine(points_px=np.column_stack((u, v))[keep], confidence=confidence[keep])


@numba.njit(nogil=True, cache=True)
def heaviest_runs(
    probability: NDArray[np.float32], columns: NDArray[np.float64], threshold: float
) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """Centre row and peak of the heaviest run at each (fractional) column; NaN where there is none.

    Columns beyond the first and last pixel centre take those pixels' values. Of two equally heavy
    runs the upper one, nearer to the transducer, is taken.
    """
    n_rows, n_columns = probability.shape
    centre = np.full(columns.size, np.nan)
    peak = np.zeros(columns.size, dtype=np.float32)
    for i in range(columns.size):
        position = min(max(columns[i], 0.0), n_columns - 1.0)
        left = min(int(position), n_columns - 2)
        fraction = position - left
        best = weight = moment = highest = 0.0
        for row in range(n_rows + 1):  # one more, to close a run at the bottom
            value = 0.0
            if row < n_rows:
                value = (1.0 - fraction) * probability[row, left]
                value += fraction * probability[row, left + 1]
            if value > threshold:
                weight += value - threshold
                moment += (value - threshold) * row
                highest = max(highest, value)
            elif weight > 0.0:
                if weight > best:
                    best = weight
                    centre[i] = moment / weight
                    peak[i] = highest
                weight = moment = highest = 0.0
    return centre, peak


def _in_wide_fragments(
    u: NDArray[np.float64], v: NDArray[np.float64], spacing_mm: tuple[float, float]
) -> NDArray[np.int64]:
    """Indices of the points (v not NaN) that belong to a fragment of `MIN_FRAGMENT_MM` or more."""
    index = np.flatnonzero(np.isfinite(v))
    if index.size == 0:
        return index
    steps_mm = np.abs(np.diff(np.column_stack((u, v))[index], axis=0)) * spacing_mm
    breaks = np.flatnonzero((steps_mm > MAX_STEP_MM).any(axis=1)) + 1
    fragments = np.split(index, breaks)
    wide = [f for f in fragments if (u[f[-1]] - u[f[0]] + 1) * spacing_mm[0] >= MIN_FRAGMENT_MM]
    return np.concatenate(wide) if wide else index[:0]
