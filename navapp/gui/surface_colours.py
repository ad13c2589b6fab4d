"""What the colours of the CT surface mean: nothing, distance to the cloud, or coverage."""

from __future__ import annotations

from enum import Enum

import numpy as np
from numpy.typing import NDArray

from navapp.desk.surface_watch import SurfaceState
from navapp.gui import style

_N = 256
_ALPHA = 230
# The far end of the scale; beyond it all is the same colour.
FAR_MM = 2.0
ENOUGH_VIEWS = 10


class SurfaceColours(Enum):
    """The modes; the values are the legend's words."""

    PLAIN = "CT"
    DISTANCE = "distance"
    COVERAGE = "coverage"

    @property
    def next(self) -> SurfaceColours:
        modes = list(SurfaceColours)
        return modes[(modes.index(self) + 1) % len(modes)]


def colour_table(mode: SurfaceColours) -> NDArray[np.uint8]:
    """(256, 4) RGBA; the first is for what was not seen."""
    unseen = _rgba(style.BONE_CT)
    if mode is SurfaceColours.PLAIN:
        return np.tile(np.array(unseen, dtype=np.uint8), (_N, 1))
    if mode is SurfaceColours.DISTANCE:
        stops = (style.OK, style.WARNING, style.PROBLEM)
    else:
        stops = ("#5b7a4a", style.OK, "#7df0a6")
    table = np.empty((_N, 4), dtype=np.uint8)
    colours = np.array([_rgba(stop) for stop in stops], dtype=np.float64)
    at = np.linspace(0.0, len(stops) - 1.0, _N - 1)
    for channel in range(4):
        table[1:, channel] = np.interp(at, np.arange(len(stops)), colours[:, channel])
    table[0] = unseen
    return table


def scalars(mode: SurfaceColours, state: SurfaceState) -> NDArray[np.float32]:
    """Place of each vertex in the table, (V,) in [0, 1]; 0 where nothing was seen."""
    if mode is SurfaceColours.PLAIN:
        return np.zeros(len(state.vertex_views), dtype=np.float32)
    if mode is SurfaceColours.DISTANCE:
        is_known = np.isfinite(state.vertex_distance_mm)
        share = np.where(is_known, state.vertex_distance_mm, 0.0) / FAR_MM
    else:
        is_known = state.vertex_views > 0
        share = (state.vertex_views - 1) / (ENOUGH_VIEWS - 1)
    seen = (1.5 + np.clip(share, 0.0, 1.0) * (_N - 2)) / _N
    return np.where(is_known, seen, 0.0).astype(np.float32)


def legend(mode: SurfaceColours) -> tuple[str, str, str]:
    """Title, and the words at the two ends of the scale."""
    if mode is SurfaceColours.DISTANCE:
        return "CT: distance to cloud", "0 mm", f"{FAR_MM:g} mm or more"
    if mode is SurfaceColours.COVERAGE:
        return "CT: coverage", "1 image", f"{ENOUGH_VIEWS} or more"
    return "", "", ""


def _rgba(colour: str) -> tuple[int, int, int, int]:
    red, green, blue = bytes.fromhex(colour.removeprefix("#"))
    return red, green, blue, _ALPHA
