"""The measured probe calibration and the registration to CT, checked once at the door."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tracking.errors import CalibrationError, TransformError
from tracking.transforms import Matrix, check_affine

logger = logging.getLogger(__name__)

# Real calibrations are skewed: PLUS fCal2.0 by 0.33 degree, SpinePhantom by 2.74.
# Beyond 5 degrees something other than a probe was measured.
_SKEW_REFUSED_RAD = math.radians(5.0)
_SKEW_WARNED_RAD = math.radians(1.0)

# Diagnostic probes have pixels of 0.02 to 0.5 mm; outside this range the file is in other units.
_SPACING_RANGE_MM = (0.005, 2.0)


# Scanners lag by tens of milliseconds, image pipelines by a few hundred.
MAX_IMAGE_LAG_S = 2.0


@dataclass(frozen=True, slots=True)
class ProbeCalibration:
    """Where a pixel lies on the probe, as measured.

    `A_probe_pixel` is (4, 4), mm per pixel: `p_probe = A_probe_pixel @ (u, v, 0, 1)` for column u
    and row v; where a pixel's centre lies is already in it. `image_size_px` (width, height) and
    `roi_px` (column, row, width, height) are None where the file does not say. `image_lag_s` > 0
    means that an image is stamped later than the moment it shows; None where the file does not say.
    """

    A_probe_pixel: Matrix
    source: Path
    sha256: str
    image_size_px: tuple[int, int] | None = None
    roi_px: tuple[int, int, int, int] | None = None
    image_lag_s: float | None = None
    provenance: dict[str, str] = field(default_factory=dict)

    @property
    def spacing_mm(self) -> tuple[float, float]:
        """(column, row) pixel spacing: the lengths of the first two columns."""
        lengths = np.linalg.norm(self.A_probe_pixel[:3, :2], axis=0)
        return float(lengths[0]), float(lengths[1])

    def __post_init__(self) -> None:
        lag_s = self.image_lag_s
        if lag_s is not None and not abs(lag_s) <= MAX_IMAGE_LAG_S:
            raise CalibrationError(
                f"{self.source}: image_lag_s is {lag_s}, expected within +-{MAX_IMAGE_LAG_S:g} s"
            )
        try:
            check_affine(self.A_probe_pixel, f"{self.source}: image to probe")
        except TransformError as error:
            raise CalibrationError(str(error)) from None
        _check_spacing(self)
        _check_shape(self)
        self.A_probe_pixel.flags.writeable = False


@dataclass(frozen=True, slots=True)
class Registration:
    """T_ct_reference, (4, 4) rigid, mm: where the tracked reference lies in CT space."""

    T_ct_reference: Matrix
    source: Path
    sha256: str


def _check_spacing(calibration: ProbeCalibration) -> None:
    low, high = _SPACING_RANGE_MM
    for axis, spacing in zip("xy", calibration.spacing_mm, strict=True):
        if not low <= spacing <= high:
            raise CalibrationError(
                f"{calibration.source}: pixel spacing {axis} is {spacing:.4g} mm, "
                f"expected {low} to {high} mm (is the matrix in metres, or a bare rotation?)"
            )


def _check_shape(calibration: ProbeCalibration) -> None:
    A = calibration.A_probe_pixel[:3, :3]
    if np.linalg.det(A) <= 0.0:
        raise CalibrationError(
            f"{calibration.source}: the image-to-probe matrix is mirrored (determinant "
            f"{np.linalg.det(A):.3g}), expected a right-handed one"
        )
    unit = A / np.linalg.norm(A, axis=0)
    skew_rad = abs(math.asin(float(np.clip(unit[:, 0] @ unit[:, 1], -1.0, 1.0))))
    if skew_rad > _SKEW_REFUSED_RAD:
        raise CalibrationError(
            f"{calibration.source}: image axes are {math.degrees(skew_rad):.1f} degrees off a "
            f"right angle, expected at most {math.degrees(_SKEW_REFUSED_RAD):.0f}"
        )
    if skew_rad > _SKEW_WARNED_RAD:
        logger.warning(
            "%s: image axes are %.2f degrees off a right angle; the measured matrix is used as is",
            calibration.source,
            math.degrees(skew_rad),
        )
