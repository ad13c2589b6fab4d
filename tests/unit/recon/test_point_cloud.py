"""The voxel table against `np.unique`, and what its views promise."""

from __future__ import annotations

import dataclasses
import threading

import numpy as np
import pytest

from recon.cloud_kernels import BUCKETS_PER_CUBE
from recon.errors import ReconError
from recon.point_cloud import CHUNK_ROWS, PointCloud
from recon.surface import SurfaceDistance, TriangleMesh


def twin(points_mm, confidence, voxel_size_mm):
    """(mean points, counts, mean confidences, first points) in order of first hit."""
    voxels = np.floor(points_mm / voxel_size_mm).astype(np.int64)
    _, first, voxel = np.unique(voxels, axis=0, return_index=True, return_inverse=True)
    order = np.argsort(first)
    count = np.bincount(voxel)
    values = np.column_stack((points_mm, confidence))
    means = np.stack([np.bincount(voxel, column) for column in values.T], axis=1) / count[:, None]
    return means[order, :3], count[order], means[order, 3], points_mm[first[order]]


def scan(rng, n=30_000, spread_mm=9.0):
    return rng.normal((180.0, -340.0, 1500.0), spread_mm, (n, 3)), rng.random(n)


def filled(insertions, voxel_size_mm=0.5):
    cloud = PointCloud(voxel_size_mm, reserved_voxels=1 << 16)
    for points_mm, confidence, sweep in insertions:
        cloud.insert(points_mm, confidence, sweep)
    return cloud


def assert_same(snapshot, other):
    for field in dataclasses.fields(snapshot):
        np.testing.assert_array_equal(getattr(snapshot, field.name), getattr(other, field.name))


@pytest.mark.parametrize("voxel_size_mm", [0.5, 1.3])
def test_cloud_equals_twin_after_many_insertions(voxel_size_mm):
    points_mm, confidence = scan(np.random.default_rng(0))
    cloud = PointCloud(voxel_size_mm)
    n_new = sum(
        cloud.insert(points_mm[k : k + 257], confidence[k : k + 257], sweep=1)
        for k in range(0, len(points_mm), 257)
    )
    means_mm, count, mean_confidence, first_mm = twin(points_mm, confidence, voxel_size_mm)
    snapshot = cloud.snapshot()
    assert n_new == cloud.n_voxels == len(count)
    np.testing.assert_array_equal(snapshot.count, count)
    np.testing.assert_allclose(snapshot.points_mm, means_mm, rtol=1e-12)
    np.testing.assert_allclose(snapshot.confidence, mean_confidence, rtol=1e-12)
    np.testing.assert_array_equal(cloud.first_points_mm, first_mm.astype(np.float32))


def test_one_insertion_larger_than_the_table():
    points_mm, confidence = scan(np.random.default_rng(1), n=120_000, spread_mm=40.0)
    cloud = PointCloud()
    cloud.insert(points_mm, confidence, sweep=1)
    np.testing.assert_array_equal(cloud.snapshot().count, twin(points_mm, confidence, 0.5)[1])


def test_tables_grow_beyond_what_was_reserved():
    points_mm, confidence = scan(np.random.default_rng(2))
    cloud = PointCloud(reserved_voxels=50)
    for part in np.array_split(np.arange(len(points_mm)), 40):
        cloud.insert(points_mm[part], confidence[part], sweep=1)
    assert cloud.n_voxels > 200 * 50
    assert_same(cloud.snapshot(), filled([(points_mm, confidence, 1)]).snapshot())
    np.testing.assert_array_equal(cloud.snapshot().count, twin(points_mm, confidence, 0.5)[1])


def test_blocks_that_share_a_bucket_are_told_apart():
    """The fewest buckets there can be for two thousand blocks."""
    points_mm, confidence = scan(np.random.default_rng(9), n=3_000, spread_mm=30.0)
    cloud = PointCloud(reserved_voxels=4_000)
    cloud._table = cloud._table._replace(heads=np.zeros(BUCKETS_PER_CUBE, np.int32))
    cloud.insert(points_mm[:2_000], confidence[:2_000], sweep=1)
    cloud.insert(points_mm, confidence, sweep=2)
    assert cloud._fill.n_blocks > 30 * BUCKETS_PER_CUBE
    cloud.undo()
    count = twin(points_mm[:2_000], confidence[:2_000], 0.5)[1]
    np.testing.assert_array_equal(cloud.snapshot().count, count)


def test_neighbouring_voxels_across_the_origin_are_different():
    cloud = PointCloud(1.0)
    corners = np.array([(x, y, z) for x in (-1, 0) for y in (-1, 0) for z in (-1, 0)]) + 0.5
    assert cloud.insert(corners, np.ones(8), sweep=1) == 8
    assert cloud.insert(corners + 0.4, np.ones(8), sweep=1) == 0


def test_voxel_keeps_the_sweep_that_hit_it_first():
    cloud = PointCloud()
    cloud.insert([(1.0, 1.0, 1.0)], [1.0], sweep=3)
    cloud.insert([(1.1, 1.1, 1.1), (9.0, 9.0, 9.0)], [0.0, 0.5], sweep=4)
    snapshot = cloud.snapshot()
    assert snapshot.sweep.tolist() == [3, 4]
    assert snapshot.last_sweep.tolist() == [4, 4]
    assert snapshot.confidence.tolist() == [0.5, 0.5]
    assert snapshot.count.tolist() == [2, 1]


def test_earlier_views_and_snapshots_stay_as_they_were():
    rng = np.random.default_rng(3)
    cloud = PointCloud()
    cloud.insert(*scan(rng, n=500), sweep=1)
    view, snapshot = cloud.first_points_mm, cloud.snapshot()
    view_then, count_then = view.copy(), snapshot.count.copy()
    cloud.insert(*scan(rng, n=60_000), sweep=1)
    assert cloud.n_voxels > 20_000  # has grown
    np.testing.assert_array_equal(view, view_then)
    np.testing.assert_array_equal(cloud.first_points_mm[: len(view)], view_then)
    np.testing.assert_array_equal(snapshot.count, count_then)


def test_views_and_snapshots_are_read_only():
    cloud = PointCloud()
    cloud.insert([(1.0, 2.0, 3.0)], [1.0], sweep=1)
    for array in (cloud.first_points_mm, cloud.snapshot().points_mm, cloud.snapshot().sweep):
        assert not array.flags.writeable


def test_no_points_change_nothing():
    cloud = PointCloud()
    assert cloud.insert(np.empty((0, 3)), np.empty(0), sweep=1) == 0
    assert cloud.snapshot().points_mm.shape == (0, 3)


@pytest.mark.parametrize(
    ("point_mm", "confidence", "message"),
    [
        ((0.0, np.nan, 0.0), 1.0, "not finite"),
        ((0.0, np.inf, 0.0), 1.0, "not finite"),
        ((0.0, 1.0, 0.0), np.nan, "not finite"),
        ((0.0, 0.0, -6e5), 1.0, "600000 mm, expected at most 524288 mm"),
    ],
)
def test_bad_point_is_refused_before_anything_is_inserted(point_mm, confidence, message):
    cloud = PointCloud()
    with pytest.raises(ReconError, match=message):
        cloud.insert([(1.0, 1.0, 1.0), point_mm], [1.0, confidence], sweep=1)
    assert cloud.n_voxels == 0


def test_voxel_without_size_is_refused():
    with pytest.raises(ReconError, match="expected more than 0 mm"):
        PointCloud(0.0)


def test_an_earlier_sweep_is_refused():
    cloud = filled([([(1.0, 1.0, 1.0)], [1.0], 3)])
    with pytest.raises(ReconError, match="sweep 2 after sweep 3"):
        cloud.insert([(1.0, 1.0, 1.0)], [1.0], sweep=2)
    assert cloud.snapshot().count.tolist() == [1]


def test_directions_towards_the_probe_are_averaged():
    cloud = PointCloud(1.0)
    points_mm = [(0.2, 0.2, 0.2), (0.4, 0.4, 0.4)]
    cloud.insert(points_mm, [1.0, 1.0], 1, towards_probe=[(0.0, 0.0, 1.0), (0.0, 1.0, 0.0)])
    cloud.insert(points_mm, [1.0, 1.0], 1, towards_probe=(0.0, 0.0, 1.0))
    np.testing.assert_allclose(cloud.snapshot().towards_probe, [(0.0, 0.25, 0.75)])
    with pytest.raises(ReconError, match="2 points with 2 confidences and 3 directions"):
        cloud.insert(points_mm, [1.0, 1.0], 1, towards_probe=np.eye(3))


def test_distance_is_that_of_the_first_point_and_measured_once():
    square = TriangleMesh([(0, 0, 0), (9, 0, 0), (9, 9, 0), (0, 9, 0)], [(0, 1, 2), (0, 2, 3)])
    cloud = PointCloud(1.0)
    cloud.insert([(8.5, 1.0, 5.2)], [1.0], 1)
    points_mm = [(3.1, 3.1, 2.25), (3.2, 3.2, 2.75), (3.1, 3.1, 0.5), (8.5, 1.0, 5.2)]
    cloud.insert(points_mm, np.ones(4), 1, surface=SurfaceDistance(square))
    np.testing.assert_array_equal(cloud.first_distances_mm, np.float32((np.nan, 2.25, 0.5)))
    np.testing.assert_array_equal(cloud.snapshot().distance_mm, cloud.first_distances_mm)


def test_views_taken_before_an_undo_stay_as_they_were():
    rng = np.random.default_rng(5)
    cloud = filled([(*scan(rng, 900), 1), (*scan(rng, 900), 2)])
    view = cloud.first_points_mm
    then = view.copy()
    n_left = filled([(*scan(np.random.default_rng(5), 900), 1)]).n_voxels
    assert cloud.undo() == 2
    cloud.insert(*scan(rng, 4_000), sweep=3)
    np.testing.assert_array_equal(view, then)
    np.testing.assert_array_equal(cloud.first_points_mm[:n_left], then[:n_left])
    assert cloud.undone == (n_left,)


def test_undo_of_an_empty_cloud_says_so():
    cloud = PointCloud()
    assert cloud.undo() is None
    assert cloud.undone == ()


def test_changes_name_what_a_viewer_lacks():
    cloud = PointCloud(1.0)
    x = np.arange(3 * CHUNK_ROWS) + 0.5
    row_mm = np.column_stack((x, np.zeros_like(x), np.zeros_like(x)))
    cloud.insert(row_mm, np.ones(len(x)), 1)
    first = cloud.changes_since(0)
    assert (first.n_kept, first.n_voxels) == (3 * CHUNK_ROWS, 3 * CHUNK_ROWS)
    assert first.chunks.tolist() == [0, 1, 2]
    cloud.insert(row_mm[CHUNK_ROWS : CHUNK_ROWS + 5], np.ones(5), 2)
    assert cloud.changes_since(first.revision).chunks.tolist() == [1]
    assert cloud.rows(CHUNK_ROWS - 1, CHUNK_ROWS + 1).count.tolist() == [1, 2]
    seen = cloud.revision
    cloud.undo()
    after = cloud.changes_since(seen)
    assert (after.n_kept, after.chunks.tolist()) == (3 * CHUNK_ROWS, [1])
    assert cloud.rows(CHUNK_ROWS, CHUNK_ROWS + 1).count.tolist() == [1]
    cloud.insert(row_mm + np.array((0.0, 5.0, 0.0)), np.ones(len(x)), 3)
    cloud.undo()
    cloud.insert(row_mm[:9] - np.array((0.0, 5.0, 0.0)), np.ones(9), 4)
    again = cloud.changes_since(after.revision)
    assert (again.n_kept, again.n_voxels) == (3 * CHUNK_ROWS, 3 * CHUNK_ROWS + 9)
    assert again.chunks.tolist() == [3]


def test_snapshots_are_whole_while_the_cloud_is_written():
    """Every insertion adds 1 to every voxel: a torn copy would hold different counts."""
    points_mm, _ = scan(np.random.default_rng(6), 60_000, 20.0)
    points_mm = np.unique(np.floor(points_mm), axis=0) + 0.5
    cloud = PointCloud(1.0, reserved_voxels=1 << 16)
    confidence = np.ones(len(points_mm))
    cloud.insert(points_mm, confidence, 1)
    has_ended = threading.Event()

    def write():
        for k in range(300):
            cloud.insert(points_mm, confidence, 1 + k // 50)
        has_ended.set()

    writer = threading.Thread(target=write)
    writer.start()
    n_seen = 0
    while not has_ended.is_set():
        snapshot = cloud.snapshot()
        assert len(np.unique(snapshot.count)) == 1
        np.testing.assert_array_equal(snapshot.points_mm, points_mm)
        n_seen += 1
    writer.join()
    assert n_seen > 3
    assert cloud.snapshot().count[0] == 301
    for _ in range(5):
        cloud.undo()
    assert set(cloud.snapshot().count.tolist()) == {51}
