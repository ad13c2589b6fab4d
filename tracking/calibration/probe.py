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

# Printed spacings are rounded; one per cent of a 45 mm image is already 0.45 mm.
_SPACING_TOLERANCE = 0.01
# Depth settings come in steps of 5 mm or more; what differs by less is rounding.
_DEPTH_TOLERANCE_MM = 1.0


# Scanners lag by tens of milliseconds, image pipelines by a few hundred.
MAX_IMAGE_LAG_S = 2.0


@dataclass(frozen=True, slots=True)
class ProbeCalibration:
    """Where a pixel lies on the probe, as measured.

    `A_probe_pixel` is (4, 4), mm per pixel: `p_probe = A_probe_pixel @ (u, v, 0, 1)` for column u
    and row v; where a pixel's centre lies is already in it. `image_size_px` (width, height) and
    `roi_px` (column, row, width, height) are None where the file does not say. `image_lag_s` > 0
    means that an image is stamped later than the moment it shows; None where the file does not say.
    `orientation` is PLUS's two letters for how the rows and columns of the images run (MF: column 0
    at the marked side, row 0 at the transducer), `depth_mm` the scanner's depth setting.
    """

    A_probe_pixel: Matrix
    source: Path
    sha256: str
    image_size_px: tuple[int, int] | None = None
    roi_px: tuple[int, int, int, int] | None = None
    image_lag_s: float | None = None
    orientation: str | None = None
    depth_mm: float | None = None
    provenance: dict[str, str] = field(default_factory=dict)

    @property
    def spacing_mm(self) -> tuple[float, float]:
        """(column, row) pixel spacing: the lengths of the first two columns."""
        lengths = np.linalg.norm(self.A_probe_pixel[:3, :2], axis=0)
        return float(lengths[0]), float(lengths[1])

    def misfit(
        self,
        image_size_px: tuple[int, int] | None = None,
        spacing_mm: tuple[float, float] | None = None,
        orientation: str | None = None,
        depth_mm: float | None = None,
    ) -> str | None:
        """Why images of this kind cannot be used with this calibration, None where they can.

        What either side does not say is not compared. A stated spacing of exactly 1 mm is a sender
        that knows none.
        """
        if self.image_size_px and image_size_px and image_size_px != self.image_size_px:
            return (
                f"the image is {_by(image_size_px, 'd', 'x')} pixels, "
                f"the calibration is for {_by(self.image_size_px, 'd', 'x')}"
            )
        ours, theirs = _letters(self.orientation), _letters(orientation)
        if ours and theirs and ours != theirs:
            return f"the image's orientation is {theirs}, the calibration is for {ours}"
        stated_mm = None if spacing_mm == (1.0, 1.0) else spacing_mm
        if stated_mm and not np.allclose(stated_mm, self.spacing_mm, rtol=_SPACING_TOLERANCE):
            return (
                f"the image's spacing is {_by(stated_mm, '.4f')} mm, "
                f"the calibration's {_by(self.spacing_mm, '.4f')} mm"
            )
        if self.depth_mm and depth_mm and abs(depth_mm - self.depth_mm) > _DEPTH_TOLERANCE_MM:
            return (
                f"the image's depth is {depth_mm:g} mm, the calibration is for {self.depth_mm:g} mm"
            )
        return None

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


def _by(pair: tuple[float, float], form: str, between: str = " x ") -> str:
    return between.join(format(value, form) for value in pair)


def _letters(orientation: str | None) -> str | None:
    """PLUS's third letter, A where it is given, is the default."""
    return None if orientation in (None, "", "XX") else orientation.upper().removesuffix("A")


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
