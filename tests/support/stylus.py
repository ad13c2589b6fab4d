"""Poses of a pivoting stylus, as PLUS's FakeTracker makes them."""

from __future__ import annotations

import numpy as np

from tracking.transforms import from_rotation_vector

TIP_MM = np.array((210.0, 0.0, 0.0))
PIVOT_MM = np.array((205.0, 305.0, 55.0))


def fake_tracker_poses(
    seed: int, n: int = 100, n_outliers: int = 5, swing_deg: float = 60.0
) -> np.ndarray:
    """Stylus along x about a pivot, its length noisy by up to 1 mm; outliers anywhere near."""
    rng = np.random.default_rng(seed)
    poses = []
    for k in range(n):
        pitch, yaw = np.radians(rng.uniform(-swing_deg, swing_deg, 2))
        T = from_rotation_vector((0.0, pitch, 0.0), np.zeros(3))
        T = from_rotation_vector((0.0, 0.0, yaw), np.zeros(3)) @ T
        noise = np.array((rng.uniform(-1.0, 1.0), 0.0, 0.0))
        T[:3, 3] = PIVOT_MM - T[:3, :3] @ (TIP_MM + noise)
        if k % (n // n_outliers) == 3:
            T[:3, 3] += rng.uniform(30.0, 80.0, 3)
        poses.append(T)
    return np.array(poses)
