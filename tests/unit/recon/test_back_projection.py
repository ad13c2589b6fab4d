"""Pixels to points."""

from __future__ import annotations

import numpy as np

from recon.back_projection import back_project


def test_pixels_land_where_the_affine_says():
    A_ct_pixel = np.array(
        [(0.1, 0.0, 9.0, 5.0), (0.0, 0.0, 9.0, -7.0), (0.01, 0.2, 9.0, 900.0), (0, 0, 0, 1)]
    )
    points_ct_mm = back_project(np.array([(0.0, 0.0), (10.0, 0.0), (0.0, 5.5)]), A_ct_pixel)
    expected_mm = [(5.0, -7.0, 900.0), (6.0, -7.0, 900.1), (5.0, -7.0, 901.1)]
    np.testing.assert_allclose(points_ct_mm, expected_mm, atol=1e-12)


def test_no_pixels_give_no_points():
    assert back_project(np.empty((0, 2)), np.eye(4)).shape == (0, 3)
