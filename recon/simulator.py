"""Synthetic tracked ultrasound of a procedural bone, with everything about it known.

A sweep behind the same reader protocol as a recording, made hard in the same ways: images stamped
later than the moment they show, poses at another rate that fall on no image, probe and reference
both moving. Beside it stands the truth: the surface, every image's exact pose and bone line.
"""

from __future__ import annotations

import functools
import heapq
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recon.bmode import BModePainter
from recon.errors import ReconError
from recon.phantom_bone import LongBone, bone_placement, long_bone_mesh
from recon.phantom_tissue import Tissue
from recon.section import VisibleLine, first_surface, visible_line
from recon.surface import TriangleMesh
from tracking.sequences.sweep import SweepImage, SweepPose
from tracking.transforms import Matrix, from_rotation_vector, invert

__all__ = ["SimulatedSweep", "SimulatorSettings", "long_bone_mesh"]

# Part of the bone's length that the probe travels, from end to end of its way.
_SWEPT_PART = 0.72
# Largest distance, in image periods, of an image from its place on an even grid.
_IMAGE_JITTER = 0.1

# T_probe_image: the image lies some 100 mm from the marker, as on a real probe.
_T_PROBE_IMAGE = from_rotation_vector((1.58, -0.05, 0.12), (26.0, -3.5, 118.0))
# A scan line that is not quite upright on the row: real calibrations measure 0.3 degrees and more.
_SKEW_RAD = math.radians(0.3)


@dataclass(frozen=True, slots=True)
class SimulatorSettings:
    """One simulated sweep. The seed changes bone, tissue, look, motion and speckle.

    `image_size_px` is (width, height), `spacing_mm` (column, row). For images from all over the
    bone instead of a smooth film, lower `image_rate_hz` (2 Hz and 12 images are one way along it).

    Raises
    ------
    ReconError : if a number cannot be simulated.
    """

    seed: int = 0
    n_images: int = 200
    image_size_px: tuple[int, int] = (640, 480)
    spacing_mm: tuple[float, float] = (0.08, 0.085)
    image_rate_hz: float = 24.0
    pose_rate_hz: float = 100.0
    image_lag_s: float = 0.080
    start_s: float = 1000.0
    peak_speed_mm_s: float = 40.0
    bone_length_mm: float = 180.0
    bone_depth_mm: tuple[float, float] = (8.0, 17.0)
    reference_motion_mm: float = 4.0
    reference_motion_rad: float = 0.04

    def __post_init__(self) -> None:
        positive = (
            "n_images", "image_rate_hz", "pose_rate_hz", "peak_speed_mm_s", "bone_length_mm",
        )  # fmt: skip
        for name in positive:
            value = getattr(self, name)
            if not (value > 0 and math.isfinite(value)):
                raise ReconError(f"simulator: {name} is {value}, expected more than 0")
        if min(self.image_size_px) < 16 or not min(self.spacing_mm) > 0.0:
            raise ReconError(
                f"simulator: image_size_px is {self.image_size_px} and spacing_mm "
                f"{self.spacing_mm}, expected at least 16 pixels and more than 0 mm"
            )
        if self.seed < 0 or self.image_lag_s < 0.0:
            raise ReconError(
                f"simulator: seed is {self.seed} and image_lag_s {self.image_lag_s}, "
                "expected 0 or more"
            )


class SimulatedSweep:
    """A sweep of a tracked linear probe along a long bone; see `tracking.sequences.sweep.Sweep`.

    Poses are ProbeToTracker and ReferenceToTracker, exact at their stamps. The image of index k
    shows the moment `t_acq_s(k)` and is stamped `image_lag_s` later. Nothing is held but the
    bone and the speckle: images are painted when they are loaded.
    """

    def __init__(self, settings: SimulatorSettings | None = None) -> None:
        self.settings = settings or SimulatorSettings()
        seed = self.settings.seed
        bone = LongBone.from_seed(seed, self.settings.bone_length_mm)
        self.mesh: TriangleMesh = long_bone_mesh(seed, self.settings.bone_length_mm)
        self.A_probe_pixel: Matrix = _T_PROBE_IMAGE @ _image_affine(self.settings)
        self.T_ct_reference: Matrix = from_rotation_vector((-0.6, 0.9, 0.3), (240.0, -180.0, 960.0))
        self._T_ct_bone = bone_placement(seed)
        self._tissue = Tissue(bone, seed, self.settings.bone_depth_mm)
        self._motion = _Motion(self.settings, self._tissue)
        self._t_acq_s = _image_times(self.settings)

    @property
    def name(self) -> str:
        return f"simulated (seed {self.settings.seed})"

    @property
    def image_name(self) -> str:
        return "Image"

    @property
    def spacing_mm(self) -> tuple[float, float] | None:
        return self.settings.spacing_mm

    @property
    def n_images(self) -> int:
        return self.settings.n_images

    @property
    def image_lag_s(self) -> float:
        """How much later than its moment an image is stamped."""
        return self.settings.image_lag_s

    @property
    def span_s(self) -> tuple[float, float]:
        return self.settings.start_s, self._pose_time_s(self._n_poses - 1)

    def events(self) -> Iterator[SweepImage | SweepPose]:
        """Images and poses by ascending stamp; poses begin before and end after all images."""
        return heapq.merge(self._images(), self._poses(), key=lambda event: event.t_s)

    def t_acq_s(self, index: int) -> float:
        """The moment that an image shows, on the clock of the stamps."""
        return float(self._t_acq_s[index])

    def A_ct_pixel(self, index: int) -> Matrix:
        """Exact way from the pixels of an image to CT space."""
        return self._T_ct_bone @ self._A_bone_pixel(index)

    def truth_line(self, index: int) -> VisibleLine:
        """The exact bone line in an image."""
        return visible_line(self.mesh, self.A_ct_pixel(index), self.settings.image_size_px)

    def render(self, index: int) -> NDArray[np.uint8]:
        """An image, (rows, columns) uint8; the same for the same settings and index."""
        width, _ = self.settings.image_size_px
        bone_v_px, incidence_rad = first_surface(
            self.mesh, self.A_ct_pixel(index), self.settings.image_size_px
        )
        A_bone_pixel = self._A_bone_pixel(index)
        layers = self._tissue.lines(A_bone_pixel, width)
        return self._painter.paint(index, A_bone_pixel, layers, bone_v_px, incidence_rad)

    @functools.cached_property
    def _painter(self) -> BModePainter:
        settings = self.settings
        return BModePainter(settings.seed, settings.image_size_px, settings.spacing_mm)

    def _A_bone_pixel(self, index: int) -> Matrix:
        return self._motion.T_bone_image(self.t_acq_s(index)) @ _image_affine(self.settings)

    @property
    def _n_poses(self) -> int:
        """Enough that two poses follow the last image, whose match needs one after its moment."""
        last_stamp_s = float(self._t_acq_s[-1]) + self.settings.image_lag_s
        return math.ceil((last_stamp_s - self.settings.start_s) * self.settings.pose_rate_hz) + 3

    def _pose_time_s(self, k: int) -> float:
        return self.settings.start_s + k / self.settings.pose_rate_hz

    def _images(self) -> Iterator[SweepImage]:
        for index in range(self.n_images):
            stamp_s = self.t_acq_s(index) + self.settings.image_lag_s
            yield SweepImage(index, stamp_s, functools.partial(self.render, index))

    def _poses(self) -> Iterator[SweepPose]:
        for k in range(self._n_poses):
            t_s = self._pose_time_s(k)
            T_tracker_reference = self._motion.T_tracker_reference(t_s)
            T_ct_probe = self._T_ct_bone @ self._motion.T_bone_image(t_s) @ invert(_T_PROBE_IMAGE)
            T_tracker_probe = T_tracker_reference @ invert(self.T_ct_reference) @ T_ct_probe
            yield SweepPose("ProbeToTracker", t_s, T_tracker_probe)
            yield SweepPose("ReferenceToTracker", t_s, T_tracker_reference)


class _Motion:
    """Where probe and reference are at any time: smooth functions, no samples."""

    def __init__(self, settings: SimulatorSettings, tissue: Tissue) -> None:
        rng = np.random.default_rng((settings.seed, 7))
        self._tissue = tissue
        self._start_s = settings.start_s
        self._half_way_mm = 0.5 * _SWEPT_PART * settings.bone_length_mm
        self._sweep_rad_s = settings.peak_speed_mm_s / self._half_way_mm
        self._rates_rad_s = 2.0 * np.pi * rng.uniform(0.12, 0.4, 12)
        self._phases_rad = rng.uniform(0.0, 2.0 * np.pi, 13)
        self._reference_mm = settings.reference_motion_mm
        self._reference_rad = settings.reference_motion_rad

    def T_bone_image(self, t_s: float) -> Matrix:
        """Image frame in mm: origin mid-transducer, x along the row, y along the scan lines."""
        t_s -= self._start_s
        wave = np.sin(self._rates_rad_s[:6] * t_s + self._phases_rad[:6])
        x_mm = 7.0 * wave[0]
        z_mm = -self._half_way_mm * math.cos(self._sweep_rad_s * t_s + self._phases_rad[12])
        gel_mm = 2.0 + 1.2 * wave[1]
        skin_mm = float(self._tissue.skin_mm(np.array(x_mm), np.array(z_mm)))
        rotation_rad = np.radians((5.0, 5.0, 7.0)) * wave[2:5]
        # The probe tilts after the limb: an image beside the bone looks towards it.
        rotation_rad[2] += 0.012 * x_mm
        return from_rotation_vector(rotation_rad, (x_mm, skin_mm - gel_mm, z_mm))

    def T_tracker_reference(self, t_s: float) -> Matrix:
        """The reference on the patient, which moves a little before a camera that does not."""
        wave = np.sin(self._rates_rad_s[6:] * (t_s - self._start_s) + self._phases_rad[6:12])
        T_camera_rest = from_rotation_vector((0.2, 1.9, -0.4), (-90.0, 130.0, -1450.0))
        return T_camera_rest @ from_rotation_vector(
            self._reference_rad * wave[:3], self._reference_mm * wave[3:]
        )


def _image_affine(settings: SimulatorSettings) -> Matrix:
    """A_image_pixel: mm per pixel, column direction a little skewed, origin mid-transducer."""
    spacing_u_mm, spacing_v_mm = settings.spacing_mm
    A_image_pixel = np.eye(4)
    A_image_pixel[0, 0] = spacing_u_mm
    A_image_pixel[:2, 1] = spacing_v_mm * np.array((math.sin(_SKEW_RAD), math.cos(_SKEW_RAD)))
    A_image_pixel[0, 3] = -0.5 * (settings.image_size_px[0] - 1) * spacing_u_mm
    return A_image_pixel


def _image_times(settings: SimulatorSettings) -> NDArray[np.float64]:
    """When the images are acquired: nearly even, never before the second pose."""
    rng = np.random.default_rng((settings.seed, 8))
    jitter = rng.uniform(-_IMAGE_JITTER, _IMAGE_JITTER, settings.n_images)
    first_s = settings.start_s + 1.0 / settings.pose_rate_hz
    return first_s + (np.arange(settings.n_images) + jitter - jitter.min()) / settings.image_rate_hz
