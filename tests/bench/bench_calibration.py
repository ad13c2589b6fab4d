"""Registration of a large cloud and the joint calibration grid: time, beside what they reach.

    PYTHONPATH=. python tests/bench/bench_calibration.py [--json]

CPU time is what to compare: it does not depend on who else uses the machine.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from recon.back_projection import back_project
from recon.phantom_bone import long_bone_mesh
from recon.registration import register_cloud
from recon.simulator import SimulatedSweep, SimulatorSettings
from recon.surface import SurfaceDistance
from tests.support.wire_phantom import T_REFERENCE_PHANTOM, WireSweep, fcal_phantom
from tracking.calibration.joint import JointResult, search_offset
from tracking.calibration.track import read_recorded
from tracking.transforms import apply, from_rotation_vector, invert

_N_POINTS = 100_000
_T_CT_REFERENCE = from_rotation_vector((-0.6, 0.9, 0.3), (240.0, -180.0, 960.0))


def _timed(work: Callable[[], object]) -> dict[str, float]:
    """Median of three runs, the first not counted: it compiles."""
    work()
    wall_s, cpu_s = [], []
    for _ in range(3):
        start_s, start_cpu_s = time.perf_counter(), time.process_time()
        work()
        wall_s.append(time.perf_counter() - start_s)
        cpu_s.append(time.process_time() - start_cpu_s)
    return {"wall_s": float(np.median(wall_s)), "cpu_s": float(np.median(cpu_s))}


def registration() -> dict[str, float]:
    """100,000 noisy points of one side of a bone, from 5 mm and 5 degrees off."""
    mesh = long_bone_mesh(0, 180.0, 0.8)
    rng = np.random.default_rng(0)
    triangles = mesh.triangles_mm()
    centre = mesh.vertices_mm.mean(axis=0)
    _, _, axes = np.linalg.svd(mesh.vertices_mm - centre, full_matrices=False)
    seen = triangles[(triangles.mean(axis=1) - centre) @ axes[2] > 0.0]
    weights = rng.dirichlet((1.0, 1.0, 1.0), _N_POINTS)
    points_ct = np.einsum("nc,ncx->nx", weights, seen[rng.integers(0, len(seen), _N_POINTS)])
    along = (points_ct - centre) @ axes[0]
    points_ct = points_ct[np.argsort(along)]  # as a sweep brings them
    points = apply(invert(_T_CT_REFERENCE), points_ct + rng.normal(0.0, 0.3, points_ct.shape))
    about_centre = from_rotation_vector((0.0, 0.0, 0.0), centre)
    off = from_rotation_vector(np.radians((3.0, -3.0, 2.6)), (3.0, -3.0, 2.6))
    start = about_centre @ off @ invert(about_centre) @ _T_CT_REFERENCE
    surface = SurfaceDistance(mesh)
    result = register_cloud(points, surface, start)
    moved = apply(result.T_ct_reference, points) - apply(_T_CT_REFERENCE, points)
    return {
        "n_triangles": len(mesh.faces),
        "n_points": result.n_points,
        **_timed(lambda: register_cloud(points, surface, start)),
        "tree_cpu_s": _timed(lambda: SurfaceDistance(mesh))["cpu_s"],
        "tre_across_max_mm": float(np.linalg.norm((moved @ axes.T)[:, 1:], axis=1).max()),
        "tre_along_mm": float(np.abs((moved @ axes.T)[:, 0]).mean()),
        "grip_along": result.motions[0].grip,
    }


def registration_of_sweeps() -> dict[str, float]:
    """Ten simulated bones, 0.3 mm noise, 10 % strays, four starts each, 5 mm and 5 degrees off."""
    across_mm, along_mm, grips, converged = [], [], [], []
    for seed in range(10):
        sweep = SimulatedSweep(SimulatorSettings(seed=seed, n_images=60))
        lines = [
            back_project(sweep.truth_line(k).points_px[::2], sweep.A_ct_pixel(k))
            for k in range(sweep.n_images)
        ]
        points_ct = np.concatenate(lines)
        rng = np.random.default_rng(seed)
        noisy = points_ct + rng.normal(0.0, 0.3, points_ct.shape)
        is_stray = rng.random(len(noisy)) < 0.1
        noisy[is_stray] += rng.normal(0.0, 5.0, (int(is_stray.sum()), 3))
        points = apply(invert(sweep.T_ct_reference), noisy)
        surface = SurfaceDistance(sweep.mesh)
        centre = from_rotation_vector((0.0, 0.0, 0.0), points_ct.mean(axis=0))
        _, _, axes = np.linalg.svd(points_ct - points_ct.mean(axis=0), full_matrices=False)
        for turn, slide in rng.normal(size=(4, 2, 3)):
            off = from_rotation_vector(
                np.radians(5.0) * turn / np.linalg.norm(turn), 5.0 * slide / np.linalg.norm(slide)
            )
            start = centre @ off @ invert(centre) @ sweep.T_ct_reference
            result = register_cloud(points, surface, start)
            moved = apply(result.T_ct_reference @ invert(sweep.T_ct_reference), points_ct)
            errors = (moved - points_ct) @ axes.T
            across_mm.append(np.linalg.norm(errors[:, 1:], axis=1).max())
            along_mm.append(np.abs(errors[:, 0]).mean())
            grips.append(result.motions[0].grip)
            converged.append(result.is_converged)
    return {
        "n_registrations": len(across_mm),
        "n_converged": int(np.sum(converged)),
        "tre_across_max_mm": float(np.max(across_mm)),
        "tre_along_median_mm": float(np.median(along_mm)),
        "tre_along_max_mm": float(np.max(along_mm)),
        "grip_along_max": float(np.max(grips)),
    }


def joint_grid() -> dict[str, float]:
    """3,000 offsets on 200 frames of a simulated N-wire sweep whose images lag by 87.3 ms."""
    sweep = WireSweep(200, image_lag_s=0.0873)
    track = read_recorded(sweep).relative("Probe", "Reference")
    stamps_s, points_px, phantom = sweep.stamps_s(), sweep.points_px(), fcal_phantom()

    def search() -> JointResult:
        return search_offset(stamps_s, points_px, track, phantom, T_REFERENCE_PHANTOM)

    result = search()
    return {
        "n_offsets": len(result.offsets_s),
        "n_frames": len(result.frames),
        **_timed(search),
        "offset_ms": 1e3 * result.offset_s,
        "error_mm": result.error_mm,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=Path(__file__).stem)
    parser.add_argument("--json", action="store_true")
    figures = {
        "registration": registration(),
        "registration_of_sweeps": registration_of_sweeps(),
        "joint_grid": joint_grid(),
    }
    print(json.dumps(figures) if parser.parse_args().json else json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
