"""Small charts as PNG, drawn with Pillow: enough to see whether a calibration can be trusted."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageDraw, ImageFont

Array = NDArray[np.float64]

_SIZE_PX = (900, 420)
_FRAME_PX = (90, 50, 30, 60)  # left, top, right, bottom
_N_TICKS = 6
_INK, _GRID, _PAPER = (40, 40, 40), (225, 225, 225), (255, 255, 255)
_COLOURS = ((31, 99, 168), (214, 92, 31), (60, 145, 70), (140, 60, 150))


@dataclass(slots=True)
class Chart:
    """One pair of axes; series are drawn in the order in which they are added."""

    title: str
    x_label: str
    y_label: str
    _series: list[tuple[str, Array, Array, bool]] = field(default_factory=list)
    _marks: list[tuple[float, str]] = field(default_factory=list)

    def line(self, name: str, x: ArrayLike, y: ArrayLike) -> None:
        """A curve through points in order of x."""
        self._add(name, x, y, is_line=True)

    def points(self, name: str, x: ArrayLike, y: ArrayLike) -> None:
        """Dots."""
        self._add(name, x, y, is_line=False)

    def mark(self, x: float, text: str) -> None:
        """A vertical line with a text."""
        self._marks.append((x, text))

    def draw(self) -> Image.Image:
        """The chart as an image."""
        image = Image.new("RGB", _SIZE_PX, _PAPER)
        pen = ImageDraw.Draw(image)
        font = ImageFont.load_default(size=15)
        limits = (
            _limits([x for _, x, _, _ in self._series]),
            _limits([y for _, _, y, _ in self._series], from_zero=True),
        )
        self._draw_axes(pen, font, limits)
        for k, (name, x, y, is_line) in enumerate(self._series):
            colour = _COLOURS[k % len(_COLOURS)]
            places = list(zip(_place(x, limits[0], 0), _place(y, limits[1], 1), strict=True))
            if is_line:
                pen.line(places, fill=colour, width=2)
            else:
                for u, v in places:
                    pen.ellipse((u - 3, v - 3, u + 3, v + 3), fill=colour)
            pen.text((_FRAME_PX[0] + 12 + 200 * k, 28), name, fill=colour, font=font)
        for x_mark, text in self._marks:
            u = _place(np.array([x_mark]), limits[0], 0)[0]
            pen.line((u, _FRAME_PX[1], u, _SIZE_PX[1] - _FRAME_PX[3]), fill=_INK)
            pen.text((u + 5, _FRAME_PX[1] + 4), text, fill=_INK, font=font)
        return image

    def _add(self, name: str, x: ArrayLike, y: ArrayLike, *, is_line: bool) -> None:
        xs, ys = (np.asarray(values, dtype=np.float64).ravel() for values in (x, y))
        is_finite = np.isfinite(xs) & np.isfinite(ys)
        self._series.append((name, xs[is_finite], ys[is_finite], is_line))

    def _draw_axes(
        self,
        pen: ImageDraw.ImageDraw,
        font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
        limits: tuple[tuple[float, float], ...],
    ) -> None:
        left, top, right, bottom = _FRAME_PX
        width, height = _SIZE_PX
        for x in _ticks(*limits[0]):
            u = _place(np.array([x]), limits[0], 0)[0]
            pen.line((u, top, u, height - bottom), fill=_GRID)
            pen.text((u, height - bottom + 8), f"{x:g}", fill=_INK, font=font, anchor="mt")
        for y in _ticks(*limits[1]):
            v = _place(np.array([y]), limits[1], 1)[0]
            pen.line((left, v, width - right, v), fill=_GRID)
            pen.text((left - 8, v), f"{y:g}", fill=_INK, font=font, anchor="rm")
        pen.rectangle((left, top, width - right, height - bottom), outline=_INK)
        pen.text((left, 8), f"{self.title}; upwards: {self.y_label}", fill=_INK, font=font)
        pen.text((width // 2, height - 12), self.x_label, fill=_INK, font=font, anchor="ms")


def save_charts(path: Path, charts: list[Chart]) -> None:
    """All charts below each other in one PNG."""
    images = [chart.draw() for chart in charts]
    sheet = Image.new("RGB", (_SIZE_PX[0], sum(image.height for image in images)), _PAPER)
    for k, image in enumerate(images):
        sheet.paste(image, (0, k * _SIZE_PX[1]))
    sheet.save(path)


def _limits(values: list[Array], *, from_zero: bool = False) -> tuple[float, float]:
    finite = np.concatenate([*values, np.empty(0)])
    if not len(finite):
        return 0.0, 1.0
    low, high = float(finite.min()), float(finite.max())
    if from_zero and low >= 0.0:
        return 0.0, 1.05 * high or 1.0
    margin = 0.04 * (high - low) or 0.5
    return low - margin, high + margin


def _place(values: Array, limits: tuple[float, float], axis: int) -> list[float]:
    share = (values - limits[0]) / (limits[1] - limits[0])
    if axis == 1:
        share = 1.0 - share
    start, end = _FRAME_PX[axis], _SIZE_PX[axis] - _FRAME_PX[axis + 2]
    return [float(value) for value in start + share * (end - start)]


def _ticks(low: float, high: float) -> list[float]:
    """Some six round numbers."""
    raw = (high - low) / _N_TICKS
    power = 10.0 ** math.floor(math.log10(raw))
    step = power * min((1.0, 2.0, 5.0, 10.0), key=lambda factor: abs(factor * power - raw))
    first = math.ceil(low / step)
    return [round(k * step, 12) for k in range(first, math.floor(high / step) + 1)]
