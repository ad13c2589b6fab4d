"""A bone of known shape in an image of known geometry, and simulated frames with their truth."""

from __future__ import annotations

import numpy as np

from offline_tools.labeling.objective import correction_matrix
from offline_tools.labeling.refine import Frame
from recon.simulator import SimulatedSweep
from recon.surface import TriangleMesh
from tracking.transforms import Matrix

SPACING_MM = 0.1
SIZE_PX = (400, 300)
FIDUCIALS_MM = np.array([(-30.0, -25.0, 0.0), (26.0, -25.0, 0.0), (37.0, -25.0, -28.0)])


def tube(radius_mm: float, half_length_mm: float = 40.0, n: int = 360) -> TriangleMesh:
    """A closed cylinder along z around the origin."""
    angles = np.linspace(0.0, 2.0 * np.pi, n, endpoint=False)
    rim = np.column_stack((radius_mm * np.cos(angles), radius_mm * np.sin(angles)))
    heights = np.linspace(-half_length_mm, half_length_mm, 41)
    rings = [np.column_stack((rim, np.full(n, z))) for z in heights]
    ends = [(0.0, 0.0, -half_length_mm), (0.0, 0.0, half_length_mm)]
    faces = []
    k = np.arange(n)
    following = (k + 1) % n
    for ring in range(len(heights) - 1):
        a, b = ring * n, (ring + 1) * n
        faces.append(np.column_stack((a + k, a + following, b + k)))
        faces.append(np.column_stack((a + following, b + following, b + k)))
    last = (len(heights) - 1) * n
    first_end = len(heights) * n
    faces.append(np.column_stack((following, k, np.full(n, first_end))))
    faces.append(np.column_stack((last + k, last + following, np.full(n, first_end + 1))))
    return TriangleMesh(np.concatenate((*rings, ends)), np.concatenate(faces))


def shifted(mesh: TriangleMesh, x_mm: float, y_mm: float, z_mm: float = 0.0) -> TriangleMesh:
    """The mesh moved along the axes."""
    return TriangleMesh(mesh.vertices_mm + np.array((x_mm, y_mm, z_mm)), mesh.faces)


def placed(mesh: TriangleMesh, T: Matrix) -> TriangleMesh:
    return TriangleMesh(mesh.vertices_mm @ T[:3, :3].T + T[:3, 3], mesh.faces)


def simulated_frame(sweep: SimulatedSweep, index: int, error: np.ndarray) -> Frame:
    """A simulated image whose recorded pose is off by a correction (6,)."""
    T_ct_probe = sweep.A_ct_pixel(index) @ np.linalg.inv(sweep.A_probe_pixel)
    return Frame(
        pixels=sweep.render(index),
        T_ct_probe=T_ct_probe @ correction_matrix(error),
        A_probe_pixel=sweep.A_probe_pixel,
        roi_px=(0, 0, *sweep.settings.image_size_px),
        fiducials_mm=FIDUCIALS_MM,
    )
