"""Share of the surface that images reach, and from where."""

from __future__ import annotations

import math

import numpy as np
import pytest

from recon.coverage import SurfaceCoverage
from recon.phantom_bone import long_bone_mesh
from recon.surface import TriangleMesh

# Two triangles of 100 mm: far larger than the radius.
SQUARE = TriangleMesh([(0, 0, 0), (100, 0, 0), (100, 100, 0), (0, 100, 0)], [(0, 1, 2), (0, 2, 3)])

UP = (0.0, 0.0, 1.0)


def seen_fraction(mesh, points_mm, radius_mm=2.0, towards=UP):
    """Of one image that holds all the points."""
    coverage = SurfaceCoverage(mesh, radius_mm)
    coverage.add(points_mm, towards)
    return coverage.seen_fraction()


def face_normals(mesh):
    triangles_mm = mesh.triangles_mm()
    normals = np.cross(
        triangles_mm[:, 1] - triangles_mm[:, 0], triangles_mm[:, 2] - triangles_mm[:, 0]
    )
    return normals / np.linalg.norm(normals, axis=1)[:, None]


def test_disc_around_one_point():
    assert seen_fraction(SQUARE, [(50.0, 50.0, 0.0)], radius_mm=20.0) == pytest.approx(
        math.pi * 20.0**2 / 100.0**2, rel=0.1
    )


def test_half_of_a_coarse_square():
    grid = np.arange(0.0, 101.0, 1.0)
    x, y = (axis.ravel() for axis in np.meshgrid(grid[grid <= 48.0], grid))
    cloud_mm = np.column_stack((x, y, np.zeros_like(x)))
    assert seen_fraction(SQUARE, cloud_mm, radius_mm=2.0) == pytest.approx(0.5, abs=0.01)


def test_cloud_beyond_the_radius_sees_nothing():
    assert seen_fraction(SQUARE, [(50.0, 50.0, 2.1)], radius_mm=2.0) == 0.0


def test_empty_cloud_sees_nothing():
    assert seen_fraction(SQUARE, np.empty((0, 3))) == 0.0


def test_whole_bone():
    mesh = long_bone_mesh(length_mm=40.0)
    outwards = np.repeat(face_normals(mesh), 3, axis=0)
    corners_mm = mesh.triangles_mm().reshape(-1, 3)
    assert seen_fraction(mesh, corners_mm, towards=outwards) == pytest.approx(1.0, abs=1e-9)
    assert seen_fraction(mesh, corners_mm, towards=-outwards) < 0.1  # edges' far sides alone


def twin_views(mesh, images, radius_mm):
    """How many images see each face, every face against every point.

    Faces longer than the radius (a few, at the ends of the bone) are not divided here.
    """
    triangles_mm = mesh.triangles_mm()
    centres_mm = triangles_mm.mean(axis=1)
    normals = face_normals(mesh)
    views = np.zeros(len(centres_mm), int)
    steepest_deg = np.full(len(centres_mm), np.nan)
    for points_mm, towards in images:
        distances_mm = np.linalg.norm(centres_mm[:, None] - points_mm, axis=2).min(
            axis=1, initial=np.inf
        )
        angle_deg = np.degrees(np.arccos(normals @ towards))
        is_seen = (distances_mm <= radius_mm) & (angle_deg <= 85.0)
        views += is_seen
        steepest_deg = np.where(is_seen, np.fmin(steepest_deg, angle_deg), steepest_deg)
    areas = 0.5 * np.linalg.norm(
        np.cross(triangles_mm[:, 1] - triangles_mm[:, 0], triangles_mm[:, 2] - triangles_mm[:, 0]),
        axis=1,
    )
    return views, steepest_deg, areas / areas.sum()


def bone_images(rng, mesh, n):
    """Lines across the bone from several sides, a little beside it, and beyond its ends."""
    for _ in range(n):
        angle = rng.uniform(0.0, 1.5)
        towards = np.array((np.cos(angle), np.sin(angle), 0.0))
        z_mm = rng.uniform(mesh.vertices_mm[:, 2].min() - 4.0, mesh.vertices_mm[:, 2].max() + 4.0)
        is_near = np.abs(mesh.vertices_mm[:, 2] - z_mm) < 2.0
        is_near &= (mesh.vertices_mm - mesh.vertices_mm.mean(axis=0)) @ towards > 0.0
        yield mesh.vertices_mm[is_near] + rng.normal(0.0, 0.5, (is_near.sum(), 3)), towards


def test_views_and_angles_equal_twin():
    mesh = long_bone_mesh(seed=3, length_mm=40.0, edge_mm=1.5)
    images = list(bone_images(np.random.default_rng(0), mesh, 40))
    coverage = SurfaceCoverage(mesh, radius_mm=2.5)
    for points_mm, towards in images:
        coverage.add(points_mm, towards)
    views, steepest_deg, share = twin_views(mesh, images, 2.5)
    assert views.max() > 3 and 0.2 < (views > 0).mean() < 0.8
    for n in (1, 2, 5):
        assert coverage.seen_fraction(n) == pytest.approx(share[views >= n].sum(), abs=1e-3)
    is_steep = steepest_deg <= 40.0
    assert coverage.seen_fraction(2, math.radians(40.0)) == pytest.approx(
        share[(views >= 2) & is_steep].sum(), abs=1e-3
    )
    assert coverage.vertex_views().shape == (len(mesh.vertices_mm),)
    assert set(coverage.vertex_views()) <= set(views)
    at_vertices_deg = np.degrees(coverage.vertex_incidence_rad())
    np.testing.assert_array_equal(np.isnan(at_vertices_deg), coverage.vertex_views() == 0)
    assert np.nanmin(at_vertices_deg) == pytest.approx(np.nanmin(steepest_deg), abs=0.5)


def test_an_image_counts_once_and_only_from_outside():
    coverage = SurfaceCoverage(SQUARE, radius_mm=20.0)
    middle_mm = [(50.0, 50.0, 1.0), (50.0, 51.0, 1.0), (51.0, 50.0, 1.0)]
    coverage.add(middle_mm, UP)
    coverage.add([(50.0, 50.0, -1.0)], (0.0, 0.0, -1.0))  # from behind
    coverage.add([(500.0, 50.0, 0.0), (50.0, 50.0, -70.0), (-25.0, 0.0, 0.0)], UP)  # beside it
    coverage.add(np.empty((0, 3)), UP)
    once = coverage.seen_fraction()
    assert once == pytest.approx(math.pi * 20.0**2 / 100.0**2, rel=0.15)
    assert coverage.seen_fraction(min_views=2) == 0.0
    coverage.add(middle_mm, (0.0, 0.6, 0.8))
    assert coverage.seen_fraction(min_views=2) == once
    assert coverage.vertex_views().max() == 0  # the corners are further away


def test_live_share_is_that_of_the_finished_cloud():
    coverage = SurfaceCoverage(SQUARE)
    grid = np.arange(0.0, 48.5, 0.5)
    lines_mm = [np.column_stack((grid, np.full_like(grid, y), 0.0 * grid)) for y in grid]
    for line_mm in lines_mm:
        coverage.add(line_mm, UP)
    expected = seen_fraction(SQUARE, np.concatenate(lines_mm))
    assert 0.2 < expected == pytest.approx(coverage.seen_fraction(), abs=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_undo_leaves_what_was_before(seed):
    rng = np.random.default_rng(seed)
    mesh = long_bone_mesh(seed=3, length_mm=40.0, edge_mm=2.5)
    images = [list(bone_images(rng, mesh, 5)) for _ in range(4)]
    coverage, without = SurfaceCoverage(mesh), SurfaceCoverage(mesh)
    for sweep, sweep_images in enumerate(images):
        coverage.begin_sweep()
        for points_mm, towards in sweep_images:
            coverage.add(points_mm, towards)
            if sweep < 2:
                without.add(points_mm, towards)
    coverage.undo()
    coverage.undo()
    np.testing.assert_array_equal(coverage.vertex_views(), without.vertex_views())
    np.testing.assert_array_equal(coverage.vertex_incidence_rad(), without.vertex_incidence_rad())
    for _ in range(3):
        coverage.undo()
    assert coverage.seen_fraction() == 0.0
    assert np.isnan(coverage.vertex_incidence_rad()).all()
