"""Parts of a self-contained HTML page: pictures, tables and charts, nothing from elsewhere."""

from __future__ import annotations

import base64
import html
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

# Readable on light and on dark ground.
BLUE, GREEN, ORANGE, RED, GREY = "#4a8fd6", "#2f9e5f", "#dd8420", "#d64f4a", "#8893a0"

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; --ground: #fdfdfc; --panel: #f3f4f5; --line: #d9dcdf;
  --text: #22272d; --muted: #66707a; }}
@media (prefers-color-scheme: dark) {{ :root {{ --ground: #12161c; --panel: #1c222b;
  --line: #323a45; --text: #e8ecf1; --muted: #93a0ae; }} }}
body {{ font: 15px/1.55 system-ui, sans-serif; margin: 2.5rem auto; max-width: 72rem;
  padding: 0 1.5rem; background: var(--ground); color: var(--text); }}
h1 {{ font-size: 1.6rem; margin: 0 0 .3rem; }}
h2 {{ font-size: 1.15rem; margin: 2.4rem 0 .6rem; padding-top: .8rem;
  border-top: 1px solid var(--line); }}
p {{ margin: .3rem 0 .8rem; max-width: 60rem; }} .muted, figcaption {{ color: var(--muted); }}
table {{ border-collapse: collapse; margin: .4rem 0 1rem; font-variant-numeric: tabular-nums; }}
td, th {{ padding: .25rem .9rem; text-align: right; border-bottom: 1px solid var(--line);
  vertical-align: top; }}
th {{ font-weight: 600; color: var(--muted); }}
td:first-child, th:first-child {{ text-align: left; padding-left: 0; }}
table.words td {{ text-align: left; overflow-wrap: anywhere; }}
.tiles, .charts, .pictures {{ display: flex; flex-wrap: wrap; gap: .9rem; margin: .8rem 0; }}
.tile {{ background: var(--panel); border-radius: 8px; padding: .7rem 1.1rem; min-width: 8rem; }}
.tile b {{ display: block; font-size: 1.5rem; font-variant-numeric: tabular-nums; }}
.tile span {{ color: var(--muted); font-size: 13px; }}
.charts svg {{ background: var(--panel); border-radius: 8px; width: 350px; height: auto; }}
svg text {{ font: 12px system-ui, sans-serif; fill: var(--text); }}
svg .grid {{ stroke: var(--line); stroke-width: 1; }}
figure {{ margin: 0; width: 34.5rem; max-width: 100%; }} figure.wide {{ width: 100%; }}
figure img {{ width: 100%; border-radius: 4px; display: block; }}
figcaption {{ font-size: 13px; padding: .2rem 0 .4rem; overflow-wrap: anywhere; }}
</style>
</head>
<body>
{body}
</body>
</html>
"""

_WIDTH, _HEIGHT = 350, 270
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 14, 30, 66  # of the field in which is drawn


@dataclass(frozen=True, slots=True)
class Curve:
    """One curve of a chart; points that are not finite are left out."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    colour: str
    is_dashed: bool = False
    has_dots: bool = False


def page(title: str, body: str) -> str:
    """A whole page around a body that is HTML."""
    return _PAGE.format(title=html.escape(title), body=body)


def jpeg(picture: NDArray[np.uint8], quality: int = 85) -> bytes:
    """A picture (rows, columns, 3) or (rows, columns) as JPEG."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def embedded(content: bytes) -> str:
    """A JPEG as the source of an `img`, inside the page itself."""
    return f"data:image/jpeg;base64,{base64.b64encode(content).decode()}"


def figure(content: bytes, caption: str, *, is_wide: bool = False) -> str:
    """A JPEG with its caption."""
    kind = ' class="wide"' if is_wide else ""
    text = html.escape(caption)
    return (
        f'<figure{kind}><img src="{embedded(content)}" alt="{text}">'
        f"<figcaption>{text}</figcaption></figure>"
    )


def table(head: Sequence[str], rows: Iterable[Sequence[str]], *, of_words: bool = False) -> str:
    """A table of texts; the first column is aligned left, the others right unless words."""
    heads = "".join(f"<th>{html.escape(text)}</th>" for text in head)
    lines = "".join(
        "<tr>" + "".join(f"<td>{html.escape(text)}</td>" for text in row) + "</tr>" for row in rows
    )
    top = f"<tr>{heads}</tr>" if any(head) else ""
    kind = ' class="words"' if of_words else ""
    return f"<table{kind}>{top}{lines}</table>"


def tiles(numbers: Mapping[str, str]) -> str:
    """A row of the few numbers to be seen first."""
    inside = "".join(
        f'<div class="tile"><b>{html.escape(value)}</b><span>{html.escape(name)}</span></div>'
        for name, value in numbers.items()
    )
    return f'<div class="tiles">{inside}</div>'


def bars(
    counts: Sequence[int] | NDArray[np.integer],
    left: float,
    bottom: float,
    width: float,
    height: float,
    colour: str,
) -> str:
    """SVG bars side by side, the highest `height` high."""
    step, highest = width / len(counts), max(*counts, 1)
    return "".join(
        f'<rect x="{left + k * step:.1f}" width="{max(step - 1, 0.8):.1f}" '
        f'y="{bottom - height * count / highest:.1f}" height="{height * count / highest:.1f}" '
        f'fill="{colour}"/>'
        for k, count in enumerate(counts)
    )


def chart(
    title: str,
    curves: Sequence[Curve],
    *,
    x_label: str,
    x_range: tuple[float, float] | None = None,
    y_range: tuple[float, float] | None = None,
    counts: Sequence[int] = (),
    marks: Mapping[str, float] | None = None,
) -> str:
    """Curves over a grid as SVG, with bars of `counts` behind them and vertical marks.

    Ranges that are not given are those of the points; the bars span the whole range of x.
    """
    x_range = x_range or _range(value for curve in curves for value in curve.x)
    y_range = y_range or _range(value for curve in curves for value in curve.y)
    field = _Field(x_range, y_range)
    parts = [f'<text x="{_LEFT - 32}" y="18" font-weight="600">{html.escape(title)}</text>']
    parts.append(field.grid(x_label))
    if len(counts):
        width, height = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM
        parts.append(bars(counts, _LEFT, _HEIGHT - _BOTTOM, width, height, f"{GREY}80"))
    for name, at in (marks or {}).items():
        x = field.x(at)
        parts.append(
            f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP}" y2="{_HEIGHT - _BOTTOM}" '
            f'stroke="{RED}" stroke-width="1.5"/>'
            f'<text x="{x + 5:.1f}" y="{_TOP + 13}">{html.escape(name)}</text>'
        )
    parts += [field.curve(curve) for curve in curves]
    parts.append(_legend([curve for curve in curves if curve.name]))
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{html.escape(title)}">'
        f"{''.join(parts)}</svg>"
    )


@dataclass(frozen=True, slots=True)
class _Field:
    """Where numbers lie in a chart."""

    x_range: tuple[float, float]
    y_range: tuple[float, float]

    def x(self, value: float) -> float:
        low, high = self.x_range
        return _LEFT + (value - low) / (high - low) * (_WIDTH - _LEFT - _RIGHT)

    def y(self, value: float) -> float:
        low, high = self.y_range
        return _HEIGHT - _BOTTOM - (value - low) / (high - low) * (_HEIGHT - _TOP - _BOTTOM)

    def grid(self, x_label: str) -> str:
        parts = []
        for value in _ticks(self.y_range):
            y = self.y(value)
            parts.append(
                f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" '
                f'y2="{y:.1f}"/><text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">'
                f"{value:g}</text>"
            )
        for value in _ticks(self.x_range):
            parts.append(
                f'<text x="{self.x(value):.1f}" y="{_HEIGHT - _BOTTOM + 16}" '
                f'text-anchor="middle">{value:g}</text>'
            )
        middle = (_LEFT + _WIDTH - _RIGHT) / 2
        parts.append(
            f'<text x="{middle}" y="{_HEIGHT - _BOTTOM + 33}" text-anchor="middle">'
            f"{html.escape(x_label)}</text>"
        )
        return "".join(parts)

    def curve(self, curve: Curve) -> str:
        points = [
            (self.x(x), self.y(y))
            for x, y in zip(curve.x, curve.y, strict=True)
            if math.isfinite(x) and math.isfinite(y)
        ]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        dash = ' stroke-dasharray="5 4"' if curve.is_dashed else ""
        style = f'fill="none" stroke="{curve.colour}" stroke-width="2"{dash}'
        line = f'<polyline points="{path}" {style}/>'
        if not curve.has_dots:
            return line
        return line + "".join(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{curve.colour}"/>' for x, y in points
        )


def _legend(curves: Sequence[Curve]) -> str:
    parts, x = [], float(_LEFT)
    for curve in curves:
        dash = ' stroke-dasharray="5 4"' if curve.is_dashed else ""
        parts.append(
            f'<line x1="{x:.0f}" x2="{x + 18:.0f}" y1="{_HEIGHT - 14}" y2="{_HEIGHT - 14}" '
            f'stroke="{curve.colour}" stroke-width="2"{dash}/>'
            f'<text x="{x + 23:.0f}" y="{_HEIGHT - 10}">{html.escape(curve.name)}</text>'
        )
        x += 38 + 6.4 * len(curve.name)
    return "".join(parts)


def _range(values: Iterable[float]) -> tuple[float, float]:
    finite = [value for value in values if math.isfinite(value)]
    low, high = (min(finite), max(finite)) if finite else (0.0, 1.0)
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _ticks(span: tuple[float, float], n_most: int = 6) -> list[float]:
    """Round numbers inside a range."""
    low, high = span
    raw = (high - low) / n_most
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * k for k in (1, 2, 2.5, 5, 10) if power * k >= raw * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(k * step, 12) for k in range(first, last + 1)]
