"""`navapp register`: a bone cloud to the CT surface."""

from __future__ import annotations

import math
import tomllib
from pathlib import Path
from typing import Any

import numpy as np

from navapp.calibrate.chart import Chart
from navapp.calibrate.finding import Array, Finding, given_files
from navapp.errors import ConfigError
from recon.mesh_io import read_cloud, read_mesh
from recon.registration import RegistrationResult, register_cloud
from recon.surface import SurfaceDistance
from tracking.calibration import load_registration
from tracking.calibration.landmarks import LandmarkFit, fit_landmarks
from tracking.calibration.sections import provenance
from tracking.transforms import Matrix, apply


def register(
    cloud: Path, mesh: Path, landmark_file: Path | None, start_file: Path | None
) -> Finding:
    """Bone cloud to CT surface, from landmarks or an earlier registration."""
    points_mm, frame = read_cloud(cloud)
    if frame == "ct":
        raise ConfigError(f"{cloud}: its points are in CT space already, expected frame reference")
    lines = []
    fit = _landmark_pairs(landmark_file) if landmark_file else None
    if fit is not None:
        start = fit.T_target_source
        lines.append(f"landmarks: FRE {fit.fre.rms:.2f} mm RMS over {fit.fre.n}")
    elif start_file is not None:
        start = load_registration(start_file).T_ct_reference
    else:
        raise ConfigError("registration needs a start: give --landmarks or --start")
    surface = SurfaceDistance(read_mesh(mesh))
    sigma_mm = None if fit is None else fit.expected_tre_mm(np.nanmean(points_mm, axis=0))
    result = register_cloud(points_mm, surface, start, start_sigma_mm=sigma_mm)
    lines += [
        result.verdict(),
        f"held out: {result.held_out.rms:.2f} mm RMS; two halves of the bone disagree by at most "
        f"{result.halves_disagree_mm:.2f} mm",
        f"moved by {result.moved_mm:.1f} mm and {math.degrees(result.turned_rad):.1f} degrees",
    ]
    files = given_files(cloud, mesh, landmark_file, start_file)
    values = _registration_values(result, fit, files)
    return Finding("registration", values, lines, _registration_charts(result, points_mm, surface))


def _landmark_pairs(path: Path) -> LandmarkFit:
    """`[[landmark]]` tables with `reference_mm` and `ct_mm`, as the window reads them; or
    `[landmarks]` with both as lists of points in the same order."""
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
        if "landmark" in document:
            keys = ("reference_mm", "ct_mm")
            pairs = {key: [table[key] for table in document["landmark"]] for key in keys}
        else:
            pairs = document["landmarks"]
        reference_mm, ct_mm = (np.array(pairs[key], float) for key in ("reference_mm", "ct_mm"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except KeyError as error:
        raise ConfigError(
            f"{path}: {error.args[0]} is missing, expected [[landmark]] tables with reference_mm "
            "and ct_mm"
        ) from None
    except (ValueError, TypeError) as error:
        raise ConfigError(f"{path}: cannot be read as landmarks: {error}") from None
    return fit_landmarks(reference_mm, ct_mm, max_fre_mm=10.0)  # rough: ICP follows


def _registration_values(
    result: RegistrationResult, fit: LandmarkFit | None, files: list[Path]
) -> dict[str, Any]:
    return {
        "T_ct_reference": result.T_ct_reference,
        "is_converged": result.is_converged,
        "n_steps": result.n_steps,
        "n_inliers": result.n_inliers,
        "trim_mm": result.trim_mm,
        "halves_disagree_mm": result.halves_disagree_mm,
        "moved_mm": result.moved_mm,
        "turned_deg": math.degrees(result.turned_rad),
        "landmark_fre_mm": fit.fre.rms if fit else None,
        "residual": result.residual.as_section("mm"),
        "all_points": result.all_points.as_section("mm"),
        "held_out": result.held_out.as_section("mm"),
        "motions": [
            {
                "name": motion.name,
                "axis_ct": motion.axis_ct,
                "grip": motion.grip,
                "slack_mm": motion.slack_mm,
                "is_degenerate": motion.is_degenerate,
            }
            for motion in result.motions
        ],
        "verdict": result.verdict(),
        "provenance": provenance("trimmed point-to-plane ICP", files, result.n_points),
    }


def _registration_charts(
    result: RegistrationResult, points_mm: Array, surface: SurfaceDistance
) -> list[Chart]:
    distances = Chart("distance from the surface", "distance (mm)", "share of points below")
    sorted_mm = np.sort(surface.distances_mm(_moved(result.T_ct_reference, points_mm)))
    shares = np.linspace(0.0, 1.0, len(sorted_mm))
    distances.line("points", sorted_mm, shares)
    distances.mark(result.trim_mm, "trimmed beyond")
    grip = Chart("how well the surface holds", "motion", "grip (1 wall, 0 ice)")
    names = ", ".join(motion.name for motion in result.motions)
    grip.points(names, np.arange(6), [motion.grip for motion in result.motions])
    return [distances, grip]


def _moved(T: Matrix, points_mm: Array) -> Array:
    return apply(T, points_mm[np.isfinite(points_mm).all(axis=1)])
