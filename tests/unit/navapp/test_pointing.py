"""A touch is the mean of a while in which the stylus was held still, or it is refused."""

from __future__ import annotations

import numpy as np
import pytest

from navapp.errors import ConfigError
from navapp.pointing import touched_mm
from tracking.messages import PoseSample, PoseStatus, Stamps
from tracking.pose_buffer import PoseBuffer
from tracking.pose_path import find_path
from tracking.transforms import from_rotation_vector, invert

T_STYLUS_TIP = from_rotation_vector((0.0, 0.0, 0.0), (0.0, 0.0, -150.0))
TIP_MM = np.array((12.0, -7.0, 30.0))  # frame of the reference


def touched(noise_mm=0.0, drift_mm_s=0.0, invalid_from_s=2.0):
    """A hand that pivots about its tip, on a patient that moves; 100 Hz for two seconds."""
    rng, poses = np.random.default_rng(3), PoseBuffer()
    for t_s in np.arange(0.0, 2.0, 0.01):
        T_tracker_reference = from_rotation_vector((0.1, 0.0, 0.2), (5.0 * t_s, 800.0, 0.0))
        tilt = from_rotation_vector((0.3 * np.sin(4.0 * t_s), 0.2 * t_s, 0.0), np.zeros(3))
        tip_mm = TIP_MM + rng.normal(0.0, noise_mm + 1e-12, 3)
        tip_mm[0] += drift_mm_s * t_s
        T_reference_tip = from_rotation_vector((0.0, 0.0, 0.0), tip_mm) @ tilt
        T_tracker_stylus = T_tracker_reference @ T_reference_tip @ invert(T_STYLUS_TIP)
        matrices = {"StylusToTracker": T_tracker_stylus, "ReferenceToTracker": T_tracker_reference}
        for name, matrix in matrices.items():
            status = PoseStatus.INVALID if t_s > invalid_from_s else PoseStatus.OK
            poses.add(PoseSample(name, matrix, status, Stamps(float(t_s), 0.0)))
    path = find_path(poses.names, "Stylus", "Reference")
    return touched_mm(poses, path, T_STYLUS_TIP)


def test_a_tip_that_rests_is_found_however_hand_and_patient_move():
    np.testing.assert_allclose(touched(), TIP_MM, atol=0.02)


def test_jitter_is_averaged():
    assert np.linalg.norm(touched(noise_mm=0.3) - TIP_MM) < 0.25


def test_a_stylus_that_slides_is_refused_with_how_far():
    with pytest.raises(ConfigError, match=r"moved by 4\.\d mm while it was read, expected"):
        touched(drift_mm_s=20.0)


@pytest.mark.parametrize("lost", [{"invalid_from_s": 1.7}, {"invalid_from_s": 0.5}])
def test_a_stylus_that_the_tracker_lost_is_refused(lost):
    with pytest.raises(ConfigError, match=r"was seen for 0\.\d s of the last 0\.5 s"):
        touched(**lost)
