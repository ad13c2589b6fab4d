"""Freehand volume: tracked images compounded into a grid of voxels, live or afterwards."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable
from concurrent.futures import Executor
from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from recon import volume_kernels as kernels
from recon.back_projection import back_project
from recon.errors import ReconError
from tracking.transforms import Matrix

Rectangle = tuple[int, int, int, int]

# Eight bytes each while compounding: 4 GB, a cube of 40 cm at 0.5 mm.
_MAX_VOXELS = 2**29

# PLUS's own choice in its examples; longer sticks draw streaks across what was never seen.
_STICK_VOXELS = 9


class Interpolation(Enum):
    """Where a pixel's grey value goes."""

    NEAREST = "nearest"  # the voxel whose centre is nearest
    LINEAR = "linear"  # the eight voxels around it, by their nearness


class Compounding(Enum):
    """What a voxel holds that several pixels hit."""

    LATEST = "latest"
    MAXIMUM = "maximum"
    MEAN = "mean"
    MEAN_PLUS = "mean-plus"  # to whole grey values at every hit, as PLUS: see FreehandVolume


# For nearest and for linear interpolation.
MODES = {
    Compounding.LATEST: (kernels.LATEST, kernels.LATEST),
    Compounding.MAXIMUM: (kernels.MAXIMUM, kernels.MAXIMUM),
    Compounding.MEAN: (kernels.MEAN, kernels.MEAN),
    Compounding.MEAN_PLUS: (kernels.MEAN_CUT, kernels.MEAN_ROUNDED),
}
INSERT = {
    Interpolation.NEAREST: kernels.insert_nearest,
    Interpolation.LINEAR: kernels.insert_linear,
}


@dataclass(frozen=True, slots=True)
class VolumeGrid:
    """Cubic voxels along the axes of a frame; `origin_mm` is the centre of the first one.

    Raises
    ------
    ReconError : if it has no voxel, or more than memory is planned for.
    """

    size_voxels: tuple[int, int, int]  # x, y, z
    spacing_mm: float
    origin_mm: tuple[float, float, float]

    def __post_init__(self) -> None:
        if not (self.spacing_mm > 0.0 and math.isfinite(self.spacing_mm)):
            raise ReconError(f"volume: spacing is {self.spacing_mm} mm, expected more than 0 mm")
        n_voxels = math.prod(self.size_voxels)
        if min(self.size_voxels) < 1 or n_voxels > _MAX_VOXELS:
            size = "x".join(str(n) for n in self.size_voxels)
            raise ReconError(
                f"volume: {size} voxels of {self.spacing_mm:g} mm, expected 1 to {_MAX_VOXELS}: "
                "take a larger spacing, or look for a pose far from the others"
            )

    def A_voxel_target(self) -> Matrix:
        """(4, 4) affine from mm in the grid's frame to voxel indices (x, y, z)."""
        A = np.eye(4) / self.spacing_mm
        A[:3, 3] = -np.array(self.origin_mm) / self.spacing_mm
        A[3, 3] = 1.0
        return A


def clip_to_image(rectangle: Rectangle | None, image_size_px: tuple[int, int]) -> Rectangle:
    """The part of a rectangle (column, row, width, height) that lies in an image (width, height).

    Raises
    ------
    ReconError : if nothing of it does.
    """
    width, height = image_size_px
    if rectangle is None:
        return 0, 0, width, height
    left, top = max(rectangle[0], 0), max(rectangle[1], 0)
    right, bottom = (
        min(rectangle[0] + rectangle[2], width),
        min(rectangle[1] + rectangle[3], height),
    )
    if right <= left or bottom <= top:
        raise ReconError(
            f"volume: the clip rectangle {rectangle} (column, row, width, height) leaves nothing "
            f"of an image of {width}x{height} pixels"
        )
    return left, top, right - left, bottom - top


def enclosing_grid(
    A_target_pixels: Iterable[Matrix], clip_px: Rectangle, spacing_mm: float
) -> VolumeGrid:
    """The grid that holds the clip rectangle of every image, as PLUS lays it.

    The first voxel lies at the least coordinates of all corner pixels; the number of voxels along
    an axis is the extent over the spacing, rounded, plus one. A corner at the far end may thus lie
    up to half a voxel beyond the last one.

    Parameters
    ----------
    A_target_pixels : (4, 4) affines of the images, mm per pixel; at least one
    clip_px : column, row, width, height

    Source: PLUS, automatic output extent of its volume reconstructor.
    """
    left, top, width, height = clip_px
    corners_px = np.array(
        [(u, v) for u in (left, left + width - 1) for v in (top, top + height - 1)],
        dtype=np.float64,
    )
    low_mm, high_mm = np.full(3, np.inf), np.full(3, -np.inf)
    for A_target_pixel in A_target_pixels:
        corners_mm = back_project(corners_px, A_target_pixel)
        low_mm = np.minimum(low_mm, corners_mm.min(axis=0))
        high_mm = np.maximum(high_mm, corners_mm.max(axis=0))
    if not np.isfinite(low_mm).all():
        raise ReconError("volume: no image with a finite place, expected at least one")
    if not spacing_mm > 0.0:
        raise ReconError(f"volume: spacing is {spacing_mm} mm, expected more than 0 mm")
    x, y, z = (math.floor(n + 0.5) + 1 for n in (high_mm - low_mm) / spacing_mm)
    return VolumeGrid((x, y, z), spacing_mm, tuple(low_mm.tolist()))


class FreehandVolume:
    """Tracked images put into a grid one after the other; it can be looked at any time.

    A mean is kept in single precision. PLUS keeps it in whole grey values: with nearest
    interpolation every hit cuts it down, by 5.4 grey values on average where its spine phantom was
    seen; `MEAN_PLUS` does the same, for volumes that are compared with PLUS's.

    With an executor the work on each image is shared out over it; the result is the same. Not for
    several callers at once.
    """

    def __init__(
        self,
        grid: VolumeGrid,
        interpolation: Interpolation = Interpolation.NEAREST,
        compounding: Compounding = Compounding.MEAN,
        executor: Executor | None = None,
    ) -> None:
        self.grid = grid
        shape = grid.size_voxels[::-1]
        self._value = np.zeros(shape, dtype=np.float32)
        self._weight = np.zeros(shape, dtype=np.float32)
        self._insert = INSERT[interpolation]
        self._mode = MODES[compounding][interpolation is Interpolation.LINEAR]
        self._executor = executor
        self._n_parts = (os.cpu_count() or 1) if executor else 1

    def insert(
        self, pixels: NDArray[np.uint8], A_target_pixel: Matrix, clip_px: Rectangle | None = None
    ) -> None:
        """Put one image in; pixels outside the grid are left out.

        Parameters
        ----------
        pixels : (rows, columns)
        A_target_pixel : (4, 4) affine into the grid's frame, mm per pixel
        clip_px : column, row, width, height of what is ultrasound; None for all of the image
        """
        height, width = pixels.shape
        left, top, n_columns, n_rows = clip_to_image(clip_px, (width, height))
        clipped = pixels[top : top + n_rows, left : left + n_columns]
        A = self.grid.A_voxel_target() @ A_target_pixel
        # Rows z, y, x; columns of what multiplies u, v and 1 within the clip rectangle.
        A_voxel_pixel = np.ascontiguousarray(A[[2, 1, 0]][:, [0, 1, 3]])
        A_voxel_pixel[:, 2] += A_voxel_pixel[:, :2] @ (left, top)
        # Shared out along the axis on which the image extends furthest, so that all have work.
        reach = np.abs(A_voxel_pixel[:, :2]) @ (n_columns, n_rows)
        axis = int(np.argmax(reach))
        ends = A_voxel_pixel[axis, 2] + np.array(
            [u * A_voxel_pixel[axis, 0] + v * A_voxel_pixel[axis, 1]
             for u in (0, n_columns) for v in (0, n_rows)]
        )  # fmt: skip
        n = self._value.shape[axis]
        first, last = np.clip((math.floor(ends.min()), math.ceil(ends.max()) + 2), 0, n)

        def put(begin: int, end: int) -> None:
            self._insert(
                clipped,
                A_voxel_pixel,
                self._value,
                self._weight,
                self._mode,
                axis,
                begin,
                end,
                False,
            )

        self._share_out(put, int(first), int(last))

    def grey(self, *, fills_holes: bool = False) -> NDArray[np.uint8]:
        """The volume as it is now, (z, y, x); 0 where nothing was seen.

        With `fills_holes`, a voxel between seen ones takes a value from them (sticks of at most
        9 voxels, as PLUS); nothing is extrapolated. What was inserted stays as it is.
        """
        value = self._value
        if fills_holes:
            value = np.empty_like(self._value)

            def fill(begin: int, end: int) -> None:
                kernels.fill_holes(self._value, self._weight, value, _STICK_VOXELS, begin, end)

            self._share_out(fill, 0, len(value))
        return (value + np.float32(0.5)).astype(np.uint8)

    def place(
        self, first: tuple[int, int, int], value: NDArray[np.float32], weight: NDArray[np.float32]
    ) -> None:
        """Lay a block of a volume of the same kind into this one, (z, y, x) from `first` on."""
        where = tuple(slice(k, k + n) for k, n in zip(first, value.shape, strict=True))
        self._value[where] = value
        self._weight[where] = weight

    def seen_fraction(self) -> float:
        """Share of the voxels that a pixel fell into."""
        return float(np.count_nonzero(self._weight) / self._weight.size)

    def _share_out(self, work: Callable[[int, int], None], first: int, last: int) -> None:
        if self._executor is None:
            work(first, last)
            return
        borders = np.linspace(first, last, self._n_parts + 1).round().astype(int).tolist()
        list(self._executor.map(work, borders[:-1], borders[1:]))
