"""A simulated sweep as an UltraBones100k record on disk: poses in CT space at the image's time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image
from scipy.spatial.transform import Rotation

from navapp.demo import write_simulation
from recon.simulator import SimulatedSweep, SimulatorSettings
from tracking.transforms import Matrix

HEADER = "timestamp,space_factor,x,y,z,euler_x,euler_y,euler_z"


def write_record(folder: Path, n_images: int = 6, seed: int = 5) -> SimulatedSweep:
    """Write a record into `folder`, with `calibration.toml` and `bone.ply` in it."""
    sweep = SimulatedSweep(SimulatorSettings(seed=seed, n_images=n_images, image_lag_s=0.0))
    write_simulation(sweep, folder)
    images = folder / "UltrasoundImages"
    images.mkdir()
    rows = [HEADER]
    for index in range(n_images):
        timestamp_ms = 1000 + 50 * index
        Image.fromarray(sweep.render(index)).save(images / f"{timestamp_ms}.png")
        rows.append(_row(timestamp_ms, sweep, index))
    (folder / "tracking.csv").write_text("\n".join(rows) + "\n")
    return sweep


def _row(timestamp_ms: int, sweep: SimulatedSweep, index: int) -> str:
    T_ct_probe = _T_ct_probe(sweep, index)
    angles_deg = Rotation.from_matrix(T_ct_probe[:3, :3]).as_euler("xyz", degrees=True)
    numbers = (*T_ct_probe[:3, 3], *angles_deg)
    # Without a stated spacing the calibration's is used: the simulator's is not square.
    return ",".join((str(timestamp_ms), "", *(f"{number:.9f}" for number in numbers)))


def _T_ct_probe(sweep: SimulatedSweep, index: int) -> Matrix:
    return sweep.A_ct_pixel(index) @ np.linalg.inv(sweep.A_probe_pixel)
