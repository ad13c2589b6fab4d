"""From the network's probability to the bone line: one sub-pixel point per scan line."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from inference.contract import LineSpec, ModelContract
from inference.errors import InferenceError
from inference.line_kernels import (
    Runs,
    choose_runs,
    column_runs,
    fill_peaks,
    keep_heaviest,
    link_runs,
    place_points,
    ray_runs,
)
from inference.preprocess import InputPlan

# Points of neighbouring scan lines that lie further apart than this belong to two fragments.
MAX_STEP_MM = 1.0


@dataclass(frozen=True, slots=True)
class BoneLine:
    """Where the bone is: `points_px` (N, 2) float64 as (u, v) of the image, from left to right.

    `peak` (N,) float32 is the highest probability that the network gave in that run; a point that
    was filled into a gap has the probability found there, below the contract's threshold.
    `confidence` (N,) float32 is what the contract makes of it: the share of such points that were
    right when the network was judged, or the peak itself. `apex_px` (u, v) is where the rays of a
    curved array meet, None where the scan lines are image columns.
    """

    points_px: NDArray[np.float64]
    confidence: NDArray[np.float32]
    peak: NDArray[np.float32]
    apex_px: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class _ScanLines:
    """The runs of all scan lines, which lie `line_mm` apart (rays: at middle depth).

    A run at position s of its line lies at the image point (u, v) `start_px + s * step_px`.
    """

    runs: Runs
    start_px: NDArray[np.float64]  # (n_lines, 2) or (1, 2)
    step_px: NDArray[np.float64]
    line_mm: float


def bone_line(
    probability: NDArray[np.float32], plan: InputPlan, contract: ModelContract
) -> BoneLine:
    """The bone line in a probability image (rows, columns) of the network.

    How it is read is the contract's, see `LineSpec`. Whatever lies outside the region of interest,
    such as padding and burnt-in graphics, gives no point.

    Raises
    ------
    InferenceError : the probability holds a value that is not finite.
    """
    if not np.isfinite(probability).all():
        raise InferenceError("the network returned a value that is not finite")
    spec = contract.line
    threshold = contract.output.threshold if spec.weak is None else spec.weak
    # Rows whose centre lies on the region of interest; below it is padding.
    n_rows = int((plan.roi_px[3] - 0.5) * plan.spacing_mm[1] / plan.network_spacing_mm + 0.5)
    probability = probability[: max(n_rows, 1)]
    if spec.apex_mm is None:
        scan = _columns(probability, plan, threshold)
    else:
        scan = _rays(probability, plan, threshold, spec.apex_mm)
    position, peak = _chosen(scan, plan, spec)
    points_px = scan.start_px + position[:, None] * scan.step_px
    is_bone = _inside(points_px, plan.roi_px)
    points_px, peak = points_px[is_bone], peak[is_bone]
    fill_peaks(probability, plan.network_from_pixel(points_px), peak)
    shown = peak.astype(np.float32)
    confidence = shown if contract.confidence is None else contract.confidence(shown)
    apex_px = None if spec.apex_mm is None else (scan.start_px[0, 0], scan.start_px[0, 1])
    return BoneLine(points_px, confidence, shown, apex_px)


def _chosen(
    scan: _ScanLines, plan: InputPlan, spec: LineSpec
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Position and peak on each scan line, see `place_points`."""
    if spec.choice == "run":
        keep_heaviest(scan.runs)
    max_gap = max(MAX_STEP_MM, spec.close_gap_mm) / scan.line_mm
    fragment, n_fragments = link_runs(scan.runs, max_gap, MAX_STEP_MM / plan.network_spacing_mm)
    narrowest = spec.narrowest_mm / scan.line_mm
    chosen, number = choose_runs(
        scan.runs, fragment, n_fragments, narrowest, spec.strong, spec.choice == "first"
    )
    return place_points(scan.runs, chosen, number, spec.close_gap_mm / scan.line_mm)


def _columns(probability: NDArray[np.float32], plan: InputPlan, threshold: float) -> _ScanLines:
    """One scan line down each image column of the region of interest."""
    u0, _, width, _ = plan.roi_px
    start_px = np.empty((width, 2))
    start_px[:, 0] = np.arange(u0, u0 + width)
    start_px[:, 1] = plan.pixel_from_network(np.zeros((1, 2)))[0, 1]  # positions are network rows
    columns = plan.network_from_pixel(start_px)[:, 0]
    step_px = np.array(((0.0, plan.network_spacing_mm / plan.spacing_mm[1]),))
    runs = column_runs(probability, columns, threshold)
    return _ScanLines(runs, start_px, step_px, plan.spacing_mm[0])


def _rays(
    probability: NDArray[np.float32],
    plan: InputPlan,
    threshold: float,
    apex_mm: tuple[float, float],
) -> _ScanLines:
    """Rays over the region of interest, one image pixel apart where they leave it at the bottom."""
    scale_mm = plan.network_spacing_mm
    middle = 0.5 * plan.network_size_px[1]  # anchored top centre
    apex = (middle + apex_mm[0] / scale_mm - 0.5, apex_mm[1] / scale_mm - 0.5)
    width_mm, height_mm = (plan.roi_px[k + 2] * plan.spacing_mm[k] for k in (0, 1))
    right_mm = np.array((-0.5, 0.5)) * width_mm - apex_mm[0]
    corners_rad = np.arctan2(right_mm, [[-apex_mm[1]], [height_mm - apex_mm[1]]])
    far_mm = math.hypot(float(np.abs(right_mm).max()), height_mm - apex_mm[1])
    n_rays = 2 + int(np.ptp(corners_rad) * far_mm / plan.spacing_mm[0])
    angles_rad = np.linspace(corners_rad.min(), corners_rad.max(), n_rays)
    runs = ray_runs(probability, apex, angles_rad, math.ceil(far_mm / scale_mm), threshold)
    line_mm = (angles_rad[1] - angles_rad[0]) * (0.5 * height_mm - apex_mm[1])
    step_mm = scale_mm * np.column_stack((np.sin(angles_rad), np.cos(angles_rad)))
    start_px = plan.pixel_from_network(np.array((apex,)))
    return _ScanLines(runs, start_px, step_mm / plan.spacing_mm, float(line_mm))


def _inside(points_px: NDArray[np.float64], roi_px: tuple[int, int, int, int]) -> NDArray[np.bool_]:
    """Which points (N, 2) lie on pixels of the region of interest; NaN does not."""
    u0, v0, width, height = roi_px
    u, v = points_px[:, 0] - (u0 - 0.5), points_px[:, 1] - (v0 - 0.5)
    return (u >= 0.0) & (u < width) & (v >= 0.0) & (v < height)
