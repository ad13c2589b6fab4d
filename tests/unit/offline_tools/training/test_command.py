"""What `train` puts together from records, a split and simulated bones."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from offline_tools.datasets.images import LabelledImage
from offline_tools.datasets.simulated import SimulatedImages
from offline_tools.datasets.split import Split, write_split
from offline_tools.errors import InputError
from offline_tools.training import command
from offline_tools.training.settings import TrainSettings, checked
from tests.support.datasets import FakeSource


class Painted:
    """Four painted images, as a record of one specimen."""

    record, sha256 = "record01", "0" * 64
    label_note: str | None = None

    def __init__(self, specimen: str, problems: tuple[str, ...] = ()) -> None:
        self.specimen, self.donor, self.problems = specimen, specimen, problems
        self.names = tuple(f"{specimen}/record01/{k}" for k in range(4))
        self._images = SimulatedImages(700, 4)

    def load(self, index: int) -> LabelledImage:
        return replace(self._images.load(index), name=self.names[index])


@pytest.fixture
def settings() -> TrainSettings:
    return checked({"simulated": {"n": 3}, "input": {"size_px": (64, 64)}}, "test")


@pytest.fixture(autouse=True)
def records(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [Painted("cadaver01"), Painted("cadaver02", ("7.png: no label", "8.png: no label"))]
    monkeypatch.setattr(command, "open_records", lambda folders: found)


def split_file(folder: Path, val: tuple[str, ...], train: str = "cadaver01") -> Path:
    path = folder / "split.json"
    names = tuple(f"{train}/record01/{k}" for k in range(4))
    write_split(Split("donor", 0, {"train": names, "val": val, "test": ()}, ("a note",)), path)
    return path


def test_without_a_split_all_records_train_and_simulated_images_validate(
    settings: TrainSettings,
) -> None:
    counts: list[tuple[int, int]] = []
    found = command.prepare(
        settings, [], None, None, lambda n, n_images: counts.append((n, n_images))
    )
    assert len(found.training) == 8 + 3
    assert [name.split("/")[0] for name in found.training.names[-3:]] == ["simulated"] * 3
    assert len(found.validation) == 20
    assert not set(found.validation.names) & set(found.training.names)
    assert counts[10] == (11, 11)
    assert found.lines == (
        "cadaver02/record01: 2 images left out, such as 7.png: no label",
        "8 recorded images of 2 donors and 3 simulated ones to train; validation: 20 simulated "
        "images (no --split)",
    )
    assert found.description["split"] is None
    assert found.description["data"]["records"] == {
        "cadaver01/record01": "0" * 64,
        "cadaver02/record01": "0" * 64,
    }


def test_a_split_says_what_trains_and_what_validates(
    settings: TrainSettings, tmp_path: Path
) -> None:
    path = split_file(tmp_path, ("cadaver02/record01/1", "cadaver02/record01/2"))
    found = command.prepare(settings, [], path, tmp_path / "cache")
    assert {name.split("/")[0] for name in found.training.names} == {"cadaver01", "simulated"}
    assert found.validation.names == ("cadaver02/record01/1", "cadaver02/record01/2")
    assert found.lines[-1].endswith("validation: 2 images of the split's val")
    about = found.description["split"]
    assert (about["kind"], about["n"]) == ("donor", {"train": 4, "val": 2, "test": 0})
    assert len(about["sha256"]) == 64
    assert about["notes"] == ["a note"]


def test_an_empty_val_leaves_validation_to_simulated_images(
    settings: TrainSettings, tmp_path: Path
) -> None:
    found = command.prepare(settings, [], split_file(tmp_path, ()), None)
    assert found.lines[-1].endswith("validation: 20 simulated images (the split's val is empty)")


def test_a_split_of_other_images_is_refused(settings: TrainSettings, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="4 of 7 names are of no image here, such as cadaver03"):
        command.prepare(settings, [], split_file(tmp_path, (), train="cadaver03"), None)


def test_a_split_that_lost_its_guard_band_is_refused(
    settings: TrainSettings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    bone = FakeSource(record="record01", positions_mm=[0.0, 1.0, 9.0])
    monkeypatch.setattr(command, "open_records", lambda folders: [bone])
    train, test, other = bone.names
    path = tmp_path / "split.json"
    subsets: dict[str, tuple[str, ...]] = {"train": (train,), "val": (other,), "test": (test,)}
    write_split(Split("anatomy", 0, subsets), path)
    with pytest.raises(InputError, match=r"split\.json: .*/0 trains and lies 1\.0 mm"):
        command.prepare(settings, [], path, None)


@pytest.mark.parametrize(
    ("specimen", "is_credited"), [("cadaver03_S231783", True), ("knee", False)]
)
def test_only_whose_data_it_is_gets_credit_and_makeshift_labels_are_told(
    settings: TrainSettings, monkeypatch: pytest.MonkeyPatch, specimen: str, is_credited: bool
) -> None:
    record = Painted(specimen)
    record.label_note = "no labels there"
    monkeypatch.setattr(command, "open_records", lambda folders: [record])
    found = command.prepare(settings, [], None, None)
    assert ("credit" in found.description["data"]) is is_credited
    assert found.lines[0] == "no labels there"


def test_recipes_come_from_a_preset_or_a_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("epochs = 3")
    assert command.recipe(None, path)[0].epochs == 3
    assert command.recipe("ultrabones-paper", None)[1].startswith("Supplement of UltraBones100k")
    assert command.recipe(None, None) == command.recipe("default", None)
    with pytest.raises(InputError, match="either --preset or --config"):
        command.recipe("first", path)


@pytest.mark.parametrize(
    ("preset", "line"),
    [
        (
            "ultrabones-readme",
            "loss 1 bce + 1 dice; adamw 1e-05, step schedule (every_epochs 10, factor 0.8); "
            "100 epochs, batch 32, seed 0",
        ),
        (
            "ultrabones-paper",
            "loss 1 bce + 1 dice; adam 1e-05, step schedule (every_epochs 10, factor 0.9); "
            "100 epochs, batch 32, seed 0",
        ),
    ],
)
def test_summary_shows_the_published_numbers(preset: str, line: str) -> None:
    assert command.summary(command.recipe(preset, None)[0]) == line


@pytest.mark.parametrize("arch", ["vgg", "smp-fpn-nothing"])
def test_an_unknown_network_is_told_before_any_data_is_read(
    settings: TrainSettings, monkeypatch: pytest.MonkeyPatch, arch: str
) -> None:
    monkeypatch.setattr(command, "open_records", lambda folders: pytest.fail("read the data"))
    with pytest.raises(InputError, match=f"arch is '{arch}'"):
        command.prepare(settings.changed({"arch": arch}), [], None, None)
