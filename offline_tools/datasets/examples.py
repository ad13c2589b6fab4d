"""What training sees of a labelled image: the network input and the band it should answer."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from inference.contract import ModelContract
from inference.preprocess import InputPlan
from offline_tools.datasets.flanks import FlankRule, unseen_mm
from offline_tools.datasets.images import LabelledImage
from offline_tools.errors import InputError

# Half width of the target, in network pixels: full bone within 1, none from 2 on. A band of 3
# pixels is what a label that is off by one or two pixels can still teach.
BAND_FULL_PX, BAND_END_PX = 1.0, 2.0
# The same of what is left open around an unseen flank: where it lies is known less well.
OPEN_FULL_PX, OPEN_END_PX = 5.0, 6.0
LARGEST_STEP_MM = 1.0  # neighbours on a label further apart are two bones, not one flank


@dataclass(frozen=True, slots=True)
class Example:
    """One image as a network sees it and what it should answer, (rows, columns) float32.

    `left_open` is 1 where no answer is wrong, None if that is nowhere.

    `line` is the label in network pixels, (M, 2) float64 as (column, row): all of it, also where
    the target leaves an unseen flank out.
    """

    image: NDArray[np.float32]
    target: NDArray[np.float32]
    line: NDArray[np.float64]
    network_spacing_mm: float
    left_open: NDArray[np.float32] | None = None

    @property
    def answer(self) -> NDArray[np.float32]:
        """What the losses take: (1 or 2, rows, columns), the target and what is left open."""
        return np.stack([a for a in (self.target, self.left_open) if a is not None])


@dataclass(frozen=True, slots=True)
class Examples:
    """Many examples, in memory or mapped from a cache, float32 as the network takes them.

    `images` are (N, 1, rows, columns), `targets` too, or (N, 2, rows, columns) with a rule for
    flanks, see `Example.answer`. `lines` (L, 2) float64 holds the labels of all one after the
    other, that of example i from `line_ends[i]` to `line_ends[i + 1]`.
    """

    names: tuple[str, ...]
    images: NDArray[np.float32]
    targets: NDArray[np.float32]
    lines: NDArray[np.float64]
    line_ends: NDArray[np.int64]
    network_spacing_mm: NDArray[np.float64]

    @classmethod
    def of(
        cls,
        images: Iterable[LabelledImage],
        contract: ModelContract,
        flanks: FlankRule | None = None,
    ) -> Self:
        """Examples made in memory, see `make_example`.

        Raises
        ------
        InputError : there is no image.
        """
        made = [(image.name, make_example(image, contract, flanks)) for image in images]
        if not made:
            raise InputError("no labelled image to make examples of")
        names, examples = zip(*made, strict=True)
        return cls(
            names=names,
            images=np.stack([example.image for example in examples])[:, None],
            targets=np.stack([example.answer for example in examples]),
            lines=np.concatenate([example.line for example in examples]),
            line_ends=np.cumsum([0, *(len(example.line) for example in examples)]),
            network_spacing_mm=np.array([example.network_spacing_mm for example in examples]),
        )

    def __len__(self) -> int:
        return len(self.names)

    def line(self, index: int) -> NDArray[np.float64]:
        """The label of one example in network pixels, (M, 2) as (column, row)."""
        return self.lines[self.line_ends[index] : self.line_ends[index + 1]]

    def subset(self, names: Collection[str]) -> Examples:
        """The examples named, in their order here. Neighbours stay a view, others are copied.

        Raises
        ------
        InputError : a name that is not here.
        """
        wanted = set(names)
        if absent := sorted(wanted.difference(self.names)):
            raise InputError(
                f"{len(absent)} of {len(wanted)} names are of no image here, such as {absent[0]}"
            )
        index = np.array([k for k, name in enumerate(self.names) if name in wanted], dtype=int)
        is_run = len(index) > 0 and index[-1] - index[0] == len(index) - 1
        rows = slice(index[0], index[-1] + 1) if is_run else index
        lines = [self.line(k) for k in index]
        return Examples(
            names=tuple(self.names[k] for k in index),
            images=self.images[rows],
            targets=self.targets[rows],
            lines=np.concatenate([*lines, np.empty((0, 2))]),
            line_ends=np.cumsum([0, *map(len, lines)]),
            network_spacing_mm=self.network_spacing_mm[rows],
        )


def make_example(
    labelled: LabelledImage, contract: ModelContract, flanks: FlankRule | None = None
) -> Example:
    """The image through the very preprocessing that runs live, with its target band.

    With a rule, flanks that the image does not show are no bone in the target but left open, and
    background farther on.
    """
    plan = labelled.plan(contract)
    line_px = labelled.line.points_px
    past_mm = np.zeros(len(line_px)) if flanks is None else unseen_mm(labelled, flanks)
    target = target_band(line_px[past_mm == 0.0], plan)
    left_open = None
    if flanks is not None:
        is_open = (past_mm > 0.0) & (past_mm <= flanks.open_mm)
        around = target_band(line_px[is_open], plan, OPEN_FULL_PX, OPEN_END_PX)
        left_open = np.where(target > 0.0, 0.0, around).astype(np.float32)
    return Example(
        image=plan.prepare(labelled.pixels)[0, 0],
        target=target,
        line=plan.network_from_pixel(line_px),
        network_spacing_mm=plan.network_spacing_mm,
        left_open=left_open,
    )


def target_band(
    line_px: NDArray[np.float64],
    plan: InputPlan,
    full_px: float = BAND_FULL_PX,
    end_px: float = BAND_END_PX,
) -> NDArray[np.float32]:
    """Soft band around a line, (rows, columns) float32: 1 up to `full_px` network pixels from it,
    0 from `end_px` on."""
    target = np.zeros(plan.network_size_px, dtype=np.float32)
    u0, v0, width, height = plan.roi_px
    offset = line_px - (u0, v0)
    line_px = line_px[((offset >= -0.5) & (offset < (width - 0.5, height - 0.5))).all(axis=1)]
    if len(line_px) == 0:
        return target
    dense = _densified(plan.network_from_pixel(line_px), LARGEST_STEP_MM / plan.network_spacing_mm)
    row, column = np.indices(plan.network_size_px)
    pixels = np.column_stack((column.ravel(), row.ravel()))
    distance, _ = KDTree(dense).query(pixels, distance_upper_bound=end_px)
    share = (end_px - distance) / (end_px - full_px)
    return np.clip(share, 0.0, 1.0).reshape(target.shape).astype(np.float32)


def stacked(examples: Iterable[Example]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Images and targets as two arrays, (N, 1, rows, columns) float32 each."""
    images, targets = zip(*((e.image, e.target) for e in examples), strict=True)
    return np.stack(images)[:, None], np.stack(targets)[:, None]


def _densified(points: NDArray[np.float64], largest_step: float) -> NDArray[np.float64]:
    """Points with neighbours up to `largest_step` apart joined by steps of 0.2 at most."""
    parts = [points]
    for start, end in pairwise(points):
        length = float(np.hypot(*(end - start)))
        if 0.2 < length <= largest_step:
            parts.append(np.linspace(start, end, math.ceil(length / 0.2), endpoint=False))
    return np.concatenate(parts)
