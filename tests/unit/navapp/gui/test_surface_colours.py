from __future__ import annotations

import numpy as np
import pytest

from navapp.desk.surface_watch import SurfaceState
from navapp.gui.surface_colours import ENOUGH_VIEWS, FAR_MM, SurfaceColours, scalars

_STATE = SurfaceState(
    median_mm=0.5,
    seen_fraction=0.5,
    vertex_views=np.array((0, 1, ENOUGH_VIEWS, 99), dtype=np.int32),
    vertex_distance_mm=np.array((np.nan, 0.0, FAR_MM / 2, 9.0), dtype=np.float32),
)
_FIRST, _LAST = 1.5 / 256, 255.5 / 256  # centres of the table's seen colours


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        (SurfaceColours.PLAIN, (0.0, 0.0, 0.0, 0.0)),
        (SurfaceColours.COVERAGE, (0.0, _FIRST, _LAST, _LAST)),
        (SurfaceColours.DISTANCE, (0.0, _FIRST, (_FIRST + _LAST) / 2, _LAST)),
    ],
)
def test_the_ends_of_the_scale_are_what_the_legend_says(
    mode: SurfaceColours, expected: tuple[float, ...]
) -> None:
    np.testing.assert_allclose(scalars(mode, _STATE), expected, atol=1e-6)
