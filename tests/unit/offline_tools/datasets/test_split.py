"""The split file refuses to leak; splits keep donors together and are the same for one seed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from offline_tools.datasets.split import (
    SUBSETS,
    Split,
    absent_names,
    donors,
    read_split,
    shared_donors,
    write_split,
)
from offline_tools.datasets.splitting import (
    FRAME_WARNING,
    counts_of,
    donor_folds,
    published_split,
    split_by_donor,
    split_by_frame,
)
from offline_tools.errors import InputError, WorkError
from tests.support.datasets import FakeSource

# The specimens of UltraBones100k as far as their codes are known, and others for the rest.
_SPECIMENS = (
    "cadaver01_F231091", "cadaver02_F231218", "cadaver03_S231783", "cadaver04_F231091",
    "cadaver05_S232132L", "cadaver06_S232006", "cadaver07_S232132R", "cadaver08_S231989L",
    "cadaver09_S231989R", "cadaver10_S232098", "cadaver11_S232110", "cadaver12_S232112",
    "cadaver13_S232110L", "cadaver14_S232170",
)  # fmt: skip


@pytest.fixture
def sources() -> Sequence[FakeSource]:
    return [
        FakeSource(specimen, record, [None] * 3)
        for specimen in _SPECIMENS
        for record in ("record01", "record02")
    ]


def all_names(split: Split) -> list[str]:
    return sorted(name for names in split.subsets.values() for name in names)


def test_both_legs_of_a_donor_go_together(sources: Sequence[FakeSource]) -> None:
    for seed in range(20):
        split = split_by_donor(sources, (0.6, 0.2, 0.2), seed)
        assert all(split.subsets[part] for part in SUBSETS)
        assert shared_donors(split) == {}
        assert all_names(split) == sorted(n for s in sources for n in s.names)
    legs = {"S232132", "S231989", "F231091", "S232110"}
    assert legs < set(donors(all_names(split)))
    assert len(donors(all_names(split))) == 10


def test_same_seed_same_split(sources: Sequence[FakeSource]) -> None:
    first, again, other = (split_by_donor(sources, (7, 1, 2), seed) for seed in (4, 4, 5))
    assert first.sha256 == again.sha256
    assert first.subsets != other.subsets
    assert [len(donors(first.subsets[part])) for part in SUBSETS] == [7, 1, 2]


def test_donors_that_nobody_asked_for_are_named(sources: Sequence[FakeSource]) -> None:
    split = split_by_donor(sources, (5, 1, 2), 0)
    left = set(donors(n for s in sources for n in s.names)) - set(donors(all_names(split)))
    assert len(left) == 2
    assert split.notes[0].startswith("not used: donors ")
    assert all(donor in split.notes[0] for donor in left)


@pytest.mark.parametrize(
    ("amounts", "n", "expected"),
    [
        ((0.8, 0.1, 0.1), 14, (11, 2, 1)),
        ((0.8, 0.1, 0.1), 3, (1, 1, 1)),
        ((0.8, 0.1, 0.1), 100, (80, 10, 10)),
        ((0.5, 0.0, 0.5), 5, (3, 0, 2)),
        ((10, 1, 3), 14, (10, 1, 3)),
        ((2, 0, 1), 4, (2, 0, 1)),
        ((1, 0, 0), 7, (7, 0, 0)),
    ],
)
def test_counts_and_shares(
    amounts: tuple[float, float, float], n: int, expected: tuple[int, int, int]
) -> None:
    assert counts_of(amounts, n, "donors") == expected


@pytest.mark.parametrize(
    ("amounts", "text"),
    [
        ((0.8, 0.1, 0.1), "needs 3 donors, the data holds 2; one specimen is split --by anatomy"),
        ((10, 1, 3), "needs 14 donors, the data holds 2"),
        ((0.5, 0.1, 0.1), "expected whole numbers of donors or shares that add up to 1"),
        ((2, -1, 1), "expected no negative number"),
        ((0, 1, 1), "needs 2 donors"),
    ],
)
def test_amounts_that_cannot_be_are_refused(amounts: tuple[float, float, float], text: str) -> None:
    with pytest.raises(InputError, match=text):
        counts_of(amounts, 2, "donors")


@pytest.mark.parametrize("n_folds", [3, 4, None])
def test_folds_test_every_donor_once(sources: Sequence[FakeSource], n_folds: int | None) -> None:
    folds = donor_folds(sources, n_folds, seed=1)
    assert len(folds) == (n_folds or 10)
    tested = [donor for fold in folds for donor in donors(fold.subsets["test"])]
    assert sorted(tested) == sorted({s.donor for s in sources})
    for fold in folds:
        assert shared_donors(fold) == {}
        assert all(fold.subsets[part] for part in SUBSETS)


def test_too_few_donors_for_folds_are_refused(sources: Sequence[FakeSource]) -> None:
    with pytest.raises(InputError, match=r"2 folds of 10 donors \(.*expected 3 or more"):
        donor_folds(sources, 2, seed=0)
    with pytest.raises(InputError, match=r"1 folds of 1 donors \(F231091\)"):
        donor_folds(sources[:2], None, seed=0)


def test_published_split_has_the_published_specimens(sources: Sequence[FakeSource]) -> None:
    split = published_split(sources, 1, seed=0)
    numbers = {
        part: sorted({int(name[7:9]) for name in names}) for part, names in split.subsets.items()
    }
    assert numbers["test"] == [2, 7, 8]
    assert sorted(numbers["train"] + numbers["val"]) == [1, 3, 4, 5, 6, 9, 10, 11, 12, 13, 14]
    assert len(numbers["val"]) == 1
    everything = published_split(sources, 0, seed=0)
    assert shared_donors(everything) == {
        "S231989": ["train", "test"], "S232132": ["train", "test"],
    }  # fmt: skip


def test_published_split_says_what_is_missing(sources: Sequence[FakeSource]) -> None:
    assert published_split(sources[:14], 0, 0).notes[1] == (
        "specimens not in the data: 8, 9, 10, 11, 12, 13, 14"
    )
    with pytest.raises(InputError, match="0 of the test list"):
        published_split(sources[:2], 0, seed=0)


def test_split_by_frame_warns(sources: Sequence[FakeSource]) -> None:
    split = split_by_frame(sources, (0.8, 0.1, 0.1), seed=0)
    assert split.kind == "frame"
    assert split.notes == (FRAME_WARNING,)
    assert [len(split.subsets[part]) for part in SUBSETS] == [67, 9, 8]
    assert all_names(split) == sorted(n for s in sources for n in s.names)


@pytest.fixture
def split() -> Split:
    subsets = {
        "train": ("cadaver05_S232132L/record01/1", "cadaver05_S232132L/record01/2"),
        "val": ("cadaver02_F231218/record01/1",),
        "test": ("cadaver03_S231783/record01/1",),
    }
    return Split("donor", 3, subsets, ("a note",))


def test_split_survives_the_file_and_its_hash_is_the_file_s(split: Split, tmp_path: Path) -> None:
    path = tmp_path / "splits" / "a.json"
    write_split(split, path)
    assert read_split(path) == split
    assert hashlib.sha256(path.read_bytes()).hexdigest() == split.sha256
    assert [p.name for p in path.parent.iterdir()] == ["a.json"]


def test_leaking_donor_is_refused_by_name(split: Split, tmp_path: Path) -> None:
    other_leg = "cadaver07_S232132R/record01/1"
    leaking = replace(split, subsets={**split.subsets, "test": (other_leg,)})
    path = tmp_path / "a.json"
    with pytest.raises(InputError, match="donor S232132 is in train, test"):
        write_split(leaking, path)
    assert not path.exists()
    path.write_text(leaking.text())
    with pytest.raises(InputError, match=r"a\.json: donor S232132 is in train, test"):
        read_split(path)
    path.write_text(replace(leaking, kind="specimen").text())  # it does not claim otherwise
    assert read_split(path).kind == "specimen"


def test_name_in_two_subsets_is_refused(split: Split, tmp_path: Path) -> None:
    twice = split.subsets["train"][0]
    path = tmp_path / "a.json"
    path.write_text(replace(split, kind="frame", subsets={**split.subsets, "val": (twice,)}).text())
    with pytest.raises(InputError, match=f"{twice} is in train and in val"):
        read_split(path)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("{", "not a split, expected kind, seed and subsets in JSON"),
        ("[]", "not a split"),
        (json.dumps({"kind": "donor", "seed": 0}), "not a split"),
        (json.dumps({"kind": "best", "seed": 0, "subsets": {}}), "kind is 'best', expected one of"),
        (json.dumps({"kind": "donor", "seed": 0, "subsets": {"train": []}}), "subsets are train"),
    ],
)
def test_what_is_no_split_is_refused(content: str, text: str, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(content)
    with pytest.raises(InputError, match=text):
        read_split(path)


def test_files_that_cannot_be_read_or_written_are_one_line(split: Split, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot be read \(No such file"):
        read_split(tmp_path / "none.json")
    (tmp_path / "file").write_text("")
    with pytest.raises(WorkError, match=r"cannot be written"):
        write_split(split, tmp_path / "file" / "a.json")


def test_names_that_the_data_lacks_are_told(split: Split) -> None:
    gone = split.subsets["val"][0]
    there = [name for name in all_names(split) if name != gone]
    assert absent_names(split, there) == (gone,)
    assert absent_names(split, all_names(split)) == ()
