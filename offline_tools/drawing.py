"""Lines drawn on images, and many images on one sheet with a legend."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Colour = tuple[int, int, int]
Picture = NDArray[np.uint8]

# The colours of UltraBones100k's figures: initial red, refined green, shadow blue, incidence
# yellow. What a network says is orange.
RED, GREEN, BLUE, YELLOW = (255, 60, 60), (40, 230, 60), (80, 130, 255), (255, 220, 0)
ORANGE = (255, 140, 0)

_MARGIN_PX = 6
_TEXT_PX = 14
_PAPER, _INK = (24, 24, 24), (235, 235, 235)


def canvas(pixels: NDArray[np.uint8]) -> Picture:
    """A grey image (rows, columns) to draw on, (rows, columns, 3)."""
    return np.repeat(pixels[:, :, None], 3, axis=2)


def draw_points(
    picture: Picture, points_px: NDArray[np.float64], colour: Colour, size_px: int = 2
) -> None:
    """Paint points (N, 2) as (u, v), each a square of `size_px`, so that they survive being shown
    smaller; outside the picture nothing is drawn."""
    height, width, _ = picture.shape
    corners_px = np.floor(points_px).astype(np.int64) - (size_px - 1) // 2
    for dv in range(size_px):
        for du in range(size_px):
            u, v = corners_px[:, 0] + du, corners_px[:, 1] + dv
            is_inside = (u >= 0) & (u < width) & (v >= 0) & (v < height)
            picture[v[is_inside], u[is_inside]] = colour


def contact_sheet(
    pictures: Sequence[Picture],
    captions: Sequence[str],
    legend: Mapping[str, Colour],
    *,
    n_columns: int = 6,
    tile_width_px: int = 320,
) -> Picture:
    """Pictures side by side, each with its caption, under a legend of the colours."""
    tiles = [_shrunk(picture, tile_width_px) for picture in pictures]
    n_columns = min(n_columns, max(len(tiles), 1))
    tile_height_px = max((tile.height for tile in tiles), default=0) + _TEXT_PX + _MARGIN_PX
    step_px = tile_width_px + _MARGIN_PX
    head_px = _TEXT_PX + 2 * _MARGIN_PX
    n_rows = math.ceil(len(tiles) / n_columns)
    sheet = Image.new(
        "RGB",
        (_MARGIN_PX + n_columns * step_px, head_px + n_rows * (tile_height_px + _MARGIN_PX)),
        _PAPER,
    )
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(_TEXT_PX - 2)
    _draw_legend(draw, legend, font)
    for k, (tile, caption) in enumerate(zip(tiles, captions, strict=True)):
        left = _MARGIN_PX + k % n_columns * step_px
        top = head_px + k // n_columns * (tile_height_px + _MARGIN_PX)
        sheet.paste(tile, (left, top + _TEXT_PX + _MARGIN_PX // 2))
        draw.text((left, top), caption, _INK, font)
    return np.asarray(sheet)


def _draw_legend(
    draw: ImageDraw.ImageDraw,
    legend: Mapping[str, Colour],
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
) -> None:
    x = float(_MARGIN_PX)
    for text, colour in legend.items():
        draw.rectangle((x, _MARGIN_PX, x + _TEXT_PX, _MARGIN_PX + _TEXT_PX - 2), colour)
        x += _TEXT_PX + _MARGIN_PX
        draw.text((x, _MARGIN_PX - 1), text, _INK, font)
        x += draw.textlength(text, font) + 4 * _MARGIN_PX


def _shrunk(picture: Picture, width_px: int) -> Image.Image:
    height_px = round(picture.shape[0] * width_px / picture.shape[1])
    return Image.fromarray(picture).resize((width_px, height_px), Image.Resampling.LANCZOS)
