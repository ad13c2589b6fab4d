"""Where along a bone something lies."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from recon.mesh_io import read_mesh
from recon.surface import TriangleMesh


@dataclass(frozen=True, slots=True)
class BoneAxis:
    """A bone's principal axis in CT space: its middle (3,), mm, and a unit direction (3,)."""

    middle_ct_mm: NDArray[np.float64]
    direction_ct: NDArray[np.float64]

    @classmethod
    def of(cls, mesh: TriangleMesh) -> Self:
        """Axis of largest spread of the surface's area, whatever its triangles.

        The middle is halfway between the surface's ends. The largest part of the direction is
        positive: in CT space (LPS) and along a leg or an arm that is upwards.
        """
        corners_mm = mesh.vertices_mm[mesh.faces]
        edges_mm = corners_mm[:, 1:] - corners_mm[:, :1]
        area = np.linalg.norm(np.cross(edges_mm[:, 0], edges_mm[:, 1]), axis=1)
        centres_mm = corners_mm.mean(axis=1)
        mean_mm = np.average(centres_mm, axis=0, weights=area)
        offsets_mm = centres_mm - mean_mm
        direction = np.linalg.eigh((offsets_mm * area[:, None]).T @ offsets_mm)[1][:, -1]
        direction = direction * np.sign(direction[np.argmax(np.abs(direction))])
        heights_mm = (mesh.vertices_mm - mean_mm) @ direction
        half_mm = (heights_mm.min() + heights_mm.max()) / 2.0
        return cls(mean_mm + half_mm * direction, direction)

    def position_mm(self, point_ct_mm: NDArray[np.float64]) -> float:
        """Of a point (3,), along the axis from the bone's middle."""
        return float((point_ct_mm - self.middle_ct_mm) @ self.direction_ct)


@functools.lru_cache(maxsize=32)
def bone_axis(surface: Path) -> BoneAxis:
    """Axis of the bone in a file; each file is read once."""
    return BoneAxis.of(read_mesh(surface))
