"""Lines in space against a flat plate whose distance is known."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from offline_tools.datasets.images import LabelledImage
from offline_tools.judging.clouds import SweepClouds
from recon.mesh_io import write_mesh
from recon.surface import TriangleMesh
from tests.support.judging import NOTHING, flat

Make = Callable[..., LabelledImage]

# The image plane is y = 0 with x along the columns and z along the rows, 0.1 mm per pixel.
A_CT_PIXEL = np.array([(0.1, 0, 0, 0), (0, 0, 0.1, 0), (0, 0.1, 0, 0), (0, 0, 0, 1.0)])
LOWER = np.eye(4)
LOWER[2, 3] = 1.0


@pytest.fixture
def plate(tmp_path: Path) -> Path:
    """A slab from 20 mm on, below columns 100 to 299: the label's own row 200."""
    x, y, z = (9.95, 29.95), (-20.0, 20.0), (20.0, 40.0)
    corners = [(a, b, c) for a in x for b in y for c in z]
    quads = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    faces = [f for a, b, c, d in quads for f in ((a, b, c), (a, c, d))]
    path = tmp_path / "bone.ply"
    write_mesh(path, TriangleMesh(np.array(corners), np.array(faces)))
    return path


def test_recorded_and_refined_poses_are_told_apart(labelled: Make, plate: Path) -> None:
    clouds = SweepClouds()
    image = labelled(A_ct_pixel=LOWER @ A_CT_PIXEL, A_ct_pixel_refined=A_CT_PIXEL, surface=plate)
    clouds.add(image, flat(197.0))  # 0.3 mm above the label
    found = clouds.report()
    # The recorded pose puts the line 1 mm deeper: 0.7 mm below the surface, less at its sides.
    assert found["cloud_to_ct_mm"]["raw"]["mean"] == pytest.approx(0.7, abs=0.03)
    assert found["cloud_to_ct_mm"]["refined_in_bone"]["mean"] == pytest.approx(0.3)
    assert found["cloud_to_ct_mm"]["refined_in_bone"]["n_points"] == 200
    assert found["ct_to_cloud_mm"]["refined"]["mean"] == pytest.approx(0.3)
    assert found["cloud_to_ct_reason"] == {"raw": None, "refined_in_bone": None}


def test_points_beside_the_bone_count_raw_alone(labelled: Make, plate: Path) -> None:
    clouds = SweepClouds()
    image = labelled(A_ct_pixel=A_CT_PIXEL, A_ct_pixel_refined=A_CT_PIXEL, surface=plate)
    beside = flat(200.0, np.arange(400.0, 600.0))  # 10 to 30 mm from the slab's edge
    clouds.add(image, np.concatenate((flat(200.0), beside)))
    found = clouds.report()["cloud_to_ct_mm"]
    assert found["refined_in_bone"]["p95"] == pytest.approx(0.0, abs=1e-6)
    assert found["raw"]["n_points"] == 400
    assert found["raw"]["mean"] == pytest.approx(0.5 * (39.95 + 59.85 - 2 * 29.95) / 2, abs=0.1)


def test_without_refined_poses_only_that_is_unknown(labelled: Make, plate: Path) -> None:
    clouds = SweepClouds()
    clouds.add(labelled(A_ct_pixel=A_CT_PIXEL, surface=plate), flat(200.0))
    found = clouds.report()
    assert found["cloud_to_ct_mm"]["raw"]["mean"] == pytest.approx(0.0, abs=1e-6)
    assert found["cloud_to_ct_mm"]["refined_in_bone"] is None
    assert "no image has a refined pose" in found["cloud_to_ct_reason"]["refined_in_bone"]


def test_silence_has_no_distance_and_says_so(labelled: Make, plate: Path) -> None:
    clouds = SweepClouds()
    clouds.add(labelled(A_ct_pixel=A_CT_PIXEL, surface=plate), NOTHING)
    found = clouds.report()
    assert found["cloud_to_ct_mm"]["raw"] is None
    assert found["ct_to_cloud_mm"]["raw"] is None
    assert "no point" in found["cloud_to_ct_reason"]["raw"]
