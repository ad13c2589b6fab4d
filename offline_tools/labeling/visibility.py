"""Which part of a section ultrasound can see: the first surface along each scan line."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import IntEnum

import numba
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from recon.section import section_segments_px, surface_band_mask
from recon.surface import TriangleMesh
from tracking.transforms import Matrix

Array = NDArray[np.float64]

# A piece of the section up to half a line beside its scan line is still the line's first crossing
# if it is no deeper than the section's slope explains, and a pixel: steeper ones are grazing.
_SLACK_PX = 1.0
_SHORTEST_PX = 1e-6
_STEEPEST_SLOPE = 12.0  # depth per line at 85 degrees


class Fate(IntEnum):
    """What becomes of a piece of the section."""

    VISIBLE = 0
    SHADOWED = 1  # behind a surface nearer to the probe, or turned away from it
    GRAZING = 2  # met at too shallow an angle
    OUTSIDE = 3  # not in the part of the image that shows echoes


@dataclass(frozen=True, slots=True)
class ScanLines:
    """How scan lines run: down the image columns, or from the apex of a curved array.

    `apex_px` (u, v) is where the lines of a curved array would meet, above the image; None for a
    linear one.
    """

    spacing_mm: tuple[float, float]
    size_px: tuple[int, int]
    apex_px: tuple[float, float] | None = None

    @property
    def n_lines(self) -> int:
        """Lines are a column apart: at the deepest row where they diverge."""
        return self.size_px[0]

    def to_scan(self, points_px: Array) -> Array:
        """Pixels (..., 2) as (line, depth), both in units of pixels."""
        if self.apex_px is None:
            return points_px
        offset_mm = (points_px - self.apex_px) * self.spacing_mm
        angle_rad = np.arctan2(offset_mm[..., 0], offset_mm[..., 1])
        line = angle_rad / self._angle_step_rad + 0.5 * (self.n_lines - 1)
        depth = np.linalg.norm(offset_mm, axis=-1) / self.spacing_mm[1]
        return np.stack((line, depth), axis=-1)

    def to_px(self, points_scan: Array) -> Array:
        """The way back."""
        if self.apex_px is None:
            return points_scan
        angle_rad = (points_scan[..., 0] - 0.5 * (self.n_lines - 1)) * self._angle_step_rad
        depth_mm = points_scan[..., 1] * self.spacing_mm[1]
        offset_mm = np.stack((np.sin(angle_rad), np.cos(angle_rad)), axis=-1) * depth_mm[..., None]
        return offset_mm / self.spacing_mm + self.apex_px

    def directions_mm(self, points_px: Array) -> Array:
        """Unit vectors (..., 2) of the beam at pixels, in mm."""
        if self.apex_px is None:
            return np.broadcast_to((0.0, 1.0), points_px.shape)
        offset_mm = (points_px - self.apex_px) * self.spacing_mm
        return offset_mm / np.linalg.norm(offset_mm, axis=-1, keepdims=True)

    @property
    def _angle_step_rad(self) -> float:
        if self.apex_px is None:
            raise ValueError("a linear probe's lines have no angle between them")
        deepest_mm = (self.size_px[1] - self.apex_px[1]) * self.spacing_mm[1]
        return self.spacing_mm[0] / deepest_mm


@dataclass(frozen=True, slots=True)
class SeenSection:
    """The section in one image: its visible line, and every piece of it with its fate.

    `line_px` (N, 2) has one point per scan line that sees bone, `incidence_rad` (N,) its angle;
    `pieces_px` (M, 2) are points at most a pixel apart along the whole section, `fates` (M,) of
    `Fate`.
    """

    line_px: Array
    incidence_rad: Array
    pieces_px: Array
    fates: NDArray[np.int8]


def seen_section(
    mesh: TriangleMesh,
    A_ct_pixel: Matrix,
    lines: ScanLines,
    roi_px: tuple[int, int, int, int],
    max_incidence_rad: float,
) -> SeenSection:
    """Section of the mesh with the image plane, judged by the physics of ultrasound.

    Segments between vertices are short beside the radius of a curved array: they count as
    straight in its scan lines too.
    """
    segments_px = section_segments_px(mesh, A_ct_pixel)
    # A vertex in the plane leaves segments without length, and so without direction.
    is_long = np.abs(segments_px[:, 1] - segments_px[:, 0]).max(axis=1) > _SHORTEST_PX
    segments_px = segments_px[is_long]
    is_near = _in_roi(segments_px, roi_px, margin_px=2.0).any(axis=1)
    segments_scan = np.ascontiguousarray(lines.to_scan(segments_px))
    incidence_rad = _incidence_rad(segments_px, lines)
    depth, owner = _first_depths(segments_scan, lines.n_lines)

    (line,) = np.nonzero(owner >= 0)
    points_px = lines.to_px(np.column_stack((line.astype(np.float64), depth[line])))
    is_seen = (incidence_rad[owner[line]] <= max_incidence_rad) & _in_roi(points_px, roi_px)
    pieces_px, of_segment = _pieces(segments_px[is_near])
    of_segment = np.flatnonzero(is_near)[of_segment]
    pieces_scan = lines.to_scan(pieces_px)
    along = np.abs(segments_scan[of_segment, 1] - segments_scan[of_segment, 0])
    slope = np.minimum(along[:, 1] / np.maximum(along[:, 0], 1e-9), _STEEPEST_SLOPE)
    nearest = np.clip(np.rint(pieces_scan[:, 0]), 0, lines.n_lines - 1).astype(np.int64)
    slack = 0.5 * slope + _SLACK_PX
    is_first = pieces_scan[:, 1] <= depth[nearest] + slack
    fates = np.full(len(pieces_px), Fate.VISIBLE, dtype=np.int8)
    fates[incidence_rad[of_segment] > max_incidence_rad] = Fate.GRAZING
    fates[~is_first | (incidence_rad[of_segment] >= 0.5 * math.pi)] = Fate.SHADOWED
    fates[~_in_roi(pieces_px, roi_px)] = Fate.OUTSIDE
    return SeenSection(points_px[is_seen], incidence_rad[owner[line]][is_seen], pieces_px, fates)


def visible_band_mask(
    mesh: TriangleMesh,
    A_ct_pixel: Matrix,
    size_px: tuple[int, int],
    band_mm: float,
    seen: SeenSection,
) -> NDArray[np.bool_]:
    """Pixels within `band_mm` of the surface in space, where the nearest piece is visible."""
    mask = surface_band_mask(mesh, A_ct_pixel, size_px, band_mm)
    rows, columns = np.nonzero(mask)
    if not len(seen.pieces_px):
        return np.zeros_like(mask)
    _, nearest = cKDTree(seen.pieces_px).query(np.column_stack((columns, rows)))
    mask[rows, columns] = seen.fates[nearest] == Fate.VISIBLE
    return mask


def _in_roi(
    points_px: Array, roi_px: tuple[int, int, int, int], margin_px: float = 0.0
) -> NDArray[np.bool_]:
    u0, v0, width, height = roi_px
    low = np.array((u0, v0)) - margin_px
    high = np.array((u0 + width - 1, v0 + height - 1)) + margin_px
    return np.asarray(((points_px >= low) & (points_px <= high)).all(axis=-1))


def _incidence_rad(segments_px: Array, lines: ScanLines) -> Array:
    """Angle between each segment's outward normal and the way to the probe, 0 to pi.

    Seen on screen a segment runs with the outside on its left.
    """
    along_mm = (segments_px[:, 1] - segments_px[:, 0]) * lines.spacing_mm
    beam = lines.directions_mm(segments_px.mean(axis=1))
    down_mm = (along_mm * beam).sum(axis=1)
    across_mm = along_mm[:, 0] * beam[:, 1] - along_mm[:, 1] * beam[:, 0]
    return np.arctan2(np.abs(down_mm), across_mm)


def _pieces(segments_px: Array) -> tuple[Array, NDArray[np.int64]]:
    """Middles of the pieces of at most one pixel that segments are cut into, and whose they are."""
    along_px = segments_px[:, 1] - segments_px[:, 0]
    counts = np.maximum(np.ceil(np.linalg.norm(along_px, axis=1)), 1.0).astype(np.int64)
    of_segment = np.repeat(np.arange(len(counts)), counts)
    within = np.arange(len(of_segment)) - np.repeat(np.cumsum(counts) - counts, counts)
    share = (within + 0.5) / counts[of_segment]
    return segments_px[of_segment, 0] + share[:, None] * along_px[of_segment], of_segment


@numba.njit(cache=True, nogil=True)
def _first_depths(segments: Array, n_lines: int) -> tuple[Array, NDArray[np.int64]]:
    """Smallest depth >= 0 at which each line crosses a segment (infinite for none) and the number
    of that segment; -1 where it is met from within the bone or not at all."""
    depth = np.full(n_lines, np.inf)
    owner = np.full(n_lines, -1)
    for m in range(segments.shape[0]):
        s_0, d_0 = segments[m, 0]
        s_1, d_1 = segments[m, 1]
        first = max(np.ceil(min(s_0, s_1)), 0.0)
        end = min(np.ceil(max(s_0, s_1)), float(n_lines))
        for line in range(int(first), int(end)):
            d = d_0 + (line - s_0) / (s_1 - s_0) * (d_1 - d_0)
            if 0.0 <= d < depth[line]:
                depth[line] = d
                owner[line] = m if s_1 > s_0 else -1
    return depth, owner
