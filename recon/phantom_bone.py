"""A procedural long bone, so that a simulated sweep needs no download.

Frame `bone`: z along the shaft, y away from the skin that is scanned, x across; origin at
mid-shaft.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recon.surface import TriangleMesh
from tracking.transforms import Matrix, apply, from_rotation_vector

Array = NDArray[np.float64]

_CREST_SHARPNESS = 14.0  # of exp(k (cos - 1)): a crest some 40 degrees wide
_CAP_MM = 9.0  # how far the rounded ends reach beyond the shaft


@dataclass(frozen=True, slots=True)
class LongBone:
    """Shape of one bone: a shaft that is not round, with crests, flared ends and a slight bow.

    `shape` holds the relative amplitudes of the two- and threefold deviation from a circle,
    `crests` (n, 2) the relative height and the direction (rad, 0 along x) of each crest;
    the whole profile turns by `twist_rad` over the length.
    """

    length_mm: float
    shaft_radius_mm: float
    flare: tuple[float, float]
    bow_mm: tuple[float, float]
    shape: tuple[float, float]
    crests: Array
    twist_rad: float

    @classmethod
    def from_seed(cls, seed: int, length_mm: float) -> LongBone:
        """One of the many bones that `length_mm` leaves open."""
        rng = np.random.default_rng((seed, 1))
        crests = np.stack(
            (rng.uniform((0.12, 0.08), (0.26, 0.2)), rng.uniform((-2.4, -0.7), (-1.0, 0.4))), axis=1
        )
        return cls(
            length_mm=length_mm,
            shaft_radius_mm=rng.uniform(6.5, 10.5),
            flare=(rng.uniform(0.25, 0.7), rng.uniform(0.25, 0.7)),
            bow_mm=(rng.uniform(-5.0, 5.0), rng.uniform(-3.0, 3.0)),
            shape=(rng.uniform(0.04, 0.12), rng.uniform(0.02, 0.07)),
            crests=crests,
            twist_rad=rng.uniform(-0.6, 0.6),
        )

    def radius_mm(self, z_mm: Array) -> Array:
        """Mean radius of the shaft at a place along it; the ends flare."""
        along = 2.0 * z_mm / self.length_mm
        flare = np.where(along < 0.0, *self.flare) * np.abs(along) ** 4
        return self.shaft_radius_mm * (1.0 + flare + 0.05 * np.sin(4.1 * along))

    def centre_mm(self, z_mm: Array) -> Array:
        """(x, y) of the centre line at a place along the shaft, (..., 2)."""
        along = 2.0 * z_mm / self.length_mm
        return np.stack((self.bow_mm[0] * along**2, self.bow_mm[1] * along**2), axis=-1)

    def outline(self, angle_rad: Array, z_mm: Array) -> Array:
        """Radius in this direction relative to the mean one."""
        turned = angle_rad - self.twist_rad * z_mm / self.length_mm
        outline = 1.0 + self.shape[0] * np.cos(2.0 * turned) + self.shape[1] * np.cos(3.0 * turned)
        for height, direction_rad in self.crests:
            outline += height * np.exp(_CREST_SHARPNESS * (np.cos(turned - direction_rad) - 1.0))
        return outline

    def mesh(self, T_target_bone: Matrix, edge_mm: float) -> TriangleMesh:
        """The closed surface in a target frame, edges about `edge_mm` long."""
        z_mm, narrowing = self._meridian(edge_mm)
        mean_mm = self.radius_mm(np.clip(z_mm, -self.length_mm / 2, self.length_mm / 2))
        n_around = int(np.ceil(2.0 * np.pi * mean_mm.max() / edge_mm))
        angle_rad = np.linspace(0.0, 2.0 * np.pi, n_around, endpoint=False)
        outline = self.outline(angle_rad[None, :], z_mm[:, None])
        radius_mm = (mean_mm * narrowing)[:, None] * outline
        rings_mm = np.empty((len(z_mm), n_around, 3))
        rings_mm[..., :2] = self.centre_mm(z_mm)[:, None, :]
        rings_mm[..., 0] += radius_mm * np.cos(angle_rad)
        rings_mm[..., 1] += radius_mm * np.sin(angle_rad)
        rings_mm[..., 2] = z_mm[:, None]
        tips_z_mm = (self.length_mm / 2 + _CAP_MM) * np.array((-1.0, 1.0))
        tips_mm = np.column_stack((self.centre_mm(tips_z_mm), tips_z_mm))
        vertices_bone_mm = np.concatenate((rings_mm.reshape(-1, 3), tips_mm))
        faces = _tube_faces(len(z_mm), n_around)
        return TriangleMesh(apply(T_target_bone, vertices_bone_mm), faces)

    def _meridian(self, edge_mm: float) -> tuple[Array, Array]:
        """z of each ring and its radius relative to the shaft's: 1, towards 0 in the caps."""
        half_mm = self.length_mm / 2
        n_shaft = int(np.ceil(self.length_mm / edge_mm))
        n_cap = int(np.ceil(0.5 * np.pi * max(_CAP_MM, self.shaft_radius_mm) / edge_mm))
        cap_rad = np.linspace(0.0, 0.5 * np.pi, n_cap + 1)[1:-1]  # without the tip itself
        cap_z_mm = half_mm + _CAP_MM * np.sin(cap_rad)
        z_mm = np.concatenate(
            (-cap_z_mm[::-1], np.linspace(-half_mm, half_mm, n_shaft + 1), cap_z_mm)
        )
        narrowing = np.concatenate((np.cos(cap_rad)[::-1], np.ones(n_shaft + 1), np.cos(cap_rad)))
        return z_mm, narrowing


def bone_placement(seed: int) -> Matrix:
    """T_ct_bone: as in a scanner's coordinates, far from the origin and along no axis."""
    rng = np.random.default_rng((seed, 2))
    rotation_rad = np.array((1.1, -0.5, 0.7)) + rng.uniform(-0.3, 0.3, 3)
    return from_rotation_vector(rotation_rad, np.array((182.0, -341.0, 1027.0)))


def long_bone_mesh(seed: int = 0, length_mm: float = 180.0, edge_mm: float = 1.0) -> TriangleMesh:
    """A closed long bone in CT space, mm, some hundred mm away from the origin.

    The seed changes its shape and, a little, its orientation. 180 mm give some 30,000 faces.
    """
    return LongBone.from_seed(seed, length_mm).mesh(bone_placement(seed), edge_mm)


def _tube_faces(n_rings: int, n_around: int) -> NDArray[np.int32]:
    """Triangles between rings of vertices, closed by the two tips that follow the rings."""
    ring = np.arange(n_around)
    following = np.roll(ring, -1)
    starts = np.arange(n_rings - 1)[:, None] * n_around
    a, b = starts + ring, starts + following
    c, d = a + n_around, b + n_around
    tip_0, tip_1 = n_rings * n_around, n_rings * n_around + 1
    last = (n_rings - 1) * n_around
    parts = (
        np.stack((a, b, d), axis=-1),
        np.stack((a, d, c), axis=-1),
        np.stack((following, ring, np.full(n_around, tip_0)), axis=-1),
        np.stack((last + ring, last + following, np.full(n_around, tip_1)), axis=-1),
    )
    return np.concatenate([part.reshape(-1, 3) for part in parts]).astype(np.int32)
