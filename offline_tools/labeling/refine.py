"""Refine the pose of one frame: find the small correction that lays the bone onto its echo."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from offline_tools.labeling.objective import (
    Problem,
    correction_matrix,
    make_problem,
    mean_fiducial_correction_mm,
    score,
)
from offline_tools.labeling.search import SearchBudget, search
from offline_tools.labeling.values import Objective, Values, value_image
from recon.section import surface_band_mask
from recon.surface import TriangleMesh
from tracking.transforms import Matrix

Array = NDArray[np.float64]

# Half width of the band (mm) and weight. exp-sum: of the authors' released code; mean: of their
# paper, with the weight that reproduces their drawings best; shadow: what finds the echo best.
GAMMA_MM_AND_WEIGHT = {
    Objective.EXP_SUM: (0.5, 3000.0),
    Objective.MEAN: (0.3, 10.0),
    Objective.SHADOW: (0.3, 1500.0),
}

PARAMETERS = ("x", "y", "z", "rotation_x", "rotation_y", "rotation_z")

# Nearer to the bound than this part of it, a parameter was stopped by it.
_AT_BOUND_SHARE = 1e-3

# Image cells of 4x4 pixels are near the bone or not as a whole: finer ones cost more than all else.
_A_PIXEL_CELL = np.array(
    [(4.0, 0.0, 0.0, 1.5), (0.0, 4.0, 0.0, 1.5), (0.0, 0.0, 1.0, 0.0), (0.0, 0.0, 0.0, 1.0)]
)


@dataclass(frozen=True, slots=True)
class RefineSettings:
    """How poses are refined; the defaults reproduce the drawings of UltraBones100k's authors.

    `gamma_mm` is the half width of the band along the section, `weight` what a mean correction of
    1 mm of the marker's fiducials costs. `bound` limits every parameter (mm, degrees). Sums only
    count what lies within `reach_mm` of the bone at the recorded pose: without it the band leaves
    a faint bone for bright tissue elsewhere. `lead_mm` is how far before the middle of its echo the
    surface lies: 0 lays it onto the middle, as the authors do.
    """

    objective: Objective = Objective.EXP_SUM
    gamma_mm: float = 0.5
    weight: float = 3000.0
    bound: float = 1.0
    reach_mm: float = 2.5
    lead_mm: float = 0.0
    budget: SearchBudget = field(default_factory=SearchBudget)
    seed: int = 0


def default_settings(objective: Objective, seed: int = 0) -> RefineSettings:
    """An objective with the band and weight that suit it."""
    gamma_mm, weight = GAMMA_MM_AND_WEIGHT[objective]
    return RefineSettings(objective, gamma_mm, weight, seed=seed)


@dataclass(frozen=True, slots=True)
class Frame:
    """One image with its recorded pose; `roi_px` (column, row, width, height) shows echoes."""

    pixels: NDArray[np.uint8]
    T_ct_probe: Matrix
    A_probe_pixel: Matrix
    roi_px: tuple[int, int, int, int]
    fiducials_mm: Array

    @property
    def size_px(self) -> tuple[int, int]:
        """(width, height)"""
        height, width = self.pixels.shape
        return width, height

    @property
    def A_ct_pixel(self) -> Matrix:
        """Way from pixels to CT space at the recorded pose."""
        return self.T_ct_probe @ self.A_probe_pixel

    @property
    def spacing_mm(self) -> tuple[float, float]:
        """(column, row) pixel spacing."""
        lengths = np.linalg.norm(self.A_probe_pixel[:3, :2], axis=0)
        return float(lengths[0]), float(lengths[1])

    def corrected(self, correction: Array) -> Matrix:
        """Way from pixels to CT space after a correction (6,)."""
        return self.T_ct_probe @ correction_matrix(correction) @ self.A_probe_pixel


@dataclass(frozen=True, slots=True)
class Refinement:
    """A correction (6,), mm and degrees in the marker's axes, and what it is worth."""

    correction: Array
    score_start: float
    score_end: float
    mean_fiducial_correction_mm: float
    at_bound: tuple[str, ...]


def refine(
    mesh: TriangleMesh,
    frame: Frame,
    settings: RefineSettings,
    *,
    n_starts: int = 2,
    believed: Array | None = None,
) -> list[Refinement]:
    """One result per start, best first; starts differ in their random numbers alone.

    Results that disagree mean an objective with several optima. `believed` is the correction that
    the frame's neighbours suggest: the search starts there too and pays for leaving it.
    """
    problem = frame_problem(mesh, frame, settings, believed)
    start = np.zeros(6) if believed is None else believed
    found = [
        search(problem, start, settings.bound, settings.budget, settings.seed + k)
        for k in range(n_starts)
    ]
    results = [_refinement(problem, *one, settings.bound) for one in found]
    return sorted(results, key=lambda result: -result.score_end)


def judge(
    mesh: TriangleMesh, frame: Frame, settings: RefineSettings, correction: Array
) -> Refinement:
    """What a given correction (6,) is worth, without a search; no bound holds it."""
    problem = frame_problem(mesh, frame, settings, bound=max(float(np.abs(correction).max()), 1.0))
    return _refinement(problem, correction, score(problem, correction), np.inf)


def frame_problem(
    mesh: TriangleMesh,
    frame: Frame,
    settings: RefineSettings,
    believed: Array | None = None,
    bound: float | None = None,
) -> Problem:
    """The frame, ready to be judged at corrections up to `bound` (of the settings where None)."""
    return make_problem(
        mesh,
        frame.T_ct_probe,
        frame.A_probe_pixel,
        _values(mesh, frame, settings),
        frame.roi_px,
        frame.fiducials_mm,
        is_mean=settings.objective is Objective.MEAN,
        half_width_mm=settings.gamma_mm,
        lead_mm=settings.lead_mm,
        weight=settings.weight,
        bound=settings.bound if bound is None else bound,
        believed=believed,
    )


def _refinement(problem: Problem, correction: Array, score_end: float, bound: float) -> Refinement:
    return Refinement(
        correction=correction,
        score_start=score(problem, np.zeros(6)),
        score_end=score_end,
        mean_fiducial_correction_mm=mean_fiducial_correction_mm(correction, problem.fiducials_mm),
        at_bound=_at_bound(correction, bound),
    )


def _values(mesh: TriangleMesh, frame: Frame, settings: RefineSettings) -> Values:
    """Value image; for the sums, nothing beyond `reach_mm` of the bone where it was recorded."""
    values = value_image(frame.pixels, settings.objective, frame.spacing_mm[1])
    if settings.objective is Objective.MEAN:
        return values
    height, width = values.shape
    cells = (-(-width // 2), -(-height // 2))
    is_near = surface_band_mask(mesh, frame.A_ct_pixel @ _A_PIXEL_CELL, cells, settings.reach_mm)
    return values * is_near.repeat(2, axis=0).repeat(2, axis=1)[:height, :width]


def _at_bound(correction: Array, bound: float) -> tuple[str, ...]:
    is_at_bound = np.abs(correction) >= bound * (1.0 - _AT_BOUND_SHARE)
    return tuple(name for name, is_at in zip(PARAMETERS, is_at_bound, strict=True) if is_at)
