"""The mesh's checks, and exact distances against a slow twin."""

from __future__ import annotations

import numpy as np
import pytest

from recon.errors import ReconError
from recon.kernels import squared_distance_to_triangle
from recon.phantom_bone import long_bone_mesh
from recon.surface import SurfaceDistance, TriangleMesh

TETRAHEDRON_MM = np.array([(0.0, 0.0, 0.0), (3.0, 0.0, 0.0), (0.0, 3.0, 0.0), (0.0, 0.0, 3.0)])
OUTWARD = np.array([(0, 2, 1), (0, 1, 3), (0, 3, 2), (1, 2, 3)])


def distance_twin_mm(point, triangle) -> float:
    """Dense barycentric search, refined around the best place."""
    best, centre, width = np.inf, np.array((1 / 3, 1 / 3)), 1.0
    for _ in range(24):
        steps = np.linspace(-width, width, 21)
        s, t = (centre[:, None] + steps).clip(0.0, 1.0)
        s, t = (grid.ravel() for grid in np.meshgrid(s, t))
        scale = np.maximum(s + t, 1.0)
        s, t = s / scale, t / scale
        corner, b, c = triangle[0], triangle[1] - triangle[0], triangle[2] - triangle[0]
        distances = np.linalg.norm(point - (corner + s[:, None] * b + t[:, None] * c), axis=1)
        k = distances.argmin()
        best, centre, width = min(best, distances[k]), np.array((s[k], t[k])), 0.4 * width
    return best


def test_distance_to_triangle_equals_twin():
    rng = np.random.default_rng(0)
    for _ in range(60):
        triangle = rng.uniform(-5.0, 5.0, (3, 3)) + 1000.0
        point = 1000.0 + rng.uniform(-8.0, 8.0, 3)
        distance = np.sqrt(squared_distance_to_triangle(point, triangle))
        assert distance == pytest.approx(distance_twin_mm(point, triangle), abs=1e-5)


def test_point_on_a_large_triangle_has_no_distance():
    triangle = np.array([(500.0, 0.0, 1500.0), (900.0, 20.0, 1500.0), (500.0, 300.0, 1480.0)])
    point = 0.2 * triangle[0] + 0.3 * triangle[1] + 0.5 * triangle[2]
    assert np.sqrt(squared_distance_to_triangle(point, triangle)) < 1e-9


@pytest.mark.parametrize(
    ("triangle", "expected_mm"),
    [
        ([(0, 0, 0), (4, 0, 0), (2, 0, 0)], 3.0),  # three corners in a line
        ([(0, 0, 0), (4, 0, 0), (4, 0, 0)], 3.0),  # two in one place
        ([(3, 0, 0), (3, 0, 0), (3, 0, 0)], np.sqrt(13.0)),  # all in one place
    ],
)
def test_triangle_without_area_counts_as_its_edges(triangle, expected_mm):
    squared = squared_distance_to_triangle(np.array((1.0, 3.0, 0.0)), np.array(triangle, float))
    assert np.sqrt(squared) == pytest.approx(expected_mm)


def test_distances_equal_brute_force_near_and_far():
    rng = np.random.default_rng(1)
    mesh = long_bone_mesh(seed=2, length_mm=40.0, edge_mm=4.0)
    points_mm = np.concatenate(
        [
            mesh.vertices_mm[::11] + rng.normal(0.0, spread_mm, mesh.vertices_mm[::11].shape)
            for spread_mm in (0.0, 1.0, 60.0)
        ]
    )
    triangles_mm = mesh.triangles_mm()
    expected_mm = [
        min(np.sqrt(squared_distance_to_triangle(point, triangle)) for triangle in triangles_mm)
        for point in points_mm
    ]
    np.testing.assert_allclose(
        SurfaceDistance(mesh).distances_mm(points_mm), expected_mm, atol=1e-9
    )


@pytest.mark.parametrize("n_faces", range(1, 12))
def test_every_number_of_faces_makes_a_tree(n_faces):
    rng = np.random.default_rng(n_faces)
    vertices_mm = rng.uniform(-10.0, 10.0, (3 * n_faces, 3))
    mesh = TriangleMesh(vertices_mm, np.arange(3 * n_faces).reshape(-1, 3))
    points_mm = rng.uniform(-20.0, 20.0, (50, 3))
    expected_mm = [
        min(np.sqrt(squared_distance_to_triangle(point, t)) for t in mesh.triangles_mm())
        for point in points_mm
    ]
    np.testing.assert_allclose(
        SurfaceDistance(mesh).distances_mm(points_mm), expected_mm, atol=1e-9
    )


def test_the_triangle_named_is_the_nearest():
    mesh = long_bone_mesh(length_mm=40.0, edge_mm=3.0)
    points = mesh.vertices_mm[::7] + np.random.default_rng(4).normal(0.0, 5.0, (1, 3))
    surface = SurfaceDistance(mesh)
    distances_mm, triangles_mm = surface.nearest_triangles_mm(points)
    np.testing.assert_array_equal(distances_mm, surface.distances_mm(points))
    to_named = [
        squared_distance_to_triangle(p, t) for p, t in zip(points, triangles_mm, strict=True)
    ]
    np.testing.assert_allclose(np.sqrt(to_named), distances_mm, rtol=1e-12)
    assert surface.diagonal_mm == pytest.approx(np.linalg.norm(np.ptp(mesh.vertices_mm, axis=0)))


def test_no_points_have_no_distances():
    assert SurfaceDistance(TriangleMesh(TETRAHEDRON_MM, OUTWARD)).distances_mm([]).shape == (0,)


def test_distance_refuses_what_is_not_finite():
    surface = SurfaceDistance(TriangleMesh(TETRAHEDRON_MM, OUTWARD))
    with pytest.raises(ReconError, match="not finite"):
        surface.distances_mm([(0.0, np.nan, 0.0)])


@pytest.mark.parametrize("faces", [OUTWARD, OUTWARD[:, ::-1]])
def test_faces_end_up_facing_outwards(faces):
    mesh = TriangleMesh(TETRAHEDRON_MM + 400.0, faces)
    a, b, c = np.moveaxis(mesh.triangles_mm(), 1, 0)
    outwards = (a + b + c) / 3.0 - mesh.vertices_mm.mean(axis=0)
    assert (np.einsum("ij,ij->i", np.cross(b - a, c - a), outwards) > 0.0).all()


def test_mesh_is_a_read_only_copy():
    vertices_mm = TETRAHEDRON_MM.copy()
    mesh = TriangleMesh(vertices_mm, OUTWARD)
    vertices_mm[:] = 7.0
    assert mesh.vertices_mm[0, 0] == 0.0
    with pytest.raises(ValueError, match="read-only"):
        mesh.faces[0, 0] = 1


@pytest.mark.parametrize(
    ("vertices_mm", "faces", "message"),
    [
        (TETRAHEDRON_MM, np.empty((0, 3), int), r"expected \(F, 3\) with F >= 1"),
        (TETRAHEDRON_MM, [(0, 1, 4)], "expected 0 to 3"),
        (TETRAHEDRON_MM, [(0, -1, 2)], "expected 0 to 3"),
        (TETRAHEDRON_MM[:, :2], OUTWARD, r"expected \(V, 3\)"),
        (np.where(TETRAHEDRON_MM == 3.0, np.inf, TETRAHEDRON_MM), OUTWARD, "not finite"),
    ],
)
def test_what_is_no_mesh_is_refused(vertices_mm, faces, message):
    with pytest.raises(ReconError, match=message):
        TriangleMesh(vertices_mm, faces)
