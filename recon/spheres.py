"""Fiducial spheres in CT: where a marker with spheres of known size lies, from a rough start.

The marker's spheres are moved together, by point-to-point ICP between the CT surface and the
spheres' own surfaces.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from recon.errors import ReconError
from tracking.calibration.landmarks import fit_rigid
from tracking.calibration.residuals import Residuals
from tracking.transforms import Matrix, apply, check_rigid, invert

Array = NDArray[np.float64]

# Point-to-point ICP creeps on spheres, whose rotation no point resists: some 60 steps are usual.
_MAX_STEPS = 500
_CONVERGED_MM = 1e-5
_MIN_POINTS = 20  # on each sphere; the least that is more than a few noisy voxels


@dataclass(frozen=True, slots=True)
class SphereFit:
    """T_ct_marker with the distances of the CT points used from the spheres' surfaces."""

    T_ct_marker: Matrix
    centres_ct_mm: Array
    residual: Residuals
    n_points: tuple[int, ...]
    n_steps: int


def fit_spheres(
    points_ct_mm: ArrayLike,
    centres_marker_mm: ArrayLike,
    radius_mm: float,
    T_ct_marker_start: ArrayLike,
    *,
    reach_mm: float = 5.0,
) -> SphereFit:
    """Move a marker's spheres onto the CT surface around them.

    A CT point belongs to the sphere whose surface is nearest, if that is within reach; the reach
    shrinks with the residual, so that bone and holders near a sphere drop out.

    Parameters
    ----------
    points_ct_mm : (N, 3) of the CT surface, frame `ct`; the rest of the anatomy may be among them
    centres_marker_mm : (S, 3), S at least 3, frame `marker`
    T_ct_marker_start : (4, 4), within `reach_mm` of the truth at every sphere

    Raises
    ------
    ReconError : if a sphere has too few points within reach.

    Source: Wu et al. 2025 (UltraBones100k), 3.1; Besl, McKay 1992.
    """
    points = np.asarray(points_ct_mm, dtype=np.float64).reshape(-1, 3)
    centres = np.asarray(centres_marker_mm, dtype=np.float64).reshape(-1, 3)
    T = check_rigid(T_ct_marker_start, "spheres: start")
    if len(centres) < 3:
        raise ReconError(f"spheres: {len(centres)} given, expected 3 or more to fix a marker")
    n_steps = 0
    moved_mm = np.inf
    while moved_mm > _CONVERGED_MM and n_steps < _MAX_STEPS:
        used, owner, distances = _assign(points, apply(T, centres), radius_mm, reach_mm)
        counts = np.bincount(owner, minlength=len(centres))
        if counts.min() < _MIN_POINTS:
            raise ReconError(
                f"spheres: sphere {int(counts.argmin()) + 1} has {counts.min()} CT points within "
                f"{reach_mm:.1f} mm of its surface, expected at least {_MIN_POINTS} (is the start "
                "rough by more than that, or the radius wrong?)"
            )
        from_centre = apply(invert(T), points[used]) - centres[owner]
        length_mm = np.linalg.norm(from_centre, axis=1, keepdims=True)
        on_spheres = centres[owner] + radius_mm * from_centre / length_mm
        T_next = fit_rigid(on_spheres, points[used])
        moved_mm = float(np.abs(apply(T_next, centres) - apply(T, centres)).max())
        T = T_next
        n_steps += 1
        # 4 sigma of what is left, but never less than a voxel's worth of surface noise
        reach_mm = min(reach_mm, max(4.0 * float(np.sqrt(np.mean(distances**2))), 0.5))
    _, owner, distances = _assign(points, apply(T, centres), radius_mm, reach_mm)
    counts = np.bincount(owner, minlength=len(centres))
    return SphereFit(
        T, apply(T, centres), Residuals.of(distances), tuple(int(n) for n in counts), n_steps
    )


def _assign(
    points: Array, centres: Array, radius_mm: float, reach_mm: float
) -> tuple[NDArray[np.intp], NDArray[np.intp], Array]:
    """Indices of the points used, the sphere of each, and their signed distances from it."""
    signed = np.linalg.norm(points[:, None] - centres, axis=2) - radius_mm
    owner = np.abs(signed).argmin(axis=1)
    distances = signed[np.arange(len(points)), owner]
    used = np.flatnonzero(np.abs(distances) <= reach_mm)
    return used, owner[used], distances[used]
