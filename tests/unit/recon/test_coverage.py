"""Share of the surface that a cloud reaches."""

from __future__ import annotations

import math

import numpy as np
import pytest

from recon.coverage import seen_fraction
from recon.phantom_bone import long_bone_mesh
from recon.surface import TriangleMesh

# Two triangles of 100 mm: far larger than the radius.
SQUARE = TriangleMesh([(0, 0, 0), (100, 0, 0), (100, 100, 0), (0, 100, 0)], [(0, 1, 2), (0, 2, 3)])


def test_disc_around_one_point():
    assert seen_fraction(SQUARE, [(50.0, 50.0, 0.0)], radius_mm=20.0) == pytest.approx(
        math.pi * 20.0**2 / 100.0**2, rel=0.1
    )


def test_half_of_a_coarse_square():
    grid = np.arange(0.0, 101.0, 1.0)
    x, y = (axis.ravel() for axis in np.meshgrid(grid[grid <= 48.0], grid))
    cloud_mm = np.column_stack((x, y, np.zeros_like(x)))
    assert seen_fraction(SQUARE, cloud_mm, radius_mm=2.0) == pytest.approx(0.5, abs=0.01)


def test_cloud_beyond_the_radius_sees_nothing():
    assert seen_fraction(SQUARE, [(50.0, 50.0, 2.1)], radius_mm=2.0) == 0.0


def test_empty_cloud_sees_nothing():
    assert seen_fraction(SQUARE, np.empty((0, 3))) == 0.0


def test_whole_bone():
    mesh = long_bone_mesh(length_mm=40.0)
    assert seen_fraction(mesh, mesh.vertices_mm) == 1.0
