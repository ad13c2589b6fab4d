"""The voxel table against `np.unique`, and what its views promise."""

from __future__ import annotations

import numpy as np
import pytest

from recon import point_cloud
from recon.errors import ReconError
from recon.point_cloud import PointCloud


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


def test_table_grows_where_keys_collide(monkeypatch):
    # Without a cache, so that the kernel sees the limit: every second search then meets it.
    monkeypatch.setattr(point_cloud, "_MAX_PROBES", 2)
    kernel = point_cloud.numba.njit(point_cloud._insert.py_func)
    monkeypatch.setattr(point_cloud, "_insert", kernel)
    points_mm, confidence = scan(np.random.default_rng(2), n=3_000)
    cloud = PointCloud()
    cloud.insert(points_mm, confidence, sweep=1)
    assert len(cloud._slots) > 1 << 14
    np.testing.assert_array_equal(cloud.snapshot().count, twin(points_mm, confidence, 0.5)[1])


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
