"""The bone lines of a sweep as a cloud in CT space, against the CT surface, both ways.

"Raw" is every point at the recorded pose: tracking and network together, as in navigation.
"Refined, in bone" is every point at the pose that its label was made at, in the columns from the
first to the last of the label: the error of the network alone, where there is a surface to be
compared with (a bone beside it that the CT surface lacks is not an error).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from offline_tools.datasets.images import LabelledImage
from recon.back_projection import back_project
from recon.mesh_io import read_mesh
from recon.metrics import DistanceStats, distance_stats
from recon.section import visible_line
from recon.surface import SurfaceDistance, TriangleMesh
from tracking.transforms import Matrix

Array = NDArray[np.float64]

_NO_SURFACE = "no image has a CT surface and a pose in its space"
_NO_REFINED = "no image has a refined pose: its labels were not made by `offline-tools label`"
_NO_POINT = "no point of a line to measure"


@dataclass(slots=True)
class _Cloud:
    """Points found, and what could be seen, by surface: the CT spaces of two bodies do not mix."""

    n_images: int = 0
    _found_ct_mm: dict[Path, list[Array]] = field(default_factory=dict)
    _seen_ct_mm: dict[Path, list[Array]] = field(default_factory=dict)

    def add(self, image: LabelledImage, surface: Path, line_px: Array, A_ct_pixel: Matrix) -> None:
        height, width = image.pixels.shape
        seen_px = visible_line(_mesh(surface), A_ct_pixel, (width, height)).points_px
        self.n_images += 1
        for lists, points_px in ((self._found_ct_mm, line_px), (self._seen_ct_mm, seen_px)):
            lists.setdefault(surface, []).append(back_project(points_px, A_ct_pixel))

    def to_surface(self) -> DistanceStats:
        """Of every point found to the surface."""
        return self._stats(
            lambda surface, found, seen: SurfaceDistance(_mesh(surface)).distances_mm(found)
        )

    def from_surface(self) -> DistanceStats:
        """Of every point that could be seen to the nearest point found."""
        return self._stats(lambda surface, found, seen: _nearest_mm(seen, found))

    def missing(self, no_image: str) -> str | None:
        """Why there is no distance, None where there is one."""
        if self.n_images == 0:
            return no_image
        return None if any(len(p) for ps in self._found_ct_mm.values() for p in ps) else _NO_POINT

    def _stats(self, distances_mm: Callable[[Path, Array, Array], Array]) -> DistanceStats:
        parts = [np.empty(0)]
        for surface, found in self._found_ct_mm.items():
            seen = np.concatenate(self._seen_ct_mm[surface])
            parts.append(distances_mm(surface, np.concatenate(found), seen))
        return distance_stats(np.concatenate(parts))


@dataclass(slots=True)
class SweepClouds:
    """Fed with one image after the other; asked for the distances at the end."""

    _raw: _Cloud = field(default_factory=_Cloud)
    _refined: _Cloud = field(default_factory=_Cloud)

    def add(self, image: LabelledImage, line_px: Array) -> None:
        """One image with the line (N, 2) found in it; without surface or pose it is left out."""
        surface = image.surface
        if surface is None:
            return
        if image.A_ct_pixel is not None:
            self._raw.add(image, surface, line_px, image.A_ct_pixel)
        if image.A_ct_pixel_refined is not None:
            in_bone_px = line_px[_in_bone(line_px, image.line.points_px)]
            self._refined.add(image, surface, in_bone_px, image.A_ct_pixel_refined)

    def report(self) -> dict[str, Any]:
        """Distances in mm for `evaluation.json`, null where they are unknown, and why."""
        to_ct = {"raw": self._raw.to_surface(), "refined_in_bone": self._refined.to_surface()}
        to_cloud = {"raw": self._raw.from_surface(), "refined": self._refined.from_surface()}
        return {
            "cloud_to_ct_mm": {name: _numbers(stats) for name, stats in to_ct.items()},
            "cloud_to_ct_reason": {
                "raw": self._raw.missing(_NO_SURFACE),
                "refined_in_bone": self._refined.missing(
                    _NO_REFINED if self._raw.n_images else _NO_SURFACE
                ),
            },
            "ct_to_cloud_mm": {name: _numbers(stats) for name, stats in to_cloud.items()},
        }


@lru_cache(maxsize=4)
def _mesh(path: Path) -> TriangleMesh:
    return read_mesh(path)


def _in_bone(line_px: Array, label_px: Array) -> NDArray[np.bool_]:
    """Points in the columns from the first to the last of the label; none without a label."""
    if not len(label_px):
        return np.zeros(len(line_px), dtype=np.bool_)
    u = line_px[:, 0]
    return np.asarray((u >= label_px[:, 0].min()) & (u <= label_px[:, 0].max()), dtype=np.bool_)


def _nearest_mm(points_mm: Array, targets_mm: Array) -> Array:
    if not len(targets_mm):
        return np.empty(0)
    return np.asarray(cKDTree(targets_mm).query(points_mm)[0], dtype=np.float64)


def _numbers(stats: DistanceStats) -> dict[str, Any] | None:
    if math.isnan(stats.mean_mm):
        return None
    return {
        "mean": stats.mean_mm,
        "median": stats.median_mm,
        "p95": stats.p95_mm,
        "n_points": stats.n_used,
    }
