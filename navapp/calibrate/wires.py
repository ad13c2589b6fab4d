"""`navapp calibrate spatial`: from a sweep over wires to the probe calibration, and the lag."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

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
from tracking.calibration import load_phantom_placement
from tracking.calibration.joint import JointResult, search_offset
from tracking.calibration.plus_xml import Phantom, PlusTransform, read_phantom
from tracking.calibration.probe import ProbeCalibration
from tracking.calibration.sections import provenance
from tracking.calibration.spatial import SpatialResult, WireFrames, calibrate_spatial
from tracking.calibration.track import Track
from tracking.calibration.wire_dots import Labelled, WireLabeller, find_dots
from tracking.errors import CalibrationError
from tracking.messages import TransformName
from tracking.sequences import SweepImage

_MAX_GAP_S = 0.1
# Pixel sizes tried where none is given, each good for a third around it.
_SPACINGS_MM = tuple(0.03 * 1.3**k for k in range(10))
_N_TRIED = 12  # frames on which they are tried


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
    image_lag_file: Path | None = None  # where it was read, None where it was given


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
    taken = _taken(placement_file, options, lag_s)
    try:
        result = calibrate_spatial(
            frames,
            phantom,
            T_reference_phantom,
            image_size_px=seen.image_size_px,
            validation=_posed(seen_again, lag_s) if seen_again else None,
            refine=options.refine,
            scanner_spacing_mm=options.scanner_spacing_mm,
        )
    except CalibrationError as error:
        raise CalibrationError(f"{error}; {'; '.join(taken)}") from None
    finding = _spatial_finding(result, seen, options, given_files(*files, validation), lag_s)
    finding.lines.extend(taken)
    ProbeCalibration(result.A_probe_pixel.copy(), recording, "")  # its own check, before it is kept
    return [finding, *findings]


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


def _see(path: Path, phantom: Phantom, options: SpatialOptions, tools: Tools) -> _Seen:
    recorded = read_recording(path)
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


def _taken(placement_file: Path, options: SpatialOptions, image_lag_s: float) -> list[str]:
    """Where the phantom's place and the lag come from, in words: they may be another set-up's."""
    by = f", by {options.image_lag_file}" if options.image_lag_file else ""
    lag = f"poses taken {1e3 * image_lag_s:.1f} ms before the images' stamps{by}"
    return [f"phantom placed by {placement_file}", *([lag] if image_lag_s else [])]


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
        in_words(values),
    ]
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
