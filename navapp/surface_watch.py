"""How the growing cloud lies on the CT surface: distance and coverage, for new points only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from recon.surface import SurfaceDistance, TriangleMesh

# A vertex is seen when a point of the cloud lies this near; as in `recon.coverage`.
SEEN_WITHIN_MM = 2.0
# Distances are counted in bins, so that their median costs nothing however many there are.
_BIN_MM, _N_BINS = 0.02, 1000
_MAX_NEW = 20_000  # points of one update; the rest waits for the next


@dataclass(frozen=True, slots=True)
class SurfaceState:
    """One look: `median_mm` over all points (NaN without), `seen_fraction` of the surface's area.

    `distance_mm` (V,) float32 is the mean distance of the points around each vertex, NaN where
    there are none; `n_points` (V,) how many they are.
    """

    median_mm: float
    seen_fraction: float
    distance_mm: NDArray[np.float32]
    n_points: NDArray[np.int32]


class SurfaceWatch:
    """Follows a cloud that grows at its end; another generation of it begins anew."""

    def __init__(self, mesh: TriangleMesh) -> None:
        self.mesh = mesh
        self._surface = SurfaceDistance(mesh)
        self._vertices = cKDTree(mesh.vertices_mm)
        self._areas_mm2 = _vertex_areas_mm2(mesh)
        self._generation: object = None
        self._begin_anew()

    def update(self, cloud_points_mm: NDArray[np.float32], generation: object) -> SurfaceState:
        """Take the rows that are new into account."""
        if generation != self._generation or len(cloud_points_mm) < self._n_done:
            self._generation = generation
            self._begin_anew()
        new_mm = cloud_points_mm[self._n_done : self._n_done + _MAX_NEW].astype(np.float64)
        if len(new_mm):
            self._n_done += len(new_mm)
            self._add(new_mm, self._surface.distances_mm(new_mm))
        return self._state()

    def _begin_anew(self) -> None:
        n_vertices = len(self.mesh.vertices_mm)
        self._n_done = 0
        self._counts = np.zeros(n_vertices, dtype=np.int32)
        self._sums_mm = np.zeros(n_vertices)
        self._bins = np.zeros(_N_BINS, dtype=np.int64)

    def _add(self, points_mm: NDArray[np.float64], distances_mm: NDArray[np.float64]) -> None:
        bins = np.minimum(distances_mm / _BIN_MM, _N_BINS - 1).astype(np.int64)
        self._bins += np.bincount(bins, minlength=_N_BINS)
        near = distances_mm <= SEEN_WITHIN_MM
        # All vertices around each point: with the nearest alone, a fine mesh would stay spotted.
        around = self._vertices.query_ball_point(points_mm[near], SEEN_WITHIN_MM)
        n_around = [len(vertices) for vertices in around]
        if not sum(n_around):
            return
        vertices = np.concatenate(around).astype(np.int64)
        n = len(self._counts)
        self._counts += np.bincount(vertices, minlength=n).astype(np.int32)
        weights = np.repeat(distances_mm[near], n_around)
        self._sums_mm += np.bincount(vertices, weights, minlength=n)

    def _state(self) -> SurfaceState:
        is_seen = self._counts > 0
        mean_mm = np.full(len(self._counts), np.nan, dtype=np.float32)
        mean_mm[is_seen] = self._sums_mm[is_seen] / self._counts[is_seen]
        seen = float(self._areas_mm2[is_seen].sum() / self._areas_mm2.sum())
        return SurfaceState(self._median_mm(), seen, mean_mm, self._counts.copy())

    def _median_mm(self) -> float:
        until = np.cumsum(self._bins)
        if until[-1] == 0:
            return float("nan")
        k = int(np.searchsorted(until, until[-1] / 2.0))
        before = until[k - 1] if k else 0
        return float((k + (until[-1] / 2.0 - before) / self._bins[k]) * _BIN_MM)


def _vertex_areas_mm2(mesh: TriangleMesh) -> NDArray[np.float64]:
    """A third of the area of the faces around each vertex."""
    a, b, c = np.moveaxis(mesh.triangles_mm(), 1, 0)
    areas = 0.5 * np.linalg.norm(np.cross(b - a, c - a), axis=1)
    weights = np.repeat(areas / 3.0, 3)
    return np.bincount(mesh.faces.ravel(), weights, len(mesh.vertices_mm)).astype(np.float64)
