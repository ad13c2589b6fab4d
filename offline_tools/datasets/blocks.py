"""Splits of one specimen by anatomy: each block along the bone is left out once.

One specimen seen in several passes shows the same bone again: splitting it by record or frame would
test on what was trained on. Position along the bone tells what is new.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from offline_tools.datasets.images import ImageSource
from offline_tools.datasets.split import TEST, TRAIN, VAL, Split
from offline_tools.errors import InputError

DEFAULT_GUARD_MM = 3.0  # some three image thicknesses: nearer, two images show the same bone
DEFAULT_VAL_SHARE = 0.1
# How the guard stands in the notes of a split: its file has no other place for it.
_GUARD_NOTE = re.compile(r"within (\S+) mm of test or val")
# Positions further apart than this are two stretches of bone that no sweep joins.
_LARGEST_GAP_MM = 30.0

Array = NDArray[np.float64]
Indices = NDArray[np.intp]


def anatomy_folds(
    sources: Sequence[ImageSource],
    *,
    seed: int,
    guard_mm: float = DEFAULT_GUARD_MM,
    val_share: float = DEFAULT_VAL_SHARE,
) -> list[Split]:
    """One split for each block of bone, which is its test subset.

    Training images within `guard_mm` of the test block are left out. Validation is a stretch of
    `val_share` of the training images, drawn from parts of the bone that the test block's sweep
    does not reach (where there is but one part: its far end), guarded likewise.

    Raises
    ------
    InputError : several specimens, no position, or too little bone for two blocks.
    """
    bone = _placed(sources)
    clusters = clusters_of(bone.position_mm)
    blocks = [
        (own, half)
        for own, cluster in enumerate(clusters)
        for half in halves_of(bone.position_mm, cluster)
    ]
    if len(blocks) < 2:
        raise InputError(
            f"{len(bone.names)} images lie at one place of the bone, expected two blocks or more"
        )
    folds = []
    for k, (own, test) in enumerate(blocks):
        away = _away_from(bone.position_mm, test, guard_mm)
        rest = [cluster[away[cluster]] for cluster in clusters]
        n_val = round(val_share * int(away.sum()))
        rng = np.random.default_rng([seed, k])
        val = _stretch(bone.position_mm, rest, own, test, n_val, rng)
        train = np.flatnonzero(away & _away_from(bone.position_mm, val, guard_mm))
        if len(train) == 0:
            raise InputError(
                f"block {k + 1} of {len(blocks)} leaves no image to train on with {guard_mm:g} mm "
                "to spare, expected more bone or a smaller guard"
            )
        notes = (f"block {k + 1} of {len(blocks)} is test",)
        folds.append(_split(bone, {TRAIN: train, VAL: val, TEST: test}, notes, seed, guard_mm))
    return folds


def guard_fault(split: Split, sources: Sequence[ImageSource]) -> str | None:
    """Where a split by anatomy trains within its guard band, as one changed by hand may; else None.

    Half of the band is held to: labels that are made anew move an image's place a little.
    """
    if split.kind != "anatomy":
        return None
    home = {name: subset for subset, names in split.subsets.items() for name in names}
    placed = [
        (place, name)
        for source in sources
        for index, name in enumerate(source.names)
        if name in home and (place := source.position_mm(index)) is not None
    ]
    stated = next((found for note in split.notes if (found := _GUARD_NOTE.search(note))), None)
    guard_mm = float(stated[1]) if stated else DEFAULT_GUARD_MM
    # Along the bone the nearest image of another kind is a neighbour.
    for (low_mm, low), (high_mm, high) in pairwise(sorted(placed)):
        is_train = [home[name] == TRAIN for name in (low, high)]
        if any(is_train) and not all(is_train) and high_mm - low_mm < 0.5 * guard_mm:
            train, other = (low, high) if is_train[0] else (high, low)
            return (
                f"{train} trains and lies {high_mm - low_mm:.1f} mm along the bone from {other} in "
                f"{home[other]}, expected a guard band of {guard_mm:g} mm"
            )
    return None


def clusters_of(position_mm: Array) -> list[Indices]:
    """Indices of images by ascending position, separated where neighbours are over 30 mm apart."""
    order = np.argsort(position_mm, kind="stable")
    gaps = np.flatnonzero(np.diff(position_mm[order]) > _LARGEST_GAP_MM) + 1
    return np.split(order, gaps)


def halves_of(position_mm: Array, cluster: Indices) -> list[Indices]:
    """A cluster below and from its median position on; one block where all is at one place."""
    is_lower = position_mm[cluster] < np.median(position_mm[cluster])
    return [half for half in (cluster[is_lower], cluster[~is_lower]) if len(half)]


@dataclass(frozen=True, slots=True)
class _Placed:
    """Images of one bone, and how many more are at no known place of it."""

    names: tuple[str, ...]
    position_mm: Array
    n_unknown: int


def _placed(sources: Sequence[ImageSource]) -> _Placed:
    specimens = sorted({source.specimen for source in sources})
    if len(specimens) != 1:
        raise InputError(
            f"--by anatomy splits one specimen, the data holds {', '.join(specimens)}: split by "
            "donor, or name one"
        )
    places = [
        (name, source.position_mm(index))
        for source in sources
        for index, name in enumerate(source.names)
    ]
    known = [(name, place) for name, place in places if place is not None]
    if not known:
        raise InputError(
            f"{specimens[0]}: no image's place on the bone is known, expected poses, a calibration "
            "and CT_bone_model.stl"
        )
    names, position_mm = zip(*known, strict=True)
    return _Placed(names, np.array(position_mm), len(places) - len(known))


def _split(
    bone: _Placed,
    picked: dict[str, Indices],
    notes: tuple[str, ...],
    seed: int,
    guard_mm: float,
) -> Split:
    ranges = [f"{part}: {_range(bone.position_mm[index])}" for part, index in picked.items()]
    n_guard = len(bone.names) - sum(len(index) for index in picked.values())
    guard = f"guard band: {n_guard} images within {guard_mm:g} mm of test or val are not used"
    unknown = f"{bone.n_unknown} images without a place on the bone are not used"
    return Split(
        kind="anatomy",
        seed=seed,
        subsets={part: tuple(bone.names[i] for i in np.sort(x)) for part, x in picked.items()},
        notes=(*notes, *ranges, guard, *([unknown] if bone.n_unknown else [])),
    )


def _away_from(position_mm: Array, block: Indices, guard_mm: float) -> NDArray[np.bool_]:
    """Images further than the guard from the stretch of bone that a block spans."""
    if len(block) == 0:
        return np.ones(len(position_mm), dtype=np.bool_)
    low, high = position_mm[block].min() - guard_mm, position_mm[block].max() + guard_mm
    return (position_mm < low) | (position_mm > high)


def _stretch(
    position_mm: Array,
    rest: list[Indices],
    own: int,
    test: Indices,
    n: int,
    rng: np.random.Generator,
) -> Indices:
    """`n` neighbours among the rest of one cluster: not of the test block's own, if that can be.

    Drawn among all such stretches; in the own cluster it is the one farthest from the test block.
    """
    windows = [
        cluster[first : first + n]
        for k, cluster in enumerate(rest)
        if k != own
        for first in range(max(len(cluster) - n + 1, min(len(cluster), 1)))
    ]
    if windows:
        return windows[rng.integers(len(windows))]
    away_mm = np.abs(position_mm[rest[own]] - np.median(position_mm[test]))
    return rest[own][np.argsort(-away_mm, kind="stable")[:n]]


def _range(position_mm: Array) -> str:
    if len(position_mm) == 0:
        return "no image"
    return (
        f"{position_mm.min():.1f} to {position_mm.max():.1f} mm from the bone's middle, "
        f"{len(position_mm)} images"
    )
