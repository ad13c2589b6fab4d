"""Calibrations: measured transforms with their provenance."""

from tracking.calibration.probe import ProbeCalibration, Registration
from tracking.calibration.read import (
    find_calibration,
    load_calibration,
    load_phantom_placement,
    load_registration,
    load_stylus,
)

__all__ = [
    "ProbeCalibration",
    "Registration",
    "find_calibration",
    "load_calibration",
    "load_phantom_placement",
    "load_registration",
    "load_stylus",
]
