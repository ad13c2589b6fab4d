"""Laws of geometry that hold for any mesh, image and cloud."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from recon.back_projection import back_project
from recon.phantom_bone import long_bone_mesh
from recon.point_cloud import PointCloud
from recon.section import first_surface, section_segments_px, visible_line
from recon.surface import SurfaceDistance, TriangleMesh
from tracking.transforms import apply, from_rotation_vector

SIZE_PX = (220, 180)
SEEDS = range(8)


def random_rigid(rng) -> np.ndarray:
    return from_rotation_vector(rng.normal(0.0, 1.2, 3), rng.uniform(-800.0, 800.0, 3))


def random_view(rng) -> tuple[TriangleMesh, np.ndarray]:
    """A bone, and an image somewhere across it, of any direction and spacing."""
    mesh = long_bone_mesh(int(rng.integers(100)), length_mm=50.0, edge_mm=2.5)
    A_ct_pixel = from_rotation_vector(rng.normal(0.0, 1.2, 3), (0.0, 0.0, 0.0))
    A_ct_pixel[:3, :2] *= rng.uniform(0.08, 0.2, 2)
    A_ct_pixel[:3, 1] += rng.uniform(-0.05, 0.05) * A_ct_pixel[:3, 0]
    centre_px = np.append(rng.uniform((60.0, 60.0), (160.0, 140.0)), 0.0)
    A_ct_pixel[:3, 3] = mesh.vertices_mm.mean(axis=0) - A_ct_pixel[:3, :3] @ centre_px
    return mesh, A_ct_pixel


@pytest.mark.parametrize("seed", SEEDS)
def test_moving_bone_and_image_together_changes_nothing(seed):
    rng = np.random.default_rng(seed)
    mesh, A_ct_pixel = random_view(rng)
    T_other_ct = random_rigid(rng)
    moved = TriangleMesh(apply(T_other_ct, mesh.vertices_mm), mesh.faces)
    segments_px = section_segments_px(mesh, A_ct_pixel)
    assert len(segments_px) > 10
    np.testing.assert_allclose(
        section_segments_px(moved, T_other_ct @ A_ct_pixel), segments_px, atol=1e-6
    )
    line = visible_line(mesh, A_ct_pixel, SIZE_PX)
    moved_line = visible_line(moved, T_other_ct @ A_ct_pixel, SIZE_PX)
    np.testing.assert_allclose(moved_line.points_px, line.points_px, atol=1e-6)
    np.testing.assert_allclose(moved_line.incidence_rad, line.incidence_rad, atol=1e-6)


@pytest.mark.parametrize("seed", SEEDS)
def test_faces_turned_over_in_the_file_change_nothing(seed):
    mesh, A_ct_pixel = random_view(np.random.default_rng(seed))
    turned = TriangleMesh(mesh.vertices_mm, mesh.faces[:, ::-1])
    line, same = (visible_line(m, A_ct_pixel, SIZE_PX) for m in (mesh, turned))
    np.testing.assert_allclose(same.points_px, line.points_px, atol=1e-9)


@pytest.mark.parametrize("seed", SEEDS)
def test_seen_from_the_other_side_the_image_is_mirrored(seed):
    mesh, A_ct_pixel = random_view(np.random.default_rng(seed))
    width = SIZE_PX[0]
    A_pixel_mirrored = np.diag((-1.0, 1.0, 1.0, 1.0))
    A_pixel_mirrored[0, 3] = width - 1.0
    v_px, incidence_rad = first_surface(mesh, A_ct_pixel, SIZE_PX)
    mirrored = first_surface(mesh, A_ct_pixel @ A_pixel_mirrored, SIZE_PX)
    np.testing.assert_allclose(mirrored[0][::-1], v_px, atol=1e-6)
    # A column through a corner of the section may take either side's slope.
    is_same = np.isclose(mirrored[1][::-1], incidence_rad, atol=1e-6, equal_nan=True)
    assert np.count_nonzero(~is_same) <= 2


@pytest.mark.parametrize("seed", SEEDS)
def test_visible_points_lie_on_the_surface_one_per_column(seed):
    mesh, A_ct_pixel = random_view(np.random.default_rng(seed))
    line = visible_line(mesh, A_ct_pixel, SIZE_PX)
    u, v = line.points_px.T
    assert len(u) > 0 and (np.diff(u) >= 1.0).all() and (u == u.astype(int)).all()
    assert u.min() >= 0 and u.max() <= SIZE_PX[0] - 1 and v.min() >= 0 and v.max() <= SIZE_PX[1] - 1
    assert line.incidence_rad.min() >= 0.0
    assert line.incidence_rad.max() <= math.radians(85.0)
    points_ct_mm = back_project(line.points_px, A_ct_pixel)
    assert SurfaceDistance(mesh).distances_mm(points_ct_mm).max() < 1e-7


@pytest.mark.parametrize("seed", SEEDS)
def test_nothing_lies_between_transducer_and_visible_point(seed):
    mesh, A_ct_pixel = random_view(np.random.default_rng(seed))
    line = visible_line(mesh, A_ct_pixel, SIZE_PX)
    starts, ends = np.moveaxis(section_segments_px(mesh, A_ct_pixel), 1, 0)
    for u, v in line.points_px[::9]:
        is_crossed = (np.minimum(starts, ends)[:, 0] < u) & (np.maximum(starts, ends)[:, 0] > u)
        along = (u - starts[is_crossed, 0]) / (ends - starts)[is_crossed, 0]
        crossings_v = starts[is_crossed, 1] + along * (ends - starts)[is_crossed, 1]
        assert not ((crossings_v > 0.0) & (crossings_v < v - 1e-6)).any()


@pytest.mark.parametrize("seed", SEEDS)
def test_distance_moves_with_the_mesh_and_never_outruns_the_point(seed):
    rng = np.random.default_rng(seed)
    mesh = long_bone_mesh(int(rng.integers(100)), length_mm=30.0, edge_mm=3.0)
    points_mm = mesh.vertices_mm[::5] + rng.normal(0.0, 8.0, mesh.vertices_mm[::5].shape)
    T_other_ct = random_rigid(rng)
    surface = SurfaceDistance(mesh)
    moved = SurfaceDistance(TriangleMesh(apply(T_other_ct, mesh.vertices_mm), mesh.faces))
    distances_mm = surface.distances_mm(points_mm)
    np.testing.assert_allclose(
        moved.distances_mm(apply(T_other_ct, points_mm)), distances_mm, atol=1e-8
    )
    steps_mm = np.linalg.norm(np.diff(points_mm, axis=0), axis=1)
    assert (np.abs(np.diff(distances_mm)) <= steps_mm + 1e-9).all()


@pytest.mark.parametrize("seed", SEEDS)
def test_order_and_grouping_of_insertions_do_not_matter(seed):
    rng = np.random.default_rng(seed)
    points_mm, confidence = rng.normal(0.0, 6.0, (4000, 3)), rng.random(4000)
    at_once, shuffled = PointCloud(0.7), PointCloud(0.7)
    at_once.insert(points_mm, confidence, sweep=1)
    for part in np.array_split(rng.permutation(4000), int(rng.integers(1, 60))):
        shuffled.insert(points_mm[part], confidence[part], sweep=1)

    def table(cloud):
        snapshot = cloud.snapshot()
        rows = np.column_stack((snapshot.points_mm, snapshot.count, snapshot.confidence))
        return rows[np.lexsort(np.floor(snapshot.points_mm / 0.7).T)]

    np.testing.assert_allclose(table(shuffled), table(at_once), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("seed", SEEDS)
def test_undo_leaves_the_cloud_as_if_the_sweep_had_never_been(seed):
    """To the last bit, whatever overlaps, repeated, with snapshots and growth in between."""
    rng = np.random.default_rng(seed)
    cloud = PointCloud(0.7, reserved_voxels=int(rng.integers(64, 20_000)))
    kept = []  # (sweep, insertions)
    for sweep in range(1, 30):
        spread_mm = rng.uniform(2.0, 9.0)
        insertions = [
            (rng.normal(0.0, spread_mm, (n, 3)), rng.random(n), rng.normal(0.0, 1.0, 3))
            for n in rng.integers(1, 1500, int(rng.integers(1, 5)))
        ]
        for points_mm, confidence, towards in insertions:
            cloud.insert(points_mm, confidence, sweep, towards_probe=towards)
            if rng.random() < 0.3:
                cloud.snapshot()
        kept.append((sweep, insertions))
        while kept and rng.random() < 0.45:
            assert cloud.undo() == kept.pop()[0]
    without = PointCloud(0.7)
    for sweep, insertions in kept:
        for points_mm, confidence, towards in insertions:
            without.insert(points_mm, confidence, sweep, towards_probe=towards)
    _assert_same_cloud(cloud, without)
    for sweep, _ in reversed(kept):
        assert cloud.undo() == without.undo() == sweep
        _assert_same_cloud(cloud, without)
    assert cloud.n_voxels == 0


def _assert_same_cloud(cloud: PointCloud, other: PointCloud) -> None:
    snapshot, expected = cloud.snapshot(), other.snapshot()
    for field in dataclasses.fields(snapshot):
        np.testing.assert_array_equal(
            getattr(snapshot, field.name), getattr(expected, field.name), field.name
        )
    np.testing.assert_array_equal(cloud.first_points_mm, other.first_points_mm)
