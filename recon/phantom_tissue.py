"""The soft tissue around the simulated bone: skin, layers of fat and muscle, fascia between them.

All of it is fixed to the bone (frame `bone` of `phantom_bone`: x across, y deeper, z along) and a
smooth function of the place, so that it moves through the images as tissue does.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recon.phantom_bone import LongBone
from tracking.transforms import Matrix

Array = NDArray[np.float64]

# One row per surface, from the skin down: depth below the skin relative to the bone's own; how
# far it strays from that, mm; grey values of the dimmest and the brightest; how patchy it is.
_SURFACES = np.array(
    [
        (0.00, 0.3, 190.0, 260.0, 0.08),  # skin
        (0.20, 0.5, 90.0, 180.0, 0.45),  # a septum in the fat
        (0.42, 0.5, 170.0, 290.0, 0.35),  # fasciae above the bone, as bright as it
        (0.66, 0.7, 170.0, 290.0, 0.35),
        (0.88, 0.5, 100.0, 230.0, 0.50),
        (1.35, 1.5, 100.0, 200.0, 0.50),  # and beside it
        (1.80, 1.5, 80.0, 180.0, 0.50),
    ]
)
_RELATIVE_DEPTH, _ROUGHNESS_MM, _DIMMEST, _BRIGHTEST, _PATCHINESS = _SURFACES.T
_N_SURFACES = len(_SURFACES)
_NEAREST_BONE = 4


@dataclass(frozen=True, slots=True)
class Waves:
    """K smooth random functions of (x, z), each a sum of n plane waves; arrays are (K, n)."""

    amplitude: Array
    k_x_rad_per_mm: Array
    k_z_rad_per_mm: Array
    phase_rad: Array

    @classmethod
    def random(
        cls, rng: np.random.Generator, amplitude: Array, wavelength_mm: tuple[float, float]
    ) -> Waves:
        """Four waves each; `amplitude` (K,) is the root mean square of their sum."""
        shape = (len(amplitude), 4)
        k = 2.0 * np.pi / rng.uniform(*wavelength_mm, shape)
        direction_rad = rng.uniform(0.0, np.pi, shape)
        return cls(
            amplitude=np.repeat(amplitude[:, None], 4, axis=1) / np.sqrt(2.0),
            k_x_rad_per_mm=k * np.cos(direction_rad),
            k_z_rad_per_mm=k * np.sin(direction_rad),
            phase_rad=rng.uniform(0.0, 2.0 * np.pi, shape),
        )

    def at(self, x_mm: Array, z_mm: Array) -> Array:
        """Values at places (K, N), one row per function."""
        angle_rad = (
            self.k_x_rad_per_mm[..., None] * x_mm[:, None, :]
            + self.k_z_rad_per_mm[..., None] * z_mm[:, None, :]
            + self.phase_rad[..., None]
        )
        return np.einsum("kn,knu->ku", self.amplitude, np.sin(angle_rad))


@dataclass(frozen=True, slots=True)
class LayerLines:
    """The layers in one image: (K, width) arrays, row 0 the skin, depths in ascending order.

    `v_px` is where each column meets the surface, `peak` its brightness there in grey values.
    `bone_gain` (width,) is how well the bone's own surface reflects, 0 to 1, `contact_loss`
    (width,) what missing contact takes from the whole column, grey values.
    """

    v_px: Array
    peak: Array
    bone_gain: Array
    contact_loss: Array


class Tissue:
    """Soft tissue over one bone."""

    def __init__(self, bone: LongBone, seed: int, bone_depth_mm: tuple[float, float]) -> None:
        rng = np.random.default_rng((seed, 3))
        self._bone = bone
        self._depth_mm = rng.uniform(*bone_depth_mm)
        self._depth_phase_rad = rng.uniform(0.0, 2.0 * np.pi)
        self._limb_radius_mm = rng.uniform(60.0, 120.0)
        self._shape = Waves.random(rng, _ROUGHNESS_MM, (25.0, 70.0))
        self._peak = rng.uniform(_DIMMEST, _BRIGHTEST)
        self._patches = Waves.random(rng, _PATCHINESS, (6.0, 40.0))
        self._bone_patches = Waves.random(rng, np.array((0.15,)), (4.0, 25.0))
        is_over_bone = (_RELATIVE_DEPTH > 0.0) & (_RELATIVE_DEPTH < 1.0)
        self._wrapping_mm = rng.uniform(0.0, 3.0, _N_SURFACES) * is_over_bone
        self._gaps_mm = rng.uniform(
            (-25.0, -0.45 * bone.length_mm), (25.0, 0.45 * bone.length_mm), (5, 2)
        )
        self._gap_sizes_mm = rng.uniform((1.0, 2.0), (4.0, 8.0), (5, 2))

    def skin_mm(self, x_mm: Array, z_mm: Array) -> Array:
        """y of the skin at places of any shape: at its height over the bone, falling off aside."""
        top_mm = self._bone.centre_mm(z_mm)[..., 1] - 1.15 * self._bone.shaft_radius_mm
        centre_x_mm = self._bone.centre_mm(z_mm)[..., 0]
        aside_mm = 0.5 * (x_mm - centre_x_mm) ** 2 / self._limb_radius_mm
        return top_mm - self._bone_depth_mm(z_mm) + aside_mm

    def lines(self, A_bone_pixel: Matrix, width_px: int) -> LayerLines:
        """Where the scan lines of an image meet the layers, by fixed-point iteration.

        The layers are nearly level and the scan lines nearly upright: each step leaves a tenth
        of the error. Only every eighth column is computed, the layers being smooth.
        """
        u_px = np.linspace(0.0, width_px - 1.0, max(2, width_px // 8))
        v_px = np.zeros((_N_SURFACES, len(u_px)))
        (x_u, x_v, _, x_0), (y_u, y_v, _, y_0), (z_u, z_v, _, z_0) = A_bone_pixel[:3]
        for _ in range(4):
            x_mm = x_u * u_px + x_v * v_px + x_0
            z_mm = z_u * u_px + z_v * v_px + z_0
            v_px = (self._layers_mm(x_mm, z_mm) - y_0 - y_u * u_px) / y_v
        peak = self._peak[:, None] * np.clip(0.75 + self._patches.at(x_mm, z_mm), 0.0, 1.0)
        near_bone = slice(_NEAREST_BONE, _NEAREST_BONE + 1)
        bone_patches = self._bone_patches.at(x_mm[near_bone], z_mm[near_bone])
        contact_loss = self._contact_loss(x_mm[0], z_mm[0])

        def at_every_column(rows: Array) -> Array:
            every_px = np.arange(width_px)
            return np.stack([np.interp(every_px, u_px, row) for row in rows])

        return LayerLines(
            v_px=at_every_column(np.maximum.accumulate(v_px)),
            peak=at_every_column(peak),
            bone_gain=at_every_column(np.clip(0.85 + bone_patches, 0.3, 1.0))[0],
            contact_loss=at_every_column(contact_loss[None])[0],
        )

    def _bone_depth_mm(self, z_mm: Array) -> Array:
        """Depth of the bone under the skin: between 0.75 and 1.25 of the mean along the shaft."""
        return self._depth_mm * (1.0 + 0.25 * np.sin(z_mm / 18.0 + self._depth_phase_rad))

    def _layers_mm(self, x_mm: Array, z_mm: Array) -> Array:
        """y of every surface at its own places (K, N); the layers near the bone bulge over it."""
        centre_x_mm = self._bone.centre_mm(z_mm)[..., 0]
        bulge = np.exp(-(((x_mm - centre_x_mm) / (1.6 * self._bone.shaft_radius_mm)) ** 2))
        depth_mm = _RELATIVE_DEPTH[:, None] * self._bone_depth_mm(z_mm)
        depth_mm += self._wrapping_mm[:, None] * (1.0 - bulge)
        return self.skin_mm(x_mm, z_mm) + depth_mm + self._shape.at(x_mm, z_mm)

    def _contact_loss(self, x_mm: Array, z_mm: Array) -> Array:
        """Grey values lost under the few places where air or hair keeps the probe off the skin."""
        offset_mm = np.stack((x_mm, z_mm), axis=-1)[:, None, :] - self._gaps_mm
        return 110.0 * np.exp(-((offset_mm / self._gap_sizes_mm) ** 2).sum(axis=-1)).max(axis=1)
