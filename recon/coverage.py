"""How much of the bone surface the cloud has reached."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import cKDTree

from recon.surface import TriangleMesh

Array = NDArray[np.float64]


def seen_fraction(mesh: TriangleMesh, cloud_points_mm: ArrayLike, radius_mm: float = 2.0) -> float:
    """Share of the surface's area, 0 to 1, that lies within `radius_mm` of a point of the cloud.

    Faces are judged at their centre; those longer than the radius are first divided, so that a
    coarse mesh gives the same share as a fine one.

    Parameters
    ----------
    cloud_points_mm : (N, 3), frame of the mesh, finite
    """
    cloud = np.asarray(cloud_points_mm, dtype=np.float64).reshape(-1, 3)
    if not len(cloud):
        return 0.0
    centres_mm, areas_mm2 = _surface_parts(mesh, max_edge_mm=radius_mm)
    distances, _ = cKDTree(cloud).query(centres_mm, distance_upper_bound=radius_mm)
    return float(areas_mm2[np.isfinite(distances)].sum() / areas_mm2.sum())


def _surface_parts(mesh: TriangleMesh, max_edge_mm: float) -> tuple[Array, Array]:
    """Centres (N, 3) and areas (N,) of the faces, each divided into k^2 equal parts."""
    triangles_mm = mesh.triangles_mm()
    edges_mm = np.roll(triangles_mm, -1, axis=1) - triangles_mm
    longest_mm = np.linalg.norm(edges_mm, axis=2).max(axis=1)
    areas_mm2 = 0.5 * np.linalg.norm(np.cross(edges_mm[:, 0], edges_mm[:, 1]), axis=1)
    divisions = np.maximum(np.ceil(longest_mm / max_edge_mm), 1.0).astype(np.int64)
    centres, areas = [], []
    for k in np.unique(divisions):
        is_k = divisions == k
        weights = _part_centres(int(k))
        centres.append(np.einsum("pw,twx->tpx", weights, triangles_mm[is_k]).reshape(-1, 3))
        areas.append(np.repeat(areas_mm2[is_k] / k**2, k**2))
    return np.concatenate(centres), np.concatenate(areas)


def _part_centres(k: int) -> Array:
    """Barycentric coordinates (k^2, 3) of the centres of k^2 equal parts of a triangle."""
    upright = [(3 * i + 1, 3 * j + 1) for i in range(k) for j in range(k - i)]
    inverted = [(3 * i + 2, 3 * j + 2) for i in range(k) for j in range(k - i - 1)]
    ij = np.array(upright + inverted, dtype=np.float64) / (3 * k)
    return np.column_stack((ij, 1.0 - ij.sum(axis=1)))
