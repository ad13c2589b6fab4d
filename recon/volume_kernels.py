"""Numba kernels of the freehand volume, each with a slow, plain twin in the tests.

Arrays over the volume are (z, y, x). Work is shared out by slabs of the volume, never by pixels:
each call writes the voxels `first <= index[axis] < last` alone, so that several threads fill one
volume without locks, and the result does not depend on how many they are.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Image = NDArray[np.uint8]
Volume = NDArray[np.float32]

LATEST, MAXIMUM, MEAN, MEAN_CUT, MEAN_ROUNDED = range(5)

# A pixel shared out over eight voxels replaces those of which it covers an eighth, as in PLUS: a
# lower share would smear each bright pixel over two voxels on every side.
_MIN_SHARE = 0.125

# PLUS's accumulator is full after so many hits: from there on a new one counts 1/256.
_PLUS_MAX_HITS = 255.0

# One of each pair of opposite neighbours, (z, y, x); which one matters, see `_bridge`.
_STICKS = np.array(
    [(0, 0, 1), (0, 1, 0), (1, 0, 0), (0, 1, 1), (1, 0, 1), (1, 1, 0), (0, -1, 1),
     (-1, 0, 1), (-1, 1, 0), (1, 1, 1), (1, 1, -1), (1, -1, 1), (1, -1, -1)]
)  # fmt: skip
_STICK_LENGTHS = np.sqrt((_STICKS**2).sum(axis=1).astype(np.float64))


@numba.njit(cache=True, nogil=True, inline="always")
def _compound(
    value: Volume, weight: Volume, z: int, y: int, x: int, grey: int, share: float, mode: int
) -> None:
    """Merge one grey value into one voxel; the mean runs along, so that a look costs nothing."""
    before = weight[z, y, x]
    weight[z, y, x] = before + np.float32(share)
    if mode == MEAN:
        value[z, y, x] += (grey - value[z, y, x]) * np.float32(share) / weight[z, y, x]
    elif mode in (MEAN_CUT, MEAN_ROUNDED):
        kept = min(np.float64(before), _PLUS_MAX_HITS)
        mean = (grey * share + value[z, y, x] * kept) / (share + kept)
        value[z, y, x] = np.floor(mean if mode == MEAN_CUT else mean + 0.5)
    elif mode == LATEST or grey > value[z, y, x]:
        value[z, y, x] = grey


@numba.njit(cache=True, nogil=True, inline="always")
def _columns(start: float, step: float, low: float, high: float, width: int) -> tuple[int, int]:
    """Columns u with `low <= start + u * step < high`, one too many at each end."""
    if step == 0.0:
        return (0, width) if low <= start < high else (0, 0)
    a, b = (low - start) / step, (high - start) / step
    begin, end = min(a, b) - 1.0, max(a, b) + 2.0
    return int(min(max(begin, 0.0), width)), int(min(max(end, 0.0), width))


@numba.njit(cache=True, nogil=True, inline="always")
def _row_columns(
    m: Array, z_0: float, y_0: float, x_0: float, low: Array, high: Array, width: int
) -> tuple[int, int]:
    """Columns of an image row that may lie between two corners, (z, y, x) each."""
    begin, end = _columns(z_0, m[0, 0], low[0], high[0], width)
    for axis in range(1, 3):
        start = y_0 if axis == 1 else x_0
        first, last = _columns(start, m[axis, 0], low[axis], high[axis], width)
        begin, end = max(begin, first), min(end, last)
    return begin, end


@numba.njit(cache=True, nogil=True)
def insert_nearest(
    pixels: Image,
    A_voxel_pixel: Array,
    value: Volume,
    weight: Volume,
    mode: int,
    axis: int,
    first: int,
    last: int,
    is_block: bool,
) -> None:
    """Put every pixel into the voxel whose centre is nearest.

    Parameters
    ----------
    pixels : (height, width)
    A_voxel_pixel : (3, 3), voxel (z, y, x) of pixel (u, v, 1)
    value, weight : (z, y, x), what the volume holds and how much went into it
    is_block : whether the voxels go on in other blocks; here it makes no difference
    """
    height, width = pixels.shape
    m = A_voxel_pixel
    n_z, n_y, n_x = value.shape
    low, high = np.zeros(3), np.array(value.shape, dtype=np.float64)
    low[axis], high[axis] = first, last
    for v in range(height):
        z_0 = m[0, 1] * v + m[0, 2] + 0.5
        y_0 = m[1, 1] * v + m[1, 2] + 0.5
        x_0 = m[2, 1] * v + m[2, 2] + 0.5
        begin, end = _row_columns(m, z_0, y_0, x_0, low, high, width)
        for u in range(begin, end):
            z = int(np.floor(z_0 + m[0, 0] * u))
            y = int(np.floor(y_0 + m[1, 0] * u))
            x = int(np.floor(x_0 + m[2, 0] * u))
            slab = z if axis == 0 else (y if axis == 1 else x)
            if first <= slab < last and 0 <= z < n_z and 0 <= y < n_y and 0 <= x < n_x:
                _compound(value, weight, z, y, x, pixels[v, u], 1.0, mode)


@numba.njit(cache=True, nogil=True)
def insert_linear(
    pixels: Image,
    A_voxel_pixel: Array,
    value: Volume,
    weight: Volume,
    mode: int,
    axis: int,
    first: int,
    last: int,
    is_block: bool,
) -> None:
    """Share every pixel out over the eight voxels around it; parameters as of `insert_nearest`.

    A pixel that is not surrounded by voxels of the volume is left out; of a block, those that it
    has take their share.
    """
    height, width = pixels.shape
    m = A_voxel_pixel
    n_z, n_y, n_x = value.shape
    low, high = np.full(3, -1.0), np.array(value.shape, dtype=np.float64)
    low[axis], high[axis] = first - 1, last
    least = _MIN_SHARE if mode in (LATEST, MAXIMUM) else 0.0
    for v in range(height):
        z_0, y_0, x_0 = m[0, 1] * v + m[0, 2], m[1, 1] * v + m[1, 2], m[2, 1] * v + m[2, 2]
        begin, end = _row_columns(m, z_0, y_0, x_0, low, high, width)
        for u in range(begin, end):
            z_at, y_at, x_at = z_0 + m[0, 0] * u, y_0 + m[1, 0] * u, x_0 + m[2, 0] * u
            z, y, x = int(np.floor(z_at)), int(np.floor(y_at)), int(np.floor(x_at))
            slab = z if axis == 0 else (y if axis == 1 else x)
            if not first - 1 <= slab < last:
                continue
            f_z, f_y, f_x = z_at - z, y_at - y, x_at - x
            is_before = z < 0 or y < 0 or x < 0
            is_beyond = z + (f_z > 0.0) >= n_z or y + (f_y > 0.0) >= n_y or x + (f_x > 0.0) >= n_x
            if is_before or is_beyond:
                if is_block:
                    _share_at_border(value, weight, z_at, y_at, x_at, pixels[v, u], mode, least)
                continue
            for corner in range(8):
                d_z, d_y, d_x = corner >> 2, (corner >> 1) & 1, corner & 1
                at = slab + (d_z if axis == 0 else (d_y if axis == 1 else d_x))
                share = (
                    (f_z if d_z else 1.0 - f_z)
                    * (f_y if d_y else 1.0 - f_y)
                    * (f_x if d_x else 1.0 - f_x)
                )
                if first <= at < last and share > 0.0 and share >= least:
                    grey = pixels[v, u]
                    _compound(value, weight, z + d_z, y + d_y, x + d_x, grey, share, mode)


@numba.njit(cache=True, nogil=True, inline="never")
def _share_at_border(
    value: Volume,
    weight: Volume,
    z_at: float,
    y_at: float,
    x_at: float,
    grey: int,
    mode: int,
    least: float,
) -> None:
    """A pixel between voxels of which a block has some, into those."""
    n_z, n_y, n_x = value.shape
    z, y, x = int(np.floor(z_at)), int(np.floor(y_at)), int(np.floor(x_at))
    for corner in range(8):
        to_z, to_y, to_x = z + (corner >> 2), y + ((corner >> 1) & 1), x + (corner & 1)
        if 0 <= to_z < n_z and 0 <= to_y < n_y and 0 <= to_x < n_x:
            share = (1.0 - abs(to_z - z_at)) * (1.0 - abs(to_y - y_at)) * (1.0 - abs(to_x - x_at))
            if share > 0.0 and share >= least:
                _compound(value, weight, to_z, to_y, to_x, grey, share, mode)


@numba.njit(cache=True, nogil=True)
def fill_holes(
    value: Volume, weight: Volume, filled: Volume, stick_voxels: int, first: int, last: int
) -> None:
    """Write slices `first` to `last` (along z) of the volume into `filled`, holes bridged.

    A hole is a voxel that nothing went into. Sticks of 13 directions are laid through it; of those
    that reach a known voxel at both ends, and are at most `stick_voxels` long with both, the
    shortest gives the value, by the nearness of its ends; several of that length, their mean.

    Source: the element STICK of PLUS's hole filling with one stick to use.
    """
    _, n_y, n_x = value.shape
    for z in range(first, last):
        for y in range(n_y):
            for x in range(n_x):
                filled[z, y, x] = value[z, y, x]
                if weight[z, y, x] == 0.0:
                    filled[z, y, x] = _bridge(value, weight, z, y, x, stick_voxels)


@numba.njit(cache=True, nogil=True)
def _bridge(value: Volume, weight: Volume, z: int, y: int, x: int, stick_voxels: int) -> float:
    shortest = np.inf
    total = 0.0
    n = 0
    for k in range(len(_STICKS)):
        ahead = _steps_to_known(weight, z, y, x, _STICKS[k], 1, stick_voxels - 1)
        if ahead == 0:
            continue
        behind = _steps_to_known(weight, z, y, x, _STICKS[k], -1, stick_voxels - 1 - ahead)
        if behind == 0:
            continue
        length = (ahead + behind + 1) * _STICK_LENGTHS[k]
        if length > shortest:
            continue
        if length < shortest:
            shortest, total, n = length, 0.0, 0
        d_z, d_y, d_x = _STICKS[k]
        # PLUS's weights: what lies ahead counts a little more than on an even slope.
        fraction = (behind + 1) / (ahead + behind + 1)
        total += fraction * value[z + ahead * d_z, y + ahead * d_y, x + ahead * d_x]
        total += (1.0 - fraction) * value[z - behind * d_z, y - behind * d_y, x - behind * d_x]
        n += 1
    return total / n if n else 0.0


@numba.njit(cache=True, nogil=True, inline="always")
def _steps_to_known(
    weight: Volume, z: int, y: int, x: int, stick: NDArray[np.int64], sign: int, limit: int
) -> int:
    """Steps along a stick to the first voxel that something went into, 0 for none in reach."""
    n_z, n_y, n_x = weight.shape
    for step in range(1, limit + 1):
        z += sign * stick[0]
        y += sign * stick[1]
        x += sign * stick[2]
        if not (0 <= z < n_z and 0 <= y < n_y and 0 <= x < n_x):
            return 0
        if weight[z, y, x] > 0.0:
            return step
    return 0
