"""The freehand volume: its kernels against plain twins, its laws, and its files."""

from __future__ import annotations

import itertools
import math
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from recon.errors import ReconError
from recon.volume import (
    Compounding,
    FreehandVolume,
    Interpolation,
    VolumeGrid,
    clip_to_image,
    enclosing_grid,
)
from recon.volume_io import write_volume
from tracking.errors import WriteError
from tracking.transforms import from_rotation_vector

GRID = VolumeGrid((14, 12, 10), 0.5, (-3.0, 2.0, 7.0))


def _frames(seed: int, n: int = 4) -> list[tuple[np.ndarray, np.ndarray]]:
    """Images of 24x20 pixels of 0.3 mm, oblique, some of each outside the grid."""
    rng = np.random.default_rng(seed)
    frames = []
    for _ in range(n):
        T = from_rotation_vector(rng.uniform(-1.5, 1.5, 3), rng.uniform((-3, 2, 6), (3, 8, 12)))
        A = T @ np.diag((0.3, 0.31, 1.0, 1.0))
        A[:3, 3] -= A[:3, :2] @ (12, 10)
        frames.append((rng.integers(0, 256, (20, 24), dtype=np.uint8), A))
    return frames


class _Twin:
    """One pixel after the other, with numpy, in double precision."""

    def __init__(self, interpolation: Interpolation, compounding: Compounding) -> None:
        self.is_linear = interpolation is Interpolation.LINEAR
        self.compounding = compounding
        self.value = np.zeros(GRID.size_voxels[::-1])
        self.weight = np.zeros(GRID.size_voxels[::-1])

    def insert(self, pixels: np.ndarray, A_target_pixel: np.ndarray) -> None:
        for v, u in np.ndindex(pixels.shape):
            point_mm = (A_target_pixel @ (u, v, 0.0, 1.0))[:3]
            place = (point_mm - GRID.origin_mm) / GRID.spacing_mm
            for voxel, share in self._shares(place):
                self._merge(voxel[::-1], float(pixels[v, u]), share)

    def _shares(self, place: np.ndarray) -> list[tuple[tuple[int, ...], float]]:
        if not self.is_linear:
            around = [(tuple(np.floor(place + 0.5).astype(int)), 1.0)]
        else:
            low = np.floor(place).astype(int)
            around = [
                (tuple(low + d), float(np.prod(1.0 - np.abs(place - low - d))))
                for d in itertools.product((0, 1), repeat=3)
            ]
        is_inside = [
            all(0 <= i < n for i, n in zip(voxel, GRID.size_voxels, strict=True))
            for voxel, _ in around
        ]
        return around if all(is_inside) else []

    def _merge(self, at: tuple[int, ...], grey: float, share: float) -> None:
        if self.compounding in (Compounding.LATEST, Compounding.MAXIMUM) and share < 0.125:
            return
        before = self.weight[at]
        self.weight[at] += share
        if self.compounding is Compounding.LATEST:
            self.value[at] = grey
        elif self.compounding is Compounding.MAXIMUM:
            self.value[at] = max(self.value[at], grey)
        else:
            mean = (self.value[at] * before + grey * share) / (before + share)
            if self.compounding is Compounding.MEAN_PLUS:
                mean = math.floor(mean + 0.5 * self.is_linear)
            self.value[at] = mean

    def grey(self, *, fills_holes: bool) -> np.ndarray:
        value = self.value.copy()
        if fills_holes:
            for hole in np.argwhere(self.weight == 0.0):
                value[tuple(hole)] = self._bridge(hole)
        return value

    def _bridge(self, hole: np.ndarray) -> float:
        """The shortest of all 26 half sticks (of each pair PLUS's alone counts)."""
        found = []
        for direction in itertools.product((-1, 0, 1), repeat=3):
            d = np.array(direction)
            ends = [self._first_known(hole, d), self._first_known(hole, -d)]
            if not d.any() or None in ends or sum(steps for steps, _ in ends) + 1 > 9:
                continue
            (ahead, value_ahead), (behind, value_behind) = ends
            n = ahead + behind + 1
            fraction = (behind + 1) / n
            length = n * math.sqrt((d**2).sum())
            found += [(length, fraction * value_ahead + (1 - fraction) * value_behind, direction)]
        if not found:
            return 0.0
        shortest = min(length for length, _, _ in found)
        # One of each pair of opposite directions: PLUS's weights are not symmetric.
        return float(np.mean([g for length, g, d in found if length == shortest and _is_plus(d)]))

    def _first_known(self, at: np.ndarray, d: np.ndarray) -> tuple[int, float] | None:
        for steps in range(1, 9):
            voxel = tuple(at + steps * d)
            if not all(0 <= i < n for i, n in zip(voxel, self.value.shape, strict=True)):
                return None
            if self.weight[voxel] > 0.0:
                return steps, self.value[voxel]
        return None


def _is_plus(d: tuple[int, ...]) -> bool:
    """Whether a direction (z, y, x) is one that PLUS lists."""
    x, y, z = d[::-1]
    if 0 not in d:
        return (x, y, z) in {(1, 1, 1), (-1, 1, 1), (1, -1, 1), (-1, -1, 1)}
    return x > 0 or (x == 0 and (y > 0 or (y == 0 and z > 0)))


@pytest.mark.parametrize("fills_holes", [False, True])
@pytest.mark.parametrize("compounding", list(Compounding))
@pytest.mark.parametrize("interpolation", list(Interpolation))
def test_kernels_equal_their_twin(
    interpolation: Interpolation, compounding: Compounding, fills_holes: bool
) -> None:
    volume = FreehandVolume(GRID, interpolation, compounding)
    twin = _Twin(interpolation, compounding)
    for pixels, A in _frames(seed=1):
        volume.insert(pixels, A)
        twin.insert(pixels, A)
    expected = twin.grey(fills_holes=fills_holes)
    found = volume.grey(fills_holes=fills_holes)
    assert 0.1 < volume.seen_fraction() == np.count_nonzero(twin.weight) / twin.weight.size < 0.9
    assert np.count_nonzero(expected) > 300
    # Half a grey level of rounding, and single precision.
    np.testing.assert_allclose(found, expected, rtol=0.0, atol=0.501)


@pytest.mark.parametrize("interpolation", list(Interpolation))
@pytest.mark.parametrize("compounding", list(Compounding))
def test_threads_change_nothing(interpolation: Interpolation, compounding: Compounding) -> None:
    alone = FreehandVolume(GRID, interpolation, compounding)
    with ThreadPoolExecutor(4) as pool:
        shared = FreehandVolume(GRID, interpolation, compounding, pool)
        for pixels, A in _frames(seed=2, n=6):
            alone.insert(pixels, A)
            shared.insert(pixels, A)
        for fills_holes in (False, True):
            np.testing.assert_array_equal(
                alone.grey(fills_holes=fills_holes), shared.grey(fills_holes=fills_holes)
            )


def test_the_mean_does_not_darken() -> None:
    """Where PLUS's rounding does: 300 hits of 100 and 103 in turn, in one voxel."""
    grid = VolumeGrid((1, 1, 1), 1.0, (0.0, 0.0, 0.0))
    exact = FreehandVolume(grid, compounding=Compounding.MEAN)
    plus = FreehandVolume(grid, compounding=Compounding.MEAN_PLUS)
    for grey in (100, 103) * 150:
        for volume in (exact, plus):
            volume.insert(np.full((1, 1), grey, dtype=np.uint8), np.eye(4))
    assert exact.grey().item() in (101, 102)
    assert plus.grey().item() == 100


def test_black_that_was_seen_is_no_hole() -> None:
    grid = VolumeGrid((3, 1, 1), 1.0, (0.0, 0.0, 0.0))
    volume = FreehandVolume(grid, compounding=Compounding.MAXIMUM)
    volume.insert(np.array([[200, 0, 100]], dtype=np.uint8), np.eye(4))
    assert volume.grey(fills_holes=True).ravel().tolist() == [200, 0, 100]


def test_only_what_lies_between_is_filled() -> None:
    grid = VolumeGrid((12, 1, 1), 1.0, (0.0, 0.0, 0.0))
    volume = FreehandVolume(grid)
    volume.insert(np.array([[90]], dtype=np.uint8), np.eye(4) + np.eye(4, k=3) * 1.0)
    volume.insert(np.array([[30]], dtype=np.uint8), np.eye(4) + np.eye(4, k=3) * 4.0)
    # PLUS's weights: 2/4 and 3/4 for the voxel ahead, where an even slope would have 1/3 and 2/3.
    assert volume.grey(fills_holes=True).ravel()[:6].tolist() == [0, 90, 60, 45, 30, 0]


def test_the_clip_rectangle_keeps_pixels_out_and_others_in_place() -> None:
    grid = VolumeGrid((6, 5, 1), 1.0, (0.0, 0.0, 0.0))
    volume = FreehandVolume(grid)
    volume.insert(np.full((5, 6), 9, dtype=np.uint8), np.eye(4), (2, 1, 3, 2))
    rows, columns = np.nonzero(volume.grey()[0])
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (1, 2, 2, 4)
    assert len(rows) == 6


def test_the_grid_encloses_every_corner_pixel() -> None:
    A = np.diag((0.1, 0.2, 1.0, 1.0))
    far = A.copy()
    far[:3, 3] = (5.0, -3.0, 4.26)
    grid = enclosing_grid((A, far), (10, 0, 91, 51), spacing_mm=0.5)
    assert grid.origin_mm == (1.0, -3.0, 0.0)
    assert grid.size_voxels == (29, 27, 10)  # 14, 13 and 4.26 mm


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: VolumeGrid((5, 5, 5), 0.0, (0.0, 0.0, 0.0)), "spacing is 0.0 mm"),
        (lambda: VolumeGrid((5, 5, 0), 1.0, (0.0, 0.0, 0.0)), "5x5x0 voxels"),
        (lambda: VolumeGrid((10**4,) * 3, 0.1, (0.0, 0.0, 0.0)), "take a larger spacing"),
        (lambda: clip_to_image((50, 0, 10, 10), (40, 30)), "leaves nothing of an image of 40x30"),
        (lambda: enclosing_grid((), (0, 0, 4, 4), 0.5), "at least one"),
        (lambda: enclosing_grid((np.eye(4),), (0, 0, 4, 4), -1.0), "spacing is -1.0 mm"),
    ],
)
def test_what_cannot_be_is_said_in_a_line(call, words: str) -> None:
    with pytest.raises(ReconError, match=words):
        call()


def test_a_rectangle_is_cut_to_the_image() -> None:
    assert clip_to_image((-5, 10, 20, 100), (40, 30)) == (0, 10, 15, 20)
    assert clip_to_image(None, (40, 30)) == (0, 0, 40, 30)


@pytest.mark.parametrize("suffix", [".mha", ".nrrd"])
def test_written_volumes_open_in_simpleitk(tmp_path: Path, suffix: str) -> None:
    itk = pytest.importorskip("SimpleITK", reason="SimpleITK is not installed")
    grey = np.random.default_rng(3).integers(0, 256, GRID.size_voxels[::-1], dtype=np.uint8)
    path = tmp_path / f"volume{suffix}"
    path.write_bytes(b"old")
    write_volume(path, grey, GRID, "reference")
    image = itk.ReadImage(str(path))
    np.testing.assert_array_equal(itk.GetArrayFromImage(image), grey)
    assert image.GetSpacing() == (0.5, 0.5, 0.5)
    assert image.GetOrigin() == GRID.origin_mm
    assert image.GetDirection() == (1, 0, 0, 0, 1, 0, 0, 0, 1)
    assert image.GetMetaData("CoordinateFrame").strip() == "reference"


def test_a_volume_that_cannot_be_written_says_where(tmp_path: Path) -> None:
    grey = np.zeros(GRID.size_voxels[::-1], dtype=np.uint8)
    with pytest.raises(ReconError, match=r"\.mha or \.nrrd"):
        write_volume(tmp_path / "volume.vtk", grey, GRID, "ct")
    with pytest.raises(WriteError, match="cannot be written"):
        write_volume(tmp_path / "nowhere" / "volume.mha", grey, GRID, "ct")
