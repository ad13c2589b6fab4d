"""The published code's way of counting, against figures measured with that code."""

from __future__ import annotations

import numpy as np
import pytest

from offline_tools.judging.compat import lenient_frame, lenient_summary
from recon.metrics import line_scores

AT_HALF = 5
NATIVE = (811, 950)
GREY = np.full(NATIVE, 150, dtype=np.uint8)


def arc(shift_px: float = 0.0) -> np.ndarray:
    """Bone of 21 mm, curved by 2 mm, in the native image; moved down by pixels of 256."""
    u = np.arange(275.0, 675.0)
    v = 250.0 + 40.0 * ((u - 475.0) / 200.0) ** 2
    return moved(np.column_stack((u, v)), shift_px)


def moved(line_px: np.ndarray, shift_px: float) -> np.ndarray:
    return line_px + np.array((0.0, shift_px * NATIVE[0] / 256))


@pytest.mark.parametrize(("shift_px", "expected"), [(4, 0.753), (5, 0.609), (6, 0.465)])
def test_shifted_lines_score_as_high_as_published(shift_px: int, expected: float) -> None:
    """0.74, 0.93 and 1.11 mm off: figures measured with the published code on such a line."""
    found = lenient_frame(GREY, arc(shift_px), arc())
    assert found is not None
    for kind in ("accuracy", "completeness", "f1"):
        assert getattr(found.everything, kind)[AT_HALF] == pytest.approx(expected, abs=0.005)


@pytest.mark.parametrize("shift_px", [4, 5, 6])
def test_strict_centre_lines_give_them_nothing(shift_px: int) -> None:
    flat = np.column_stack((np.arange(900.0), np.full(900, 300.0)))
    strict = line_scores(moved(flat, shift_px), flat, (0.054, 0.054))
    assert strict.f1[AT_HALF] == strict.accuracy[AT_HALF] == strict.completeness[AT_HALF] == 0.0


def test_flat_line_by_hand() -> None:
    """Of 7 rows, those up to 2 pixels (0.37 mm) beyond the other band are within 0.5 mm."""
    flat = np.column_stack((np.arange(950.0), np.full(950, 400.0)))
    found = lenient_frame(GREY, moved(flat, 4), flat)
    assert found.everything.f1[AT_HALF] == pytest.approx(5 / 7)


def test_empty_frames_are_left_out_and_counted() -> None:
    nothing = np.empty((0, 2))
    frames = [
        lenient_frame(GREY, arc(), arc()),
        lenient_frame(GREY, nothing, arc()),
        lenient_frame(GREY, arc(), nothing),
    ]
    summary = lenient_summary(frames)
    assert (summary["n_frames"], summary["n_skipped"]) == (1, 2)
    assert summary["all"]["f1"][AT_HALF] == pytest.approx(1.0)
    assert summary["spacing_mm"] == pytest.approx(0.18573, abs=1e-5)
    assert "lenient" in summary["note"]


def test_visible_and_invisible_are_cut_apart() -> None:
    """Label in the bright half, prediction across the border: its dim part has no counterpart."""
    image = GREY.copy()
    image[:, 475:] = 50
    u = np.arange(300.0, 650.0)
    across = np.column_stack((u, np.full_like(u, 300.0)))
    found = lenient_frame(image, across, across[:150])  # label ends 25 columns before the border
    assert found.visible is not None
    assert found.visible.completeness[AT_HALF] == 1.0
    assert found.invisible is None
    assert lenient_summary([found])["invisible"] is None
