"""Our exact band against the sections that UltraBones100k's authors drew on 12 frames.

Wu et al. 2025, CC BY 4.0. They drew the pixels near 10 million random points of the surface, which
can only overestimate a distance: theirs is a subset of ours, some 3 % smaller.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from recon.mesh_io import read_mesh
from recon.section import surface_band_mask
from tracking.transforms import from_euler_xyz_deg


def read_A_probe_pixel(calibration: Path) -> np.ndarray:
    values = json.loads(calibration.read_text())
    A_image_pixel = np.diag((*values["pixel_spacing_mm"], 1.0, 1.0))
    A_image_pixel[:2, 3] = 0.5 * np.array(values["pixel_spacing_mm"])  # centres of pixels
    T_probe_image = from_euler_xyz_deg(
        values["t_probe_image_mm"], values["euler_probe_image_deg_extrinsic_xyz"]
    )
    return T_probe_image @ A_image_pixel


def read_T_ct_probe(record: Path) -> dict[str, np.ndarray]:
    with (record / "tracking.csv").open() as rows:
        return {
            row["timestamp"]: from_euler_xyz_deg(
                [float(row[axis]) for axis in ("x", "y", "z")],
                [float(row[f"euler_{axis}"]) for axis in ("x", "y", "z")],
            )
            for row in csv.DictReader(rows)
        }


@pytest.fixture(scope="module")
def compared(shared_data: Path, record01: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """(ours, published) mask of each golden frame."""
    mesh = read_mesh(record01.parent / "CT_bone_model.stl")
    A_probe_pixel = read_A_probe_pixel(shared_data / "ultrabones/calibration.json")
    poses = read_T_ct_probe(record01)
    masks = {}
    for path in sorted((shared_data / "ultrabones/golden/initial_masks").glob("*_mask.png")):
        timestamp = path.stem.removesuffix("_mask")
        published = np.array(Image.open(path)) > 0
        height, width = published.shape
        ours = surface_band_mask(mesh, poses[timestamp] @ A_probe_pixel, (width, height))
        masks[timestamp] = ours, published
    return masks


def test_all_golden_frames_are_compared(compared):
    assert len(compared) == 12


def test_overlap_with_every_published_section(compared):
    overlaps = {
        timestamp: (ours & published).sum() / (ours | published).sum()
        for timestamp, (ours, published) in compared.items()
    }
    assert min(overlaps.values()) >= 0.95, overlaps


def test_published_pixels_lie_within_our_band(compared):
    assert sum((published & ~ours).sum() for ours, published in compared.values()) <= 2
