"""How fast the probe sweeps, against how fast it may for a cloud without gaps."""

from __future__ import annotations

from collections import deque

import numpy as np

from navapp.state import LiveView
from tracking.transforms import apply

_OVER_S = 0.5
# Neighbouring images of a sweep should lie no further apart than this.
WANTED_STEP_MM = 1.0


class HandSpeed:
    """Speed of the image's centre over the last half second, on the clock of arrival."""

    def __init__(self) -> None:
        self._track: deque[tuple[float, np.ndarray]] = deque()
        self._spacing_s = float("nan")

    def add(self, view: LiveView) -> None:
        """Take a view into account; one without a pose tears the track."""
        if view.A_target_pixel is None:
            self._track.clear()
            return
        rows, columns = view.frame.pixels.shape
        centre_px = np.array(((columns / 2.0, rows / 2.0, 0.0),))
        t_s = view.frame.stamps.t_arrival_s
        self._track.append((t_s, apply(view.A_target_pixel, centre_px)[0]))
        while t_s - self._track[0][0] > _OVER_S:
            self._track.popleft()

    @property
    def mm_per_s(self) -> float:
        """NaN where the last half second holds fewer than two places."""
        if len(self._track) < 2:
            return float("nan")
        places = np.stack([place for _, place in self._track])
        way_mm = float(np.linalg.norm(np.diff(places, axis=0), axis=1).sum())
        span_s = self._track[-1][0] - self._track[0][0]
        return way_mm / span_s if span_s > 0.0 else float("nan")


def recommended_mm_per_s(processed_hz: float) -> float:
    """The speed at which neighbouring images lie `WANTED_STEP_MM` apart."""
    return WANTED_STEP_MM * processed_hz
