"""Which way the surface faces at each voxel of a cloud."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from recon.point_cloud import CloudSnapshot

Array = NDArray[np.float64]

_MAX_NEIGHBOURS = 64  # a surface of 0.5 mm voxels has 50 within 2 mm
_MIN_NEIGHBOURS = 6
# Spread across over spread along, squared, below which neighbours are a line and face nowhere:
# a strip is judged when it is a quarter as wide as long.
_MIN_WIDTH_SQUARED = 1 / 16
_AT_ONCE = 1 << 16  # voxels, to bound memory


def cloud_normals(cloud: CloudSnapshot, radius_mm: float = 2.0) -> Array:
    """Unit normals, towards the probe, (N, 3); NaN where the neighbours do not tell.

    The direction of least spread of the mean positions within the radius, each voxel counted once:
    so a probe that rests, or goes over a place twice, does not pull the plane after it. A single
    image knows the surface's slope along its line alone; across, only its neighbours do, which is
    why this is taken from the cloud and not from each image. Where no direction towards the probe
    is known the sign is arbitrary.
    """
    points_mm = cloud.points_mm
    normals = np.full((len(points_mm), 3), np.nan)
    if len(points_mm) < _MIN_NEIGHBOURS:
        return normals
    tree = cKDTree(points_mm)
    k = min(_MAX_NEIGHBOURS, len(points_mm))
    for first in range(0, len(points_mm), _AT_ONCE):
        part = slice(first, first + _AT_ONCE)
        _, neighbours = tree.query(points_mm[part], k=k, distance_upper_bound=radius_mm)
        normals[part] = _least_spread(points_mm, neighbours)
    is_away = np.einsum("ni,ni->n", normals, cloud.towards_probe) < 0.0
    normals[is_away] *= -1.0
    return normals


def _least_spread(points_mm: Array, neighbours: NDArray[np.intp]) -> Array:
    """Normal of the plane through each row of neighbours; a number past the last point is none."""
    is_there = (neighbours < len(points_mm)).astype(np.float64)[..., None]
    count = is_there.sum(axis=1)
    at_mm = points_mm[np.minimum(neighbours, len(points_mm) - 1)]
    from_mean_mm = (
        at_mm - (at_mm * is_there).sum(axis=1, keepdims=True) / count[:, None]
    ) * is_there
    spread, axes = np.linalg.eigh(np.einsum("nki,nkj->nij", from_mean_mm, from_mean_mm))
    is_line = spread[:, 1] < _MIN_WIDTH_SQUARED * spread[:, 2]
    normals: Array = axes[:, :, 0]
    normals[is_line | (count[:, 0] < _MIN_NEIGHBOURS)] = np.nan
    return normals
