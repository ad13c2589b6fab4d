"""Where a pixel lies on the probe, from images of a phantom with N-wires.

In each image the middle wire of an N cuts the line between the outer two at a share that tells
where along the wire the image plane passes: a point known in the phantom, hence on the probe.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from tracking.calibration.pivot import check_millimetres
from tracking.calibration.plus_xml import NWire, Phantom
from tracking.calibration.residuals import Residuals
from tracking.errors import CalibrationError
from tracking.transforms import Matrix, invert, rotation_angle_rad

Array = NDArray[np.float64]

_MIN_FRAMES = 10
_REJECTED_SIGMAS = 3.0
_N_FOLDS = 5
_N_DEPTHS = 3
# Error scale of the refinement: beyond, an error counts by its length, no longer by its square.
_SOFT_MM = 0.5
# A mirrored image fits the mirrored calibration this much better than as it is.
_MIRRORED_RATIO = 0.5


@dataclass(frozen=True, slots=True)
class WireFrames:
    """Labelled images of a phantom with their poses: all the calibration knows of a recording.

    `points_px` (F, K, 3, 2) are the dots of the K N-wires in the phantom's order,
    `T_reference_probe` (F, 4, 4) the poses of the same frames.
    """

    points_px: Array
    T_reference_probe: Array

    def __len__(self) -> int:
        return len(self.points_px)

    def part(self, index: NDArray[np.bool_]) -> WireFrames:
        """The frames that a mask selects."""
        return WireFrames(self.points_px[index], self.T_reference_probe[index])


@dataclass(frozen=True, slots=True)
class SpatialLimits:
    """What is refused."""

    max_rms_mm: float = 2.0
    min_turn_rad: float = math.radians(3.0)
    max_scale_error: float = 0.1
    doubtful_scale_error: float = 0.03


@dataclass(frozen=True, slots=True)
class SpatialResult:
    """A_probe_pixel, (4, 4) mm per pixel, with its errors.

    Errors are distances, mm, of the middle wires' points as calibrated from where the phantom has
    them: `residual` of the frames that made it, `held_out` by fits without them (five stretches),
    `validation` of another recording. `by_wire_px` is the distance in the image of each wire's dots
    from where the wire cuts the image plane, `by_depth` the residual in bands of rows (first row,
    last row, errors). `corner_spread_mm` is how far an image corner moves between the five fits.
    `scale_error` is the spacing's largest relative deviation from the scanner's, NaN if unknown.
    """

    A_probe_pixel: Matrix
    is_refined: bool
    residual: Residuals
    held_out: Residuals
    validation: Residuals | None
    by_wire_px: dict[str, Residuals]
    by_depth: tuple[tuple[float, float, Residuals], ...]
    corner_spread_mm: float
    skew_rad: float
    scale_error: float
    turn_rad: float
    n_frames: int

    def verdict(self, limits: SpatialLimits | None = None) -> str:
        """In words, for a person."""
        limits = limits or SpatialLimits()
        judged = self.validation or self.held_out
        name = "validation" if self.validation else "held out"
        n_judged = judged.n * self.n_frames // self.residual.n  # each frame has as many middle dots
        grade = "good" if judged.rms < 1.0 else "usable, but not accurate"
        text = (
            f"{grade}: {judged.mean:.2f} mm mean, {judged.rms:.2f} mm RMS, {judged.max:.2f} mm at "
            f"most ({name}) over {n_judged} frames; image axes "
            f"{90.0 + math.degrees(self.skew_rad):.2f} degrees apart"
        )
        if self.scale_error > limits.doubtful_scale_error:
            text += (
                f"; pixel spacing {100 * self.scale_error:.1f} % off the scanner's: check depth "
                "setting and speed of sound in the water"
            )
        return text


def calibrate_spatial(
    frames: WireFrames,
    phantom: Phantom,
    T_reference_phantom: Matrix,
    *,
    image_size_px: tuple[int, int],
    validation: WireFrames | None = None,
    refine: bool = False,
    scanner_spacing_mm: tuple[float, float] | None = None,
    limits: SpatialLimits | None = None,
) -> SpatialResult:
    """The probe calibration from labelled frames.

    Linear least squares on the middle wires, each output row with its own rejection beyond three
    sigmas. With `refine`, all wires in all frames then move the matrix to where they cut the image
    plane best; that is kept only where it lowers the error held out.

    Raises
    ------
    CalibrationError : too few frames or orientations, metres, too large an error, a spacing that
        is not the scanner's, a validation that is mirrored or off; with the number that shows it.
    """
    limits = limits or SpatialLimits()
    _check_frames(frames, limits)
    geometry = _Geometry(phantom, T_reference_phantom)
    is_refined = False
    solve: _Solver = _linear
    held_out_mm, corner_spread_mm = _folds(frames, geometry, image_size_px, solve)
    if refine:
        refined_mm, refined_spread_mm = _folds(frames, geometry, image_size_px, _refined)
        is_refined = Residuals.of(refined_mm).rms < Residuals.of(held_out_mm).rms
        if is_refined:
            held_out_mm, corner_spread_mm, solve = refined_mm, refined_spread_mm, _refined
    A_probe_pixel = solve(frames, geometry)
    errors_mm = middle_errors_mm(A_probe_pixel, frames, geometry.middle_probe(frames))
    residual = Residuals.of(errors_mm)
    if residual.rms > limits.max_rms_mm:
        raise CalibrationError(
            f"spatial: the wires miss the phantom by {residual.rms:.1f} mm RMS, expected at most "
            f"{limits.max_rms_mm:g} mm (phantom registered wrongly, images and poses not "
            "synchronised, or another phantom?)"
        )
    if validation is not None:
        _check_validation(A_probe_pixel, validation, geometry, image_size_px, limits)
    spacing_mm = np.linalg.norm(A_probe_pixel[:3, :2], axis=0)
    return SpatialResult(
        A_probe_pixel=A_probe_pixel,
        is_refined=is_refined,
        residual=residual,
        held_out=Residuals.of(held_out_mm),
        validation=_validation_errors(A_probe_pixel, validation, geometry),
        by_wire_px=_by_wire(A_probe_pixel, frames, geometry),
        by_depth=_by_depth(frames.points_px[:, :, 1, 1], errors_mm),
        corner_spread_mm=corner_spread_mm,
        skew_rad=_skew_rad(A_probe_pixel),
        scale_error=_scale_error(spacing_mm, scanner_spacing_mm, limits),
        turn_rad=_turn_rad(frames),
        n_frames=len(frames),
    )


def middle_phantom_mm(points_px: Array, phantom: Phantom) -> Array:
    """Where the middle wires cut the image plane, (F, K, 3), frame `phantom`.

    The share of the middle dot between the outer ones in the image is that of the middle wire's
    point between its crossings with the outer wires.
    """
    first, middle, last = np.moveaxis(points_px, 2, 0)
    share = np.linalg.norm(middle - first, axis=-1) / np.linalg.norm(last - first, axis=-1)
    ends = np.array([_crossings(wires) for wires in phantom.n_wires])
    return np.asarray(ends[:, 0] + share[..., None] * (ends[:, 1] - ends[:, 0]))


def middle_errors_mm(A_probe_pixel: Matrix, frames: WireFrames, middle_probe_mm: Array) -> Array:
    """Distance of each middle dot, calibrated, from its place on the probe, (F, K)."""
    placed = frames.points_px[:, :, 1] @ A_probe_pixel[:3, :2].T + A_probe_pixel[:3, 3]
    return np.asarray(np.linalg.norm(placed - middle_probe_mm, axis=2))


def solve_affine(points_px: Array, points_probe_mm: Array) -> Matrix:
    """A_probe_pixel from pixels (N, 2) and their places on the probe (N, 3).

    Each row of the matrix is a least-squares problem of its own; equations beyond three sigmas are
    dropped, all at once, until none is. The third column, which no in-plane point tells, is at
    right angles to the image with the mean length of the other two.

    Source: Carbajal et al. 2013, as PLUS does it.
    """
    design = np.column_stack((points_px, np.ones(len(points_px))))
    A = np.eye(4)
    for axis in range(3):
        A[axis, (0, 1, 3)] = _solve_row(design, points_probe_mm[:, axis])
    return _with_normal(A)


class _Geometry:
    """The phantom as placed, and what the frames' poses make of it."""

    def __init__(self, phantom: Phantom, T_reference_phantom: Matrix) -> None:
        self.phantom = phantom
        self._T_reference_phantom = T_reference_phantom
        self.names = tuple(itertools.chain.from_iterable(w.names for w in phantom.n_wires))

    def middle_probe(self, frames: WireFrames) -> Array:
        """(F, K, 3), frame `probe`: where the images' middle dots truly are."""
        return self._on_probe(frames, middle_phantom_mm(frames.points_px, self.phantom))

    def wire_ends_probe(self, frames: WireFrames) -> tuple[Array, Array]:
        """Front and back end of every wire in every frame, (F, 3K, 3) each, frame `probe`."""
        ends = (
            np.concatenate([wires.front_mm for wires in self.phantom.n_wires]),
            np.concatenate([wires.back_mm for wires in self.phantom.n_wires]),
        )
        n = len(frames)
        front, back = (
            self._on_probe(frames, np.broadcast_to(end, (n, *end.shape))) for end in ends
        )
        return front, back

    def _on_probe(self, frames: WireFrames, points_phantom: Array) -> Array:
        T = np.linalg.inv(frames.T_reference_probe) @ self._T_reference_phantom
        return np.asarray(
            np.einsum("fij,fkj->fki", T[:, :3, :3], points_phantom) + T[:, None, :3, 3]
        )


_Solver = Callable[[WireFrames, _Geometry], Matrix]


def _linear(frames: WireFrames, geometry: _Geometry) -> Matrix:
    middle_probe = geometry.middle_probe(frames)
    return solve_affine(frames.points_px[:, :, 1].reshape(-1, 2), middle_probe.reshape(-1, 3))


def _refined(frames: WireFrames, geometry: _Geometry) -> Matrix:
    """From the linear solution to where all wires cut the image plane nearest to their dots."""
    start = _linear(frames, geometry)
    spacing_mm = np.linalg.norm(start[:3, :2], axis=0)
    ends = geometry.wire_ends_probe(frames)
    dots = frames.points_px.reshape(len(frames), -1, 2)

    def matrix(parameters: Array) -> Matrix:
        A = start.copy()
        A[:3, (0, 1, 3)] += parameters.reshape(3, 3) * (1e-3, 1e-3, 1.0)  # all of a size, for LM
        return _with_normal(A)

    def errors_mm(parameters: Array) -> Array:
        return np.asarray(((_cuts_px(matrix(parameters), *ends) - dots) * spacing_mm).ravel())

    solution = least_squares(errors_mm, np.zeros(9), loss="soft_l1", f_scale=_SOFT_MM)
    return matrix(solution.x)


def _cuts_px(A_probe_pixel: Matrix, front_probe: Array, back_probe: Array) -> Array:
    """Where lines (..., 3) on the probe cut the image plane, (..., 2) px."""
    A_pixel_probe = np.linalg.inv(A_probe_pixel)
    front = front_probe @ A_pixel_probe[:3, :3].T + A_pixel_probe[:3, 3]
    along = (back_probe - front_probe) @ A_pixel_probe[:3, :3].T
    share = -front[..., 2:] / along[..., 2:]
    return np.asarray(front[..., :2] + share * along[..., :2])


def _folds(
    frames: WireFrames, geometry: _Geometry, image_size_px: tuple[int, int], solve: _Solver
) -> tuple[Array, float]:
    """Errors of every frame by the fit of the other stretches, and how the corners spread."""
    fold = np.arange(len(frames)) * _N_FOLDS // len(frames)
    errors, corners = [], []
    for k in range(_N_FOLDS):
        A = solve(frames.part(fold != k), geometry)
        left_out = frames.part(fold == k)
        errors.append(middle_errors_mm(A, left_out, geometry.middle_probe(left_out)))
        corners.append(_corners_px(image_size_px) @ A[:3, :2].T + A[:3, 3])
    spread = np.linalg.norm(np.array(corners) - np.mean(corners, axis=0), axis=2).max()
    return np.concatenate(errors), float(spread)


def _corners_px(image_size_px: tuple[int, int]) -> Array:
    width, height = image_size_px
    return np.array([(0, 0), (width - 1, 0), (0, height - 1), (width - 1, height - 1)], dtype=float)


def _solve_row(design: Array, values: Array) -> Array:
    used = np.ones(len(values), dtype=np.bool_)
    while True:
        solution, *_ = np.linalg.lstsq(design[used], values[used], rcond=None)
        errors = design @ solution - values
        mean, sigma = errors[used].mean(), errors[used].std()
        still = used & (np.abs(errors - mean) <= _REJECTED_SIGMAS * sigma)
        if still.sum() == used.sum() or still.sum() < 3 * _MIN_FRAMES:
            return np.asarray(solution, dtype=np.float64)
        used = still


def _with_normal(A: Matrix) -> Matrix:
    x, y = A[:3, 0], A[:3, 1]
    normal = np.cross(x, y)
    length = 0.5 * (np.linalg.norm(x) + np.linalg.norm(y))
    A[:3, 2] = normal / np.linalg.norm(normal) * length
    return A


def _crossings(wires: NWire) -> tuple[Array, Array]:
    """Where the middle wire of an N passes the two outer ones, nearest points on it."""
    start, along = wires.front_mm[1], wires.back_mm[1] - wires.front_mm[1]
    points = []
    for k in (0, 2):
        other = wires.back_mm[k] - wires.front_mm[k]
        normal = np.cross(other, np.cross(along, other))
        points.append(start + along * ((wires.front_mm[k] - start) @ normal) / (along @ normal))
    return points[0], points[1]


def _validation_errors(
    A: Matrix, validation: WireFrames | None, geometry: _Geometry
) -> Residuals | None:
    if validation is None:
        return None
    return Residuals.of(middle_errors_mm(A, validation, geometry.middle_probe(validation)))


def _check_validation(
    A: Matrix,
    validation: WireFrames,
    geometry: _Geometry,
    image_size_px: tuple[int, int],
    limits: SpatialLimits,
) -> None:
    if len(validation) == 0:
        raise CalibrationError("spatial: the wires are visible in no frame of the validation")
    middle = geometry.middle_probe(validation)
    rms_mm = Residuals.of(middle_errors_mm(A, validation, middle)).rms
    if rms_mm <= limits.max_rms_mm:
        return
    for axis, name in enumerate(("left and right", "top and bottom")):
        points = validation.points_px.copy()
        points[..., axis] = image_size_px[axis] - 1 - points[..., axis]
        mirrored = WireFrames(points, validation.T_reference_probe)
        mirrored_mm = Residuals.of(middle_errors_mm(A, mirrored, middle)).rms
        if mirrored_mm < _MIRRORED_RATIO * rms_mm:
            raise CalibrationError(
                f"spatial: the validation's images are mirrored, {name}: {rms_mm:.1f} mm RMS as "
                f"they are, {mirrored_mm:.2f} mm when turned over"
            )
    raise CalibrationError(
        f"spatial: the validation misses by {rms_mm:.1f} mm RMS, expected at most "
        f"{limits.max_rms_mm:g} mm (other depth, probe marker moved, or phantom moved?)"
    )


def _check_frames(frames: WireFrames, limits: SpatialLimits) -> None:
    if len(frames) < _MIN_FRAMES:
        raise CalibrationError(
            f"spatial: the wires are visible in {len(frames)} frames, expected at least "
            f"{_MIN_FRAMES}"
        )
    check_millimetres(frames.T_reference_probe, "spatial")
    turn_rad = _turn_rad(frames)
    if turn_rad < limits.min_turn_rad:
        raise CalibrationError(
            f"spatial: the probe turns by {math.degrees(turn_rad):.1f} degrees in the whole "
            f"recording, expected at least {math.degrees(limits.min_turn_rad):.0f}: tilt and turn "
            "it over the phantom"
        )


def _turn_rad(frames: WireFrames) -> float:
    """Largest turn between a frame and the middle one."""
    T_probe_reference = invert(frames.T_reference_probe[len(frames) // 2])
    return max(rotation_angle_rad(T_probe_reference @ T) for T in frames.T_reference_probe)


def _skew_rad(A: Matrix) -> float:
    """How far the angle between the image's axes exceeds a right one."""
    x, y = (A[:3, k] / np.linalg.norm(A[:3, k]) for k in (0, 1))
    return math.acos(float(np.clip(x @ y, -1.0, 1.0))) - 0.5 * math.pi


def _scale_error(
    spacing_mm: Array, scanner_spacing_mm: tuple[float, float] | None, limits: SpatialLimits
) -> float:
    if scanner_spacing_mm is None:
        return math.nan
    error = float(np.abs(spacing_mm / np.array(scanner_spacing_mm) - 1.0).max())
    if error > limits.max_scale_error:
        raise CalibrationError(
            f"spatial: pixels of {spacing_mm[0]:.4f} x {spacing_mm[1]:.4f} mm are "
            f"{100 * error:.0f} % off the scanner's {scanner_spacing_mm[0]:.4f} x "
            f"{scanner_spacing_mm[1]:.4f} mm, expected at most {100 * limits.max_scale_error:.0f} %"
        )
    return error


def _by_wire(A: Matrix, frames: WireFrames, geometry: _Geometry) -> dict[str, Residuals]:
    cuts = _cuts_px(A, *geometry.wire_ends_probe(frames))
    distances = np.linalg.norm(cuts - frames.points_px.reshape(len(frames), -1, 2), axis=2)
    return {name: Residuals.of(distances[:, k]) for k, name in enumerate(geometry.names)}


def _by_depth(rows_px: Array, errors_mm: Array) -> tuple[tuple[float, float, Residuals], ...]:
    """Errors in bands of rows with equally many dots each."""
    edges = np.quantile(rows_px, np.linspace(0.0, 1.0, _N_DEPTHS + 1))
    bands = []
    for low, high in itertools.pairwise(edges):
        is_inside = (rows_px >= low) & (rows_px <= high)
        bands.append((float(low), float(high), Residuals.of(errors_mm[is_inside])))
    return tuple(bands)
