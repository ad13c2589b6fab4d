"""From pixels of an image to points in space."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tracking.transforms import Matrix


def back_project(points_px: NDArray[np.float64], A_target_pixel: Matrix) -> NDArray[np.float64]:
    """Points of an image in a target frame.

    Where a pixel's centre lies is the calibration's affair: `A_target_pixel` already holds it.

    Parameters
    ----------
    points_px : (N, 2) with (u, v), column and row
    A_target_pixel : (4, 4) affine, mm per pixel

    Returns
    -------
    (N, 3) float64, frame `target`, mm. Empty in, empty out.
    """
    return points_px @ A_target_pixel[:3, :2].T + A_target_pixel[:3, 3]
