from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PySide6.QtGui import QPainterPath

from inference.postprocess import BoneLine
from navapp.gui.image_view import line_path

_SPACING_MM = (0.1, 0.1)


def _line(points: NDArray[np.float64]) -> BoneLine:
    return BoneLine(points, *2 * [np.ones(len(points), dtype=np.float32)])


def _starts(path: QPainterPath) -> list[float]:
    elements = (path.elementAt(i) for i in range(path.elementCount()))
    return [e.x for e in elements if e.isMoveTo()]


def test_neighbouring_columns_are_one_line() -> None:
    u = np.arange(10.0, 20.0)
    path = line_path(_line(np.column_stack((u, 50.0 + u / 3))), _SPACING_MM)
    assert _starts(path) == [10.0]
    assert path.elementCount() == 10


def test_a_missing_column_breaks_the_line() -> None:
    u = np.array((1.0, 2.0, 3.0, 5.0, 6.0))
    path = line_path(_line(np.column_stack((u, np.full(5, 7.0)))), _SPACING_MM)
    assert _starts(path) == [1.0, 5.0]


def test_a_jump_in_depth_breaks_the_line() -> None:
    v = np.array((100.0, 101.0, 112.0, 113.0))  # 1.1 mm, and a fragment ends after 1 mm
    path = line_path(_line(np.column_stack((np.arange(4.0), v))), _SPACING_MM)
    assert _starts(path) == [0.0, 2.0]


def test_no_points_are_no_line() -> None:
    assert line_path(_line(np.empty((0, 2))), _SPACING_MM).isEmpty()
