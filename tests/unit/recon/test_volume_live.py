"""The volume without borders against the one with a grid: the same voxels."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from recon.errors import ReconError
from recon.volume import Compounding, FreehandVolume, Interpolation
from recon.volume_live import GrowingVolume
from tracking.transforms import from_rotation_vector


def frames(seed, n=5):
    """Images of 20 x 15 mm, of any place and direction in a cube of 30 mm."""
    rng = np.random.default_rng(seed)
    for _ in range(n):
        A = from_rotation_vector(rng.normal(0.0, 1.0, 3), rng.uniform(-15.0, 15.0, 3))
        A[:3, :2] *= rng.uniform(0.2, 0.3, 2)
        yield rng.integers(1, 256, (60, 80), dtype=np.uint8), A


@pytest.mark.parametrize("compounding", list(Compounding))
@pytest.mark.parametrize("interpolation", list(Interpolation))
def test_it_holds_the_same_voxels(interpolation, compounding):
    with ThreadPoolExecutor(3) as pool:
        growing = GrowingVolume(0.5, (0.1, 0.2, 0.3), interpolation, compounding, pool)
        for pixels, A in frames(1):
            growing.insert(pixels, A, (3, 2, 70, 55))
        found = growing.gathered()
        whole = FreehandVolume(found.grid, interpolation, compounding)
        for pixels, A in frames(1):
            whole.insert(pixels, A, (3, 2, 70, 55))
        assert whole.seen_fraction() * whole.grey().size > 5_000
        assert found.seen_fraction() == whole.seen_fraction()
        for fills_holes in (False, True):
            np.testing.assert_array_equal(
                found.grey(fills_holes=fills_holes), whole.grey(fills_holes=fills_holes)
            )


def test_undo_takes_a_sweep_away():
    volume, without = GrowingVolume(0.5), GrowingVolume(0.5)
    images = list(frames(2, n=9))
    for sweep in range(3):
        volume.begin_sweep()
        for pixels, A in images[3 * sweep : 3 * sweep + 3]:
            volume.insert(pixels, A)
            if sweep == 0:
                without.insert(pixels, A)
    assert volume.n_blocks > without.n_blocks
    volume.undo()
    volume.undo()
    assert volume.n_blocks == without.n_blocks
    found, expected = volume.gathered(), without.gathered()
    assert found.grid == expected.grid
    np.testing.assert_array_equal(found.grey(), expected.grey())
    volume.undo()
    volume.undo()
    assert volume.n_blocks == 0


def test_an_image_adds_blocks_around_its_own_plane_only():
    volume = GrowingVolume(0.5)
    A = from_rotation_vector((0.0, 0.7, 0.0), (0.0, 0.0, 0.0))
    A[:3, :2] *= 0.1
    pixels = np.full((500, 500), 9, np.uint8)  # 50 mm, oblique: 100 x 100 voxels
    volume.insert(pixels, A)
    n = volume.n_blocks
    assert n <= 5 * 2 * 6  # of 4 x 5 x 4 and more in the box around it
    far = A.copy()
    far[:3, 3] += 900.0  # nothing in between is allocated
    volume.insert(pixels, far)
    assert volume.n_blocks <= 2 * n + 20


def test_nothing_inserted_is_nothing_to_save():
    with pytest.raises(ReconError, match="no image was inserted"):
        GrowingVolume(0.5).gathered()


def test_a_place_that_is_not_finite_is_refused():
    with pytest.raises(ReconError, match="not finite"):
        GrowingVolume(0.5).insert(np.ones((2, 2), np.uint8), np.full((4, 4), np.nan))
