"""Sweeps, undo and what the window is told, against a scene that never had the sweep."""

from __future__ import annotations

import dataclasses
import threading

import numpy as np

from inference.postprocess import BoneLine
from navapp.scene import Scene
from navapp.state import DrawnCloud
from recon.back_projection import back_project
from recon.scan_speed import Pace
from recon.surface import SurfaceDistance, TriangleMesh
from tracking.calibration import Registration
from tracking.transforms import apply, from_rotation_vector, invert

# A surface at y = 3 mm that faces the transducer, at y = 0.
BONE = TriangleMesh([(0, 3, 0), (40, 3, 0), (40, 3, 40), (0, 3, 40)], [(0, 1, 2), (0, 2, 3)])
SHAPE = (100, 400)


def put(scene, z_mm, v_px=32.0, target="ct"):
    """An image across the bone at `z_mm`, its line 0.2 mm below the surface."""
    u = np.arange(50.0, 350.0)
    line = BoneLine(np.column_stack((u, np.full_like(u, v_px))), *2 * [np.ones(u.size, np.float32)])
    A_target_pixel = np.diag((0.1, 0.1, 1.0, 1.0))
    A_target_pixel[2, 3] = z_mm
    return scene.insert(line, A_target_pixel, target, SHAPE, t_s=z_mm / 10.0)


def assert_same(scene, other):
    snapshot, expected = scene.snapshot(), other.snapshot()
    for field in dataclasses.fields(snapshot):
        np.testing.assert_array_equal(
            getattr(snapshot, field.name), getattr(expected, field.name), field.name
        )
    np.testing.assert_array_equal(scene.first_points_mm, other.first_points_mm)
    np.testing.assert_array_equal(scene.coverage.vertex_views(), other.coverage.vertex_views())
    assert scene.coverage.seen_fraction() == other.coverage.seen_fraction()
    assert [f.n_points for f in scene.placed_frames] == [f.n_points for f in other.placed_frames]


def test_undo_takes_cloud_coverage_and_frames_back():
    scene, without = Scene(0.5, None, BONE), Scene(0.5, None, BONE)
    for z_mm in (5.0, 5.3, 5.6):
        put(scene, z_mm)
        put(without, z_mm)
    n_first = scene.n_voxels
    scene.stop_sweep()
    assert scene.start_sweep() == 2
    for z_mm in (5.5, 9.0):
        put(scene, z_mm)
    assert scene.n_voxels > n_first
    assert scene.coverage.seen_fraction() > without.coverage.seen_fraction()
    scene.stop_sweep()
    assert scene.undo_sweep() == 2
    assert scene.undone == (n_first,)
    assert_same(scene, without)
    assert scene.start_sweep() == 3
    put(scene, 20.0)
    put(without, 20.0)
    np.testing.assert_array_equal(scene.first_points_mm, without.first_points_mm)
    assert [scene.undo_sweep(), scene.undo_sweep(), scene.undo_sweep()] == [3, 1, None]
    assert (scene.n_voxels, scene.placed_frames) == (0, ())
    assert scene.coverage.seen_fraction() == 0.0


def test_undo_of_a_running_sweep_goes_on_with_a_new_one():
    scene = Scene(0.5, None, BONE)
    put(scene, 5.0)
    assert scene.undo_sweep() == 1
    put(scene, 9.0)
    assert set(scene.snapshot().sweep.tolist()) == {2}
    assert scene.start_sweep() == 2  # it has been running all the time


def test_a_sweep_without_an_image_is_not_undone_in_place_of_the_last():
    scene = Scene(0.5, None, BONE)
    put(scene, 5.0)
    scene.stop_sweep()
    assert scene.start_sweep() == 2
    assert scene.undo_sweep() == 1
    assert scene.n_voxels == 0


def test_insertion_off_changes_nothing_and_still_places_the_image():
    scene = Scene(0.5, None, BONE)
    scene.stop_sweep()
    placed = put(scene, 5.0)
    assert (placed.A_scene_pixel[2, 3], placed.sweep) == (5.0, None)
    assert (scene.is_inserting, scene.n_voxels, scene.placed_frames) == (False, 0, ())
    assert scene.speed is None


def test_distance_and_coverage_only_in_the_space_of_the_ct():
    scene = Scene(0.5, None, BONE)
    put(scene, 5.0)
    np.testing.assert_allclose(scene.first_distances_mm, 0.2, atol=1e-5)
    assert 0.0 < scene.coverage.seen_fraction() < 0.2
    elsewhere = Scene(0.5, None, BONE)
    put(elsewhere, 5.0, target="reference")
    assert np.isnan(elsewhere.first_distances_mm).all()
    assert elsewhere.coverage is None


def test_a_curved_array_looks_from_its_apex():
    """Each point along its own ray; along the columns all look the same way."""
    apex_px = np.array((200.0, -100.0))
    points_px = np.column_stack((np.arange(50.0, 350.0, 10.0), np.full(30, 30.0)))
    scenes = {}
    for kind, apex in (("columns", None), ("polar", tuple(apex_px))):
        line = BoneLine(points_px, *2 * [np.ones(30, np.float32)], apex)
        scenes[kind] = Scene(0.5, None, BONE)
        A_ct_pixel = np.diag((0.1, 0.1, 1.0, 1.0))
        A_ct_pixel[2, 3] = 5.0
        scenes[kind].insert(line, A_ct_pixel, "ct", SHAPE)
        empty = BoneLine(np.empty((0, 2)), *2 * [np.empty(0, np.float32)], apex)
        scenes[kind].insert(empty, A_ct_pixel, "ct", SHAPE)
    towards = scenes["polar"].snapshot().towards_probe
    truth = np.pad(apex_px - points_px, ((0, 0), (0, 1)))
    truth /= np.linalg.norm(truth, axis=1, keepdims=True)
    order = np.argsort(scenes["polar"].snapshot().points_mm[:, 0])
    np.testing.assert_allclose(towards[order], truth, atol=1e-6)
    along = scenes["columns"].snapshot().towards_probe
    np.testing.assert_allclose(along, np.tile((0.0, -1.0, 0.0), (30, 1)), atol=1e-6)


def test_speed_of_the_scan():
    scene = Scene(0.5, None)
    for z_mm in np.arange(0.0, 6.0, 0.5):
        put(scene, z_mm)
    assert scene.speed.pace is Pace.GOOD
    np.testing.assert_allclose((scene.speed.speed_mm_s, scene.speed.spacing_mm), (10.0, 0.5))
    scene.stop_sweep()
    assert scene.speed is None
    scene.start_sweep()
    assert scene.speed is None


def test_a_registration_moves_all_that_was_built_and_a_later_one_moves_it_on(tmp_path):
    T_ct_reference = from_rotation_vector((0.2, -0.1, 0.3), (1.0, 2.0, -3.0))
    later = from_rotation_vector((0.1, 0.0, 0.0), (0.0, 0.5, 0.0))
    scene = Scene(0.5, None, BONE)
    put(scene, 5.0, target="reference")
    scene.stop_sweep()
    scene.start_sweep()
    put(scene, 9.0, target="reference")
    before, places = scene.snapshot(), scene.placed_frames
    assert scene.frame == "reference"
    assert scene.coverage is None
    for T in (T_ct_reference, later):
        generation = scene.generation
        scene.register(Registration(T, tmp_path / "registration.toml", "hash"))
        after = scene.snapshot()
        assert (scene.frame, scene.generation) == ("ct", generation + 1)
        # Two old voxels may fall into one new one, which then holds their mean.
        apart_mm = np.linalg.norm(
            apply(T, before.points_mm)[:, None] - after.points_mm[None], axis=2
        ).min(axis=1)
        assert apart_mm.max() < 0.5
        assert np.median(apart_mm) < 1e-3
        distance_mm = SurfaceDistance(BONE).distances_mm(scene.first_points_mm.astype(float))
        np.testing.assert_allclose(scene.first_distances_mm, distance_mm, atol=1e-4)
        for placed, old in zip(scene.placed_frames, places, strict=True):
            np.testing.assert_allclose(placed.A_scene_pixel, T @ old.A_scene_pixel, atol=1e-9)
            assert placed.n_points == old.n_points
    assert set(scene.sweep_counts()) == {1, 2}
    np.testing.assert_allclose(scene.place(np.eye(4), "reference")[0], later, atol=1e-12)


def test_registered_where_it_lies_the_bone_is_seen(tmp_path):
    T_ct_reference = from_rotation_vector((0.2, -0.1, 0.3), (1.0, 2.0, -3.0))
    scene, in_ct = Scene(0.5, None, BONE), Scene(0.5, None, BONE)
    put(in_ct, 5.0)
    u = np.arange(50.0, 350.0)
    ones = np.ones(u.size, np.float32)
    line = BoneLine(np.column_stack((u, np.full_like(u, 32.0))), ones, ones)
    A_ct_pixel = in_ct.placed_frames[0].A_scene_pixel
    scene.insert(line, invert(T_ct_reference) @ A_ct_pixel, "reference", SHAPE, t_s=0.5)
    scene.register(Registration(T_ct_reference, tmp_path / "registration.toml", "hash"))
    assert scene.coverage.seen_fraction() == in_ct.coverage.seen_fraction() > 0.0
    assert np.median(scene.first_distances_mm) == np.float32(np.median(in_ct.first_distances_mm))


def test_a_line_that_comes_while_a_registration_is_accepted_moves_with_it(tmp_path, monkeypatch):
    """Its image is placed in the reference's frame; the registration arrives before its points."""
    registration = Registration(
        from_rotation_vector((0.2, -0.1, 0.3), (40.0, 2.0, -3.0)), tmp_path / "r.toml", "hash"
    )
    scene, expected = Scene(0.5, None, BONE), Scene(0.5, None, BONE)
    put(expected, 5.0, target="reference")
    expected.register(registration)
    accepting = threading.Thread(target=scene.register, args=(registration,))

    def back_project_late(points_px, A_scene_pixel):
        accepting.start()
        accepting.join(0.2)
        return back_project(points_px, A_scene_pixel)

    monkeypatch.setattr("navapp.scene.back_project", back_project_late)
    put(scene, 5.0, target="reference")
    accepting.join()
    assert_same(scene, expected)
    assert np.isfinite(scene.first_distances_mm).all()


def test_what_one_keeps_who_has_drawn_the_cloud_before():
    rows_mm = np.zeros((100, 3), np.float32)
    drawn = DrawnCloud(rows_mm[:60], (10, 40), generation=1)
    assert drawn.n_kept(DrawnCloud(rows_mm[:50], (10, 40), generation=1)) == 50
    assert drawn.n_kept(DrawnCloud(rows_mm[:50], (10,), generation=1)) == 40
    assert drawn.n_kept(DrawnCloud(rows_mm[:50], (), generation=1)) == 10
    assert drawn.n_kept(DrawnCloud(rows_mm[:50], (10, 40), generation=2)) == 0
    # A view from before an undo that is shown after it.
    assert DrawnCloud(rows_mm, (10,), generation=1).n_kept(drawn) == 40
