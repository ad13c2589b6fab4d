"""A simulated sweep over an N-wire phantom, with everything about it known."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from tracking.calibration.plus_xml import NWire, Phantom
from tracking.sequences.sweep import SweepImage, SweepPose
from tracking.transforms import apply, from_rotation_vector, invert

SIZE_PX = (820, 616)
SPACING_MM = (0.08, 0.075)
A_PROBE_PIXEL = (
    from_rotation_vector((0.1, 0.05, -1.5), (11.0, 48.0, -0.4))
    @ np.array(
        [(SPACING_MM[0], 0.0004, 0, 0), (0, SPACING_MM[1], 0, 0), (0, 0, 0.0775, 0), (0, 0, 0, 1)]
    )
)  # fmt: skip
T_REFERENCE_PHANTOM = from_rotation_vector((1.2, -1.1, 1.3), (15.0, -25.0, -40.0))
_T_TRACKER_REFERENCE = from_rotation_vector((0.3, 1.2, -0.4), (330.0, -68.0, -240.0))

# fCal 2.0: x and z of (first, last) outer wire, x of the middle one in front and behind
_ROWS = (
    (30.0, 60.0, 55.0, 35.0, 20.0),
    (30.0, 60.0, 35.0, 55.0, 10.0),
    (35.0, 60.0, 55.0, 40.0, 0.0),
)


def fcal_phantom() -> Phantom:
    wires = tuple(
        NWire(
            names=(f"{k}a", f"{k}b", f"{k}c"),
            front_mm=np.array([(x1, 0, z), (front, 0, z), (x3, 0, z)], dtype=float),
            back_mm=np.array([(x1, 40, z), (back, 40, z), (x3, 40, z)], dtype=float),
        )
        for k, (x1, x3, front, back, z) in enumerate(_ROWS)
    )
    return Phantom(wires, (), np.empty((0, 3)))


@dataclass(frozen=True)
class WireSweep:
    """Images at 12 Hz and poses at 100 Hz, ProbeToTracker and ReferenceToTracker.

    An image is stamped `image_lag_s` after its moment; its dots are off by `noise_px`.
    """

    n_images: int = 200
    image_lag_s: float = 0.0873
    noise_px: float = 0.3
    speed: float = 1.0
    seed: int = 0

    name = "simulated wires"
    image_name = "Image"
    spacing_mm = None

    @property
    def span_s(self) -> tuple[float, float]:
        return 99.0, 101.0 + self.n_images / 12.0

    def t_acq_s(self) -> np.ndarray:
        jitter = np.random.default_rng((self.seed, 1)).uniform(-0.01, 0.01, self.n_images)
        return 100.0 + np.arange(self.n_images) / 12.0 + jitter

    def T_reference_probe(self, t_s: float) -> np.ndarray:
        """The image plane across the wires, moving and tilting smoothly."""
        w = np.sin(self.speed * np.array((2.1, 3.3, 2.7, 1.7, 2.9, 2.3)) * t_s + np.arange(6.0))
        middle = np.array((SIZE_PX[0] * SPACING_MM[0] / 2, SIZE_PX[1] * SPACING_MM[1] / 2, 0.0))
        tilt = from_rotation_vector(np.radians((9.0, 12.0, 8.0)) * w[:3], np.zeros(3))
        # u runs against x, v against z: as fCal's own recordings see the phantom
        upright = np.eye(4)
        upright[:3, :3] = np.column_stack(((-1.0, 0, 0), (0, 0, -1.0), (0, -1.0, 0)))
        T_phantom_image = upright @ tilt
        centre = np.array((46.0, 20.0, 12.0)) + np.array((4.0, 12.0, 3.0)) * w[3:]
        T_phantom_image[:3, 3] = centre - T_phantom_image[:3, :3] @ middle
        T_probe_image = from_rotation_vector((0.1, 0.05, -1.5), (11.0, 48.0, -0.4))
        return T_REFERENCE_PHANTOM @ T_phantom_image @ invert(T_probe_image)

    def points_px(self, *, noisy: bool = True) -> np.ndarray:
        """(F, 3, 3, 2): where the wires cut the image planes."""
        frames = []
        for t_s in self.t_acq_s():
            A_phantom_pixel = (
                invert(T_REFERENCE_PHANTOM) @ self.T_reference_probe(t_s) @ A_PROBE_PIXEL
            )
            A_pixel_phantom = np.linalg.inv(A_phantom_pixel)
            for wires in fcal_phantom().n_wires:
                front = apply(A_pixel_phantom, wires.front_mm)
                along = apply(A_pixel_phantom, wires.back_mm) - front
                frames.append((front - along * (front[:, 2:] / along[:, 2:]))[:, :2])
        points = np.array(frames).reshape(self.n_images, 3, 3, 2)
        noise = np.random.default_rng((self.seed, 2)).normal(0.0, self.noise_px, points.shape)
        return points + noise if noisy else points

    def stamps_s(self) -> np.ndarray:
        return self.t_acq_s() + self.image_lag_s

    def render(self, points_px: np.ndarray) -> np.ndarray:
        """An image with one bright spot per dot on faint speckle."""
        image = np.random.default_rng(0).uniform(0.0, 8.0, SIZE_PX[::-1])
        for u, v in points_px.reshape(-1, 2):
            top, left = math.floor(v) - 12, math.floor(u) - 12
            if 0 <= top < SIZE_PX[1] - 25 and 0 <= left < SIZE_PX[0] - 25:
                rows, columns = np.mgrid[top : top + 25, left : left + 25]
                image[top : top + 25, left : left + 25] += 190.0 * np.exp(
                    -((rows - v) ** 2) / 18.0 - (columns - u) ** 2 / 50.0
                )
        return image.clip(0.0, 255.0).astype(np.uint8)

    def events(self) -> Iterator[SweepImage | SweepPose]:
        start_s, end_s = self.span_s
        events: list[SweepImage | SweepPose] = [
            SweepImage(k, float(t_s), lambda points=points: self.render(points))
            for k, (t_s, points) in enumerate(zip(self.stamps_s(), self.points_px(), strict=True))
        ]
        for t_s in np.arange(start_s, end_s, 0.01):
            T_tracker_probe = _T_TRACKER_REFERENCE @ self.T_reference_probe(t_s)
            events.append(SweepPose("ProbeToTracker", float(t_s), T_tracker_probe))
            events.append(SweepPose("ReferenceToTracker", float(t_s), _T_TRACKER_REFERENCE))
        return iter(sorted(events, key=lambda event: event.t_s))
