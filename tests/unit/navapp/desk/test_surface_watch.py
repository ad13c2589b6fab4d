from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial import cKDTree

from inference.postprocess import BoneLine
from navapp.desk.surface_watch import SurfaceWatch
from navapp.scene import Scene
from recon.surface import SurfaceDistance, TriangleMesh
from tests.support.bones import tube

_AROUND_MM = 2.0


def _insert(scene: Scene, mesh: TriangleMesh, k: int) -> None:
    """The k-th image: a line across the upper side of the tube, up to 0.4 mm off it."""
    radius_mm = float(np.linalg.norm(mesh.vertices_mm[:, :2], axis=1).max())
    u = np.linspace(-0.5 * radius_mm, 0.5 * radius_mm, 60)
    v = radius_mm - np.sqrt(radius_mm**2 - u**2) + 0.4 * np.sin(3.0 * u)
    line = BoneLine(np.column_stack((u, v)), *2 * [np.ones(len(u), dtype=np.float32)])
    A_ct_pixel = np.eye(4)
    A_ct_pixel[1, 1] = -1.0  # down the image is away from the probe, which is above
    A_ct_pixel[:3, 3] = (0.0, radius_mm, -5.0 + 0.5 * k)
    scene.insert(line, A_ct_pixel, "ct", (40, 40), 0.05 * k)


def test_what_it_says_is_what_the_scene_knows() -> None:
    mesh = tube(10.0)
    scene, watch = Scene(0.5, None, mesh), SurfaceWatch(mesh)
    for k in range(20):
        _insert(scene, mesh, k)
        state = watch.look(scene)
    assert state is not None
    points_mm = scene.first_points_mm.astype(np.float64)
    distances_mm = SurfaceDistance(mesh).distances_mm(points_mm)
    assert state.median_mm == pytest.approx(np.median(distances_mm), abs=1e-4)
    assert scene.coverage is not None
    assert 0.0 < state.seen_fraction == scene.coverage.seen_fraction()
    np.testing.assert_array_equal(state.vertex_views, scene.coverage.vertex_views())
    assert state.vertex_views.max() > 1


def test_the_distance_of_a_vertex_is_the_mean_of_the_points_around_it() -> None:
    mesh = tube(10.0)
    scene, watch = Scene(0.5, None, mesh), SurfaceWatch(mesh)
    for k in range(10):
        _insert(scene, mesh, k)
        state = watch.look(scene)
    assert state is not None
    points_mm = scene.first_points_mm.astype(np.float64)
    distances_mm = SurfaceDistance(mesh).distances_mm(points_mm)
    around = cKDTree(points_mm).query_ball_point(mesh.vertices_mm, _AROUND_MM)
    expected_mm = [distances_mm[rows].mean() if rows else np.nan for rows in around]
    np.testing.assert_allclose(state.vertex_distance_mm, expected_mm, atol=1e-4)
    assert 0 < np.isfinite(expected_mm).sum() < len(expected_mm)


def test_an_undone_sweep_is_as_if_it_had_not_been() -> None:
    mesh = tube(10.0)
    scene, watch = Scene(0.5, None, mesh), SurfaceWatch(mesh)
    _insert(scene, mesh, 0)
    before = watch.look(scene)
    scene.stop_sweep()
    scene.start_sweep()
    _insert(scene, mesh, 10)
    watch.look(scene)
    scene.undo_sweep()
    after = watch.look(scene)
    assert before is not None
    assert after is not None
    assert (after.median_mm, after.seen_fraction) == (before.median_mm, before.seen_fraction)
    np.testing.assert_array_equal(after.vertex_distance_mm, before.vertex_distance_mm)
    np.testing.assert_array_equal(after.vertex_views, before.vertex_views)


def test_a_scene_that_is_elsewhere_has_nothing_to_say_of_the_surface() -> None:
    mesh = tube(10.0)
    assert SurfaceWatch(mesh).look(Scene(0.5, None, mesh)) is None


def test_an_empty_scene_has_no_median() -> None:
    mesh = tube(10.0)
    scene = Scene(0.5, None, mesh)
    _insert(scene, mesh, 0)
    scene.undo_sweep()
    state = SurfaceWatch(mesh).look(scene)
    assert state is not None
    assert np.isnan(state.median_mm)
    assert state.seen_fraction == 0.0
