"""How the growing cloud lies on the CT surface: what the scene knows, and distance per vertex."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from navapp.scene import Scene
from recon.surface import TriangleMesh

# A point colours the vertices this near, as a point makes a part of the surface seen.
_AROUND_MM = 2.0
_MAX_NEW = 20_000  # points of one update; the rest waits for the next
# Of more points, the median is taken of every k-th: the standard error of a median of half a
# million distances that scatter by 0.3 mm is 0.0005 mm.
_MEDIAN_OF = 500_000


@dataclass(frozen=True, slots=True)
class SurfaceState:
    """One look: `median_mm` over the cloud (NaN without), `seen_fraction` of the surface's area.

    `vertex_views` (V,) is how many images saw each vertex; `vertex_distance_mm` (V,) float32 the
    mean distance of the points around it, NaN where there are none. `is_complete`: no point waits.
    """

    median_mm: float
    seen_fraction: float
    vertex_views: NDArray[np.int32]
    vertex_distance_mm: NDArray[np.float32]
    is_complete: bool = True


class SurfaceWatch:
    """Follows a scene in the space of `mesh`; each point is looked at once."""

    def __init__(self, mesh: TriangleMesh) -> None:
        self.mesh = mesh
        self._vertices = cKDTree(mesh.vertices_mm)
        self._version: object = None
        self._begin_anew()

    def look(self, scene: Scene) -> SurfaceState | None:
        """The scene now; None where it does not lie in the space of a CT surface."""
        coverage = scene.coverage
        if coverage is None:
            return None
        version = scene, scene.generation, scene.undone
        points_mm, distances_mm = scene.first_points_mm, scene.first_distances_mm
        if version == (scene, scene.generation, scene.undone):  # else rows may have gone meanwhile
            self._follow(points_mm[: len(distances_mm)], distances_mm, version)
        is_known = self._counts > 0
        mean_mm = np.full(len(self._counts), np.nan, dtype=np.float32)
        mean_mm[is_known] = self._sums_mm[is_known] / self._counts[is_known]
        return SurfaceState(
            _median(distances_mm),
            coverage.seen_fraction(),
            coverage.vertex_views(),
            mean_mm,
            self._n_done >= len(distances_mm),
        )

    def _begin_anew(self) -> None:
        self._n_done = 0
        self._counts = np.zeros(len(self.mesh.vertices_mm), dtype=np.int64)
        self._sums_mm = np.zeros(len(self.mesh.vertices_mm))

    def _follow(
        self,
        points_mm: NDArray[np.float32],
        distances_mm: NDArray[np.float32],
        version: object,
    ) -> None:
        if version != self._version:
            self._version = version
            self._begin_anew()
        new = slice(self._n_done, min(self._n_done + _MAX_NEW, len(points_mm)))
        self._n_done = max(self._n_done, new.stop)
        near = distances_mm[new] <= _AROUND_MM
        # All vertices around each point: with the nearest alone, a fine mesh would stay spotted.
        around = self._vertices.query_ball_point(points_mm[new][near], _AROUND_MM)
        n_around = [len(vertices) for vertices in around]
        if sum(n_around):
            vertices = np.concatenate(around).astype(np.int64)
            weights = np.repeat(distances_mm[new][near], n_around)
            self._counts += np.bincount(vertices, minlength=len(self._counts))
            self._sums_mm += np.bincount(vertices, weights, minlength=len(self._counts))


def _median(values: NDArray[np.float32]) -> float:
    step = 1 + len(values) // _MEDIAN_OF
    return float(np.median(values[::step])) if len(values) else float("nan")
