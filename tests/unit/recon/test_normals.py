"""Normals of swept surfaces against true ones, as angles."""

from __future__ import annotations

import numpy as np
import pytest

from recon.back_projection import back_project
from recon.normals import cloud_normals
from recon.point_cloud import PointCloud
from recon.simulator import SimulatedSweep, SimulatorSettings
from recon.surface import SurfaceDistance


def errors_deg(normals, truth):
    cosines = np.einsum("ni,ni->n", normals, truth)
    return np.degrees(np.arccos(np.clip(cosines, -1.0, 1.0)))


def swept_sphere(rng, noise_mm, step_mm=0.4, radius_mm=20.0):
    """The upper half, as planes across x see it from above; each image is off by some noise."""
    cloud = PointCloud(0.5)
    for x_mm in np.arange(-14.0, 14.0, step_mm):
        circle_mm = np.sqrt(radius_mm**2 - x_mm**2)
        angle = np.arange(-1.1, 1.1, 0.1 / circle_mm)
        line = np.column_stack(
            (np.full(angle.size, x_mm), circle_mm * np.sin(angle), circle_mm * np.cos(angle))
        )
        line += rng.normal(0.0, noise_mm, 3) + rng.normal(0.0, noise_mm, line.shape)
        cloud.insert(line, np.ones(len(line)), 1, towards_probe=(0.0, 0.0, 1.0))
    return cloud.snapshot()


@pytest.mark.parametrize(("noise_mm", "median_deg"), [(0.0, 2.0), (0.1, 5.0)])
def test_sphere(noise_mm, median_deg):
    cloud = swept_sphere(np.random.default_rng(0), noise_mm)
    normals = cloud_normals(cloud)
    truth = cloud.points_mm / np.linalg.norm(cloud.points_mm, axis=1)[:, None]
    is_told = np.isfinite(normals[:, 0])
    assert is_told.mean() > 0.98
    errors = errors_deg(normals[is_told], truth[is_told])
    assert np.median(errors) < median_deg
    assert np.percentile(errors, 95) < 4.0 * median_deg
    np.testing.assert_allclose(np.linalg.norm(normals[is_told], axis=1), 1.0)


def test_simulated_bone():
    sweep = SimulatedSweep(SimulatorSettings(seed=3, n_images=60, peak_speed_mm_s=20.0))
    cloud = PointCloud(0.5)
    for index in range(sweep.n_images):
        A_ct_pixel = sweep.A_ct_pixel(index)
        points_mm = back_project(sweep.truth_line(index).points_px, A_ct_pixel)
        towards = -A_ct_pixel[:3, 1] / np.linalg.norm(A_ct_pixel[:3, 1])
        cloud.insert(points_mm, np.ones(len(points_mm)), 1, towards_probe=towards)
    snapshot = cloud.snapshot()
    normals = cloud_normals(snapshot)
    _, corners_mm = SurfaceDistance(sweep.mesh).nearest_triangles_mm(snapshot.points_mm)
    truth = np.cross(corners_mm[:, 1] - corners_mm[:, 0], corners_mm[:, 2] - corners_mm[:, 0])
    truth /= np.linalg.norm(truth, axis=1)[:, None]
    is_told = np.isfinite(normals[:, 0])
    assert is_told.mean() > 0.9
    assert np.median(errors_deg(normals[is_told], truth[is_told])) < 4.0


def test_a_single_line_faces_nowhere():
    cloud = PointCloud(0.5)
    x_mm = np.arange(0.0, 20.0, 0.1)
    line_mm = np.column_stack((x_mm, 0.1 * np.sin(x_mm), np.zeros_like(x_mm)))
    cloud.insert(line_mm, np.ones(len(x_mm)), 1)
    assert np.isnan(cloud_normals(cloud.snapshot())).all()


def test_few_voxels_have_no_normals():
    cloud = PointCloud(0.5)
    assert cloud_normals(cloud.snapshot()).shape == (0, 3)
    cloud.insert(np.eye(3), np.ones(3), 1)
    assert np.isnan(cloud_normals(cloud.snapshot())).all()
