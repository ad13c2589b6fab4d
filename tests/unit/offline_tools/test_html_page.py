"""Charts and tables of a page: points where the numbers are, texts that cannot break out."""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from offline_tools.html_page import Curve, bars, chart, embedded, figure, jpeg, page, table


def points_of(svg: str) -> list[tuple[float, float]]:
    texts = re.findall(r'polyline points="([^"]*)"', svg)[0].split()
    return [tuple(float(x) for x in text.split(",")) for text in texts]  # type: ignore[misc]


def test_curve_spans_its_field() -> None:
    svg = chart("t", [Curve("c", [0, 1, 2], [0.0, 0.5, 1.0], "#123456")], x_label="x")
    first, middle, last = points_of(svg)
    assert middle == pytest.approx(tuple(np.add(first, last) / 2), abs=0.1)
    assert first[0] < last[0]
    assert first[1] > last[1]  # up is less in SVG
    ET.fromstring(svg)


def test_points_that_are_not_finite_are_left_out() -> None:
    svg = chart("t", [Curve("c", [0, 1, 2], [0.0, math.nan, 1.0], "red")], x_label="x")
    assert len(points_of(svg)) == 2
    assert "nan" not in svg


@pytest.mark.parametrize(("x", "y"), [([], []), ([3.0], [5.0]), ([1.0, 2.0], [7.0, 7.0])])
def test_charts_of_little_are_still_charts(x: list[float], y: list[float]) -> None:
    ET.fromstring(chart("t", [Curve("c", x, y, "red")], x_label="x"))


def test_highest_bar_fills_its_field() -> None:
    heights = re.findall(r'height="([\d.]+)"', bars([1, 4, 2], 0, 100, 90, 80, "red"))
    assert heights == ["20.0", "80.0", "40.0"]
    assert "nan" not in bars([0, 0], 0, 100, 90, 80, "red")


def test_texts_cannot_break_out() -> None:
    evil = '<b>"&'
    parts = (
        table([evil], [[evil]]),
        chart(evil, [Curve(evil, [0, 1], [0, 1], "red")], x_label=evil),
    )
    for part in (*parts, figure(b"", evil), page(evil, "")):
        assert "<b>" not in part


def test_picture_is_a_jpeg_inside() -> None:
    content = jpeg(np.zeros((8, 8, 3), dtype=np.uint8))
    assert content[:2] == b"\xff\xd8"
    assert embedded(content).startswith("data:image/jpeg;base64,/9j/")
