"""The spine phantom of the PLUS Toolkit's tests, against the volumes that PLUS makes of it.

Tolerances: PLUS computes positions in 18.14 fixed point, we in double precision, so that some
pixels fall into the neighbouring voxel.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from navapp.config import load_settings
from navapp.sweep_volume import VolumePlan, VolumeResult, make_volume, parse_plan
from recon.volume import Compounding, Interpolation
from tracking.sequences import open_sweep

_SIZE = (147, 106, 105)
_ORIGIN_MM = (-74.5217, 165.573, 29.072)


@pytest.fixture(scope="module")
def plus(shared_data: Path) -> Path:
    return shared_data / "plus"


def _read(path: Path) -> NDArray[np.int64]:
    """The pixels of an uncompressed volume of 8 bits: whatever ends the file."""
    n_x, n_y, n_z = _SIZE
    content = path.read_bytes()[-n_x * n_y * n_z :]
    return np.frombuffer(content, np.uint8).reshape(n_z, n_y, n_x).astype(np.int64)


def _make(plus: Path, out: Path, config: str, plan: VolumePlan) -> VolumeResult:
    source = plus / "SpinePhantomFreehand.igs.mha"
    calibration = plus / f"Config_VolumeReconstruction_SpinePhantom_{config}.xml"
    settings = load_settings(None, {"geometry": {"calibration": calibration}})
    return make_volume(open_sweep(source), source, out, settings, plan)


@pytest.mark.parametrize(
    ("config", "plan", "reference", "share_within_2", "correlation"),
    [
        ("NN_MEAN", parse_plan(0.5, "nearest", "mean", True, None), "NNMEAN", 0.985, 0.999),
        ("LN_MAXI", parse_plan(0.5, "linear", "maximum", False, None), "LNMAXI", 0.99, 0.995),
    ],
)
def test_volumes_agree_with_those_of_plus(
    plus: Path,
    tmp_path: Path,
    config: str,
    plan: VolumePlan,
    reference: str,
    share_within_2: float,
    correlation: float,
) -> None:
    result = _make(plus, tmp_path / "volume.mha", config, plan)
    assert (result.n_inserted, result.frame) == (21, "reference")
    assert result.grid.size_voxels == _SIZE
    np.testing.assert_allclose(result.grid.origin_mm, _ORIGIN_MM, rtol=0.0, atol=1e-3)
    ours = _read(tmp_path / "volume.mha")
    theirs = _read(plus / f"VolumeReconstructorTest{reference}volumeRef.mha")
    assert (np.abs(ours - theirs) <= 2).mean() >= share_within_2
    assert np.corrcoef(ours.ravel(), theirs.ravel())[0, 1] >= correlation


def test_the_exact_mean_is_brighter_than_that_of_plus(plus: Path, tmp_path: Path) -> None:
    """PLUS cuts its mean down to a whole grey value at every hit; ours is not that one."""
    plan = VolumePlan(0.5, Interpolation.NEAREST, Compounding.MEAN, True, is_plus_mean=False)
    result = _make(plus, tmp_path / "volume.mha", "NN_MEAN", plan)
    assert result.compounding is Compounding.MEAN
    ours = _read(tmp_path / "volume.mha")
    theirs = _read(plus / "VolumeReconstructorTestNNMEANvolumeRef.mha")
    is_seen = theirs > 0
    assert 4.5 <= (ours - theirs)[is_seen].mean() <= 6.5
    assert np.corrcoef(ours.ravel(), theirs.ravel())[0, 1] >= 0.998
