"""Where the CT surface cuts the live image: exact, and off the window's thread."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from navapp.state import LiveView
from recon.section import section_segments_px
from recon.surface import TriangleMesh


@dataclass(frozen=True, slots=True)
class Outline:
    """The section of `view`'s image: (M, 2, 2) segments in pixels, those that touch the image."""

    view: LiveView
    segments_px: NDArray[np.float64]


class OutlineFinder:
    """Sections as a job for `NewestJob`."""

    def find(self, job: tuple[TriangleMesh, LiveView]) -> Outline:
        """The section of one view, which has a pose."""
        mesh, view = job
        if view.A_target_pixel is None:
            return Outline(view, np.empty((0, 2, 2)))
        segments_px = section_segments_px(mesh, view.A_target_pixel)
        rows, columns = view.frame.pixels.shape
        high = segments_px.max(axis=1)
        low = segments_px.min(axis=1)
        is_inside = (high >= 0.0).all(axis=1) & (low <= (columns, rows)).all(axis=1)
        return Outline(view, segments_px[is_inside])
