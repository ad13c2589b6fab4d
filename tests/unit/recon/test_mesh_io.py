"""Files: round trips, what is in a cloud's file, and plain words for what cannot be read."""

from __future__ import annotations

import numpy as np
import open3d
import pytest

from recon.errors import ReconError
from recon.mesh_io import (
    read_cloud,
    read_mesh,
    surface_of_cloud,
    write_cloud_ply,
    write_mesh,
)
from recon.phantom_bone import long_bone_mesh
from recon.point_cloud import PointCloud


@pytest.fixture(scope="module")
def mesh():
    return long_bone_mesh(length_mm=30.0, edge_mm=3.0)


@pytest.fixture
def cloud():
    rng = np.random.default_rng(0)
    cloud = PointCloud()
    cloud.insert(rng.normal((0.0, 0.0, 1500.0), 20.0, (500, 3)), rng.random(500), sweep=7)
    return cloud.snapshot()


def test_ply_round_trip_is_exact(tmp_path, mesh):
    write_mesh(tmp_path / "bone.ply", mesh)
    read = read_mesh(tmp_path / "bone.ply")
    np.testing.assert_array_equal(read.vertices_mm, mesh.vertices_mm)
    np.testing.assert_array_equal(read.faces, mesh.faces)


def test_stl_comes_back_with_shared_vertices(tmp_path, mesh):
    write_mesh(tmp_path / "bone.STL", mesh)
    read = read_mesh(tmp_path / "bone.STL")
    assert len(read.vertices_mm) == len(mesh.vertices_mm)
    assert len(read.faces) == len(mesh.faces)
    # STL holds float32: a ten-thousandth of a millimetre at 1,000 mm.
    centre_mm = read.triangles_mm().mean(axis=(0, 1))
    np.testing.assert_allclose(centre_mm, mesh.triangles_mm().mean(axis=(0, 1)), atol=1e-4)


def test_obj_is_read(tmp_path):
    path = tmp_path / "triangle.obj"
    path.write_text("v 0 0 0\nv 2 0 0\nv 0 2 0\nf 1 2 3\n")
    assert read_mesh(path).faces.tolist() == [[0, 1, 2]]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("missing.stl", None, "missing.stl: no such file, expected STL, PLY or OBJ"),
        ("bone.vtk", b"x", "suffix is '.vtk', expected .stl or .ply or .obj"),
        ("empty.stl", b"", "empty.stl: is empty"),
        ("empty.ply", b"\n", "empty.ply: is empty"),
        ("binary.stl", b"title".ljust(84, b"\0"), "binary.stl: is empty"),
        ("ascii.stl", b"solid a\nendsolid a\n", "ascii.stl: is empty"),
        ("text.stl", b"this is no mesh", "text.stl: no triangle could be read"),
        ("cut.ply", b"ply\nformat ascii 1.0\n", "cut.ply: no triangle could be read"),
        ("points.obj", b"v 0 0 0\nv 1 0 0\n", "points.obj: no triangle could be read"),
        ("flat.obj", b"v 0 0 0\nv 0 0 0\nv 1 0 0\nf 1 2 3\n", "no triangle could be read"),
        ("nan.obj", b"v 0 0 nan\nv 1 0 0\nv 0 1 0\nf 1 2 3\n", "nan.obj: .*not finite"),
    ],
)
def test_unreadable_mesh_is_named(tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ReconError, match=message) as error:
        read_mesh(tmp_path / name)
    assert "\n" not in str(error.value)


def test_cloud_file_holds_everything(tmp_path, cloud):
    distance_mm = np.arange(len(cloud.points_mm)) / 10.0
    write_cloud_ply(tmp_path / "cloud.ply", cloud, "ct", distance_mm)
    read = open3d.t.io.read_point_cloud(str(tmp_path / "cloud.ply")).point
    np.testing.assert_array_equal(read["positions"].numpy(), cloud.points_mm)
    np.testing.assert_array_equal(read["confidence"].numpy()[:, 0], np.float32(cloud.confidence))
    np.testing.assert_array_equal(read["sweep"].numpy()[:, 0], cloud.sweep)
    np.testing.assert_array_equal(read["distance"].numpy()[:, 0], np.float32(distance_mm))


def test_cloud_file_says_frame_and_unit(tmp_path, cloud):
    write_cloud_ply(tmp_path / "cloud.ply", cloud, "reference", None)
    header = (tmp_path / "cloud.ply").read_bytes().split(b"end_header\n")[0].decode().split("\n")
    assert "comment frame reference" in header
    assert "comment unit mm" in header
    assert not any("distance" in line for line in header)


def test_a_cloud_comes_back_with_its_frame(tmp_path, cloud):
    write_cloud_ply(tmp_path / "cloud.ply", cloud, "reference", None)
    points_mm, frame = read_cloud(tmp_path / "cloud.ply")
    np.testing.assert_array_equal(points_mm, cloud.points_mm)
    assert frame == "reference"


def test_what_is_no_cloud_is_named(tmp_path, mesh):
    (tmp_path / "text.ply").write_text("nothing")
    for name, message in (
        ("none.ply", "none.ply: cannot be read: No such file"),
        ("text.ply", "no point could be read"),
        ("cloud.xyz", "suffix is '.xyz', expected .ply"),
    ):
        with pytest.raises(ReconError, match=message):
            read_cloud(tmp_path / name)


def test_empty_cloud_is_a_file_too(tmp_path):
    write_cloud_ply(tmp_path / "cloud.ply", PointCloud().snapshot(), "ct", None)
    assert b"element vertex 0\n" in (tmp_path / "cloud.ply").read_bytes()


def test_failed_writing_leaves_nothing_behind(tmp_path, mesh, cloud):
    (tmp_path / "cloud.ply").mkdir()  # a folder has the name already
    with pytest.raises(ReconError, match=r"cloud\.ply: cannot be written"):
        write_cloud_ply(tmp_path / "cloud.ply", cloud, "ct", None)
    with pytest.raises(ReconError, match=r"bone\.stl: cannot be written"):
        write_mesh(tmp_path / "nowhere" / "bone.stl", mesh)
    assert [path.name for path in tmp_path.iterdir()] == ["cloud.ply"]


def test_rewriting_replaces_the_whole_file(tmp_path, mesh):
    path = tmp_path / "bone.ply"
    path.write_text("an older file\n" * 10_000)
    write_mesh(path, mesh)
    assert len(read_mesh(path).faces) == len(mesh.faces)
    assert [entry.name for entry in tmp_path.iterdir()] == ["bone.ply"]


def test_mesh_of_another_format_is_not_written(tmp_path, mesh):
    with pytest.raises(ReconError, match=r"suffix is '.obj', expected .stl or .ply"):
        write_mesh(tmp_path / "bone.obj", mesh)


def test_a_surface_through_a_cloud_lies_on_it_and_is_open_where_nobody_looked():
    """Half a ball of 20 mm: every vertex on it, nearly all of its area, and no lid."""
    rng = np.random.default_rng(0)
    points_mm = rng.normal(size=(20_000, 3))
    points_mm *= 20.0 / np.linalg.norm(points_mm, axis=1, keepdims=True)
    surface = surface_of_cloud(points_mm[points_mm[:, 2] > 0.0])
    radii_mm = np.linalg.norm(surface.vertices_mm, axis=1)
    assert np.abs(radii_mm - 20.0).max() < 0.1
    a, b, c = np.moveaxis(surface.triangles_mm(), 1, 0)
    area_mm2 = 0.5 * np.linalg.norm(np.cross(b - a, c - a), axis=1).sum()
    assert area_mm2 == pytest.approx(2.0 * np.pi * 20.0**2, rel=0.05)


@pytest.mark.parametrize(
    ("points_mm", "said"),
    [
        (np.zeros((3, 3)), "a surface of 3 points, expected"),
        (100.0 * np.arange(300.0).reshape(100, 3), "do not span a surface"),
        (50.0 * np.indices((5, 5, 4)).reshape(3, -1).T, "too far apart for a surface"),
    ],
)
def test_no_surface_is_made_up(points_mm, said):
    with pytest.raises(ReconError, match=said):
        surface_of_cloud(points_mm)
