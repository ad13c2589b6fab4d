"""The refinement's objective: what a section gathers on the value image, minus its correction.

A correction is six numbers: a translation (mm) and a rotation vector (degrees), both along the
axes of the probe marker, applied before the recorded pose:
T_ct_probe (corrected) = T_ct_probe (recorded) @ T_recorded_corrected. In these axes it does not
matter where CT space lies or how poses were written down.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from offline_tools.labeling.values import Values
from recon.surface import TriangleMesh
from tracking.transforms import Matrix, apply, invert

Array = NDArray[np.float64]

# Sums are per pixel of 0.10784 mm, every second of the recordings that the released code and its
# weight of 3000 were made for: another pixel size then changes nothing.
_SUM_AREA_MM2 = (2 * 0.05392) ** 2

_ALONG_MM = 0.3  # step of the samples along the section
_N_ACROSS = 5  # samples across the band
# A surface nearly in the image plane would widen the band without end.
_WIDEST_BAND = 3.0


class Problem(NamedTuple):
    """One frame, ready to be judged many times; everything in the recorded probe's axes."""

    vertices_mm: Array  # (V, 3) the bone near the image
    faces: NDArray[np.int32]  # (F, 3)
    normals: Array  # (F, 3) unit
    A_probe_pixel: Array  # (4, 4)
    px_per_mm: Array  # (2, 3) from offsets in the image plane to pixels
    values: Values  # half-size value image
    roi_px: Array  # (4,) first and last u, first and last v that count
    fiducials_mm: Array  # (N, 3) of the marker
    anchors_mm: Array  # (N, 3) where the fiducials are believed to be: usually the same
    half_width_mm: float
    lead_mm: float  # how far before the middle of its echo the surface lies
    weight: float
    is_mean: bool


def correction_matrix(correction: Array) -> Matrix:
    """T_recorded_corrected of a correction (6,), mm and degrees."""
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = _rigid(correction)
    return T


def mean_fiducial_correction_mm(correction: Array, fiducials_mm: Array) -> float:
    """Mean distance that a correction moves the fiducials (N, 3) of the marker."""
    moved = apply(correction_matrix(correction), fiducials_mm)
    return float(np.linalg.norm(moved - fiducials_mm, axis=1).mean())


def make_problem(
    mesh: TriangleMesh,
    T_ct_probe: Matrix,
    A_probe_pixel: Matrix,
    values: Values,
    roi_px: tuple[int, int, int, int],
    fiducials_mm: Array,
    *,
    is_mean: bool,
    half_width_mm: float,
    lead_mm: float,
    weight: float,
    bound: float,
    believed: Array | None = None,
) -> Problem:
    """What `score` needs, with the part of the mesh that no correction in bounds can miss.

    Parameters
    ----------
    roi_px : (column, row, width, height) of the part of the image that shows echoes
    bound : largest translation (mm) and rotation (degree) along each axis
    believed : (6,) correction to stay near; zero where None
    """
    u0, v0, width, height = roi_px
    corners_px = np.array([(u, v, 0.0) for u in (u0, u0 + width) for v in (v0, v0 + height)])
    corners_mm = apply(A_probe_pixel, corners_px)
    farthest_mm = np.linalg.norm(corners_mm, axis=1).max()
    reach_mm = math.sqrt(3.0) * (bound + math.radians(bound) * farthest_mm)
    vertices_mm, faces = _near(mesh, invert(T_ct_probe), A_probe_pixel, corners_mm, reach_mm)
    T_believed = np.eye(4) if believed is None else correction_matrix(believed)
    last_u = min(u0 + width, 2 * values.shape[1]) - 1
    last_v = min(v0 + height, 2 * values.shape[0]) - 1
    return Problem(
        vertices_mm=vertices_mm,
        faces=faces,
        normals=_unit_normals(vertices_mm[faces]),
        A_probe_pixel=np.array(A_probe_pixel),
        px_per_mm=np.asarray(np.linalg.pinv(A_probe_pixel[:3, :2]), dtype=np.float64),
        values=values,
        roi_px=np.array((u0, last_u, v0, last_v), dtype=np.float64),
        fiducials_mm=fiducials_mm,
        anchors_mm=apply(T_believed, fiducials_mm),
        half_width_mm=half_width_mm,
        lead_mm=lead_mm,
        weight=weight,
        is_mean=is_mean,
    )


def _near(
    mesh: TriangleMesh,
    T_probe_ct: Matrix,
    A_probe_pixel: Matrix,
    corners_mm: Array,
    reach_mm: float,
) -> tuple[Array, NDArray[np.int32]]:
    """Vertices and faces whose box comes within `reach_mm` of the image's."""
    vertices_mm = apply(T_probe_ct, mesh.vertices_mm)
    axes = A_probe_pixel[:3, :2] / np.linalg.norm(A_probe_pixel[:3, :2], axis=0)
    axes = np.column_stack((axes, np.cross(axes[:, 0], axes[:, 1])))
    corners = corners_mm @ axes
    low, high = corners.min(axis=0) - reach_mm, corners.max(axis=0) + reach_mm
    faces, used = _touching(vertices_mm @ axes, mesh.faces, low, high)
    return vertices_mm[used], faces


def _unit_normals(triangles: Array) -> Array:
    """(F, 3) normals; zero where a triangle has no area."""
    normals = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
    lengths = np.linalg.norm(normals, axis=1, keepdims=True)
    return np.divide(normals, lengths, out=np.zeros_like(normals), where=lengths > 0.0)


@numba.njit(cache=True, nogil=True)
def _touching(
    points: Array, faces: NDArray[np.int32], low: Array, high: Array
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Faces whose box touches the box from `low` to `high`, renumbered, and the vertices used."""
    number = np.full(points.shape[0], -1, np.int32)
    used = np.empty(points.shape[0], np.int64)
    kept = np.empty_like(faces)
    n_used = n_kept = 0
    for k in range(faces.shape[0]):
        is_touching = True
        for axis in range(3):
            a, b, c = (
                points[faces[k, 0], axis],
                points[faces[k, 1], axis],
                points[faces[k, 2], axis],
            )
            if max(a, b, c) < low[axis] or min(a, b, c) > high[axis]:
                is_touching = False
                break
        if not is_touching:
            continue
        for corner in range(3):
            i = faces[k, corner]
            if number[i] < 0:
                number[i] = n_used
                used[n_used] = i
                n_used += 1
            kept[n_kept, corner] = number[i]
        n_kept += 1
    return kept[:n_kept], used[:n_used]


@numba.njit(cache=True, nogil=True)
def _rigid(correction: Array) -> tuple[Array, Array]:
    """Rotation and translation of a correction, by Rodrigues' formula."""
    x, y, z = np.radians(correction[3]), np.radians(correction[4]), np.radians(correction[5])
    angle = math.sqrt(x * x + y * y + z * z)
    # Both quotients to better than 1e-12 below 1e-4 rad.
    sine = math.sin(angle) / angle if angle > 1e-4 else 1.0 - angle * angle / 6.0
    versine = (1.0 - math.cos(angle)) / (angle * angle) if angle > 1e-4 else 0.5
    R = np.empty((3, 3))
    R[0, 0] = 1.0 - versine * (y * y + z * z)
    R[0, 1] = versine * x * y - sine * z
    R[0, 2] = versine * x * z + sine * y
    R[1, 0] = versine * x * y + sine * z
    R[1, 1] = 1.0 - versine * (x * x + z * z)
    R[1, 2] = versine * y * z - sine * x
    R[2, 0] = versine * x * z - sine * y
    R[2, 1] = versine * y * z + sine * x
    R[2, 2] = 1.0 - versine * (x * x + y * y)
    return R, correction[:3].copy()


@numba.njit(cache=True, nogil=True)
def score(problem: Problem, correction: Array) -> float:
    """Equation 3 of Wu et al. 2025 at a correction (6,): larger is better.

    Sum forms: what the band of the section within the image gathers, in pixels of the released
    code. Mean form: the same over the band's area; minus infinity where no bone is in the image.
    """
    R, t = _rigid(correction)
    gathered, area_mm2 = _gather(problem, R, t)
    penalty = problem.weight * _mean_distance_mm(problem, R, t)
    if not problem.is_mean:
        return gathered / _SUM_AREA_MM2 - penalty
    return gathered / area_mm2 - penalty if area_mm2 > 0.0 else -np.inf


@numba.njit(cache=True, nogil=True, fastmath=True)
def _mean_distance_mm(problem: Problem, R: Array, t: Array) -> float:
    """How far the corrected fiducials are from where they are believed to be, on average."""
    total = 0.0
    for i in range(problem.fiducials_mm.shape[0]):
        squared = 0.0
        for axis in range(3):
            moved = t[axis]
            for k in range(3):
                moved += R[axis, k] * problem.fiducials_mm[i, k]
            squared += (moved - problem.anchors_mm[i, axis]) ** 2
        total += math.sqrt(squared)
    return total / problem.fiducials_mm.shape[0]


@numba.njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def _gather(problem: Problem, R: Array, t: Array) -> tuple[float, float]:
    """Integral of the values over the section's band within the region of interest, and its area.

    The band holds the points of the plane within `half_width_mm` of the surface in space: where
    the surface is tilted against the plane by an angle, it is wider by one over the sine. With a
    lead the whole band lies that much inside the bone.
    """
    origin, normal, px_per_mm = _image_plane(problem, R, t)
    faces = problem.faces
    heights_mm = _heights_mm(problem.vertices_mm, origin, normal)
    gathered = area_mm2 = 0.0
    ends = np.empty((2, 3))
    step_mm = np.empty(3)
    for k in range(faces.shape[0]):
        a, b, c = faces[k, 0], faces[k, 1], faces[k, 2]
        before = heights_mm[a] >= 0.0
        if before == (heights_mm[b] >= 0.0) and before == (heights_mm[c] >= 0.0):
            continue
        _cross(problem.vertices_mm, faces[k], heights_mm, origin, ends)
        length_mm = 0.0
        for axis in range(3):
            step_mm[axis] = ends[1, axis] - ends[0, axis]
            length_mm += step_mm[axis] ** 2
        length_mm = math.sqrt(length_mm)
        if length_mm < 1e-9:
            continue
        cosine = 0.0
        for axis in range(3):
            cosine += problem.normals[k, axis] * normal[axis]
        sine = math.sqrt(max(1.0 - cosine * cosine, 1.0 / _WIDEST_BAND**2))
        half_mm = problem.half_width_mm / sine
        across_u = across_v = along_u = along_v = start_u = start_v = outward = 0.0
        for axis in range(3):
            after, last = (axis + 1) % 3, (axis + 2) % 3
            across = (normal[after] * step_mm[last] - normal[last] * step_mm[after]) / length_mm
            outward += problem.normals[k, axis] * across
            across_u += px_per_mm[0, axis] * across
            across_v += px_per_mm[1, axis] * across
            along_u += px_per_mm[0, axis] * step_mm[axis]
            along_v += px_per_mm[1, axis] * step_mm[axis]
            start_u += px_per_mm[0, axis] * ends[0, axis]
            start_v += px_per_mm[1, axis] * ends[0, axis]
        lead_mm = -problem.lead_mm if outward > 0.0 else problem.lead_mm
        n_along = math.ceil(length_mm / _ALONG_MM)
        total = 0.0
        n_inside = 0
        for m in range(n_along):
            share = (m + 0.5) / n_along
            middle_u, middle_v = start_u + share * along_u, start_v + share * along_v
            for n in range(_N_ACROSS):
                offset_mm = lead_mm + ((2 * n + 1) / _N_ACROSS - 1.0) * half_mm
                u, v = middle_u + offset_mm * across_u, middle_v + offset_mm * across_v
                if not (
                    problem.roi_px[0] <= u <= problem.roi_px[1]
                    and problem.roi_px[2] <= v <= problem.roi_px[3]
                ):
                    continue
                total += _bilinear(problem.values, 0.5 * (u - 0.5), 0.5 * (v - 0.5))
                n_inside += 1
        cell_mm2 = length_mm / n_along * 2.0 * half_mm / _N_ACROSS
        gathered += total * cell_mm2
        area_mm2 += n_inside * cell_mm2
    return gathered, area_mm2


@numba.njit(cache=True, nogil=True, fastmath=True)
def _heights_mm(vertices_mm: Array, origin: Array, normal: Array) -> Array:
    """How far vertices stand out of the image plane."""
    heights_mm = np.empty(vertices_mm.shape[0])
    for i in range(vertices_mm.shape[0]):
        heights_mm[i] = (
            (vertices_mm[i, 0] - origin[0]) * normal[0]
            + (vertices_mm[i, 1] - origin[1]) * normal[1]
            + (vertices_mm[i, 2] - origin[2]) * normal[2]
        )
    return heights_mm


@numba.njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def _cross(
    vertices_mm: Array, face: NDArray[np.int32], heights_mm: Array, origin: Array, ends: Array
) -> None:
    """Where the two cut edges of a face pass the plane, from its origin, into `ends` (2, 3)."""
    n_found = 0
    for corner in range(3):
        i, j = face[corner], face[(corner + 1) % 3]
        if (heights_mm[i] >= 0.0) == (heights_mm[j] >= 0.0):
            continue
        fraction = heights_mm[i] / (heights_mm[i] - heights_mm[j])
        for axis in range(3):
            way = vertices_mm[j, axis] - vertices_mm[i, axis]
            ends[n_found, axis] = vertices_mm[i, axis] + fraction * way - origin[axis]
        n_found += 1


@numba.njit(cache=True, nogil=True)
def _image_plane(problem: Problem, R: Array, t: Array) -> tuple[Array, Array, Array]:
    """Origin, unit normal and (2, 3) pixels per mm of the corrected image."""
    A = problem.A_probe_pixel
    origin, normal, px_per_mm = t.copy(), np.zeros(3), np.zeros((2, 3))
    n0 = A[1, 0] * A[2, 1] - A[2, 0] * A[1, 1]
    n1 = A[2, 0] * A[0, 1] - A[0, 0] * A[2, 1]
    n2 = A[0, 0] * A[1, 1] - A[1, 0] * A[0, 1]
    length = math.sqrt(n0 * n0 + n1 * n1 + n2 * n2)
    for i in range(3):
        normal[i] = (R[i, 0] * n0 + R[i, 1] * n1 + R[i, 2] * n2) / length
        for j in range(3):
            origin[i] += R[i, j] * A[j, 3]
            px_per_mm[0, i] += problem.px_per_mm[0, j] * R[i, j]
            px_per_mm[1, i] += problem.px_per_mm[1, j] * R[i, j]
    return origin, normal, px_per_mm


@numba.njit(cache=True, nogil=True, fastmath=True)
def _bilinear(values: Values, u: float, v: float) -> float:
    """Value between pixels; beyond the outermost centres their value."""
    u = min(max(u, 0.0), values.shape[1] - 1.001)
    v = min(max(v, 0.0), values.shape[0] - 1.001)
    i, j = int(v), int(u)
    dv, du = v - i, u - j
    top = (1.0 - du) * values[i, j] + du * values[i, j + 1]
    bottom = (1.0 - du) * values[i + 1, j] + du * values[i + 1, j + 1]
    return (1.0 - dv) * top + dv * bottom
