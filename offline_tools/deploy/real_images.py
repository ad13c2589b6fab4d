"""Real images to judge fewer bits by, from folders and a split."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from offline_tools.datasets.images import LabelledImage
from offline_tools.datasets.records import Record, open_records
from offline_tools.datasets.split import TRAIN, VAL, read_split
from offline_tools.deploy.export_onnx import RealImages
from offline_tools.errors import InputError


def real_images(folders: Sequence[Path], split: Path | None) -> RealImages:
    """Ranges from the split's training images, judgement by its validation images; without a split
    both from all images.

    Raises
    ------
    InputError : a subset has no image in the folders.
    """
    records = open_records(folders)
    if split is None:
        return RealImages(partial(_spread, records, None), partial(_read, records, None))
    subsets = read_split(split).subsets
    names = {kind: frozenset(subsets.get(kind, ())) for kind in (TRAIN, VAL)}
    there = frozenset(name for record in records for name in record.names)
    for kind, wanted in names.items():
        if not wanted & there:
            raise InputError(f"split {split}: no image of its subset {kind!r} is in the data given")
    return RealImages(partial(_spread, records, names[TRAIN]), partial(_read, records, names[VAL]))


def _read(records: Sequence[Record], names: frozenset[str] | None) -> Iterator[LabelledImage]:
    return (record.load(index) for record, index in _places(records, names))


def _spread(records: Sequence[Record], names: frozenset[str] | None) -> Iterator[LabelledImage]:
    """In a mixed order, because neighbours look alike and only the first are taken."""
    places = _places(records, names)
    order = np.random.default_rng(0).permutation(len(places))
    return (places[k][0].load(places[k][1]) for k in order)


def _places(records: Sequence[Record], names: frozenset[str] | None) -> list[tuple[Record, int]]:
    return [
        (record, index)
        for record in records
        for index, name in enumerate(record.names)
        if names is None or name in names
    ]
