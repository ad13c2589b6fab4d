"""A stylus: pivoting, as PLUS's FakeTracker moves it, and touching a simulated bone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from recon.simulator import SimulatedSweep
from tracking.sequences.sweep import SweepImage, SweepPose
from tracking.transforms import apply, from_rotation_vector, invert

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


class WithStylus:
    """A simulated sweep in which a stylus is held on one place of the bone after the other.

    Parameters
    ----------
    places_ct_mm : (n, 3), each touched for `hold_s`, in their order
    """

    T_stylus_tip = from_rotation_vector((0.0, 0.0, 0.0), (0.0, 0.0, -150.0))

    def __init__(self, sweep: SimulatedSweep, places_ct_mm: np.ndarray, hold_s: float) -> None:
        self._sweep = sweep
        self._hold_s = hold_s
        self._places_mm = apply(invert(sweep.T_ct_reference), places_ct_mm)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sweep, name)

    def events(self) -> Iterator[SweepImage | SweepPose]:
        begin_s, _ = self._sweep.span_s
        for event in self._sweep.events():
            yield event
            if isinstance(event, SweepPose) and event.name == "ReferenceToTracker":
                elapsed_s = event.t_s - begin_s
                k = min(int(elapsed_s / self._hold_s), len(self._places_mm) - 1)
                tilt_rad = (0.3 * np.sin(3.0 * elapsed_s), 0.1, 0.0)  # a hand pivots a little
                T_reference_tip = from_rotation_vector(tilt_rad, self._places_mm[k])
                T_reference_stylus = T_reference_tip @ invert(self.T_stylus_tip)
                yield SweepPose("StylusToTracker", event.t_s, event.matrix @ T_reference_stylus)
