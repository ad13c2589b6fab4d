"""Numba kernels shared by the modules of this package, each with a slow, plain twin in the tests.

They release the interpreter lock and run on one thread: in the live program they share few cores
with the network, and a thread pool of their own would spin on those cores.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

# Squared sine of a triangle's angle below which it counts as a line: it is computed with a
# relative error of some 1e-16, and noise must not decide on which side of an edge a point lies.
_FLAT_SINE_SQUARED = 1e-14


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _squared_distance_to_edge(point_mm: Array, start_mm: Array, end_mm: Array) -> float:
    """Squared distance, mm^2, from a point to a segment; one of length 0 is a point."""
    along = length_squared = 0.0
    for axis in range(3):
        edge = end_mm[axis] - start_mm[axis]
        along += (point_mm[axis] - start_mm[axis]) * edge
        length_squared += edge * edge
    fraction = min(max(along / length_squared, 0.0), 1.0) if length_squared > 0.0 else 0.0
    squared = 0.0
    for axis in range(3):
        nearest = start_mm[axis] + fraction * (end_mm[axis] - start_mm[axis])
        squared += (point_mm[axis] - nearest) ** 2
    return squared


@numba.njit(cache=True, nogil=True, error_model="numpy")
def squared_distance_to_triangle(point_mm: Array, triangle_mm: Array) -> float:
    """Squared distance, mm^2, from a point (3,) to the nearest point of a triangle (3, 3).

    A triangle without area counts as its edges.

    Source: barycentric coordinates as in C. Ericson, Real-Time Collision Detection, 2005, 3.4.
    """
    p_b = p_c = b_b = b_c = c_c = 0.0  # dot products of the point and both edges, from corner 0
    for axis in range(3):
        p = point_mm[axis] - triangle_mm[0, axis]
        b = triangle_mm[1, axis] - triangle_mm[0, axis]
        c = triangle_mm[2, axis] - triangle_mm[0, axis]
        p_b += p * b
        p_c += p * c
        b_b += b * b
        b_c += b * c
        c_c += c * c
    area_squared = b_b * c_c - b_c * b_c
    if area_squared > _FLAT_SINE_SQUARED * b_b * c_c:
        weight_b = (c_c * p_b - b_c * p_c) / area_squared
        weight_c = (b_b * p_c - b_c * p_b) / area_squared
        if weight_b >= 0.0 and weight_c >= 0.0 and weight_b + weight_c <= 1.0:
            squared = 0.0
            for axis in range(3):
                b = triangle_mm[1, axis] - triangle_mm[0, axis]
                c = triangle_mm[2, axis] - triangle_mm[0, axis]
                foot = triangle_mm[0, axis] + weight_b * b + weight_c * c
                squared += (point_mm[axis] - foot) ** 2
            return squared
        # The nearest point lies on an edge that the point is beyond: mostly one, at most two.
        squared = np.inf
        if weight_c < 0.0:
            squared = _squared_distance_to_edge(point_mm, triangle_mm[0], triangle_mm[1])
        if weight_b < 0.0:
            squared = min(
                squared, _squared_distance_to_edge(point_mm, triangle_mm[0], triangle_mm[2])
            )
        if weight_b + weight_c > 1.0:
            squared = min(
                squared, _squared_distance_to_edge(point_mm, triangle_mm[1], triangle_mm[2])
            )
        return squared
    return min(
        _squared_distance_to_edge(point_mm, triangle_mm[0], triangle_mm[1]),
        _squared_distance_to_edge(point_mm, triangle_mm[1], triangle_mm[2]),
        _squared_distance_to_edge(point_mm, triangle_mm[2], triangle_mm[0]),
    )
