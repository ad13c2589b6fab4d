"""`navapp calibrate temporal`, `pivot` and `landmarks`."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from navapp.calibrate.chart import Chart
from navapp.calibrate.finding import (
    Array,
    Finding,
    Rectangle,
    Tools,
    given_files,
    in_words,
    read_recording,
)
from tracking.calibration import load_stylus
from tracking.calibration.landmarks import (
    LandmarkFit,
    find_dwells,
    fit_landmarks,
    tip_positions,
)
from tracking.calibration.pivot import calibrate_pivot, check_millimetres
from tracking.calibration.plus_xml import PlusTransform, read_phantom
from tracking.calibration.sections import provenance
from tracking.calibration.temporal import TemporalLimits, find_image_lag
from tracking.calibration.track import Recorded, Track
from tracking.calibration.water_line import find_line
from tracking.errors import CalibrationError
from tracking.messages import TransformName
from tracking.transforms import apply


def temporal(
    images: Path, poses: Path | None, tools: Tools, clip_px: Rectangle | None, search_s: float
) -> Finding:
    """Image lag from a flat bottom that the probe moves over, up and down."""
    recorded = read_recording(images)
    if not recorded.images:
        raise CalibrationError(f"{images}: has no images")
    track = read_recording(poses or images).relative(tools.probe, tools.reference)
    rows_px, t_s = _line_rows(recorded, clip_px)
    check_millimetres(track.T_target_tool, "temporal")
    positions_mm = track.T_target_tool[:, :3, 3]
    limits = TemporalLimits(search_s=search_s)
    result = find_image_lag(t_s, rows_px, track.t_s, positions_mm, limits)
    curve = Chart("correlation of image and tracker", "image lag (ms)", "correlation")
    curve.line("correlation", 1e3 * result.lags_s, result.correlations)
    curve.mark(1e3 * result.image_lag_s, f"{1e3 * result.image_lag_s:.1f} ms")
    rows = Chart("the line in the image", "time (s)", "row (px)")
    rows.points("line", t_s - t_s[0], rows_px)
    values = {
        "image_lag_s": result.image_lag_s,
        "interval_95_s": result.interval_s,
        "halves_s": result.halves_s,
        "correlation": result.correlation,
        "second_peak_ratio": result.peak_ratio,
        "second_lag_s": result.second_lag_s,
        "n_images_with_line": int(np.isfinite(rows_px).sum()),
        "clip_px": clip_px,
        "residual": result.residual.as_section("mm"),
        "held_out": result.held_out.as_section("mm"),
        "verdict": result.verdict(limits),
        "provenance": provenance(
            "water tank line, normalised cross-correlation",
            given_files(images, poses),
            result.n_samples,
        ),
    }
    lines = [result.verdict(limits), in_words(values)]
    searched = ("image_lag_s,correlation", result.lags_s, result.correlations)
    return Finding("temporal", values, lines, [curve, rows], searched)


def pivot(recording: Path, tools: Tools) -> Finding:
    """The tip of a stylus that pivots about a point."""
    track = read_recording(recording).relative(tools.stylus, tools.reference)
    result = calibrate_pivot(track.T_target_tool)
    chart = Chart("distance of the tip from the pivot", "pose", "mm")
    poses = np.arange(len(result.errors_mm))
    chart.points("used", poses[result.is_inlier], result.errors_mm[result.is_inlier])
    chart.points("outliers", poses[~result.is_inlier], result.errors_mm[~result.is_inlier])
    values = {
        "T_stylus_tip": result.T_stylus_tip,
        "pivot_reference_mm": result.pivot_reference_mm,
        "tip_uncertainty_mm": result.tip_uncertainty_mm,
        "turned_deg": math.degrees(result.spread_rad),
        "n_outliers": int((~result.is_inlier).sum()),
        "residual": result.residual.as_section("mm"),
        "held_out": result.held_out.as_section("mm"),
        "verdict": result.verdict(),
        "provenance": provenance("pivot", [recording], result.residual.n),
    }
    name = TransformName("StylusTip", "Stylus")
    plus = {name: PlusTransform(result.T_stylus_tip, result.residual.mean)}
    return Finding("stylus", values, [result.verdict(), in_words(values)], [chart], plus=plus)


def landmarks(
    recording: Path, phantom_file: Path, stylus_file: Path, tools: Tools, target_mm: Array | None
) -> Finding:
    """The phantom's place by its landmarks, touched in the order of the phantom's file."""
    phantom = read_phantom(phantom_file)
    tip_stylus_mm = load_stylus(stylus_file)[:3, 3]
    track = read_recording(recording).relative(tools.stylus, tools.reference)
    check_millimetres(track.T_target_tool, "landmarks")
    dwells = find_dwells(track.t_s, track.T_target_tool, tip_stylus_mm)
    if len(dwells) != len(phantom.landmarks_mm):
        raise CalibrationError(
            f"{recording}: the stylus was held on {len(dwells)} points, {phantom_file.name} has "
            f"{len(phantom.landmarks_mm)} landmarks (hold it still and pivot it for a second each)"
        )
    fit = fit_landmarks(phantom.landmarks_mm, [dwell.tip_reference_mm for dwell in dwells])
    target = phantom.landmarks_mm.mean(axis=0) if target_mm is None else target_mm
    tre_mm = fit.expected_tre_mm(target)
    verdict = (
        f"{'good' if fit.fre.rms < 1.0 else 'usable, but not accurate'}: FRE {fit.fre.rms:.2f} mm "
        f"RMS over {fit.fre.n} landmarks, left out one by one {_rms(fit.left_out_mm):.2f} mm RMS, "
        f"expected error {tre_mm:.2f} mm at {_point(target)}"
    )
    values = {
        "T_reference_phantom": fit.T_target_source,
        "landmark_names": phantom.landmark_names,
        "errors_mm": fit.errors_mm,
        "left_out_mm": fit.left_out_mm,
        "expected_tre_mm": tre_mm,
        "tre_target_phantom_mm": target,
        "residual": fit.fre.as_section("mm"),
        "verdict": verdict,
        "provenance": provenance(
            "landmarks, rigid by SVD",
            [recording, phantom_file, stylus_file],
            sum(dwell.n for dwell in dwells),
        ),
    }
    name = TransformName("Phantom", "Reference")
    plus = {name: PlusTransform(fit.T_target_source, fit.fre.mean)}
    lines = [verdict, *_worst_landmark(phantom.landmark_names, fit)]
    chart = _landmark_chart(fit, tip_positions(track.T_target_tool, tip_stylus_mm), track)
    return Finding("phantom", values, lines, chart, plus=plus)


def _line_rows(recorded: Recorded, clip_px: Rectangle | None) -> tuple[Array, Array]:
    """Row of the line at the clip rectangle's middle, NaN without one, and the images' stamps."""
    rows_px = []
    for image in recorded.images:
        pixels = image.load()
        column, _, width, _ = clip_px or (0, 0, pixels.shape[1], 0)
        line = find_line(pixels, clip_px)
        rows_px.append(math.nan if line is None else line.v_px(column + width / 2))
    return np.array(rows_px), np.array([image.t_s for image in recorded.images])


def _landmark_chart(fit: LandmarkFit, tips_mm: Array, track: Track) -> list[Chart]:
    errors = Chart("error of each landmark", "landmark", "mm")
    numbers = np.arange(1, len(fit.errors_mm) + 1)
    errors.points("in the fit", numbers, fit.errors_mm)
    errors.points("left out", numbers, fit.left_out_mm)
    way = Chart("the tip's way", "time (s)", "distance from the first landmark (mm)")
    first = apply(fit.T_target_source, fit.source_mm[:1])[0]
    way.line("tip", track.t_s - track.t_s[0], np.linalg.norm(tips_mm - first, axis=1))
    return [errors, way]


def _worst_landmark(names: tuple[str, ...], fit: LandmarkFit) -> list[str]:
    if np.isnan(fit.left_out_mm).all():
        return ["with three landmarks none can be left out to judge the fit"]
    worst = int(np.nanargmax(fit.left_out_mm))
    return [f"worst landmark: {names[worst]}, {fit.left_out_mm[worst]:.2f} mm when left out"]


def _rms(values: Array) -> float:
    return float(np.sqrt(np.mean(values**2)))


def _point(values: Array) -> str:
    return "(" + ", ".join(f"{value:.0f}" for value in values) + ") mm"
