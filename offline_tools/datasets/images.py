"""One labelled image, and what every source of them offers, whatever its layout."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from inference.contract import ModelContract
from inference.preprocess import InputPlan
from recon.section import VisibleLine
from tracking.transforms import Matrix

# A donor's code as UltraBones100k has it, F231091 or S232132L: the last letter is the leg.
_DONOR_CODE = re.compile(r"(?<![A-Za-z0-9])([A-Z]\d{5,})[LR]?(?![A-Za-z0-9])")
_CADAVER = re.compile(r"(?<![A-Za-z0-9])cadaver\d+")


@dataclass(frozen=True, slots=True)
class LabelledImage:
    """One image with the line that its bone shows.

    `name` is specimen/record/timestamp in ms. `A_ct_pixel` is at the recorded pose,
    `A_ct_pixel_refined` at the one that the label was made at; `surface` is the specimen's bone in
    CT space. All three are None where they are not known. Incidence is NaN where unknown.
    """

    name: str
    pixels: NDArray[np.uint8]
    spacing_mm: tuple[float, float]
    roi_px: tuple[int, int, int, int] | None
    line: VisibleLine
    A_ct_pixel: Matrix | None = None
    A_ct_pixel_refined: Matrix | None = None
    surface: Path | None = None

    def plan(self, contract: ModelContract) -> InputPlan:
        """How this image goes into a network."""
        height, width = self.pixels.shape
        return InputPlan.for_image(contract, (width, height), self.spacing_mm, self.roi_px)


class ImageSource(Protocol):
    """Labelled images of one record, read one at a time."""

    @property
    def specimen(self) -> str:
        """What was imaged, such as cadaver01_F231091."""

    @property
    def record(self) -> str:
        """One sweep of it, such as record01."""

    @property
    def donor(self) -> str:
        """Whose bone it is: the same for the left and the right leg."""

    @property
    def sha256(self) -> str:
        """Hash of all that the images and their labels are made from."""

    @property
    def names(self) -> Sequence[str]:
        """Of the images that have a label, in order of time."""

    @property
    def problems(self) -> Sequence[str]:
        """Images left out and why, one line each."""

    def load(self, index: int) -> LabelledImage:
        """Read one image and its label."""

    def position_mm(self, index: int) -> float | None:
        """Where on the bone the label lies, see `anatomy`; None where that is not known."""


def donor_of(specimen: str) -> str:
    """Donor of a specimen: the code in its name without the leg, else its number, else its name."""
    if found := _DONOR_CODE.search(specimen):
        return found[1]
    found = _CADAVER.search(specimen)
    return found[0] if found else specimen


def is_ultrabones(specimen: str) -> bool:
    """Whether a specimen's name is one of UltraBones100k, cadaverNN_CODE: whom to credit."""
    return _CADAVER.search(specimen) is not None


def images_of(sources: Sequence[ImageSource]) -> Iterator[LabelledImage]:
    """Every image of every source, in order."""
    return (source.load(index) for source in sources for index in range(len(source.names)))
