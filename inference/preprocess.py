"""From an ultrasound image to the network's input, and back: geometry, not stretching.

Pixel convention of this file, for the image and for the network alike: the integer (u, v) is the
centre of the pixel in column u, row v of its array; its area reaches half a pixel further.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

import numba
import numpy as np
from numpy.typing import NDArray

from inference.contract import InputSpec, ModelContract, Normalisation
from inference.errors import InferenceError

# A network has seen structures at one scale, varied by some 15 % in training; beyond this
# factor it still answers, but nobody has measured how well.
SCALE_WARNING = 1.25

# Relative: a region that misses the input by less (rounding in a spacing) still counts as fitting.
_FIT_TOLERANCE = 1e-6


@dataclass(frozen=True, slots=True)
class AxisWeights:
    """How one axis is averaged: output k sums `weights[k, j] * source[first[k] + j]`.

    The weights are the shares of output pixel k's length that source pixels cover; they add up to
    1 where it lies inside the region of interest, to less where padding begins.
    """

    first: NDArray[np.int64]
    weights: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class InputPlan:
    """How images of one size and spacing go into one network. Made once, used for every frame.

    `roi_px` is (u0, v0, width, height) in the image, `spacing_mm` the image's (column, row)
    spacing, `network_spacing_mm` one network pixel as used here, `left_mm` the padding left of
    the region of interest. `warning` is a sentence where the scale is far from the training's.
    """

    image_size_px: tuple[int, int]  # (width, height)
    roi_px: tuple[int, int, int, int]
    spacing_mm: tuple[float, float]
    network_size_px: tuple[int, int]  # (rows, columns)
    network_spacing_mm: float
    left_mm: float
    normalisation: Normalisation
    columns: AxisWeights
    rows: AxisWeights
    warning: str | None

    @classmethod
    def for_image(
        cls,
        contract: ModelContract,
        image_size_px: tuple[int, int],
        spacing_mm: tuple[float, float] | None,
        roi_px: tuple[int, int, int, int] | None = None,
    ) -> Self:
        """Plan for images of (width, height) pixels with (column, row) spacing in mm.

        A region of interest that is larger than the network's field is seen at a coarser scale.

        Raises
        ------
        InferenceError : spacing unknown or not positive, region outside the image.
        """
        spec = contract.input
        spacing = _checked_spacing(spacing_mm)
        roi = _checked_roi(roi_px, image_size_px)
        roi_mm = (roi[2] * spacing[0], roi[3] * spacing[1])
        scale_mm = _fitting_spacing_mm(spec, roi_mm)
        n_rows, n_columns = spec.size_px
        left_mm = (n_columns * scale_mm - roi_mm[0]) / 2.0
        return cls(
            image_size_px=image_size_px,
            roi_px=roi,
            spacing_mm=spacing,
            network_size_px=spec.size_px,
            network_spacing_mm=scale_mm,
            left_mm=left_mm,
            normalisation=contract.normalisation,
            columns=area_weights(n_columns, scale_mm, roi[2], spacing[0], left_mm),
            rows=area_weights(n_rows, scale_mm, roi[3], spacing[1], 0.0),
            warning=_scale_warning(spec, scale_mm, roi_mm),
        )

    def prepare(
        self, pixels: NDArray[np.uint8], out: NDArray[np.float32] | None = None
    ) -> NDArray[np.float32]:
        """The image (rows, columns) uint8 as the network's input, (1, 1, rows, columns) float32.

        `out` is filled and returned where it is given, of that shape and type.

        Raises
        ------
        InferenceError : the image is not of the size or type that the plan was made for.
        """
        width, height = self.image_size_px
        if pixels.shape != (height, width) or pixels.dtype != np.uint8:
            raise InferenceError(
                f"image is {pixels.shape} {pixels.dtype}, expected {(height, width)} uint8"
            )
        u0, v0, roi_width, roi_height = self.roi_px
        region = pixels[v0 : v0 + roi_height, u0 : u0 + roi_width]
        if out is None:
            out = np.empty((1, 1, *self.network_size_px), dtype=np.float32)
        n = self.normalisation
        average_areas(region, self.rows, self.columns, n.scale / n.std, -n.mean / n.std, out[0, 0])
        return out

    def network_from_pixel(self, points_px: NDArray[np.float64]) -> NDArray[np.float64]:
        """Image points (N, 2) as (u, v) to network points (N, 2) as (column, row)."""
        return (points_px - self._origin_px()) * self._step() - 0.5

    def pixel_from_network(self, points_network: NDArray[np.float64]) -> NDArray[np.float64]:
        """Network points (N, 2) as (column, row) to image points (N, 2) as (u, v)."""
        return (points_network + 0.5) / self._step() + self._origin_px()

    def _step(self) -> NDArray[np.float64]:
        """Network pixels per image pixel, in columns and rows."""
        return np.array(self.spacing_mm) / self.network_spacing_mm

    def _origin_px(self) -> NDArray[np.float64]:
        """Image point (u, v) of the network's top left corner."""
        u0, v0 = self.roi_px[:2]
        return np.array((u0 - 0.5 - self.left_mm / self.spacing_mm[0], v0 - 0.5))


def area_weights(
    n_out: int, out_step_mm: float, n_source: int, source_step_mm: float, start_mm: float
) -> AxisWeights:
    """Shares of each output pixel that source pixels cover; the source begins at `start_mm`."""
    edges = (np.arange(n_out + 1) * out_step_mm - start_mm) / source_step_mm  # in source pixels
    low, high = np.clip(edges[:-1], 0, n_source), np.clip(edges[1:], 0, n_source)
    first = np.minimum(np.floor(low).astype(np.int64), n_source - 1)
    n_taps = int((np.ceil(high).astype(np.int64) - first).max())
    source = first[:, None] + np.arange(n_taps)
    cover = np.minimum(high[:, None], source + 1) - np.maximum(low[:, None], source)
    share = np.maximum(cover, 0.0) * (source_step_mm / out_step_mm)
    return AxisWeights(first=first, weights=share.astype(np.float32))


def average_areas(
    region: NDArray[np.uint8],
    rows: AxisWeights,
    columns: AxisWeights,
    gain: float,
    shift: float,
    out: NDArray[np.float32],
) -> None:
    """Fill `out` with gain * area average + shift; padding averages as grey value 0."""
    read_only = region.view()
    read_only.flags.writeable = False  # one compiled version for fresh and for received images
    _average_areas(
        read_only, rows.first, rows.weights, columns.first, columns.weights,
        np.float32(gain), np.float32(shift), out,
    )  # fmt: skip


@numba.njit(nogil=True, cache=True, fastmath={"reassoc", "contract"})
def _average_areas(
    region: NDArray[np.uint8],
    row_first: NDArray[np.int64],
    row_weights: NDArray[np.float32],
    column_first: NDArray[np.int64],
    column_weights: NDArray[np.float32],
    gain: np.float32,
    shift: np.float32,
    out: NDArray[np.float32],
) -> None:
    """Rows first, into one line of source width, then columns: each source pixel is read once."""
    line = np.empty(region.shape[1], dtype=np.float32)
    for r in range(out.shape[0]):
        line[:] = 0.0
        for j in range(row_weights.shape[1]):
            weight = row_weights[r, j]
            if weight > 0.0:
                source = region[row_first[r] + j]
                for u in range(line.size):
                    line[u] += weight * np.float32(source[u])
        for c in range(out.shape[1]):
            total = np.float32(0.0)
            for j in range(column_weights.shape[1]):
                weight = column_weights[c, j]
                if weight > 0.0:
                    total += weight * line[column_first[c] + j]
            out[r, c] = gain * total + shift


def _checked_spacing(spacing_mm: tuple[float, float] | None) -> tuple[float, float]:
    if spacing_mm is None:
        raise InferenceError(
            "pixel spacing of the images is unknown: the network needs mm per pixel; "
            "give a calibration that states it"
        )
    if not all(math.isfinite(s) and s > 0.0 for s in spacing_mm):
        raise InferenceError(f"pixel spacing is {spacing_mm} mm, expected two positive numbers")
    return spacing_mm


def _checked_roi(
    roi_px: tuple[int, int, int, int] | None, image_size_px: tuple[int, int]
) -> tuple[int, int, int, int]:
    width, height = image_size_px
    if roi_px is None:
        return (0, 0, width, height)
    u0, v0, roi_width, roi_height = roi_px
    is_inside = u0 >= 0 and v0 >= 0 and u0 + roi_width <= width and v0 + roi_height <= height
    if not is_inside or roi_width < 1 or roi_height < 1:
        raise InferenceError(
            f"region of interest {roi_px} (u0, v0, width, height) does not lie in an image of "
            f"{width} x {height} pixels"
        )
    return roi_px


def _fitting_spacing_mm(spec: InputSpec, roi_mm: tuple[float, float]) -> float:
    """The contract's spacing, or the finest one at which the region fits the network's input."""
    n_rows, n_columns = spec.size_px
    needed_mm = max(roi_mm[0] / n_columns, roi_mm[1] / n_rows)
    return spec.spacing_mm if needed_mm <= spec.spacing_mm * (1 + _FIT_TOLERANCE) else needed_mm


def _scale_warning(spec: InputSpec, scale_mm: float, roi_mm: tuple[float, float]) -> str | None:
    if scale_mm <= spec.spacing_mm * SCALE_WARNING:
        return None
    return (
        f"region of interest of {roi_mm[0]:.0f} x {roi_mm[1]:.0f} mm is seen at {scale_mm:.3f} mm "
        f"per network pixel, {scale_mm / spec.spacing_mm - 1:.0%} coarser than the network was "
        "trained for: expect missed bone, or choose a smaller region"
    )
