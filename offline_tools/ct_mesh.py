"""CT volume to bone surface: threshold, regions, holes, iso-surface, smoothing.

The surface lies where the interpolated grey values pass the threshold, not on voxel borders; its
coordinates are the volume's own patient space (LPS, mm), spacing and direction honoured.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from offline_tools.errors import InputError
from recon.mesh_io import simplified, write_mesh
from recon.surface import TriangleMesh

Array = NDArray[np.float64]
Volume = NDArray[np.float32]

_SUFFIXES = (".nii", ".nii.gz", ".mha", ".mhd", ".nrrd")
# Air and fat say nothing about where bone begins.
_TISSUE_FROM_HU = -200.0
_SMALLEST_BONE_MM3 = 100.0
_LARGEST_PREVIEW_PX = 500

# Cells are cut into six tetrahedra along the main diagonal, the same way in each: the surface has
# no cracks. Corner k is at its bits (x, y, z); each tetrahedron walks from corner 0 to corner 7.
_TETRAHEDRA = np.array(
    [(0, 1 << a, (1 << a) + (1 << b), 7) for a, b, _ in itertools.permutations(range(3))],
    dtype=np.int64,
)


@dataclass(frozen=True, slots=True)
class MeshSettings:
    """How bone is found. `threshold` HU, found by Otsu's method where None; `seeds_mm` (LPS) choose
    the bones, else the `n_components` largest; `n_faces` limits the surface's size."""

    threshold: float | None = None
    seeds_mm: tuple[tuple[float, float, float], ...] = ()
    n_components: int = 1
    n_smoothing: int = 10
    n_faces: int | None = None


@dataclass(frozen=True, slots=True)
class MeshResult:
    """What was made: the surface, where its picture is, and how bone was told."""

    mesh: TriangleMesh
    threshold: float
    n_components: int
    n_found: int
    preview: Path

    @property
    def n_faces(self) -> int:
        return len(self.mesh.faces)


def make_mesh(ct: Path, out: Path, settings: MeshSettings) -> MeshResult:
    """Read a volume, write the surface (STL or PLY) and a picture of it beside it.

    Raises
    ------
    InputError : where the volume cannot be read, holds no bone, or a seed is not in bone.
    """
    image = read_volume(ct)
    mesh, threshold, n_components, n_found = bone_surface(image, settings)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_mesh(out, mesh)
    preview = out.with_suffix(".png")
    Image.fromarray(picture(mesh)).save(preview)
    return MeshResult(mesh, threshold, n_components, n_found, preview)


def parse_point(text: str) -> tuple[float, float, float]:
    """Three numbers with commas between them, mm."""
    try:
        x, y, z = (float(word) for word in text.split(","))
    except ValueError:
        raise InputError(f"--seed is {text!r}, expected X,Y,Z in mm") from None
    return x, y, z


def read_volume(path: Path) -> Any:
    """A SimpleITK image of three dimensions from a file or a folder with one DICOM series.

    Raises
    ------
    InputError : where there is none, or more than one.
    """
    import SimpleITK as sitk  # noqa: N813, PLC0415

    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    try:
        if path.is_dir():
            reader = sitk.ImageSeriesReader()
            series = reader.GetGDCMSeriesIDs(str(path))
            if len(series) != 1:
                raise InputError(f"{path}: {len(series)} DICOM series there, expected one")
            reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(path), series[0]))
            image = reader.Execute()
        elif not path.is_file() or not path.name.lower().endswith(_SUFFIXES):
            expected = ", ".join(_SUFFIXES)
            raise InputError(f"{path}: no volume there, expected a DICOM folder or {expected}")
        else:
            image = sitk.ReadImage(str(path))
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        raise InputError(f"{path}: cannot be read as a volume: {reason}") from None
    if image.GetDimension() != 3 or image.GetNumberOfComponentsPerPixel() != 1:
        raise InputError(
            f"{path}: has {image.GetDimension()} dimensions and "
            f"{image.GetNumberOfComponentsPerPixel()} components, expected 3 and 1"
        )
    return sitk.Cast(image, sitk.sitkFloat32)


def bone_surface(image: Any, settings: MeshSettings) -> tuple[TriangleMesh, float, int, int]:
    """Surface of the bones in a volume, the threshold, how many bones are kept of how many found.

    Raises
    ------
    InputError : where nothing is bone, or a seed is outside the volume or not in bone.
    """
    values = _values(image)
    threshold = otsu_threshold(values) if settings.threshold is None else settings.threshold
    mask, n_components, n_found = _bone_mask(image, threshold, settings)
    first, last = _box(mask)
    part = tuple(slice(a, b) for a, b in zip(first, last, strict=True))
    field = _field(values[part], mask[part], threshold)
    zyx, faces = iso_surface(field, threshold)
    index_xyz = zyx[:, ::-1] + first[::-1] - 1.0  # the field has a margin of one voxel
    mesh = TriangleMesh(_to_physical(image, index_xyz), faces)
    mesh = simplified(mesh, n_smoothing=settings.n_smoothing, n_faces=settings.n_faces)
    return mesh, threshold, n_components, n_found


def otsu_threshold(values: Volume) -> float:
    """The value that splits tissue and bone with the least variance within both (Otsu 1979)."""
    tissue = values[values > _TISSUE_FROM_HU]
    if tissue.size == 0 or tissue.min() == tissue.max():
        raise InputError("the volume holds no two kinds of tissue, expected a CT in HU")
    counts, edges = np.histogram(tissue, bins=512)
    centres = 0.5 * (edges[:-1] + edges[1:])
    below = np.cumsum(counts)[:-1].astype(np.float64)
    above = below[-1] + counts[-1] - below
    sum_below = np.cumsum(counts * centres)[:-1]
    sum_all = float((counts * centres).sum())
    between = (
        below * above * (sum_below / below - (sum_all - sum_below) / np.maximum(above, 1)) ** 2
    )
    # Between two values with nothing in between, the middle of the plateau.
    best = np.flatnonzero(between >= between.max() * (1.0 - 1e-12))
    return float(edges[1:-1][best].mean())


def iso_surface(field: Volume, level: float) -> tuple[Array, NDArray[np.int32]]:
    """Where a field passes a level, by marching tetrahedra with linear interpolation.

    Closed where the field's outermost voxels are all below the level.

    Returns
    -------
    vertices : (V, 3) float64, index coordinates in the field's axis order
    faces : (F, 3) int32, counter-clockwise seen from below the level
    """
    triangles = _triangle_keys(field, np.float32(level))
    keys, faces = np.unique(triangles, return_inverse=True)
    base, step = np.divmod(keys, 8)
    start = np.column_stack(np.unravel_index(base, field.shape))
    end = start + np.column_stack([(step >> axis) & 1 for axis in range(3)])
    at_start = field[tuple(start.T)].astype(np.float64)
    at_end = field[tuple(end.T)].astype(np.float64)
    share = (level - at_start) / (at_end - at_start)
    return start + share[:, None] * (end - start), faces.reshape(-1, 3).astype(np.int32)


def picture(mesh: TriangleMesh) -> NDArray[np.uint8]:
    """The surface from the front and from the side, shaded, (rows, columns) uint8."""
    triangles = mesh.triangles_mm()
    normals = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    scale = _LARGEST_PREVIEW_PX / float(np.ptp(mesh.vertices_mm, axis=0).max())
    views = [_view(triangles, normals, axis, scale) for axis in (1, 0)]
    height = max(view.shape[0] for view in views)
    padded = [np.pad(view, ((0, height - view.shape[0]), (10, 10))) for view in views]
    return np.concatenate(padded, axis=1)


def _view(triangles: Array, normals: Array, depth_axis: int, scale: float) -> NDArray[np.uint8]:
    """Seen along x or y with z up; each face leaves its corners and middles of its sides."""
    across = 1 - depth_axis
    points = np.concatenate((triangles, 0.5 * (triangles + np.roll(triangles, 1, axis=1))), axis=1)
    shade = np.abs(normals[:, depth_axis]) * 200.0 + 55.0
    column = (points[..., across] - points[..., across].min()) * scale
    row = (points[..., 2].max() - points[..., 2]) * scale
    order = np.argsort(-points[..., depth_axis].ravel(), kind="stable")
    canvas = np.zeros((math.ceil(row.max()) + 1, math.ceil(column.max()) + 1), np.uint8)
    rows, columns = row.ravel()[order].astype(int), column.ravel()[order].astype(int)
    canvas[rows, columns] = np.repeat(shade, 6)[order]
    return canvas


def _values(image: Any) -> Volume:
    """Voxels (z, y, x)."""
    import SimpleITK as sitk  # noqa: N813, PLC0415

    return np.asarray(sitk.GetArrayFromImage(image), dtype=np.float32)


def _bone_mask(
    image: Any, threshold: float, settings: MeshSettings
) -> tuple[NDArray[np.bool_], int, int]:
    """Voxels of the bones chosen, cavities filled; how many bones were kept and found."""
    import SimpleITK as sitk  # noqa: N813, PLC0415

    labels = sitk.ConnectedComponent(image >= threshold)
    voxel_mm3 = float(np.prod(image.GetSpacing()))
    smallest = max(1, round(_SMALLEST_BONE_MM3 / voxel_mm3))
    labels = sitk.RelabelComponent(labels, minimumObjectSize=smallest, sortByObjectSize=True)
    numbers = sitk.GetArrayFromImage(labels)
    n_found = int(numbers.max())
    if n_found == 0:
        raise InputError(f"no bone above {threshold:.0f} HU, expected a lower --threshold")
    if settings.seeds_mm:
        chosen = {_label_at(labels, seed_mm, threshold) for seed_mm in settings.seeds_mm}
    else:
        chosen = set(range(1, min(settings.n_components, n_found) + 1))
    kept = sitk.GetImageFromArray(np.isin(numbers, list(chosen)).astype(np.uint8))
    filled = sitk.GetArrayFromImage(sitk.BinaryFillhole(kept))
    return filled.astype(np.bool_), len(chosen), n_found


def _label_at(labels: Any, seed_mm: tuple[float, float, float], threshold: float) -> int:
    index = labels.TransformPhysicalPointToIndex(seed_mm)
    size = labels.GetSize()
    if not all(0 <= i < n for i, n in zip(index, size, strict=True)):
        raise InputError(f"seed {seed_mm} mm is outside the volume, expected LPS coordinates")
    number = int(labels[index])
    if number == 0:
        raise InputError(f"seed {seed_mm} mm is not in bone above {threshold:.0f} HU")
    return number


def _box(mask: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First index and end of the mask along each axis, one voxel wider where the volume allows."""
    first, last = [], []
    for axis in range(3):
        others = tuple(k for k in range(3) if k != axis)
        used = np.flatnonzero(mask.any(axis=others))
        first.append(max(int(used[0]) - 1, 0))
        last.append(min(int(used[-1]) + 2, mask.shape[axis]))
    return np.array(first), np.array(last)


def _field(values: Volume, mask: NDArray[np.bool_], threshold: float) -> Volume:
    """Grey values in which only the mask is above the threshold, with a margin of one voxel.

    Inside, filled cavities are lifted; outside, other bones are lowered.
    """
    least = np.float32(1e-3 * max(abs(threshold), 1.0))
    field = np.where(
        mask,
        np.maximum(values, np.float32(threshold) + least),
        np.minimum(values, np.float32(threshold) - least),
    )
    margin = np.float32(min(float(field.min()), threshold - float(least)))
    return np.pad(field, 1, constant_values=margin)


def _to_physical(image: Any, index_xyz: Array) -> Array:
    direction = np.array(image.GetDirection()).reshape(3, 3)
    scaled = index_xyz * np.array(image.GetSpacing())
    return scaled @ direction.T + np.array(image.GetOrigin())


@numba.njit(cache=True, nogil=True)
def _triangle_keys(field: Volume, level: np.float32) -> NDArray[np.int64]:
    """Triangles (F, 3) of edge numbers: 8 times the edge's first voxel plus its step's bits."""
    n_0, n_1, n_2 = field.shape
    found = np.empty((1024, 3), np.int64)
    n_found = 0
    is_in = np.empty(4, np.bool_)
    for i in range(n_0 - 1):
        for j in range(n_1 - 1):
            for k in range(n_2 - 1):
                n_in = 0
                for corner in range(8):
                    n_in += (
                        field[i + (corner & 1), j + ((corner >> 1) & 1), k + (corner >> 2)] >= level
                    )
                if n_in in (0, 8):
                    continue
                if n_found + 12 > found.shape[0]:
                    grown = np.empty((2 * found.shape[0], 3), np.int64)
                    grown[:n_found] = found[:n_found]
                    found = grown
                for t in range(6):
                    for m in range(4):
                        corner = _TETRAHEDRA[t, m]
                        is_in[m] = (
                            field[i + (corner & 1), j + ((corner >> 1) & 1), k + (corner >> 2)]
                            >= level
                        )
                    n_found = _cut(_TETRAHEDRA[t], is_in, i, j, k, n_1, n_2, found, n_found)
    return found[:n_found]


@numba.njit(cache=True, nogil=True)
def _cut(
    corners: NDArray[np.int64],
    is_in: NDArray[np.bool_],
    i: int,
    j: int,
    k: int,
    n_1: int,
    n_2: int,
    found: NDArray[np.int64],
    n_found: int,
) -> int:
    """Add the one or two triangles that part the corners of a tetrahedron; the new count.

    Corners inside come first, those outside last; an odd rearrangement, and a tetrahedron that is
    itself turned, turn the triangle over.
    """
    order = np.empty(4, np.int64)
    n_in = 0
    for m in range(4):
        if is_in[m]:
            order[n_in] = m
            n_in += 1
    if n_in in (0, 4):
        return n_found
    n_placed = n_in
    for m in range(4):
        if not is_in[m]:
            order[n_placed] = m
            n_placed += 1
    is_turned = _is_odd(order) != _is_left_handed(corners)
    edges = np.empty(4, np.int64)
    n_edges = 0
    for a in range(n_in):
        for b in range(n_in, 4):
            low, high = min(order[a], order[b]), max(order[a], order[b])
            first, step = corners[low], corners[high] - corners[low]
            voxel = ((i + (first & 1)) * n_1 + j + ((first >> 1) & 1)) * n_2 + k + (first >> 2)
            edges[n_edges] = 8 * voxel + step
            n_edges += 1
    if n_edges == 3:
        # One corner inside faces the other three; one outside is faced by them: mirrored.
        flip = is_turned
        found[n_found, 0] = edges[0]
        found[n_found, 1] = edges[2] if flip else edges[1]
        found[n_found, 2] = edges[1] if flip else edges[2]
        return n_found + 1
    # Edges 0-2, 0-3, 1-2, 1-3 of the rearranged corners: around the quad 0, 1, 3, 2.
    found[n_found, 0], found[n_found + 1, 0] = edges[0], edges[0]
    if is_turned:
        found[n_found, 1], found[n_found, 2] = edges[3], edges[1]
        found[n_found + 1, 1], found[n_found + 1, 2] = edges[2], edges[3]
    else:
        found[n_found, 1], found[n_found, 2] = edges[1], edges[3]
        found[n_found + 1, 1], found[n_found + 1, 2] = edges[3], edges[2]
    return n_found + 2


@numba.njit(cache=True, nogil=True)
def _is_odd(order: NDArray[np.int64]) -> bool:
    n_swapped = 0
    for a in range(4):
        for b in range(a + 1, 4):
            n_swapped += order[a] > order[b]
    return n_swapped % 2 == 1


@numba.njit(cache=True, nogil=True)
def _is_left_handed(corners: NDArray[np.int64]) -> bool:
    """Whether the walk along the axes is an odd permutation of x, y, z."""
    first, second = corners[1], corners[2] - corners[1]
    return not (
        (first == 1 and second == 2) or (first == 2 and second == 4) or (first == 4 and second == 1)
    )
