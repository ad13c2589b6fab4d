"""The three places that a record's labels can come from, behind one protocol.

- `contours.npz` of `offline-tools label`: sub-pixel points with their incidence.
- Masks in `Labels/`, `<timestamp>_label.png` (UltraBones100k) or `<timestamp>.png`: 0 and 255.
- The exact section of the image plane with the CT surface, the visible part. At recorded poses it
  lies some 0.3 to 0.6 mm off the echo, differently on each image: good enough for a soft, wide
  target. That it is empty says that there is no bone: every frame with a pose has such a label.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Protocol
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from offline_tools.errors import InputError
from recon.mesh_io import read_mesh
from recon.section import VisibleLine, visible_line
from tracking.transforms import Matrix

CONTOURS = "contours.npz"
MASKS = "Labels"

# Beyond it the surface runs along the beam and reflects nothing towards the probe (the limit of
# Wu et al. 2025).
MAX_INCIDENCE_RAD = math.radians(85.0)

_MASK_NAME = re.compile(r"(\d+)(?:_label)?")
_N_NAMED_VALUES = 3
# What Pillow's PNG reader raises on a broken file.
UNREADABLE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)


class Labels(Protocol):
    """Labels of one record by timestamp."""

    @property
    def files(self) -> Sequence[Path]:
        """What they are made from."""

    @property
    def stamps_ms(self) -> Iterable[int]:
        """Frames that they speak of."""

    def fault(self, stamp_ms: int, image_size_px: tuple[int, int]) -> str | None:
        """Why the frame, an image of (width, height), has no usable label; None where it has."""

    def line(self, stamp_ms: int, image_size_px: tuple[int, int]) -> VisibleLine:
        """The label of a frame without a fault."""


class ContourLabels:
    """`contours.npz`: for each labelled frame (N, 4) with u, v in pixels, incidence in degrees and
    confidence.

    Raises
    ------
    InputError : the file cannot be read or holds something else.
    """

    def __init__(self, path: Path) -> None:
        self.files = (path,)
        try:
            with np.load(path) as archive:
                self._contours = {int(name): archive[name] for name in archive.files}
        except (OSError, ValueError, BadZipFile) as error:
            raise InputError(f"{path}: cannot be read as contours: {error}") from None
        for stamp_ms, contour in self._contours.items():
            if contour.ndim != 2 or contour.shape[1] != 4:
                raise InputError(
                    f"{path}: {stamp_ms} has shape {contour.shape}, expected (N, 4): u, v, "
                    "incidence, confidence"
                )

    @property
    def stamps_ms(self) -> Iterable[int]:
        return self._contours.keys()

    def fault(self, stamp_ms: int, image_size_px: tuple[int, int]) -> str | None:
        contour = self._contours.get(stamp_ms)
        if contour is None:
            return "no label"
        points_px = contour[:, :2]
        if len(points_px) == 0:
            return "contour is empty"
        is_inside = (points_px >= -0.5) & (points_px < np.array(image_size_px) - 0.5)
        if not is_inside.all():  # NaN is not inside either
            return f"contour leaves the image of {_by(image_size_px)} pixels"
        return None

    def line(self, stamp_ms: int, image_size_px: tuple[int, int]) -> VisibleLine:
        contour = self._contours[stamp_ms].astype(np.float64)
        return VisibleLine(contour[:, :2], np.radians(contour[:, 2]))


class MaskLabels:
    """`Labels/<timestamp>_label.png` or `Labels/<timestamp>.png`, 8-bit grey, bone 255, else 0."""

    def __init__(self, folder: Path) -> None:
        self._paths = mask_paths(folder)
        self.files = tuple(self._paths.values())

    @property
    def stamps_ms(self) -> Iterable[int]:
        return self._paths.keys()

    def fault(self, stamp_ms: int, image_size_px: tuple[int, int]) -> str | None:
        path = self._paths.get(stamp_ms)
        return "no label" if path is None else mask_fault(path, image_size_px)

    def line(self, stamp_ms: int, image_size_px: tuple[int, int]) -> VisibleLine:
        with Image.open(self._paths[stamp_ms]) as image:
            points_px = mask_line_px(np.asarray(image))
        return VisibleLine(points_px, np.full(len(points_px), np.nan))


class SectionLabels:
    """The visible section of a CT surface at given poses, {timestamp: A_ct_pixel}."""

    def __init__(self, surface: Path, A_ct_pixel: Mapping[int, Matrix]) -> None:
        self.files = (surface,)
        self._mesh = read_mesh(surface)
        self._A_ct_pixel = A_ct_pixel

    @property
    def stamps_ms(self) -> Iterable[int]:
        return self._A_ct_pixel.keys()

    def fault(self, stamp_ms: int, image_size_px: tuple[int, int]) -> str | None:
        return None if stamp_ms in self._A_ct_pixel else "no pose, so no section"

    def line(self, stamp_ms: int, image_size_px: tuple[int, int]) -> VisibleLine:
        return visible_line(
            self._mesh, self._A_ct_pixel[stamp_ms], image_size_px, MAX_INCIDENCE_RAD
        )


def mask_paths(folder: Path) -> dict[int, Path]:
    """Masks in a folder by timestamp; other files are none, a folder that is not there is empty."""
    found = {}
    for path in sorted(folder.glob("*.png")):
        if match := _MASK_NAME.fullmatch(path.stem):
            found[int(match[1])] = path
    return dict(sorted(found.items()))


def mask_fault(path: Path, image_size_px: tuple[int, int]) -> str | None:
    """Why a mask cannot be the label of an image of (width, height); None where it can."""
    try:
        with Image.open(path) as image:
            if image.size != image_size_px:
                return f"label is {_by(image.size)} pixels, its image {_by(image_size_px)}"
            if image.mode != "L":
                return f"label's mode is {image.mode}, expected 8-bit grey"
            counts = np.array(image.histogram())
    except UNREADABLE as error:
        return f"label cannot be read: {error}"
    others = np.flatnonzero(counts[1:255]) + 1
    if len(others):
        named = ", ".join(map(str, others[:_N_NAMED_VALUES]))
        more = ", ..." if len(others) > _N_NAMED_VALUES else ""
        return f"label has the values {named}{more}, expected 0 and 255 alone"
    return None if counts[255] else "label is empty"


def mask_line_px(mask: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Centre of the first run of each column of a mask (rows, columns), (N, 2) as (u, v)."""
    is_bone = mask > 0
    u = np.flatnonzero(is_bone.any(axis=0))
    first = is_bone[:, u].argmax(axis=0)
    # A run ends where, from its start on, bone is met no more.
    is_after = ~is_bone[:, u] & (np.arange(len(mask))[:, None] > first)
    end = np.where(is_after.any(axis=0), is_after.argmax(axis=0), len(mask))
    return np.column_stack((u, (first + end - 1) / 2.0))


def _by(size_px: tuple[int, int]) -> str:
    return f"{size_px[0]} x {size_px[1]}"
