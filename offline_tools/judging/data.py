"""What a network is judged on: which images, of which subset, and what was left out."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from offline_tools.datasets.images import ImageSource, LabelledImage
from offline_tools.datasets.records import open_records
from offline_tools.datasets.simulated import FIRST_VALIDATION_SEED, SimulatedImages
from offline_tools.errors import InputError


@dataclass(frozen=True, slots=True)
class ImagesToJudge:
    """Images of several sources, read one at a time; `sentence` and `description` say which."""

    chosen: Sequence[tuple[ImageSource, int]]
    sentence: str
    description: dict[str, Any]

    def __len__(self) -> int:
        return len(self.chosen)

    def __iter__(self) -> Iterator[LabelledImage]:
        return (source.load(index) for source, index in self.chosen)


def recorded(folders: Sequence[Path], split: Path | None, subset: str) -> ImagesToJudge:
    """The labelled images of records, those of one subset where a split is given.

    Raises
    ------
    InputError : no image, no such subset, or one that names images which the data lack.
    """
    records = open_records(folders)
    description: dict[str, Any] = {
        "records": [record.prefix for record in records],
        "labels": {record.prefix: record.label_kind for record in records},
        "poses": {record.prefix: record.poses for record in records},
        "left_out": [problem for record in records for problem in record.problems],
        "n_simulated": 0,
    }
    names = None
    where = "all labelled images"
    if split is not None:
        names, description["split"] = _subset(split, subset)
        leak = description["split"]["leak"]
        where = f"subset {subset!r} of {split.name}{f' ({leak})' if leak else ''}"
    chosen = _chosen(records, names)
    if not chosen:
        raise InputError(f"nothing to evaluate: no image of {where} is in the data given")
    if names is not None and len(chosen) < len(names):
        found = {source.names[index] for source, index in chosen}
        missing = sorted(set(names) - found)
        raise InputError(
            f"{split}: {len(missing)} images of subset {subset!r} are not in the data given, the "
            f"first is {missing[0]}"
        )
    n_left_out = len(description["left_out"])
    without = f"; {n_left_out} images without a usable label are left out" if n_left_out else ""
    notes = "".join(f"; {record.label_note}" for record in records if record.label_note)
    return ImagesToJudge(chosen, f"{len(chosen)} images, {where}{without}{notes}", description)


def seen_in_training(contract: Mapping[str, Any], description: Mapping[str, Any]) -> str | None:
    """A sentence where the model says that it was trained on records that it is judged on.

    With a split both may hold the same record and different images of it: then what counts is
    whether the model was trained with the same split.
    """
    provenance = contract.get("provenance") or {}
    trained = (provenance.get("data") or {}).get("records") or ()
    both = [record for record in description["records"] if record in trained]
    if not both:
        return None
    split = description.get("split")
    is_same = split is not None and _holds(provenance, split["sha256"])
    if split is not None and is_same and split["subset"] != "train":
        return None
    how = "and no split says which images"
    if split is not None:
        how = "with these very images" if is_same else "with another split or none"
    return (
        f"the model was trained on {', '.join(both)} {how}: these numbers are optimistic and say "
        "nothing about other bones"
    )


def _holds(values: Any, text: str) -> bool:
    """Whether a text is anywhere in nested values."""
    if isinstance(values, Mapping):
        return any(_holds(value, text) for value in values.values())
    if isinstance(values, list | tuple):
        return any(_holds(value, text) for value in values)
    return bool(values == text)


def simulation(n_images: int) -> ImagesToJudge:
    """Simulated images that no training sees."""
    source = SimulatedImages(FIRST_VALIDATION_SEED, n_images)
    return ImagesToJudge(
        [(source, index) for index in range(n_images)],
        f"{n_images} simulated images",
        {"records": [], "n_simulated": n_images},
    )


def _subset(path: Path, subset: str) -> tuple[Sequence[str], dict[str, Any]]:
    """Names of a split's subset, and what to say of it."""
    from offline_tools.datasets.split import leak_of, read_split  # noqa: PLC0415

    split = read_split(path)
    if subset not in split.subsets:
        raise InputError(
            f"{path}: has no subset {subset!r}, expected one of {', '.join(split.subsets)}"
        )
    description = {
        "file": path.name,
        "subset": subset,
        "kind": split.kind,
        "sha256": split.sha256,
        "n_images": {name: len(names) for name, names in split.subsets.items()},
        "notes": list(split.notes),
        "leak": leak_of(split),
    }
    return split.subsets[subset], description


def _chosen(
    sources: Sequence[ImageSource], names: Collection[str] | None
) -> list[tuple[ImageSource, int]]:
    wanted = None if names is None else set(names)
    return [
        (source, index)
        for source in sources
        for index, name in enumerate(source.names)
        if wanted is None or name in wanted
    ]
