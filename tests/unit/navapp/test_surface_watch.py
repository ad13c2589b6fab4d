from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial import cKDTree

from navapp.surface_watch import SEEN_WITHIN_MM, SurfaceWatch
from recon.surface import SurfaceDistance
from tests.support.bones import tube


def test_growing_gives_what_all_at_once_gives() -> None:
    mesh = tube(10.0)
    rng = np.random.default_rng(0)
    cloud_mm = (mesh.vertices_mm[:3000] + rng.normal(scale=0.3, size=(3000, 3))).astype(np.float32)
    watch = SurfaceWatch(mesh)
    for n in (0, 100, 1500, 3000):
        state = watch.update(cloud_mm[:n], 0)
    distances_mm = SurfaceDistance(mesh).distances_mm(cloud_mm)
    is_seen = cKDTree(cloud_mm).query(mesh.vertices_mm)[0] <= SEEN_WITHIN_MM
    assert state.median_mm == pytest.approx(np.median(distances_mm), abs=0.02)
    np.testing.assert_array_equal(state.n_points > 0, is_seen)
    assert state.seen_fraction == pytest.approx(is_seen.mean(), abs=0.05)


def test_another_generation_begins_anew() -> None:
    mesh = tube(10.0)
    watch = SurfaceWatch(mesh)
    points_mm = mesh.vertices_mm[:500].astype(np.float32)
    assert watch.update(points_mm, 0).seen_fraction > 0.0
    assert watch.update(points_mm[:0], 1).seen_fraction == 0.0
