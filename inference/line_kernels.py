"""Runs of bone along scan lines, fragments of runs, and the choice between them: numba kernels.

A scan line crosses the probability image once; along it a run is where the probability exceeds a
threshold. Positions along a scan line are in network pixels: rows of an image column, radii of a
ray. Each kernel has a plain twin in `tests/support/line_twins.py`.
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

# Runs kept per scan line, from the transducer on: bone shadows what lies below it.
MAX_RUNS = 6

_NONE = -1

# A pixel touches what is interpolated up to its diagonal away, in pixels, and a little more.
_REACH = 1.5


class Runs(NamedTuple):
    """The runs of each scan line: `n_runs` (n_lines,), the rest (n_lines, MAX_RUNS).

    `centre` is weighted by the excess over the threshold, which falls to 0 at a run's ends: so the
    centre does not jump when a pixel enters (0.05 instead of 0.3 pixels). `weight` is the sum of
    the excess, `peak` the highest probability.
    """

    n_runs: NDArray[np.int64]
    centre: NDArray[np.float64]
    weight: NDArray[np.float64]
    peak: NDArray[np.float64]


@numba.njit(nogil=True, cache=True)
def column_runs(
    probability: NDArray[np.float32], columns: NDArray[np.float64], threshold: float
) -> Runs:
    """Runs down each (fractional) column, the probability interpolated between two columns.

    Columns beyond the first and last pixel centre take those pixels' values.
    """
    n_rows, n_columns = probability.shape
    first, last = _row_spans(probability, threshold)
    runs = _no_runs(columns.size)
    profile = np.empty(n_rows)
    for i in range(columns.size):
        position = min(max(columns[i], 0.0), n_columns - 1.0)
        left = min(int(position), n_columns - 2)
        fraction = position - left
        # Between two columns the probability exceeds what at least one of them exceeds.
        start = min(first[left], first[left + 1])
        stop = max(last[left], last[left + 1]) + 1
        for row in range(start, stop):
            profile[row] = (1.0 - fraction) * probability[row, left]
            profile[row] += fraction * probability[row, left + 1]
        _collect(profile, start, stop, threshold, runs, i)
    return runs


@numba.njit(nogil=True, cache=True)
def ray_runs(
    probability: NDArray[np.float32],
    apex: tuple[float, float],
    angles_rad: NDArray[np.float64],
    n_samples: int,
    threshold: float,
) -> Runs:
    """Runs along rays from `apex` (column, row), at evenly rising angles from straight down to the
    right.

    Samples lie one network pixel apart, `n_samples` from the apex on; outside the image they are
    0. The centre of a run is a radius.
    """
    first, last = _radius_spans(probability, apex, angles_rad, threshold)
    runs = _no_runs(angles_rad.size)
    profile = np.empty(n_samples)
    for i in range(angles_rad.size):
        across, down = np.sin(angles_rad[i]), np.cos(angles_rad[i])
        stop = min(last[i] + 1, n_samples)
        for radius in range(first[i], stop):
            profile[radius] = sample(
                probability, apex[0] + radius * across, apex[1] + radius * down
            )
        _collect(profile, first[i], stop, threshold, runs, i)
    return runs


@numba.njit(nogil=True, cache=True)
def sample(probability: NDArray[np.float32], column: float, row: float) -> float:
    """Probability between four pixels; 0 outside the image, which ends half a pixel further."""
    n_rows, n_columns = probability.shape
    if not (-0.5 <= column < n_columns - 0.5 and -0.5 <= row < n_rows - 0.5):
        return 0.0
    column = min(max(column, 0.0), n_columns - 1.0)
    row = min(max(row, 0.0), n_rows - 1.0)
    left, top = min(int(column), n_columns - 2), min(int(row), n_rows - 2)
    x, y = column - left, row - top
    upper = (1.0 - x) * probability[top, left] + x * probability[top, left + 1]
    lower = (1.0 - x) * probability[top + 1, left] + x * probability[top + 1, left + 1]
    return (1.0 - y) * upper + y * lower


@numba.njit(nogil=True, cache=True)
def keep_heaviest(runs: Runs) -> None:
    """Leave each scan line its heaviest run; of two equally heavy ones the first."""
    for i in range(runs.n_runs.size):
        if runs.n_runs[i] > 1:
            best = np.argmax(runs.weight[i, : runs.n_runs[i]])
            runs.centre[i, 0] = runs.centre[i, best]
            runs.weight[i, 0] = runs.weight[i, best]
            runs.peak[i, 0] = runs.peak[i, best]
            runs.n_runs[i] = 1


@numba.njit(nogil=True, cache=True)
def link_runs(runs: Runs, max_gap: float, max_step: float) -> tuple[NDArray[np.int64], int]:
    """Number of the fragment of each run, (n_lines, MAX_RUNS), -1 where no run is; their count.

    A run continues the fragment whose last run lies nearest along the scan line: within `max_step`
    and no more than `max_gap` scan lines back; otherwise it begins a new one.
    """
    n_lines = runs.n_runs.size
    fragment = np.full((n_lines, MAX_RUNS), _NONE, dtype=np.int64)
    last_line = np.empty(n_lines * MAX_RUNS, dtype=np.int64)
    last_centre = np.empty(n_lines * MAX_RUNS)
    is_open = np.empty(n_lines * MAX_RUNS, dtype=np.int64)  # numbers of fragments in reach
    n_fragments = n_open = 0
    for i in range(n_lines):
        n_reached = 0
        for j in range(n_open):
            if i - last_line[is_open[j]] <= max_gap:
                is_open[n_reached] = is_open[j]
                n_reached += 1
        n_open = n_reached
        for k in range(runs.n_runs[i]):
            best, nearest = _NONE, max_step
            for j in range(n_reached):
                distance = abs(last_centre[is_open[j]] - runs.centre[i, k])
                if last_line[is_open[j]] < i and distance <= nearest:
                    best, nearest = is_open[j], distance
            if best == _NONE:
                best = n_fragments
                n_fragments += 1
                is_open[n_open] = best
                n_open += 1
            fragment[i, k] = best
            last_line[best], last_centre[best] = i, runs.centre[i, k]
    return fragment, n_fragments


@numba.njit(nogil=True, cache=True)
def choose_runs(
    runs: Runs,
    fragment: NDArray[np.int64],
    n_fragments: int,
    narrowest: float,
    strong: float,
    is_first: bool,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Chosen run of each scan line (-1: none) and its fragment.

    Fragments that span fewer than `narrowest` scan lines or nowhere exceed `strong` are out, and
    those of which the choice leaves less than that.
    """
    n_lines = runs.n_runs.size
    weight, peak = np.zeros(n_fragments), np.zeros(n_fragments)
    begin, end = np.full(n_fragments, n_lines), np.full(n_fragments, _NONE)
    for i in range(n_lines):
        for k in range(runs.n_runs[i]):
            j = fragment[i, k]
            weight[j] += runs.weight[i, k]
            peak[j] = max(peak[j], runs.peak[i, k])
            begin[j], end[j] = min(begin[j], i), i
    is_bone = (peak > strong) & (end - begin + 1 >= narrowest)
    chosen = np.full(n_lines, _NONE)
    begin[:], end[:] = n_lines, _NONE
    for i in range(n_lines):
        for k in range(runs.n_runs[i]):
            j, best = fragment[i, k], chosen[i]
            if is_bone[j] and (
                best == _NONE or (not is_first and weight[j] > weight[fragment[i, best]])
            ):
                chosen[i] = k
        if chosen[i] != _NONE:
            j = fragment[i, chosen[i]]
            begin[j], end[j] = min(begin[j], i), i
    number = np.full(n_lines, _NONE)
    for i in range(n_lines):
        if chosen[i] != _NONE:
            j = fragment[i, chosen[i]]
            if end[j] - begin[j] + 1 >= narrowest:
                number[i] = j
            else:
                chosen[i] = _NONE
    return chosen, number


@numba.njit(nogil=True, cache=True)
def place_points(
    runs: Runs, chosen: NDArray[np.int64], number: NDArray[np.int64], max_gap: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Position along each scan line and its peak, NaN where there is no bone.

    Up to `max_gap` scan lines without a run, between two points of one fragment, are filled on the
    straight line, with a peak of NaN.
    """
    n_lines = chosen.size
    position, peak = np.full(n_lines, np.nan), np.full(n_lines, np.nan)
    before = _NONE
    for i in range(n_lines):
        if chosen[i] == _NONE:
            continue
        position[i], peak[i] = runs.centre[i, chosen[i]], runs.peak[i, chosen[i]]
        gap = i - before - 1
        if before != _NONE and number[before] == number[i] and gap <= max_gap:
            step = (position[i] - position[before]) / (gap + 1)
            for j in range(before + 1, i):
                position[j] = position[before] + (j - before) * step
        before = i
    return position, peak


@numba.njit(nogil=True, cache=True)
def fill_peaks(
    probability: NDArray[np.float32], points: NDArray[np.float64], peak: NDArray[np.float64]
) -> None:
    """A point (column, row) that was filled in has no peak: it gets the probability found there."""
    for i in range(peak.size):
        if np.isnan(peak[i]):
            peak[i] = sample(probability, points[i, 0], points[i, 1])


@numba.njit(nogil=True, cache=True)
def _no_runs(n_lines: int) -> Runs:
    shape = (n_lines, MAX_RUNS)
    return Runs(
        np.zeros(n_lines, dtype=np.int64), np.empty(shape), np.empty(shape), np.empty(shape)
    )


@numba.njit(nogil=True, cache=True)
def _row_spans(
    probability: NDArray[np.float32], threshold: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First and last row of each column that exceeds the threshold; an empty span where none."""
    n_rows, n_columns = probability.shape
    first, last = np.full(n_columns, n_rows), np.full(n_columns, _NONE)
    for row in range(n_rows):
        for column in range(n_columns):
            if probability[row, column] > threshold:
                first[column] = min(first[column], row)
                last[column] = row
    return first, last


@numba.njit(nogil=True, cache=True)
def _radius_spans(
    probability: NDArray[np.float32],
    apex: tuple[float, float],
    angles_rad: NDArray[np.float64],
    threshold: float,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First and last radius of each ray that pixels above the threshold touch; 0 and -1 if none."""
    n_rows, n_columns = probability.shape
    n_rays = angles_rad.size
    first, last = np.zeros(n_rays, dtype=np.int64), np.full(n_rays, _NONE)
    step = angles_rad[1] - angles_rad[0]
    for row in range(n_rows):
        for column in range(n_columns):
            if not probability[row, column] > threshold:
                continue
            across, down = column - apex[0], row - apex[1]
            radius = np.hypot(across, down)
            middle = (np.arctan2(across, down) - angles_rad[0]) / step
            reach = _REACH / radius / step
            low, high = max(0, int(radius - _REACH)), int(radius + _REACH) + 1
            for i in range(max(0, int(middle - reach)), min(n_rays, int(middle + reach) + 2)):
                first[i] = low if last[i] == _NONE else min(first[i], low)
                last[i] = max(last[i], high)
    return first, last


@numba.njit(nogil=True, cache=True)
def _collect(
    profile: NDArray[np.float64], start: int, stop: int, threshold: float, runs: Runs, line: int
) -> None:
    """The runs of profile[start:stop] as those of a scan line."""
    weight = moment = highest = 0.0
    count = 0
    for k in range(start, stop + 1):  # one more, to close a run at the end
        value = profile[k] if k < stop else 0.0
        if value > threshold:
            weight += value - threshold
            moment += (value - threshold) * k
            highest = max(highest, value)
        elif weight > 0.0:
            if count < MAX_RUNS:
                runs.centre[line, count] = moment / weight
                runs.weight[line, count] = weight
                runs.peak[line, count] = highest
                count += 1
            weight = moment = highest = 0.0
    runs.n_runs[line] = count
