"""What the calibration commands do; `cli.py` beside it parses and prints."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from navapp.calibrate.chart import Chart, save_charts
from navapp.errors import ConfigError
from recon.mesh_io import read_cloud, read_mesh
from recon.registration import RegistrationResult, register_cloud
from recon.surface import SurfaceDistance
from tracking.calibration import load_phantom_placement, load_registration, load_stylus
from tracking.calibration.joint import JointResult, search_offset
from tracking.calibration.landmarks import (
    LandmarkFit,
    find_dwells,
    fit_landmarks,
    tip_positions,
)
from tracking.calibration.pivot import calibrate_pivot, check_millimetres
from tracking.calibration.plus_xml import (
    Phantom,
    PlusTransform,
    read_phantom,
    write_plus_transforms,
)
from tracking.calibration.probe import ProbeCalibration
from tracking.calibration.sections import provenance, read_document, write_section
from tracking.calibration.spatial import SpatialResult, WireFrames, calibrate_spatial
from tracking.calibration.temporal import TemporalLimits, find_image_lag
from tracking.calibration.track import Recorded, Track, read_recorded
from tracking.calibration.water_line import find_line
from tracking.calibration.wire_dots import Labelled, WireLabeller, find_dots
from tracking.errors import CalibrationError
from tracking.messages import TransformName
from tracking.sequences import SweepImage, open_sweep
from tracking.transforms import Matrix, apply

Array = NDArray[np.float64]
Rectangle = tuple[int, int, int, int]

_MAX_GAP_S = 0.1
# Pixel sizes tried where none is given, each good for a third around it.
_SPACINGS_MM = tuple(0.03 * 1.3**k for k in range(10))
_N_TRIED = 12  # frames on which they are tried


@dataclass(frozen=True, slots=True)
class Tools:
    """Names of the tracked tools in a recording."""

    probe: str = "Probe"
    stylus: str = "Stylus"
    reference: str = "Reference"


@dataclass(frozen=True, slots=True)
class Finding:
    """A section of the calibration file, what to say of it, its plot, and the curve that was
    searched as (heading, x, y): too long for the file."""

    section: str
    values: dict[str, Any]
    lines: list[str]
    charts: list[Chart]
    curve: tuple[str, Array, Array] | None = None
    plus: dict[TransformName, PlusTransform] = field(default_factory=dict)


def save(findings: list[Finding], out: Path, plus_xml: Path | None = None) -> list[str]:
    """Write sections, plots (`OUT_section.png`) and curves (`.csv`); what was written, in words.

    Raises
    ------
    CalibrationError, ConfigError : where a file cannot be written.
    """
    said = []
    for finding in findings:
        plot = out.with_name(f"{out.stem}_{finding.section}.png")
        write_section(out, finding.section, finding.values)
        try:
            save_charts(plot, finding.charts)
            if finding.curve is not None:
                _save_curve(plot.with_suffix(".csv"), *finding.curve)
        except OSError as error:
            raise ConfigError(f"{plot}: cannot be written: {error.strerror}") from None
        said.append(f"saved {out} [{finding.section}] and {plot}")
        if plus_xml is not None and finding.plus:
            write_plus_transforms(plus_xml, finding.plus)
            said.append(f"saved {plus_xml}: {', '.join(str(name) for name in finding.plus)}")
    return said


def temporal(
    images: Path, poses: Path | None, tools: Tools, clip_px: Rectangle | None, search_s: float
) -> Finding:
    """Image lag from a flat bottom that the probe moves over, up and down."""
    recorded = _read(images)
    if not recorded.images:
        raise CalibrationError(f"{images}: has no images")
    track = _read(poses or images).relative(tools.probe, tools.reference)
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
            "water tank line, normalised cross-correlation", _files(images, poses), result.n_samples
        ),
    }
    lines = [result.verdict(limits), _held(values)]
    searched = ("image_lag_s,correlation", result.lags_s, result.correlations)
    return Finding("temporal", values, lines, [curve, rows], searched)


def pivot(recording: Path, tools: Tools) -> Finding:
    """The tip of a stylus that pivots about a point."""
    track = _read(recording).relative(tools.stylus, tools.reference)
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
    return Finding("stylus", values, [result.verdict(), _held(values)], [chart], plus=plus)


def landmarks(
    recording: Path, phantom_file: Path, stylus_file: Path, tools: Tools, target_mm: Array | None
) -> Finding:
    """The phantom's place by its landmarks, touched in the order of the phantom's file."""
    phantom = read_phantom(phantom_file)
    tip_stylus_mm = load_stylus(stylus_file)[:3, 3]
    track = _read(recording).relative(tools.stylus, tools.reference)
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


@dataclass(frozen=True, slots=True)
class SpatialOptions:
    """What `calibrate spatial` is told besides its files."""

    clip_px: Rectangle | None = None
    rough_spacing_mm: float | None = None
    scanner_spacing_mm: tuple[float, float] | None = None
    depth_mm: float | None = None
    refine: bool = False
    find_lag: bool = False
    image_lag_s: float = 0.0


def spatial(
    recording: Path,
    validation: Path | None,
    phantom_file: Path,
    placement_file: Path,
    tools: Tools,
    options: SpatialOptions,
) -> list[Finding]:
    """The probe calibration from images of N-wires; with `find_lag` the image lag as well."""
    phantom = read_phantom(phantom_file)
    if not phantom.n_wires:
        raise CalibrationError(f"{phantom_file}: the phantom has no N-wires")
    T_reference_phantom = load_phantom_placement(placement_file)
    seen = _see(recording, phantom, options, tools)
    files = [recording, phantom_file, placement_file]
    findings = []
    lag_s = options.image_lag_s
    frames = _posed(seen, lag_s)
    if options.find_lag:
        joint = search_offset(seen.t_s, seen.points_px, seen.track, phantom, T_reference_phantom)
        frames, lag_s = joint.frames, joint.image_lag_s
        findings.append(_joint_finding(joint, files))
    seen_again = _see(validation, phantom, options, tools) if validation else None
    result = calibrate_spatial(
        frames,
        phantom,
        T_reference_phantom,
        image_size_px=seen.image_size_px,
        validation=_posed(seen_again, lag_s) if seen_again else None,
        refine=options.refine,
        scanner_spacing_mm=options.scanner_spacing_mm,
    )
    finding = _spatial_finding(result, seen, options, _files(*files, validation), lag_s)
    ProbeCalibration(result.A_probe_pixel.copy(), recording, "")  # its own check, before it is kept
    return [finding, *findings]


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
    result = register_cloud(points_mm, surface, start)
    lines += [
        result.verdict(),
        f"held out: {result.held_out.rms:.2f} mm RMS; two halves of the bone disagree by at most "
        f"{result.halves_disagree_mm:.2f} mm",
        f"moved by {result.moved_mm:.1f} mm and {math.degrees(result.turned_rad):.1f} degrees",
    ]
    files = _files(cloud, mesh, landmark_file, start_file)
    values = _registration_values(result, fit, files)
    return Finding("registration", values, lines, _registration_charts(result, points_mm, surface))


@dataclass(frozen=True, slots=True)
class _Seen:
    """Labelled images of a recording, not yet posed."""

    name: str
    t_s: Array
    points_px: Array
    track: Track
    n_images: int
    failed: dict[int, str]
    image_size_px: tuple[int, int]


def _save_curve(path: Path, heading: str, x: Array, y: Array) -> None:
    rows = np.column_stack((x, y))
    np.savetxt(path, rows, fmt="%.9g", delimiter=",", header=heading, comments="")


def _read(path: Path) -> Recorded:
    return read_recorded(open_sweep(path))


def _files(*paths: Path | None) -> list[Path]:
    return [path for path in paths if path is not None]


def _line_rows(recorded: Recorded, clip_px: Rectangle | None) -> tuple[Array, Array]:
    """Row of the line at the clip rectangle's middle, NaN without one, and the images' stamps."""
    rows_px = []
    for image in recorded.images:
        pixels = image.load()
        column, _, width, _ = clip_px or (0, 0, pixels.shape[1], 0)
        line = find_line(pixels, clip_px)
        rows_px.append(math.nan if line is None else line.v_px(column + width / 2))
    return np.array(rows_px), np.array([image.t_s for image in recorded.images])


def _see(path: Path, phantom: Phantom, options: SpatialOptions, tools: Tools) -> _Seen:
    recorded = _read(path)
    if not recorded.images:
        raise CalibrationError(f"{path}: has no images")
    track = recorded.relative(tools.probe, tools.reference)
    images, clip_px = recorded.images, options.clip_px
    spacing_mm = options.rough_spacing_mm or _rough_spacing_mm(images, phantom, clip_px)
    labelled = _label((image.load() for image in images), phantom, spacing_mm, clip_px)
    told = [k for k, frame in enumerate(labelled) if frame.points_px is not None]
    failed = {k: frame.reason for k, frame in enumerate(labelled) if frame.points_px is None}
    if not told:
        reason = failed[len(failed) // 2]
        raise CalibrationError(
            f"{path}: the wires are visible in none of {len(images)} images (such as: {reason})"
        )
    rows, columns = images[0].load().shape
    return _Seen(
        name=path.name,
        t_s=np.array([recorded.images[k].t_s for k in told]),
        points_px=np.array([labelled[k].points_px for k in told]),
        track=track,
        n_images=len(images),
        failed=failed,
        image_size_px=(columns, rows),
    )


def _label(
    pixels: Iterable[NDArray[np.uint8]], phantom: Phantom, spacing_mm: float, clip: Rectangle | None
) -> list[Labelled]:
    labeller = WireLabeller(phantom, spacing_mm)
    return [labeller.label(find_dots(image, spacing_mm, clip)) for image in pixels]


def _rough_spacing_mm(
    images: tuple[SweepImage, ...], phantom: Phantom, clip_px: Rectangle | None
) -> float:
    """The pixel size with which the phantom is recognised most often, on frames from all along."""
    tried = np.unique(np.linspace(0, len(images) - 1, _N_TRIED).astype(np.int64))
    some = [images[k].load() for k in tried]
    n_told = [
        sum(frame.points_px is not None for frame in _label(some, phantom, spacing, clip_px))
        for spacing in _SPACINGS_MM
    ]
    best = np.flatnonzero(np.array(n_told) == max(n_told))
    return _SPACINGS_MM[int(best[len(best) // 2])]


def _posed(seen: _Seen, image_lag_s: float) -> WireFrames:
    """Frames whose pose is known at their moment: at the stamp minus the lag."""
    poses, is_known = seen.track.at(seen.t_s - image_lag_s, max_gap_s=_MAX_GAP_S)
    return WireFrames(seen.points_px[is_known], poses[is_known])


def _spatial_finding(
    result: SpatialResult,
    seen: _Seen,
    options: SpatialOptions,
    files: list[Path],
    image_lag_s: float,
) -> Finding:
    values = {
        "A_probe_pixel": result.A_probe_pixel,
        "image_size_px": seen.image_size_px,
        "roi_px": options.clip_px,
        "orientation": "MF",  # every reader brings images into it
        "depth_mm": options.depth_mm,
        "image_lag_used_s": image_lag_s,
        "axes_angle_deg": 90.0 + math.degrees(result.skew_rad),
        "corner_spread_mm": result.corner_spread_mm,
        "scale_error": None if math.isnan(result.scale_error) else result.scale_error,
        "is_refined": result.is_refined,
        "turned_deg": math.degrees(result.turn_rad),
        "n_images": seen.n_images,
        "images_not_told": {str(k): reason for k, reason in seen.failed.items()},
        "residual": result.residual.as_section("mm"),
        "held_out": result.held_out.as_section("mm"),
        "validation": result.validation.as_section("mm") if result.validation else None,
        "by_wire": {name: errors.as_section("px") for name, errors in result.by_wire_px.items()},
        "by_depth": [
            {"rows_px": [low, high], **errors.as_section("mm")}
            for low, high, errors in result.by_depth
        ],
        "verdict": result.verdict(),
        "provenance": provenance("N-wire", files, result.n_frames),
    }
    lines = [
        result.verdict(),
        f"wires told in {len(seen.t_s)} of {seen.n_images} images; an image corner moves by "
        f"{result.corner_spread_mm:.2f} mm between fifths of the recording",
        _held(values),
    ]
    if image_lag_s:
        lines.append(f"poses taken {1e3 * image_lag_s:.1f} ms before the images' stamps")
    if options.refine and not result.is_refined:
        lines.append("refinement did not lower the held-out error: the linear solution is kept")
    lines += [f"image {k} not used: {reason}" for k, reason in list(seen.failed.items())[:5]]
    wires = Chart("dots from where the wires cut the image", "wire", "mean distance (px)")
    means = [errors.mean for errors in result.by_wire_px.values()]
    wires.points(", ".join(result.by_wire_px), np.arange(len(means)), means)
    depth = Chart("error by depth", "row (px)", "mm")
    middles = [0.5 * (low + high) for low, high, _ in result.by_depth]
    depth.line("RMS", middles, [errors.rms for _, _, errors in result.by_depth])
    depth.line("95 %", middles, [errors.p95 for _, _, errors in result.by_depth])
    depth.line("most", middles, [errors.max for _, _, errors in result.by_depth])
    name = TransformName("Image", "Probe")
    plus = {name: PlusTransform(result.A_probe_pixel, (result.validation or result.held_out).mean)}
    return Finding("probe", values, lines, [wires, depth], plus=plus)


def _joint_finding(joint: JointResult, files: list[Path]) -> Finding:
    chart = Chart("3D localisation error", "offset (ms)", "mm")
    chart.line("mean error", 1e3 * joint.offsets_s, joint.errors_mm)
    chart.mark(1e3 * joint.offset_s, f"{1e3 * joint.offset_s:.1f} ms")
    values = {
        "image_lag_s": joint.image_lag_s,
        "halves_s": tuple(-offset for offset in joint.halves_s),
        "localisation_error_mm": joint.error_mm,
        "worst_error_mm": float(joint.errors_mm.max()),
        "verdict": joint.verdict(),
        "provenance": provenance("joint with N-wires", files, len(joint.frames)),
    }
    curve = ("offset_s,error_mm", joint.offsets_s, joint.errors_mm)
    return Finding("temporal", values, [joint.verdict()], [chart], curve)


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


def _landmark_pairs(path: Path) -> LandmarkFit:
    """`[landmarks]` with `reference_mm` and `ct_mm`, lists of points in the same order."""
    try:
        pairs = tomllib.loads(path.read_text(encoding="utf-8"))["landmarks"]
        reference_mm, ct_mm = (np.array(pairs[key], float) for key in ("reference_mm", "ct_mm"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except KeyError as error:
        raise ConfigError(
            f"{path}: {error.args[0]} is missing, expected [landmarks] with reference_mm and ct_mm"
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


def _held(values: dict[str, Any]) -> str:
    residual, held_out = values["residual"], values["held_out"]
    return (
        f"residual {residual['rms_mm']:.2f} mm RMS, {residual['median_mm']:.2f} median, "
        f"{residual['p95_mm']:.2f} 95 %, {residual['max_mm']:.2f} most; held out "
        f"{held_out['rms_mm']:.2f} mm RMS"
    )


def _rms(values: Array) -> float:
    return float(np.sqrt(np.mean(values**2)))


def _point(values: Array) -> str:
    return "(" + ", ".join(f"{value:.0f}" for value in values) + ") mm"


def stored_image_lag_s(out: Path) -> float | None:
    """The lag in a calibration file's `[temporal]`, None where there is none."""
    if not out.exists():
        return None
    lag_s = read_document(out).get("temporal", {}).get("image_lag_s")
    return None if lag_s is None else float(lag_s)
