"""Labels, and what a network says, drawn on images, with a contact sheet."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from inference.segmenter import Segmenter
from offline_tools.datasets.images import LabelledImage
from offline_tools.drawing import GREEN, ORANGE, Picture, canvas, contact_sheet, draw_points

SHEET = "contact_sheet.png"
N_ON_SHEET = 96  # more are a poster


def draw_overlays(
    images: Iterable[LabelledImage],
    out: Path,
    model: Path | None = None,
    on_image: Callable[[Path], None] = lambda path: None,
) -> Path:
    """Write `SPECIMEN_RECORD_TIMESTAMP.png` for each image and a sheet of the first 96; its path.

    The label is green, the network's line over it orange.

    Raises
    ------
    InferenceError : the model cannot be run on the images.
    OSError : a picture cannot be written.
    """
    segmenter = Segmenter(model, "cpu") if model else None
    out.mkdir(parents=True, exist_ok=True)
    pictures: list[Picture] = []
    captions: list[str] = []
    for image in images:
        found_px = None
        if segmenter:
            plan = image.plan(segmenter.contract)
            found_px = segmenter.segment(image.pixels, plan).line.points_px
        picture = overlay(image, found_px)
        path = out / f"{image.name.replace('/', '_')}.png"
        Image.fromarray(picture).save(path, compress_level=1)
        if len(pictures) < N_ON_SHEET:
            pictures.append(picture)
            captions.append("/".join(image.name.split("/")[1:]))
        on_image(path)
    legend = {"label": GREEN} | ({"prediction (over the label)": ORANGE} if segmenter else {})
    Image.fromarray(contact_sheet(pictures, captions, legend)).save(out / SHEET)
    return out / SHEET


def overlay(image: LabelledImage, found_px: NDArray[np.float64] | None = None) -> Picture:
    """One image with its label and, thinner and over it, the line that a network found."""
    picture = canvas(image.pixels)
    draw_points(picture, image.line.points_px, GREEN, size_px=3)
    if found_px is not None:
        draw_points(picture, found_px, ORANGE, size_px=2)
    return picture
