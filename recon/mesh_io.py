"""Surfaces and clouds from and to files, and surfaces made simpler.

Open3D is imported inside the functions that need it: the import alone takes a second.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from recon.errors import ReconError
from recon.point_cloud import CloudSnapshot
from recon.surface import TriangleMesh

_READABLE = (".stl", ".ply", ".obj")
_PLY_TYPES = {"f8": "double", "f4": "float", "i4": "int"}
_STL_HEAD_BYTES = 84  # of a binary one: a title and the number of triangles
_PLY_HEADER_BYTES = 4096  # ours are a few hundred
_LEAST_SURFACE_POINTS = 100
# Of Taubin smoothing: a step that shrinks and one that swells back.
_TAUBIN_SHRINK, _TAUBIN_SWELL = 0.5, -0.53
_WRITABLE = (".stl", ".ply")  # Open3D rounds the coordinates of an OBJ to six digits


def read_mesh(path: Path) -> TriangleMesh:
    """A surface from an STL, PLY or OBJ file, coordinates as they are in it (mm).

    Corners at the same place become one vertex (STL names each corner of each triangle anew);
    triangles that lose a side by it are dropped.

    Raises
    ------
    ReconError : if the file is missing, unreadable, of another format or holds no triangle.
    """
    _check_suffix(path, _READABLE)
    if not path.is_file():
        raise ReconError(f"mesh {path}: no such file, expected STL, PLY or OBJ")
    import open3d  # noqa: PLC0415

    with open3d.utility.VerbosityContextManager(open3d.utility.VerbosityLevel.Error):
        mesh = open3d.io.read_triangle_mesh(path)
    mesh.remove_duplicated_vertices()
    mesh.remove_degenerate_triangles()
    if not mesh.has_triangles():
        if _is_empty(path):
            raise ReconError(f"{path}: is empty, expected a surface of triangles")
        raise ReconError(f"mesh {path}: no triangle could be read, expected STL, PLY or OBJ")
    try:
        return TriangleMesh(np.asarray(mesh.vertices), np.asarray(mesh.triangles))
    except ReconError as error:
        raise ReconError(f"{path}: {error}") from error


def _is_empty(path: Path) -> bool:
    """A file without content, or an STL (binary or text) without a triangle."""
    content = path.read_bytes()
    if path.suffix.lower() != ".stl":
        return not content.strip()
    if content.startswith(b"solid"):
        return b"facet" not in content
    is_head_alone = len(content) == _STL_HEAD_BYTES and content.endswith(bytes(4))
    return is_head_alone or not content.strip()


def simplified(mesh: TriangleMesh, *, n_smoothing: int, n_faces: int | None) -> TriangleMesh:
    """The mesh after rounds of smoothing that do not shrink it, with at most `n_faces` faces.

    Source: G. Taubin 1995 (smoothing); M. Garland and P. Heckbert 1997 (quadric decimation).
    """
    import open3d  # noqa: PLC0415

    surface = open3d.geometry.TriangleMesh(
        open3d.utility.Vector3dVector(mesh.vertices_mm.copy()),  # it takes no read-only array
        open3d.utility.Vector3iVector(mesh.faces.copy()),
    )
    if n_smoothing:
        surface = surface.filter_smooth_taubin(n_smoothing, _TAUBIN_SHRINK, _TAUBIN_SWELL)
    if n_faces is not None and n_faces < len(mesh.faces):
        surface = surface.simplify_quadric_decimation(n_faces)
    surface.remove_degenerate_triangles()
    surface.remove_unreferenced_vertices()
    return TriangleMesh(np.asarray(surface.vertices), np.asarray(surface.triangles))


def surface_of_cloud(points_mm: NDArray[np.float64], ball_mm: float = 1.5) -> TriangleMesh:
    """A surface through the points of a cloud, open where there are none.

    Balls of `ball_mm`, twice and four times that radius roll over the points; what lies between
    three points that a ball touches is surface. Nothing is made up where nobody looked.

    Raises
    ------
    ReconError : if there are too few points for a surface.

    Source: F. Bernardini et al., The ball-pivoting algorithm, 1999.
    """
    import open3d  # noqa: PLC0415

    if len(points_mm) < _LEAST_SURFACE_POINTS:
        raise ReconError(
            f"a surface of {len(points_mm)} points, expected {_LEAST_SURFACE_POINTS} or more"
        )
    cloud = open3d.geometry.PointCloud(open3d.utility.Vector3dVector(np.array(points_mm)))
    cloud = cloud.voxel_down_sample(0.6 * ball_mm)
    cloud.estimate_normals(open3d.geometry.KDTreeSearchParamHybrid(4.0 * ball_mm, 30))
    try:
        cloud.orient_normals_consistent_tangent_plane(15)
    except RuntimeError:  # Qhull: all on one line, or on one sphere far from each other
        raise ReconError("the points of the cloud do not span a surface") from None
    radii = open3d.utility.DoubleVector([ball_mm, 2.0 * ball_mm, 4.0 * ball_mm])
    mesh = open3d.geometry.TriangleMesh.create_from_point_cloud_ball_pivoting(cloud, radii)
    mesh.remove_degenerate_triangles()
    mesh.remove_unreferenced_vertices()
    if not mesh.has_triangles():
        raise ReconError("the points of the cloud are too far apart for a surface")
    return TriangleMesh(np.asarray(mesh.vertices), np.asarray(mesh.triangles))


def write_mesh(path: Path, mesh: TriangleMesh) -> None:
    """A surface as STL or PLY by the suffix of `path`; the file appears whole or not at all.

    Raises
    ------
    ReconError : if the suffix is another one or the file cannot be written.
    """
    _check_suffix(path, _WRITABLE)
    import open3d  # noqa: PLC0415

    surface = open3d.geometry.TriangleMesh(
        open3d.utility.Vector3dVector(mesh.vertices_mm.copy()),  # it takes no read-only array
        open3d.utility.Vector3iVector(mesh.faces.copy()),
    )
    surface.compute_triangle_normals()  # STL cannot be written without

    def write(temporary: Path) -> None:
        with open3d.utility.VerbosityContextManager(open3d.utility.VerbosityLevel.Error):
            is_written = open3d.io.write_triangle_mesh(temporary, surface)
        if not is_written:
            raise OSError("Open3D could not write it")

    _write_whole(path, write)


def write_cloud_ply(
    path: Path, cloud: CloudSnapshot, frame: str, distance_mm: NDArray[np.float64] | None = None
) -> None:
    """A cloud as binary PLY: x, y, z, confidence, sweep and, where known, distance.

    The header's comments say the frame ("ct" or "reference") and the unit. The file appears whole
    or not at all.

    Parameters
    ----------
    distance_mm : (N,) distance of each point to the CT surface

    Raises
    ------
    ReconError : if the file cannot be written.
    """
    columns: dict[str, NDArray[np.generic]] = {
        "x": cloud.points_mm[:, 0],
        "y": cloud.points_mm[:, 1],
        "z": cloud.points_mm[:, 2],
        "confidence": cloud.confidence.astype(np.float32),
        "sweep": cloud.sweep,
    }
    if distance_mm is not None:
        columns["distance"] = distance_mm.astype(np.float32)
    table = np.empty(
        len(cloud.points_mm),
        dtype=[(name, column.dtype.newbyteorder("<")) for name, column in columns.items()],
    )
    for name, column in columns.items():
        table[name] = column
    header = [
        "ply",
        "format binary_little_endian 1.0",
        f"comment frame {frame}",
        "comment unit mm",
        f"element vertex {len(table)}",
        *(
            f"property {_PLY_TYPES[column.dtype.str[1:]]} {name}"
            for name, column in columns.items()
        ),
        "end_header",
    ]
    content = "\n".join(header).encode("ascii") + b"\n" + table.tobytes()

    def write(temporary: Path) -> None:
        temporary.write_bytes(content)

    _write_whole(path, write)


def read_cloud(path: Path) -> tuple[NDArray[np.float64], str | None]:
    """Points (N, 3), mm, of a PLY file and their frame, None where its header does not name one.

    Raises
    ------
    ReconError : if the file is missing, of another format or holds no point.
    """
    _check_suffix(path, (".ply",))
    try:
        with path.open("rb") as file:
            header = file.read(_PLY_HEADER_BYTES).partition(b"end_header")[0]
    except OSError as error:
        raise ReconError(f"cloud {path}: cannot be read: {error.strerror}") from None
    import open3d  # noqa: PLC0415

    with open3d.utility.VerbosityContextManager(open3d.utility.VerbosityLevel.Error):
        points_mm = np.asarray(open3d.io.read_point_cloud(path).points)
    if not len(points_mm):
        raise ReconError(f"cloud {path}: no point could be read, expected a PLY file")
    frames = [
        line.removeprefix("comment frame ").strip()
        for line in header.decode("ascii", "replace").splitlines()
        if line.startswith("comment frame ")
    ]
    return points_mm, frames[0] if frames else None


def _check_suffix(path: Path, suffixes: tuple[str, ...]) -> None:
    if path.suffix.lower() not in suffixes:
        expected = " or ".join(suffixes)
        raise ReconError(f"mesh {path}: suffix is {path.suffix!r}, expected {expected}")


def _write_whole(path: Path, write: Callable[[Path], None]) -> None:
    """Let `write` make a temporary file beside `path`, then give it its name in one step."""
    temporary = path.with_name(f".{path.stem}.part{path.suffix}")
    try:
        write(temporary)
        temporary.replace(path)
    except OSError as error:
        raise ReconError(f"{path}: cannot be written ({error})") from error
    finally:
        temporary.unlink(missing_ok=True)
