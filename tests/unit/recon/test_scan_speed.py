"""A probe of known motion."""

from __future__ import annotations

import math

import numpy as np
import pytest

from recon.scan_speed import Pace, SpeedGauge
from tracking.transforms import from_rotation_vector

SIZE_PX = (401, 301)
SCALE = np.diag((0.1, 0.1, 1.0, 1.0))  # an image of 40 x 30 mm in the plane z = 0


def drive(gauge, speed_mm_s, rate_hz, n, direction=(0.0, 0.0, 1.0), start_s=5.0):
    for k in range(n):
        pose = from_rotation_vector((0.0, 0.0, 0.0), speed_mm_s * k / rate_hz * np.array(direction))
        gauge.add(start_s + k / rate_hz, pose @ SCALE, SIZE_PX)
    return gauge.reading()


@pytest.mark.parametrize(
    ("speed_mm_s", "pace"), [(29.0, Pace.GOOD), (45.0, Pace.FAST), (61.0, Pace.TOO_FAST)]
)
def test_thirty_images_a_second_allow_thirty_millimetres(speed_mm_s, pace):
    reading = drive(SpeedGauge(), speed_mm_s, 30.0, 60)
    assert reading.speed_mm_s == pytest.approx(speed_mm_s)
    assert reading.spacing_mm == pytest.approx(speed_mm_s / 30.0)
    assert reading.recommended_mm_s == pytest.approx(30.0)
    assert reading.pace is pace


def test_only_the_last_half_second_counts():
    gauge = SpeedGauge()
    drive(gauge, 90.0, 30.0, 60)
    reading = drive(gauge, 10.0, 30.0, 20, start_s=7.0)
    assert reading.speed_mm_s == pytest.approx(10.0)
    assert reading.pace is Pace.GOOD


def test_sliding_within_the_plane_leaves_no_gap():
    reading = drive(SpeedGauge(), 90.0, 30.0, 30, direction=(1.0, 0.0, 0.0))
    assert reading.speed_mm_s == pytest.approx(90.0)
    assert reading.spacing_mm == pytest.approx(0.0, abs=1e-9)


def test_tilting_is_measured_where_the_image_moves_most():
    gauge = SpeedGauge()
    for k in range(2):
        gauge.add(k * 0.1, from_rotation_vector((0.05 * k, 0.0, 0.0), np.zeros(3)) @ SCALE, SIZE_PX)
    assert gauge.reading().spacing_mm == pytest.approx(30.0 * math.sin(0.05))


def test_one_image_or_a_clock_that_runs_back_has_no_speed():
    gauge = SpeedGauge()
    assert gauge.reading() is None
    gauge.add(5.0, SCALE, SIZE_PX)
    assert gauge.reading() is None
    gauge.add(5.1, SCALE, SIZE_PX)
    assert gauge.reading().speed_mm_s == 0.0
    gauge.add(1.0, SCALE, SIZE_PX)
    assert gauge.reading() is None
