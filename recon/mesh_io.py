"""Surfaces and clouds from and to files.

Open3D is imported inside the functions that need it: the import alone takes a second.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from recon.errors import ReconError
from recon.surface import TriangleMesh

_READABLE = (".stl", ".ply", ".obj")
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
        raise ReconError(f"mesh {path}: no triangle could be read, expected STL, PLY or OBJ")
    try:
        return TriangleMesh(np.asarray(mesh.vertices), np.asarray(mesh.triangles))
    except ReconError as error:
        raise ReconError(f"{path}: {error}") from error


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
