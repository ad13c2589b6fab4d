"""PLUS's own recordings against the results that its developers committed.

Expected numbers and tolerances: research on PLUS, sections 2 and 6.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.support.plus import PlusRecording
from tracking.calibration import load_stylus
from tracking.calibration.landmarks import find_dwells, fit_landmarks
from tracking.calibration.plus_xml import read_phantom, read_plus_transforms
from tracking.messages import TransformName
from tracking.transforms import invert, rotation_angle_rad


@pytest.fixture(scope="module")
def plus(shared_data: Path) -> Path:
    return shared_data / "plus"


def _matrix(path: Path, source: str, target: str) -> np.ndarray:
    return read_plus_transforms(path)[TransformName(source, target)].matrix


def test_phantom_landmarks(plus: Path) -> None:
    recording = PlusRecording(plus / "EightLandmarkPointsTrackedForPhantomRegistration.igs.mha")
    config = plus / "PlusDeviceSet_fCal_Sim_RecordPhantomLandmarks.xml"
    tip_stylus_mm = load_stylus(config)[:3, 3]
    dwells = find_dwells(recording.t_s, recording.relative("Stylus"), tip_stylus_mm)
    assert len(dwells) == 8
    tips = [dwell.tip_reference_mm for dwell in dwells]
    fit = fit_landmarks(read_phantom(config).landmarks_mm, tips)
    baseline = plus / "PhantomRegistrationLandmarkDetection.results.xml"
    T_reference_phantom = _matrix(baseline, "Phantom", "Reference")
    offset = fit.T_target_source[:3, 3] - T_reference_phantom[:3, 3]
    assert np.linalg.norm(offset) <= 0.1
    turn = invert(T_reference_phantom) @ fit.T_target_source
    assert np.degrees(rotation_angle_rad(turn)) <= 0.3
    assert fit.fre.mean == pytest.approx(0.198, abs=0.02)
    assert fit.left_out_mm.max() < 0.5
