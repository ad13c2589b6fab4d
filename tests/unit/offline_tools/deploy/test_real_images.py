"""Which images give ranges, and which judge."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from offline_tools.datasets.split import Split, write_split

pytest.importorskip("torch", reason="torch comes with the extra `train`")

from offline_tools.deploy import real_images as module
from offline_tools.errors import InputError

NAMES = [f"a/record{record}/{k}" for record in (1, 2) for k in range(20)]


@pytest.fixture(autouse=True)
def two_records(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = (NAMES[:20], NAMES[20:])
    records = [SimpleNamespace(names=part, load=part.__getitem__) for part in parts]
    monkeypatch.setattr(module, "open_records", lambda folders: records)


def test_without_a_split_all_images_serve_both_and_can_be_read_again() -> None:
    images = module.real_images([Path("any")], None)
    assert list(images.validation()) == NAMES == list(images.validation())
    calibration = list(images.calibration())
    assert sorted(calibration) == sorted(NAMES)
    assert len({str(name)[:9] for name in calibration[:6]}) == 2  # the first come from both records


def test_a_split_keeps_ranges_and_judgement_apart(tmp_path: Path) -> None:
    split = Split("frame", 0, {"train": tuple(NAMES[:30]), "val": tuple(NAMES[30:35]), "test": ()})
    write_split(split, tmp_path / "split.json")
    images = module.real_images([Path("any")], tmp_path / "split.json")
    assert list(images.validation()) == NAMES[30:35]
    assert sorted(images.calibration()) == sorted(NAMES[:30])


def test_a_subset_without_images_is_refused(tmp_path: Path) -> None:
    split = Split("frame", 0, {"train": tuple(NAMES), "val": ("b/c/1",), "test": ()})
    write_split(split, tmp_path / "s.json")
    with pytest.raises(InputError, match="no image of its subset 'val' is in the data given"):
        module.real_images([Path("any")], tmp_path / "s.json")
