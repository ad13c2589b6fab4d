"""A tracked image of a ring, and a simulated sweep."""

from __future__ import annotations

import numpy as np
import pytest

from offline_tools.labeling.refine import Frame
from recon.simulator import SimulatedSweep, SimulatorSettings
from tests.support.bones import FIDUCIALS_MM, SIZE_PX, SPACING_MM
from tracking.transforms import Matrix, from_rotation_vector


@pytest.fixture(scope="session")
def A_probe_pixel() -> Matrix:
    """The image lies 100 mm from the marker; its middle column and row 150 at image (0, 15) mm."""
    A_image_pixel = np.diag((SPACING_MM, SPACING_MM, 1.0, 1.0))
    A_image_pixel[0, 3] = -0.5 * (SIZE_PX[0] - 1) * SPACING_MM
    return from_rotation_vector((1.58, 0.0, 0.1), (20.0, 0.0, 100.0)) @ A_image_pixel


@pytest.fixture(scope="session")
def T_ct_probe(A_probe_pixel: Matrix) -> Matrix:
    """Puts the image across the z axis, 15 mm of depth at the origin."""
    A_ct_pixel = np.diag((SPACING_MM, SPACING_MM, 1.0, 1.0))
    A_ct_pixel[:2, 3] = -0.5 * (SIZE_PX[0] - 1) * SPACING_MM, -15.0
    return A_ct_pixel @ np.linalg.inv(A_probe_pixel)


@pytest.fixture
def ring_frame(A_probe_pixel: Matrix, T_ct_probe: Matrix) -> Frame:
    """Grey 60 with a bright upper half ring of radius 6 mm, 0.6 mm wide, and black within."""
    v, u = np.indices(SIZE_PX[::-1])
    points = np.stack((u, v, 0 * u, 1 + 0 * u), axis=-1) @ (T_ct_probe @ A_probe_pixel).T
    radius = np.hypot(points[..., 0], points[..., 1])
    pixels = np.where(radius < 6.0, 2, 60)
    pixels[(radius < 6.0) | ((np.abs(points[..., 0]) < 6.0) & (points[..., 1] > 0))] = 2
    pixels[(np.abs(radius - 6.0) < 0.3) & (points[..., 1] < 3.0)] = 220
    size_px = SIZE_PX
    return Frame(pixels.astype(np.uint8), T_ct_probe, A_probe_pixel, (0, 0, *size_px), FIDUCIALS_MM)


@pytest.fixture(scope="session")
def simulated() -> SimulatedSweep:
    return SimulatedSweep(SimulatorSettings(seed=11, n_images=6, image_rate_hz=2.0))
