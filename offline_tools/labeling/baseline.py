"""Baselines and tuning over a whole sweep: one registration for all frames, and the weight."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.spatial.transform import Rotation

from offline_tools.labeling.echo import bone_line
from offline_tools.labeling.frame import LabelSettings, label_frame, section_of
from offline_tools.labeling.objective import Problem, score
from offline_tools.labeling.refine import Frame, RefineSettings, frame_problem
from recon.surface import SurfaceDistance, TriangleMesh
from tracking.transforms import Matrix, apply, from_rotation_vector, invert

Array = NDArray[np.float64]

# One registration may be further off than one pose.
_GLOBAL_BOUND = 3.0

# Of the paper, for grey values 0-255 (mean form). Sums of thousands of pixels need larger ones.
MEAN_WEIGHTS = (0.01, 0.1, 1.0, 10.0, 100.0, 1000.0)
SUM_WEIGHTS = (100.0, 300.0, 1000.0, 3000.0, 10000.0, 30000.0)


def global_registration(
    mesh: TriangleMesh, frames: list[Frame], settings: RefineSettings
) -> Matrix:
    """T_ct_recorded: one rigid motion of the whole sweep that lays all bones onto their echoes.

    The largest mean score over the frames, penalty included. Nelder-Mead from the recorded poses,
    twice, so that it does not end in a collapsed simplex.
    """
    problems = [frame_problem(mesh, frame, settings, bound=_GLOBAL_BOUND) for frame in frames]
    centre_mm = np.mean([frame.A_ct_pixel[:3, 3] for frame in frames], axis=0)

    def cost(parameters: Array) -> float:
        T_ct_recorded = _about(centre_mm, parameters)
        return -float(
            np.mean(
                [
                    _score_moved(problem, frame.T_ct_probe, T_ct_recorded)
                    for problem, frame in zip(problems, frames, strict=True)
                ]
            )
        )

    best = np.zeros(6)
    for _ in range(2):
        simplex = best + np.vstack((np.zeros(6), 0.5 * np.eye(6)))
        options = {"initial_simplex": simplex, "maxfev": 400, "xatol": 1e-3, "fatol": 1e-3}
        bounds = [(-_GLOBAL_BOUND, _GLOBAL_BOUND)] * 6
        best = minimize(cost, best, method="Nelder-Mead", bounds=bounds, options=options).x
    return _about(centre_mm, best)


def correction_of(T_ct_probe: Matrix, T_ct_recorded: Matrix) -> Array:
    """The correction (6,) of one frame that moves it as `T_ct_recorded` moves the whole sweep."""
    T = invert(T_ct_probe) @ T_ct_recorded @ T_ct_probe
    angles_deg = np.degrees(Rotation.from_matrix(T[:3, :3]).as_rotvec())
    return np.concatenate((T[:3, 3], angles_deg))


def _score_moved(problem: Problem, T_ct_probe: Matrix, T_ct_recorded: Matrix) -> float:
    found = score(problem, correction_of(T_ct_probe, T_ct_recorded))
    return found if math.isfinite(found) else 0.0


def _about(centre_mm: Array, parameters: Array) -> Matrix:
    """Motion by a translation (mm) and a rotation vector (degrees) about a centre."""
    T = from_rotation_vector(np.radians(parameters[3:]), (0.0, 0.0, 0.0))
    T[:3, 3] = centre_mm - T[:3, :3] @ centre_mm + parameters[:3]
    return T


@dataclass(frozen=True, slots=True)
class WeightScore:
    """How one weight did on the sampled frames; smaller `bone_line_mm` is better."""

    weight: float
    bone_line_mm: float
    mean_fiducial_correction_mm: float
    rejected_share: float


def weigh(
    mesh: TriangleMesh, frames: list[Frame], settings: LabelSettings, weights: tuple[float, ...]
) -> list[WeightScore]:
    """Score weights on frames: distance of the bone line found without CT to the refined bone."""
    return [_weigh_one(mesh, frames, settings, weight) for weight in weights]


def _weigh_one(
    mesh: TriangleMesh, frames: list[Frame], settings: LabelSettings, weight: float
) -> WeightScore:
    settings = replace(settings, refine=replace(settings.refine, weight=weight))
    surface = SurfaceDistance(mesh)
    labels = [label_frame(mesh, frame, settings) for frame in frames]
    distances_mm = [
        bone_line_distances_mm(surface, mesh, frame, label.T_ct_probe, settings)
        for frame, label in zip(frames, labels, strict=True)
        if label.T_ct_probe is not None
    ]
    moved_mm = [x.refinement.mean_fiducial_correction_mm for x in labels if x.refinement]
    together = np.concatenate(distances_mm) if distances_mm else np.empty(0)
    return WeightScore(
        weight=weight,
        bone_line_mm=float(together.mean()) if len(together) else math.inf,
        mean_fiducial_correction_mm=float(np.mean(moved_mm)) if moved_mm else math.nan,
        rejected_share=float(np.mean([label.reason is not None for label in labels])),
    )


def bone_line_distances_mm(
    surface: SurfaceDistance,
    mesh: TriangleMesh,
    frame: Frame,
    T_ct_probe: Matrix,
    settings: LabelSettings,
    columns_at: Matrix | None = None,
) -> Array:
    """Distance to the surface of each point of the bone line that is found without CT.

    Only in image columns where this bone is visible at the pose `columns_at` (at `T_ct_probe`
    where None): elsewhere other bones without a surface may show.
    """
    at = T_ct_probe if columns_at is None else columns_at
    seen = section_of(mesh, frame, at @ frame.A_probe_pixel, settings)
    line_px = bone_line(frame.pixels, frame.roi_px, frame.spacing_mm)
    columns = np.unique(np.floor(seen.line_px[:, 0]))
    line_px = line_px[np.isin(np.floor(line_px[:, 0]), columns)]
    points_px = np.column_stack((line_px, np.zeros(len(line_px))))
    return surface.distances_mm(apply(T_ct_probe @ frame.A_probe_pixel, points_px))
