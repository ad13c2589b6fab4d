"""The bottom of a water tank in an image: a straight bright line, found in spite of clutter."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_N_SCAN_LINES = 40
# A run of pixels above this share of the scan line's brightest counts as one echo.
_ECHO_SHARE = 0.5
_FAINTEST = 10.0  # grey value; the brightest pixel of a scan line without an echo is below
_INLIER_PX = 1.0
# A line through fewer of the scan lines may as well be clutter.
_MIN_SHARE = 0.3
# |direction along the row| of a line too steep to be the bottom
_STEEPEST = 0.1


@dataclass(frozen=True, slots=True)
class ImageLine:
    """A line in an image: a point on it (u, v), px, its unit direction, and the scan lines that
    agree, of those looked at."""

    origin_px: Array
    direction: Array
    n_inliers: int
    n_scan_lines: int

    def v_px(self, u_px: float) -> float:
        """Row at which the line crosses a column."""
        slope = self.direction[1] / self.direction[0]
        return float(self.origin_px[1] + slope * (u_px - self.origin_px[0]))

    def distance_px(self, points_px: Array) -> Array:
        """Distance of points (N, 2) from the line."""
        offset = points_px - self.origin_px
        return np.asarray(
            np.abs(offset[:, 0] * self.direction[1] - offset[:, 1] * self.direction[0])
        )


def find_line(
    pixels: NDArray[np.uint8], clip_px: tuple[int, int, int, int] | None = None
) -> ImageLine | None:
    """The brightest straight line across the scan lines, None where there is none.

    On each of 40 columns the echo is the run of bright pixels with the largest sum, its place the
    centroid. The line through most echoes wins, tried through every pair of them: no chance is
    involved. Then a least-squares line through those that agree.

    Parameters
    ----------
    pixels : (rows, columns) uint8
    clip_px : column, row, width, height of the part to look at; None: all of it
    """
    column, row, width, height = clip_px or (0, 0, pixels.shape[1], pixels.shape[0])
    columns = (column + (np.arange(_N_SCAN_LINES) + 0.5) * width / _N_SCAN_LINES).astype(np.int64)
    part = pixels[row : row + height, columns].astype(np.float64)
    rows = [_echo_px(part[:, k]) for k in range(_N_SCAN_LINES)]
    found = [(float(u), row + v) for u, v in zip(columns, rows, strict=True) if v is not None]
    if len(found) < max(2.0, _MIN_SHARE * _N_SCAN_LINES):
        return None
    echoes = np.array(found)
    is_inlier = _most_agree(echoes)
    if is_inlier.sum() < _MIN_SHARE * _N_SCAN_LINES:
        return None
    origin = echoes[is_inlier].mean(axis=0)
    _, _, axes = np.linalg.svd(echoes[is_inlier] - origin)
    direction = axes[0] * (1.0 if axes[0, 0] > 0.0 else -1.0)
    if abs(direction[0]) < _STEEPEST:
        return None
    return ImageLine(origin, direction, int(is_inlier.sum()), _N_SCAN_LINES)


def _echo_px(scan_line: Array) -> float | None:
    """Centroid of the bright run with the largest sum."""
    brightest = scan_line.max()
    if brightest < _FAINTEST:
        return None
    is_bright = scan_line > _ECHO_SHARE * brightest
    edges = np.flatnonzero(np.diff(np.concatenate(([False], is_bright, [False])).astype(np.int8)))
    sums = np.concatenate(([0.0], np.cumsum(scan_line)))
    starts, stops = edges[::2], edges[1::2]
    best = int(np.argmax(sums[stops] - sums[starts]))
    rows = np.arange(starts[best], stops[best])
    return float(np.average(rows, weights=scan_line[rows]))


def _most_agree(echoes: Array) -> NDArray[np.bool_]:
    """The echoes near the line, of all lines through two of them, that has most near it."""
    first, second = np.triu_indices(len(echoes), 1)
    along = echoes[second] - echoes[first]
    normal = np.column_stack((-along[:, 1], along[:, 0]))
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    heights = echoes @ normal.T - np.einsum("ij,ij->i", echoes[first], normal)
    distances = np.abs(heights)
    is_near = distances <= _INLIER_PX
    # Between lines with as many inliers the tighter one wins.
    score = is_near.sum(axis=0) - (np.minimum(distances, _INLIER_PX) / _INLIER_PX).mean(axis=0)
    return np.asarray(is_near[:, int(np.argmax(score))])
