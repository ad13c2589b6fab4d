"""A split: which images train, validate and test; one JSON file that refuses to leak."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from offline_tools.datasets.images import donor_of
from offline_tools.errors import InputError, WorkError
from tracking.whole_files import write_whole

TRAIN, VAL, TEST = SUBSETS = ("train", "val", "test")

# What the subsets differ in. "specimen" is the published split of UltraBones100k, which puts legs
# of one donor on both sides.
KINDS = ("donor", "anatomy", "frame", "specimen")


@dataclass(frozen=True, slots=True)
class Split:
    """Names of images by subset, how they were told apart, and what a reader must know of it."""

    kind: str
    seed: int
    subsets: dict[str, tuple[str, ...]]
    notes: tuple[str, ...] = ()

    @property
    def sha256(self) -> str:
        """Of the file that `write_split` writes."""
        return hashlib.sha256(self.text().encode()).hexdigest()

    def text(self) -> str:
        """The file's content."""
        return json.dumps(asdict(self), indent=1) + "\n"


def read_split(path: Path) -> Split:
    """A split from its file.

    Raises
    ------
    InputError : the file is missing or no split, has a name twice, or claims to be a split by donor
        with a donor in two subsets.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        subsets = {name: tuple(map(str, names)) for name, names in found["subsets"].items()}
        split = Split(found["kind"], int(found["seed"]), subsets, tuple(found.get("notes", ())))
    except OSError as error:
        raise InputError(f"split {path}: cannot be read ({error.strerror})") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"split {path}: not a split, expected kind, seed and subsets in JSON "
            f"({type(error).__name__}: {error})"
        ) from None
    if fault := _fault(split):
        raise InputError(f"split {path}: {fault}")
    return split


def write_split(split: Split, path: Path) -> None:
    """Write a split as JSON, whole or not at all.

    Raises
    ------
    InputError : it leaks, see `read_split`.
    WorkError : the file cannot be written.
    """
    if fault := _fault(split):
        raise InputError(f"split {path}: {fault}")
    try:
        write_whole(path, split.text())
    except OSError as error:
        raise WorkError(f"split {path}: cannot be written ({error.strerror})") from None


def absent_names(split: Split, names: Iterable[str]) -> tuple[str, ...]:
    """Names in the split that the data, which has `names`, lacks: deleted or relabelled images."""
    there = set(names)
    return tuple(name for part in split.subsets.values() for name in part if name not in there)


def donors(names: Iterable[str]) -> tuple[str, ...]:
    """Donors of images, by the specimens in their names, sorted."""
    return tuple(sorted({donor_of(specimen) for specimen in {n.partition("/")[0] for n in names}}))


def shared_donors(split: Split) -> dict[str, list[str]]:
    """Subsets by donor, of the donors that are in more than one."""
    homes: dict[str, list[str]] = {}
    for subset, names in split.subsets.items():
        for donor in donors(names):
            homes.setdefault(donor, []).append(subset)
    return {donor: subsets for donor, subsets in sorted(homes.items()) if len(subsets) > 1}


def leak_of(split: Split) -> str | None:
    """What scores on this split do not say, in a sentence; None where its kind says all."""
    shared = shared_donors(split) if split.kind == "specimen" else {}
    if not shared:
        return None
    return f"donor {', '.join(shared)} is in several subsets: no test of unseen donors"


def _fault(split: Split) -> str | None:
    if split.kind not in KINDS:
        return f"kind is {split.kind!r}, expected one of {', '.join(KINDS)}"
    if set(split.subsets) != set(SUBSETS):
        return f"subsets are {', '.join(split.subsets) or 'none'}, expected {', '.join(SUBSETS)}"
    home: dict[str, str] = {}
    for subset, names in split.subsets.items():
        for name in names:
            if name in home:
                return f"{name} is in {home[name]} and in {subset}, expected each image once"
            home[name] = subset
    if split.kind == "donor":
        for donor, subsets in shared_donors(split).items():
            return f"donor {donor} is in {', '.join(subsets)}: a split by donor keeps them apart"
    return None
