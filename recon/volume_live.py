"""A freehand volume that grows with the sweep: no region has to be chosen beforehand."""

from __future__ import annotations

import itertools
from concurrent.futures import Executor
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from recon.back_projection import back_project
from recon.errors import ReconError
from recon.volume import (
    INSERT,
    MODES,
    Compounding,
    FreehandVolume,
    Interpolation,
    Rectangle,
    VolumeGrid,
    clip_to_image,
)
from tracking.transforms import Matrix

# Voxels along a block's edge: 256 kB, small enough to be copied in passing when a sweep first
# touches it, large enough that an image of 50 mm at 0.5 mm meets some tens of them.
_SIDE = 32

_Place = tuple[int, int, int]  # of a block, z, y, x


class _Block(NamedTuple):
    value: NDArray[np.float32]
    weight: NDArray[np.float32]


class GrowingVolume:
    """`FreehandVolume` without borders: blocks are added where an image needs them.

    The same kernels fill it, so that it holds the same voxels. An image costs what it covers,
    however large the volume is. With an executor its blocks are shared out; the result is the
    same. Not for several callers at once.

    Parameters
    ----------
    origin_mm : where a voxel's centre lies; the others follow
    """

    def __init__(
        self,
        spacing_mm: float,
        origin_mm: tuple[float, float, float] = (0.0, 0.0, 0.0),
        interpolation: Interpolation = Interpolation.NEAREST,
        compounding: Compounding = Compounding.MEAN,
        executor: Executor | None = None,
    ) -> None:
        self._unit = VolumeGrid((_SIDE, _SIDE, _SIDE), spacing_mm, origin_mm)
        self._kind = interpolation, compounding
        self._insert = INSERT[interpolation]
        self._mode = MODES[compounding][interpolation is Interpolation.LINEAR]
        self._executor = executor
        self._blocks: dict[_Place, _Block] = {}
        self._sweeps: list[dict[_Place, _Block | None]] = []  # what each sweep has changed

    @property
    def n_blocks(self) -> int:
        return len(self._blocks)

    def begin_sweep(self) -> None:
        """What follows is one sweep, which `undo` takes away."""
        self._sweeps.append({})

    def undo(self) -> None:
        """Take the last sweep away, to the last bit; without one, nothing happens."""
        for place, block in (self._sweeps.pop() if self._sweeps else {}).items():
            if block is None:
                del self._blocks[place]
            else:
                self._blocks[place] = block

    def insert(
        self, pixels: NDArray[np.uint8], A_target_pixel: Matrix, clip_px: Rectangle | None = None
    ) -> None:
        """Put one image in; parameters as of `FreehandVolume.insert`."""
        height, width = pixels.shape
        left, top, n_columns, n_rows = clip_to_image(clip_px, (width, height))
        clipped = pixels[top : top + n_rows, left : left + n_columns]
        A = self._unit.A_voxel_target() @ A_target_pixel
        A[:3, 3] += A[:3, :2] @ (left, top)
        if not np.isfinite(A).all():
            raise ReconError("volume: the place of an image is not finite")
        A_voxel_pixel = np.ascontiguousarray(A[[2, 1, 0]][:, [0, 1, 3]])
        places = _blocks_met(A, (n_columns, n_rows))
        blocks = [self._writable(place) for place in places]

        def put(place: _Place, block: _Block) -> None:
            A_block_pixel = A_voxel_pixel.copy()
            A_block_pixel[:, 2] -= np.multiply(place, _SIDE)
            self._insert(
                clipped, A_block_pixel, block.value, block.weight, self._mode, 0, 0, _SIDE, True
            )

        share_out = map if self._executor is None else self._executor.map
        list(share_out(put, places, blocks))

    def gathered(self) -> FreehandVolume:
        """The volume as it is now, in one piece, with holes to be filled and a grid to be saved.

        Raises
        ------
        ReconError : if nothing was inserted, or the piece is larger than memory is planned for.
        """
        if not self._blocks:
            raise ReconError("volume: no image was inserted, expected at least one")
        places = np.array(list(self._blocks))
        first = places.min(axis=0)
        n_z, n_y, n_x = (int(n) for n in (places.max(axis=0) - first + 1) * _SIDE)
        spacing_mm = self._unit.spacing_mm
        x_mm, y_mm, z_mm = np.add(self._unit.origin_mm, first[::-1] * _SIDE * spacing_mm).tolist()
        grid = VolumeGrid((n_x, n_y, n_z), spacing_mm, (x_mm, y_mm, z_mm))
        volume = FreehandVolume(grid, *self._kind, self._executor)
        for place, block in self._blocks.items():
            z, y, x = (int(n) for n in (np.array(place) - first) * _SIDE)
            volume.place((z, y, x), block.value, block.weight)
        return volume

    def _writable(self, place: _Place) -> _Block:
        """The block there, a new one if need be; kept as it was where a sweep is to be undone."""
        block = self._blocks.get(place)
        changed = self._sweeps[-1] if self._sweeps else None
        if changed is not None and place not in changed:
            changed[place] = block
            if block is not None:
                block = self._blocks[place] = _Block(block.value.copy(), block.weight.copy())
        if block is None:
            shape = (_SIDE, _SIDE, _SIDE)
            block = _Block(np.zeros(shape, np.float32), np.zeros(shape, np.float32))
            self._blocks[place] = block
        return block


def _blocks_met(A_voxel_pixel: Matrix, image_size_px: tuple[int, int]) -> list[_Place]:
    """Blocks that pixels of an image, or the voxels around them, may lie in."""
    width, height = image_size_px
    ends_px = np.array([(u, v) for u in (0, width - 1) for v in (0, height - 1)], dtype=np.float64)
    corners = back_project(ends_px, A_voxel_pixel)
    low = np.floor((corners.min(axis=0) - 1.0) / _SIDE).astype(int)
    high = np.floor((corners.max(axis=0) + 1.0) / _SIDE).astype(int)
    ranges = [range(first, last + 1) for first, last in zip(low, high, strict=True)]
    places = np.array(list(itertools.product(*ranges)))
    normal = np.cross(A_voxel_pixel[:3, 0], A_voxel_pixel[:3, 1])
    normal /= np.linalg.norm(normal)
    # A block reaches no further from its centre, towards the plane, than its half edges do.
    heights = (places * _SIDE + 0.5 * (_SIDE - 1) - corners[0]) @ normal
    is_met = np.abs(heights) <= (0.5 * _SIDE + 1.0) * np.abs(normal).sum()
    return [(int(z), int(y), int(x)) for x, y, z in places[is_met]]
