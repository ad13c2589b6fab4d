"""The bone surface: a triangle mesh, and the exact distance of points to it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from recon.bvh import Bvh, build_bvh, nearest_distances, nearest_triangles
from recon.errors import ReconError


@dataclass(frozen=True, slots=True)
class TriangleMesh:
    """Triangles in one frame, usually `ct`.

    Faces run counter-clockwise seen from outside: where the enclosed volume is negative, all are
    turned over on construction. The arrays are read-only copies.

    Parameters
    ----------
    vertices_mm : (V, 3) float64, finite
    faces : (F, 3) int32, indices of vertices; at least one face

    Raises
    ------
    ReconError : naming what is wrong.
    """

    vertices_mm: NDArray[np.float64]
    faces: NDArray[np.int32]

    def __post_init__(self) -> None:
        vertices_mm = _checked_vertices(self.vertices_mm)
        faces = _checked_faces(self.faces, len(vertices_mm))
        if _enclosed_volume_mm3(vertices_mm[faces]) < 0.0:
            faces = np.ascontiguousarray(faces[:, ::-1])
        vertices_mm.setflags(write=False)
        faces.setflags(write=False)
        object.__setattr__(self, "vertices_mm", vertices_mm)
        object.__setattr__(self, "faces", faces)

    def triangles_mm(self) -> NDArray[np.float64]:
        """Corners of every face, (F, 3 corners, 3), mm."""
        return self.vertices_mm[self.faces]


def sample_surface(mesh: TriangleMesh, spacing_mm: float) -> NDArray[np.float64]:
    """Points spread over a surface, one per `spacing_mm` squared of its area; always the same.

    Large and small faces alike: statistics over the points are statistics over the area.

    Returns
    -------
    (N, 3) float64, frame of the mesh, mm; at least one point.
    """
    if not spacing_mm > 0.0:
        raise ReconError(f"surface points: spacing is {spacing_mm} mm, expected more than 0 mm")
    corners_mm = mesh.triangles_mm()
    a, b, c = np.moveaxis(corners_mm, 1, 0)
    area_until_mm2 = np.cumsum(0.5 * np.linalg.norm(np.cross(b - a, c - a), axis=1))
    n = max(1, round(area_until_mm2[-1] / spacing_mm**2))
    rng = np.random.default_rng(0)
    at_mm2 = (np.arange(n) + rng.random(n)) * (area_until_mm2[-1] / n)
    face = np.minimum(np.searchsorted(area_until_mm2, at_mm2, side="right"), len(a) - 1)
    # Source: Osada et al., Shape Distributions, 2002, equation 1.
    root, share = np.sqrt(rng.random((n, 1))), rng.random((n, 1))
    return (1.0 - root) * a[face] + root * ((1.0 - share) * b[face] + share * c[face])


class SurfaceDistance:
    """Exact distance of points to a mesh, through a bounding volume hierarchy built once."""

    def __init__(self, mesh: TriangleMesh) -> None:
        self._bvh: Bvh = build_bvh(mesh.triangles_mm())

    def distances_mm(self, points_mm: ArrayLike) -> NDArray[np.float64]:
        """Distance of each point to the nearest point on a triangle, never negative.

        Points that follow each other in space (a bone line) are answered fastest: each search
        starts from the triangle that the last one ended with.

        Parameters
        ----------
        points_mm : (N, 3), frame of the mesh, finite

        Returns
        -------
        (N,) float64, mm. Empty in, empty out.

        Raises
        ------
        ReconError : if a point is not finite.
        """
        return nearest_distances(self._bvh, _checked_points(points_mm))

    @property
    def diagonal_mm(self) -> float:
        """Length of the diagonal of the box around the surface."""
        return float(np.linalg.norm(self._bvh.boxes_mm[0, 1] - self._bvh.boxes_mm[0, 0]))

    def nearest_triangles_mm(
        self, points_mm: ArrayLike
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """As `distances_mm`, and with it the triangle that is nearest to each point.

        Returns
        -------
        distances (N,), mm, and corners (N, 3 corners, 3), mm.
        """
        distances_mm, nearest = nearest_triangles(self._bvh, _checked_points(points_mm))
        return distances_mm, self._bvh.triangles_mm[nearest]


def _checked_points(points_mm: ArrayLike) -> NDArray[np.float64]:
    points = np.ascontiguousarray(points_mm, dtype=np.float64).reshape(-1, 3)
    if not np.isfinite(points).all():
        raise ReconError("distance to surface: a point is not finite, expected mm")
    return points


def _checked_vertices(vertices_mm: ArrayLike) -> NDArray[np.float64]:
    vertices = np.array(vertices_mm, dtype=np.float64, order="C")
    if vertices.ndim != 2 or vertices.shape[1] != 3:
        raise ReconError(f"mesh: vertices have shape {vertices.shape}, expected (V, 3)")
    if not np.isfinite(vertices).all():
        raise ReconError("mesh: holds a vertex that is not finite")
    return vertices


def _checked_faces(faces: ArrayLike, n_vertices: int) -> NDArray[np.int32]:
    indices = np.array(faces, dtype=np.int32, order="C")
    if indices.ndim != 2 or indices.shape[1] != 3 or len(indices) == 0:
        raise ReconError(f"mesh: faces have shape {indices.shape}, expected (F, 3) with F >= 1")
    if indices.min() < 0 or indices.max() >= n_vertices:
        raise ReconError(
            f"mesh: faces name vertices {indices.min()} to {indices.max()}, expected 0 to "
            f"{n_vertices - 1}"
        )
    return indices


def _enclosed_volume_mm3(triangles_mm: NDArray[np.float64]) -> float:
    """Signed volume; measured from the first corner, so that a far origin costs no digits."""
    a, b, c = np.moveaxis(triangles_mm - triangles_mm[0, 0], 1, 0)
    return float(np.einsum("ij,ij->", a, np.cross(b, c))) / 6.0
