"""How much of the bone surface has been seen, image by image."""

from __future__ import annotations

import math
from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import cKDTree

from recon.surface import TriangleMesh

Array = NDArray[np.float64]
Words = NDArray[np.int32]

# Beyond it a surface turns its back to the probe or is grazed: the limit of `section.visible_line`.
_MAX_INCIDENCE_RAD = math.radians(85.0)


class _Grid(NamedTuple):
    """The parts of a surface by cubic cells; of cell k: `part[start[k] : start[k + 1]]`."""

    low_mm: Array
    cell_mm: float
    size: tuple[int, int, int]  # cells along x, y, z
    start: NDArray[np.int64]
    part: Words


class _Before(NamedTuple):
    """What a sweep changed: which parts, and what they were."""

    part: NDArray[np.intp]
    views: Words
    cosine: NDArray[np.float32]


class SurfaceCoverage:
    """How often, and how steeply, each part of a surface was seen, as images come in.

    A part (a face, or a piece of one that is longer than the radius, so that a coarse mesh gives
    the same share as a fine one) is seen by an image that has
    a bone point within `radius_mm` of its centre and looks at it from outside, at an incidence
    (between its normal and the way to the probe) of at most 85 degrees. An image's cost depends on
    its own points alone. One thread adds; others may read, and see at worst half an image.
    """

    def __init__(self, mesh: TriangleMesh, radius_mm: float = 2.0) -> None:
        self.radius_mm = radius_mm
        self._centres_mm, self._normals, self._areas_mm2 = _surface_parts(mesh, radius_mm)
        self._grid = _grid(self._centres_mm, radius_mm)
        n = len(self._centres_mm)
        self._views = np.zeros(n, np.int32)
        self._cosine = np.full(n, -np.inf, np.float32)  # of the steepest view
        self._last_image = np.zeros(n, np.int32)
        self._n_images = 0
        self._part_of_vertex = cKDTree(self._centres_mm).query(mesh.vertices_mm)[1]
        self._sweeps: list[_Before] = []
        self._at_start: tuple[Words, NDArray[np.float32]] | None = None

    def begin_sweep(self) -> None:
        """What follows is one sweep, which `undo` takes away."""
        self._end_sweep()
        self._at_start = self._views.copy(), self._cosine.copy()

    def add(self, points_mm: ArrayLike, towards_probe: ArrayLike) -> None:
        """One image: its bone points (N, 3), frame of the mesh, and unit vectors from them to the
        probe, (3,) or (N, 3)."""
        points = np.ascontiguousarray(points_mm, dtype=np.float64).reshape(-1, 3)
        towards = np.ascontiguousarray(towards_probe, dtype=np.float64).reshape(-1, 3)
        if self._at_start is None:
            self.begin_sweep()
        self._n_images += 1
        _see(
            points,
            towards,
            self._grid,
            self._centres_mm,
            self._normals,
            self.radius_mm,
            math.cos(_MAX_INCIDENCE_RAD),
            self._n_images,
            self._last_image,
            self._views,
            self._cosine,
        )

    def undo(self) -> None:
        """Take the last sweep away; without one, nothing happens."""
        self._end_sweep()
        if self._sweeps:
            before = self._sweeps.pop()
            self._views[before.part] = before.views
            self._cosine[before.part] = before.cosine

    def seen_fraction(
        self, min_views: int = 1, max_incidence_rad: float = _MAX_INCIDENCE_RAD
    ) -> float:
        """Share of the area, 0 to 1, seen by so many images, by one of them at least so steeply."""
        is_seen = (self._views >= min_views) & (self._cosine >= math.cos(max_incidence_rad))
        return float(self._areas_mm2[is_seen].sum() / self._areas_mm2.sum())

    def vertex_views(self) -> Words:
        """How many images saw the surface at each vertex of the mesh, (V,)."""
        views: Words = self._views[self._part_of_vertex]
        return views

    def vertex_incidence_rad(self) -> NDArray[np.float32]:
        """The steepest view of each vertex, (V,), 0 is from straight above; NaN: none yet."""
        cosine = self._cosine[self._part_of_vertex]
        return np.arccos(np.where(cosine > 0.0, np.minimum(cosine, 1.0), np.float32(np.nan)))

    def _end_sweep(self) -> None:
        if self._at_start is None:
            return
        views, cosine = self._at_start
        part = np.flatnonzero(self._views != views)  # a better angle comes with a view more
        self._sweeps.append(_Before(part, views[part], cosine[part]))
        self._at_start = None


def _surface_parts(mesh: TriangleMesh, max_edge_mm: float) -> tuple[Array, Array, Array]:
    """Centres and unit normals (N, 3) and areas (N,) of the faces, each divided into k^2 parts.

    A face without area has the normal 0.
    """
    triangles_mm = mesh.triangles_mm()
    edges_mm = np.roll(triangles_mm, -1, axis=1) - triangles_mm
    longest_mm = np.linalg.norm(edges_mm, axis=2).max(axis=1)
    crosses_mm2 = np.cross(edges_mm[:, 0], edges_mm[:, 1])
    doubled_mm2 = np.linalg.norm(crosses_mm2, axis=1)
    face_normals = crosses_mm2 / np.where(doubled_mm2 > 0.0, doubled_mm2, 1.0)[:, None]
    divisions = np.maximum(np.ceil(longest_mm / max_edge_mm), 1.0).astype(np.int64)
    centres, normals, areas = [], [], []
    for k in np.unique(divisions):
        is_k = divisions == k
        weights = _part_centres(int(k))
        centres.append(np.einsum("pw,twx->tpx", weights, triangles_mm[is_k]).reshape(-1, 3))
        normals.append(np.repeat(face_normals[is_k], k**2, axis=0))
        areas.append(np.repeat(0.5 * doubled_mm2[is_k] / k**2, k**2))
    return np.concatenate(centres), np.concatenate(normals), np.concatenate(areas)


def _part_centres(k: int) -> Array:
    """Barycentric coordinates (k^2, 3) of the centres of k^2 equal parts of a triangle."""
    upright = [(3 * i + 1, 3 * j + 1) for i in range(k) for j in range(k - i)]
    inverted = [(3 * i + 2, 3 * j + 2) for i in range(k) for j in range(k - i - 1)]
    ij = np.array(upright + inverted, dtype=np.float64) / (3 * k)
    return np.column_stack((ij, 1.0 - ij.sum(axis=1)))


def _grid(centres_mm: Array, radius_mm: float) -> _Grid:
    """Cells of at least the radius, and at most some millions of them, however large the mesh."""
    low_mm = centres_mm.min(axis=0)
    extent_mm = np.ptp(centres_mm, axis=0)
    cell_mm = max(radius_mm, float(extent_mm.max()) / 128)
    size = (extent_mm / cell_mm).astype(np.int64) + 1
    n_x, n_y, n_z = (int(n) for n in size)
    x, y, z = ((centres_mm - low_mm) / cell_mm).astype(np.int64).T
    cell = (x * n_y + y) * n_z + z
    start = np.concatenate(([0], np.cumsum(np.bincount(cell, minlength=n_x * n_y * n_z))))
    return _Grid(
        low_mm, cell_mm, (n_x, n_y, n_z), start, np.argsort(cell, kind="stable").astype(np.int32)
    )


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _see(
    points_mm: Array,
    towards: Array,
    grid: _Grid,
    centres_mm: Array,
    normals: Array,
    radius_mm: float,
    min_cosine: float,
    image: int,
    last_image: Words,
    views: Words,
    best_cosine: NDArray[np.float32],
) -> None:
    """Count `image` for every part that one of its points is near to, once."""
    is_one_way = len(towards) == 1
    for i in range(len(points_mm)):
        p_x, p_y, p_z = points_mm[i, 0], points_mm[i, 1], points_mm[i, 2]
        t = 0 if is_one_way else i
        t_x, t_y, t_z = towards[t, 0], towards[t, 1], towards[t, 2]
        c_x = int(np.floor((p_x - grid.low_mm[0]) / grid.cell_mm))
        c_y = int(np.floor((p_y - grid.low_mm[1]) / grid.cell_mm))
        c_z = int(np.floor((p_z - grid.low_mm[2]) / grid.cell_mm))
        n_x, n_y, n_z = grid.size
        z_first, z_last = max(c_z - 1, 0), min(c_z + 1, n_z - 1)
        if z_first > z_last:
            continue
        for x in range(max(c_x - 1, 0), min(c_x + 2, n_x)):
            for y in range(max(c_y - 1, 0), min(c_y + 2, n_y)):
                row = (x * n_y + y) * n_z
                # Cells that follow each other along z: their parts do too.
                for k in range(grid.start[row + z_first], grid.start[row + z_last + 1]):
                    part = grid.part[k]
                    if is_one_way and last_image[part] == image:
                        continue  # seen by this image already, and from the same side
                    d_x, d_y = p_x - centres_mm[part, 0], p_y - centres_mm[part, 1]
                    d_z = p_z - centres_mm[part, 2]
                    if d_x * d_x + d_y * d_y + d_z * d_z > radius_mm * radius_mm:
                        continue
                    cosine = (
                        t_x * normals[part, 0] + t_y * normals[part, 1] + t_z * normals[part, 2]
                    )
                    if cosine < min_cosine:
                        continue
                    if last_image[part] != image:
                        last_image[part] = image
                        views[part] += 1
                    best_cosine[part] = max(best_cosine[part], np.float32(cosine))
