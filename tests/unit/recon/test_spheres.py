"""Fiducial spheres found among CT points from a rough start."""

from __future__ import annotations

import numpy as np
import pytest

from recon.errors import ReconError
from recon.spheres import fit_spheres
from tracking.transforms import apply, from_rotation_vector, invert

_CENTRES = np.array([(0, 0, 0), (50, 0, 0), (0, 70, 0), (45, 60, 12.0)])
_RADIUS_MM = 5.75
_T = from_rotation_vector((0.5, -0.7, 0.2), (100.0, -200.0, 800.0))


def _scan(rng: np.random.Generator) -> np.ndarray:
    """CT points of the upper three quarters of each sphere, 0.1 mm noise, and a plate beside."""
    directions = rng.normal(size=(4, 1500, 3))
    directions /= np.linalg.norm(directions, axis=2, keepdims=True)
    spheres = (_CENTRES[:, None] + _RADIUS_MM * directions)[directions[..., 2] > -0.5]
    plate = np.column_stack((rng.uniform(-20, 70, (3000, 2)), np.full(3000, -_RADIUS_MM - 4.0)))
    return apply(_T, np.concatenate((spheres, plate))) + rng.normal(
        0.0, 0.1, (len(spheres) + 3000, 3)
    )


def test_centres_from_three_millimetres_and_five_degrees_off() -> None:
    rng = np.random.default_rng(0)
    for _ in range(5):
        axis = rng.normal(size=3)
        off = from_rotation_vector(
            np.radians(5.0) * axis / np.linalg.norm(axis), rng.uniform(-1.7, 1.7, 3)
        )
        centre = from_rotation_vector((0, 0, 0), _CENTRES.mean(axis=0))
        start = _T @ centre @ off @ invert(centre)
        fit = fit_spheres(_scan(rng), _CENTRES, _RADIUS_MM, start, reach_mm=8.0)
        errors_mm = np.linalg.norm(fit.centres_ct_mm - apply(_T, _CENTRES), axis=1)
        assert errors_mm.max() < 0.1
        assert fit.residual.rms == pytest.approx(0.1, abs=0.02)


def test_a_start_beside_the_spheres_is_refused() -> None:
    far = from_rotation_vector((0, 0, 0), (0.0, 0.0, 60.0)) @ _T
    with pytest.raises(ReconError, match=r"has 0 CT points within 5\.0 mm"):
        fit_spheres(_scan(np.random.default_rng(1)), _CENTRES, _RADIUS_MM, far)
