from __future__ import annotations

from types import SimpleNamespace

import pytest

from navapp.gui import style
from navapp.gui.words import counted


@pytest.mark.parametrize(
    ("size", "scale"),
    [
        ((1600, 900), 1.0),
        ((1280, 720), 0.8),
        ((2560, 1440), 1.6),
        ((1920, 1040), 1.15),  # below a title: the height decides, in steps
        ((1600, 640), 0.7),
        ((600, 300), 0.6),
        ((7680, 4320), 2.5),
    ],
)
def test_sizes_follow_the_smaller_side_in_steps(size: tuple[int, int], scale: float) -> None:
    window = SimpleNamespace(width=lambda: size[0], height=lambda: size[1])
    assert style.scale_of(window) == pytest.approx(scale)  # type: ignore[arg-type]


def test_every_size_of_the_style_sheet_grows() -> None:
    usual, double = style.style_sheet(), style.style_sheet(2.0)
    assert f"font-size: {style.SMALL_PX}px" in usual
    assert f"font-size: {2 * style.SMALL_PX}px" in double
    assert f"font-size: {style.SMALL_PX}px" not in double
    assert usual.count("px") == double.count("px")


@pytest.mark.parametrize(("n", "text"), [(0, "0 sweeps"), (1, "1 sweep"), (1200, "1,200 sweeps")])
def test_a_number_has_its_noun(n: int, text: str) -> None:
    assert counted(n, "sweep") == text
