"""Exact sections of a mesh with an image plane, and the part of them that ultrasound can see.

Everything is in pixels (u, v) of the image, u to the right and v away from the transducer. How a
pixel reaches space is in `A_ct_pixel` alone: (u, v) lies at A_ct_pixel @ (u, v, 0, 1), where
integer u, v are pixel centres. Its third column is not used: the plane is that of the first two.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from recon.errors import ReconError
from recon.kernels import squared_distance_to_triangle
from recon.surface import TriangleMesh

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class VisibleLine:
    """The bone line that a linear probe can see, at most one point per image column.

    `points_px` is (N, 2) float64 with (u, v), u whole and ascending; `incidence_rad` (N,) is the
    angle between the surface's outward normal in the image plane and the way to the transducer.
    """

    points_px: Array
    incidence_rad: Array


def section_segments_px(mesh: TriangleMesh, A_ct_pixel: Array) -> Array:
    """Exact section of the mesh with the plane of the image.

    A vertex in the plane counts as lying before it, so that each face gives one segment or none
    and the section of a closed mesh is closed.

    Parameters
    ----------
    A_ct_pixel : (4, 4) affine, mm per pixel

    Returns
    -------
    (M, 2, 2) float64: M segments from (u, v) to (u, v), pixels, not only inside the image. Seen
    on screen (v down) each runs with the outside on its left: bone facing the transducer is
    passed in the direction of growing u.
    """
    plane = _Plane.of(A_ct_pixel)
    heights_mm = plane.heights_mm(mesh.vertices_mm)
    return plane.to_px(_crossings(mesh.vertices_mm, mesh.faces, heights_mm))


def first_surface(
    mesh: TriangleMesh, A_ct_pixel: Array, image_size_px: tuple[int, int]
) -> tuple[Array, Array]:
    """Where each scan line of a linear probe meets the surface first, and at which incidence.

    Scan lines are the image columns and begin at v = 0; what lies behind the transducer does not
    count. A column that begins inside the mesh, so that its first surface is one seen from
    within, meets nothing.

    Parameters
    ----------
    image_size_px : (width, height)

    Returns
    -------
    v_px : (width,) float64, NaN where no surface is met within the image
    incidence_rad : (width,) float64, in [0, pi/2), NaN likewise. Measured in mm, so that unequal
        pixel spacing does not tilt it.
    """
    width, height = image_size_px
    segments_px = section_segments_px(mesh, A_ct_pixel)
    v_px, along_px = _first_crossings(segments_px, width)
    is_from_outside = along_px[:, 0] > 0.0
    is_met = is_from_outside & (v_px <= height - 1)
    v_px[~is_met] = np.nan
    along_px[~is_met] = np.nan
    return v_px, _incidence_rad(along_px, A_ct_pixel)


def visible_line(
    mesh: TriangleMesh,
    A_ct_pixel: Array,
    image_size_px: tuple[int, int],
    max_incidence_rad: float = math.radians(85.0),
) -> VisibleLine:
    """The part of the section that a linear probe can see: `first_surface` up to an incidence.

    85 degrees is the default of UltraBones100k (Wu et al. 2025); beyond 60 degrees real bone is
    often not visible, which is why each point keeps its angle.
    """
    v_px, incidence_rad = first_surface(mesh, A_ct_pixel, image_size_px)
    u_px = np.flatnonzero(incidence_rad <= max_incidence_rad)
    return VisibleLine(np.stack((u_px, v_px[u_px]), axis=-1), incidence_rad[u_px])


def surface_band_mask(
    mesh: TriangleMesh,
    A_ct_pixel: Array,
    image_size_px: tuple[int, int],
    half_width_mm: float = 0.1,
) -> NDArray[np.bool_]:
    """Pixels whose centre is nearer to the surface than `half_width_mm`, in space.

    This is the whole section, seen or not, as UltraBones100k draws it. A surface that crosses the
    image at a shallow angle gives a wider band than the half width.

    Returns
    -------
    (height, width) bool
    """
    plane = _Plane.of(A_ct_pixel)
    heights_mm = plane.heights_mm(mesh.vertices_mm)[mesh.faces]
    is_near = (heights_mm.min(axis=1) < half_width_mm) & (heights_mm.max(axis=1) > -half_width_mm)
    triangles_ct_mm = mesh.vertices_mm[mesh.faces[is_near]]
    corners_px = plane.to_px(triangles_ct_mm)
    margin_px = half_width_mm * np.linalg.norm(plane.px_per_mm, axis=1)
    first_px = np.ceil(corners_px.min(axis=1) - margin_px)
    last_px = np.floor(corners_px.max(axis=1) + margin_px)
    width, height = image_size_px
    boxes_px = np.stack((first_px, last_px), axis=1).clip((0, 0), (width, height)).astype(np.int64)
    mask = np.zeros((height, width), dtype=np.bool_)
    _paint_band(mask, triangles_ct_mm, boxes_px, A_ct_pixel, half_width_mm)
    return mask


@dataclass(frozen=True, slots=True)
class _Plane:
    """The image plane in CT space. `px_per_mm` (2, 3) takes offsets from its origin to pixels."""

    origin_ct_mm: Array
    normal_ct: Array
    px_per_mm: Array

    @classmethod
    def of(cls, A_ct_pixel: Array) -> _Plane:
        axes = A_ct_pixel[:3, :2]
        normal = np.cross(axes[:, 0], axes[:, 1])
        area_mm2 = float(np.linalg.norm(normal))
        if not area_mm2 > 0.0:
            raise ReconError("A_ct_pixel: its u and v columns span no plane, expected mm per pixel")
        px_per_mm = np.asarray(np.linalg.pinv(axes), dtype=np.float64)
        return cls(A_ct_pixel[:3, 3], normal / area_mm2, px_per_mm)

    def heights_mm(self, points_ct_mm: Array) -> Array:
        """How far points stand out of the plane; positive along u cross v."""
        return (points_ct_mm - self.origin_ct_mm) @ self.normal_ct

    def to_px(self, points_ct_mm: Array) -> Array:
        """Points (..., 3), projected onto the plane, as (..., 2) pixels."""
        return (points_ct_mm - self.origin_ct_mm) @ self.px_per_mm.T


def _incidence_rad(along_px: Array, A_ct_pixel: Array) -> Array:
    """Angle between the normal of directions (N, 2) in pixels and -v, for directions with du > 0.

    The same angle as between the direction and the one across the scan lines.
    """
    along_mm = along_px @ A_ct_pixel[:3, :2].T
    scan_line = A_ct_pixel[:3, 1] / np.linalg.norm(A_ct_pixel[:3, 1])
    down_mm = along_mm @ scan_line
    across_mm = np.linalg.norm(along_mm - down_mm[:, None] * scan_line, axis=1)
    return np.arctan2(np.abs(down_mm), across_mm)


@numba.njit(cache=True, nogil=True)
def _crossings(vertices_mm: Array, faces: NDArray[np.int32], heights_mm: Array) -> Array:
    """Where the edges of each cut face pass height 0: (M, 2, 3), first downwards, then upwards."""
    n_cut = 0
    for k in range(faces.shape[0]):
        n_before = 0
        for corner in range(3):
            n_before += heights_mm[faces[k, corner]] >= 0.0
        n_cut += 0 < n_before < 3
    crossings = np.empty((n_cut, 2, 3))
    m = 0
    for k in range(faces.shape[0]):
        n_found = 0
        for corner in range(3):
            i, j = faces[k, corner], faces[k, (corner + 1) % 3]
            if (heights_mm[i] >= 0.0) == (heights_mm[j] >= 0.0):
                continue
            n_found += 1
            # From the lower vertex number: both faces of an edge then give the same point.
            a, b = min(i, j), max(i, j)
            fraction = heights_mm[a] / (heights_mm[a] - heights_mm[b])
            place = 0 if heights_mm[i] >= 0.0 else 1
            for axis in range(3):
                step = vertices_mm[b, axis] - vertices_mm[a, axis]
                crossings[m, place, axis] = vertices_mm[a, axis] + fraction * step
        m += n_found == 2
    return crossings


@numba.njit(cache=True, nogil=True)
def _first_crossings(segments_px: Array, width: int) -> tuple[Array, Array]:
    """Smallest v >= 0 at which each column crosses a segment (infinite for none), and that
    segment's direction (width, 2).

    A segment holds the columns from its smaller u up to, but not with, its larger one: two that
    share an end never both hold it.
    """
    v_px = np.full(width, np.inf)
    along_px = np.zeros((width, 2))
    for m in range(segments_px.shape[0]):
        u_0, v_0 = segments_px[m, 0]
        u_1, v_1 = segments_px[m, 1]
        first = max(np.ceil(min(u_0, u_1)), 0.0)
        end = min(np.ceil(max(u_0, u_1)), float(width))
        for u in range(int(first), int(end)):
            v = v_0 + (u - u_0) / (u_1 - u_0) * (v_1 - v_0)
            if 0.0 <= v < v_px[u]:
                v_px[u] = v
                along_px[u, 0], along_px[u, 1] = u_1 - u_0, v_1 - v_0
    return v_px, along_px


@numba.njit(cache=True, nogil=True)
def _paint_band(
    mask: NDArray[np.bool_],
    triangles_ct_mm: Array,
    boxes_px: NDArray[np.int64],
    A_ct_pixel: Array,
    half_width_mm: float,
) -> None:
    """Set the pixels within `half_width_mm` of a triangle; its box says where to look."""
    height, width = mask.shape
    point_mm = np.empty(3)
    for k in range(triangles_ct_mm.shape[0]):
        for v in range(boxes_px[k, 0, 1], min(boxes_px[k, 1, 1] + 1, height)):
            for u in range(boxes_px[k, 0, 0], min(boxes_px[k, 1, 0] + 1, width)):
                if mask[v, u]:
                    continue
                for axis in range(3):
                    point_mm[axis] = (
                        A_ct_pixel[axis, 0] * u + A_ct_pixel[axis, 1] * v + A_ct_pixel[axis, 3]
                    )
                squared_mm2 = squared_distance_to_triangle(point_mm, triangles_ct_mm[k])
                mask[v, u] = squared_mm2 < half_width_mm * half_width_mm
