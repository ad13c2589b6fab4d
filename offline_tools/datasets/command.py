"""What the dataset commands ask for, in the words of the command line, and their answers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from offline_tools.datasets.blocks import DEFAULT_VAL_SHARE, anatomy_folds
from offline_tools.datasets.images import ImageSource
from offline_tools.datasets.records import DEFAULT_DATA, Record
from offline_tools.datasets.split import Split, read_split
from offline_tools.datasets.splitting import (
    DEFAULT_SHARES,
    donor_folds,
    published_split,
    split_by_donor,
    split_by_frame,
)
from offline_tools.errors import InputError

_WAYS = ("donor", "anatomy", "frame")
_PRESETS = ("ultrabones",)


@dataclass(frozen=True, slots=True)
class SplitRequest:
    """Arguments of `offline-tools split`, as they were given."""

    by: str
    preset: str | None
    train: float | None
    val: float | None
    test: float | None
    folds: int | None
    leave_one_out: bool
    fold: int | None
    guard_mm: float
    seed: int


def data_folders(named: Sequence[Path] | None) -> list[Path]:
    """The folders named, or the default dataset.

    Raises
    ------
    InputError : none is named and there is no default one.
    """
    if named:
        return list(named)
    if DEFAULT_DATA.is_dir():
        return [DEFAULT_DATA]
    raise InputError(f"--data is missing, and there is no {DEFAULT_DATA}")


def chosen_images(
    records: Sequence[Record], split: Path | None, subset: str
) -> list[tuple[Record, int]]:
    """Record and index of every image, or of those in a subset of a split.

    Raises
    ------
    InputError : the split has no such subset, or none of its images is there.
    """
    places = [(record, k) for record in records for k in range(len(record.names))]
    if split is None:
        return places
    subsets = read_split(split).subsets
    if subset not in subsets:
        raise InputError(f"--subset is {subset!r}, expected one of {', '.join(subsets)}")
    wanted = set(subsets[subset])
    if not (found := [(record, k) for record, k in places if record.names[k] in wanted]):
        raise InputError(f"split {split}: none of its {len(wanted)} {subset} images is in the data")
    return found


def evenly(places: list[tuple[Record, int]], n: int) -> list[tuple[Record, int]]:
    """`n` of them from first to last; all where `n` is 0 or there are no more."""
    if n == 0 or n >= len(places):
        return places
    return [places[k] for k in np.linspace(0, len(places) - 1, n).round().astype(int)]


def split_paths(out: Path, n_splits: int) -> list[Path]:
    """The file of one split, or the files of several in a folder."""
    return [out] if n_splits == 1 else [out / f"fold{k}.json" for k in range(1, n_splits + 1)]


def made_splits(sources: Sequence[ImageSource], request: SplitRequest) -> list[Split]:
    """The split asked for, or its folds, or one of these.

    Raises
    ------
    InputError : options that do not fit together or the data, see `splitting` and `blocks`.
    """
    _check_options(request)
    splits = _all_splits(sources, request)
    if request.fold is None:
        return splits
    if not 1 <= request.fold <= len(splits):
        raise InputError(f"--fold is {request.fold}, expected 1 to {len(splits)}")
    return [splits[request.fold - 1]]


def _all_splits(sources: Sequence[ImageSource], request: SplitRequest) -> list[Split]:
    if request.preset:
        n_val = 1 if request.val is None else int(request.val)
        return [published_split(sources, n_val, request.seed)]
    if request.by == "anatomy":
        return anatomy_folds(
            sources,
            seed=request.seed,
            guard_mm=request.guard_mm,
            val_share=DEFAULT_VAL_SHARE if request.val is None else request.val,
        )
    if request.folds is not None or request.leave_one_out:
        return donor_folds(sources, request.folds, request.seed)
    amounts = _amounts(request.train, request.val, request.test)
    make = split_by_donor if request.by == "donor" else split_by_frame
    return [make(sources, amounts, request.seed)]


def _check_options(request: SplitRequest) -> None:
    if request.by not in _WAYS:
        raise InputError(f"--by is {request.by!r}, expected one of {', '.join(_WAYS)}")
    if request.preset not in (None, *_PRESETS):
        raise InputError(f"--preset is {request.preset!r}, expected {', '.join(_PRESETS)}")
    has_folds = request.folds is not None or request.leave_one_out
    if has_folds and (request.by != "donor" or request.preset):
        raise InputError("--folds and --leave-one-out are for --by donor alone")
    if request.folds is not None and request.leave_one_out:
        raise InputError("give either --folds or --leave-one-out")
    if request.by == "anatomy" and request.val is not None and not 0.0 <= request.val < 1.0:
        raise InputError(f"--val is {request.val:g}, expected a share of the training images")
    if request.preset and request.val is not None and not float(request.val).is_integer():
        raise InputError(f"--val is {request.val:g}, expected a number of specimens")


def _amounts(
    train: float | None, val: float | None, test: float | None
) -> tuple[float, float, float]:
    """The three amounts given; the default ones where none is, 0 for one that is left out."""
    if train is None and val is None and test is None:
        return DEFAULT_SHARES
    if train is None:
        raise InputError("--train is missing: give it with --val and --test, or none of them")
    return train, val or 0.0, test or 0.0


def stats_lines(found: dict[str, Any]) -> Iterable[str]:
    """Statistics of a dataset for a person."""
    yield f"{found['n_frames']} images with a label, {found['n_left_out']} left out"
    yield f"donors: {', '.join(found['donors'])}"
    for record, n in found["records"].items():
        yield f"  {record}: {n}"
    yield f"image size, pixels: {_pairs(found['image_size_px'], 'd')}"
    yield f"pixel spacing, mm: {_pairs(found['spacing_mm'], '.5g')}"
    grey = found["grey"]
    yield f"grey values: mean {grey['mean']:.1f}, std {grey['std']:.1f}, highest {grey['max']}"
    for text, key, scale in (
        ("label length, mm", "label_length_mm", 1.0),
        ("label depth, mm", "label_depth_mm", 1.0),
        ("columns with a label, %", "columns_with_label", 100.0),
    ):
        values = found[key]
        if values["median"] is not None:
            low, median, high = (scale * values[k] for k in ("p5", "median", "p95"))
            yield f"{text}: median {median:.1f}, 5 to 95 %: {low:.1f} to {high:.1f}"
    yield f"images without bone: {found['n_without_bone']}"
    incidence = found["incidence"]
    total = max(sum(incidence["n"]), 1)
    for low, n in zip(incidence["edges_deg"], incidence["n"], strict=False):
        yield f"incidence {low:2d} to {low + 10:2d} degrees: {n / total:6.1%}"
    if incidence["n_unknown"]:
        yield f"incidence unknown: {incidence['n_unknown']} points"


def _pairs(pairs: list[list[float]], form: str) -> str:
    return ", ".join(f"{a:{form}} x {b:{form}}" for a, b in pairs)
