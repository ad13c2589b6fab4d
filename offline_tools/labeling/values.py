"""Value images: what a pixel is worth to the refinement, at half the image's resolution."""

from __future__ import annotations

from enum import StrEnum

import numba
import numpy as np
from numpy.typing import NDArray

Grey = NDArray[np.uint8]
Values = NDArray[np.float32]


class Objective(StrEnum):
    """What the refined section gathers along itself."""

    EXP_SUM = "exp-sum"  # sum of exp(5 grey / 255), as the released code does
    MEAN = "mean"  # mean grey value, as equation 3 of the paper says
    SHADOW = "shadow"  # sum of an echo that has a shadow below it: an extension, not in the paper


# Of the released code: exp(5 I) for I in [0, 1]; pixels below 10 count as shadow, worth nothing.
_EXPONENT = 5.0
_DARK_BELOW = 10

# Shadow-aware values: what lies 1.5 to 9 mm deeper is the shadow of bone, and takes away 1.2 times
# its mean grey from the echo's. 235 is the brightest grey of the recordings that it was found on.
_SHADOW_FROM_MM, _SHADOW_TO_MM = 1.5, 9.0
_SHADOW_SHARE = 1.2
_SHADOW_BRIGHTEST = 235.0


def value_image(pixels: Grey, objective: Objective, row_spacing_mm: float) -> Values:
    """Values of 2x2 pixels each, (rows // 2, columns // 2) float32.

    Pixel (u, v) of the image lies at (u - 0.5) / 2, (v - 0.5) / 2 of it. An odd last row or column
    is left out.
    """
    if objective is Objective.EXP_SUM:
        return _halved(pixels, _EXP_TABLE)
    grey = _halved(pixels, _GREY_TABLE)
    if objective is Objective.MEAN:
        return grey
    from_px = round(_SHADOW_FROM_MM / (2.0 * row_spacing_mm))
    to_px = round(_SHADOW_TO_MM / (2.0 * row_spacing_mm))
    echo = (smoothed(grey) - _SHADOW_SHARE * mean_below(grey, from_px, to_px)) / _SHADOW_BRIGHTEST
    values = np.expm1(_EXPONENT * np.clip(echo, 0.0, 1.0))
    return np.ascontiguousarray(values, dtype=np.float32)


def _exp_table() -> Values:
    grey = np.arange(256)
    return np.where(grey < _DARK_BELOW, 0.0, np.exp(_EXPONENT * grey / 255.0)).astype(np.float32)


_EXP_TABLE = _exp_table()
_GREY_TABLE = np.arange(256, dtype=np.float32)


@numba.njit(cache=True, nogil=True)
def _halved(pixels: Grey, table: Values) -> Values:
    """Mean of the table's values over 2x2 pixels."""
    height, width = pixels.shape[0] // 2, pixels.shape[1] // 2
    halved = np.empty((height, width), np.float32)
    for v in range(height):
        for u in range(width):
            halved[v, u] = 0.25 * (
                table[pixels[2 * v, 2 * u]]
                + table[pixels[2 * v, 2 * u + 1]]
                + table[pixels[2 * v + 1, 2 * u]]
                + table[pixels[2 * v + 1, 2 * u + 1]]
            )
    return halved


@numba.njit(cache=True, nogil=True)
def smoothed(grey: Values) -> Values:
    """Binomial blur over 3x3 pixels; the outermost pixels stay as they are."""
    result = grey.copy()
    for v in range(1, grey.shape[0] - 1):
        for u in range(1, grey.shape[1] - 1):
            total = np.float32(0.0)
            for dv in range(-1, 2):
                weight = np.float32(2 - abs(dv))
                total += weight * (grey[v + dv, u - 1] + 2 * grey[v + dv, u] + grey[v + dv, u + 1])
            result[v, u] = total / 16
    return result


@numba.njit(cache=True, nogil=True)
def mean_below(grey: Values, from_px: int, to_px: int) -> Values:
    """Mean of the pixels `from_px` to `to_px` further down; 255 where the image has none there."""
    height, width = grey.shape
    means = np.full((height, width), np.float32(255.0))
    total = np.zeros(width, np.float32)
    for v in range(height - 1 - from_px, -1, -1):
        first, last = v + from_px, min(v + to_px, height - 1)
        total += grey[first]
        if v + to_px + 1 < height:
            total -= grey[v + to_px + 1]
        means[v] = total / (last - first + 1)
    return means
