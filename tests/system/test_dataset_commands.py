"""The commands `check`, `stats`, `overlay` and `split`, as a user calls them."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from inference.segmenter import default_model_path
from offline_tools import cli
from offline_tools.datasets.split import read_split
from tests.support.datasets import write_calibration, write_dataset, write_record

_SPECIMENS = ("cadaver01_F231091", "cadaver02_F231218", "cadaver05_S232132L", "cadaver07_S232132R")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "AI_Ultrasound_dataset"
    write_dataset(folder, _SPECIMENS)
    write_calibration(tmp_path)
    return folder


class Call:
    """What a call of `offline-tools` answered."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):  # type: ignore[no-untyped-def]
    def call(*arguments: object) -> Call:
        monkeypatch.setattr(sys, "argv", ["offline-tools", *map(str, arguments)])
        monkeypatch.setattr(cli.console, "file", sys.stdout)
        with pytest.raises(SystemExit) as ending:
            cli.main()
        printed = capsys.readouterr()
        return Call(int(ending.value.code or 0), printed.out, printed.err)

    return call


def test_check_ends_with_1_where_something_is_wrong(run, root: Path) -> None:  # type: ignore[no-untyped-def]
    good = run("check", "--data", root)
    assert (good.code, good.err) == (0, "")
    assert good.out == (
        "4 records: 12 images, 12 labels, 12 images with a usable label; 0 faults\n"
    )
    (root / _SPECIMENS[0] / "record01" / "Labels" / "1050_label.png").unlink()
    bad = run("check", "--data", root)
    assert bad.code == 1
    assert bad.out.splitlines() == [
        "cadaver01_F231091/record01/1050: no label",
        "4 records: 12 images, 11 labels, 11 images with a usable label; 1 faults",
    ]


def test_stats_are_json_where_asked(run, root: Path) -> None:  # type: ignore[no-untyped-def]
    found = json.loads(run("stats", "--data", root, "--json").out)
    assert (found["n_frames"], found["donors"]) == (12, ["F231091", "F231218", "S232132"])
    said = run("stats", "--data", root).out
    assert "12 images with a label, 0 left out" in said
    assert "donors: F231091, F231218, S232132" in said


def test_default_dataset_is_found_beside_the_working_folder(  # type: ignore[no-untyped-def]
    run, tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    missing = run("stats", "--json")
    assert missing.code == 2
    assert missing.err == (
        "offline-tools: --data is missing, and there is no ../data/AI_Ultrasound_dataset\n"
    )
    (tmp_path / "data").mkdir()
    root.rename(tmp_path / "data" / root.name)
    assert json.loads(run("stats", "--json").out)["n_frames"] == 12


def test_split_by_donor_is_written_audited_and_the_same_again(  # type: ignore[no-untyped-def]
    run, root: Path, tmp_path: Path
) -> None:
    out = tmp_path / "split.json"
    options = ("split", "--data", root, "--train", 1, "--val", 1, "--test", 1, "--out", out)
    done = run(*options)
    assert done.code == 0, done.err
    split = read_split(out)
    assert f"split.json: by donor, sha256 {split.sha256}" in done.out
    homes = [part for part, names in split.subsets.items() if any("S232132" in n for n in names)]
    assert len(homes) == 1
    assert len(split.subsets[homes[0]]) == 6
    assert any(f"{homes[0]} has 6 images of 1 donor (S232132)" in note for note in split.notes)
    first = out.read_bytes()
    assert run(*options).code == 0
    assert out.read_bytes() == first


def test_published_split_warns_of_its_shared_donor(run, root: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    done = run("split", "--data", root, "--preset", "ultrabones", "--val", 0,
               "--out", tmp_path / "s.json")  # fmt: skip
    assert done.code == 0, done.err
    assert "donor S232132 is in train, test" in done.out
    assert read_split(tmp_path / "s.json").kind == "specimen"


def test_blocks_of_one_bone_are_one_file_each(run, root: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    write_record(root / _SPECIMENS[0] / "record01", n_images=30)
    arguments = ("split", "--data", root / _SPECIMENS[0], "--by", "anatomy", "--guard-mm", "2.5",
                 "--out")  # fmt: skip
    done = run(*arguments, tmp_path / "blocks")
    assert done.code == 0, done.err
    assert sorted(p.name for p in (tmp_path / "blocks").iterdir()) == ["fold1.json", "fold2.json"]
    only = run(*arguments, tmp_path / "two.json", "--fold", 2)
    assert only.code == 0, only.err
    split = read_split(tmp_path / "two.json")
    assert split.sha256 == read_split(tmp_path / "blocks" / "fold2.json").sha256
    assert [len(split.subsets[part]) for part in ("train", "val", "test")] == [10, 1, 15]
    assert any("cadaver01" in n or "F231091" in n for n in split.notes)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (("--by", "luck"), "--by is 'luck', expected one of donor, anatomy, frame"),
        (("--by", "anatomy"), "--by anatomy splits one specimen"),
        (("--train", "10", "--val", "1", "--test", "3"), "needs 14 donors, the data holds 3"),
        (("--preset", "own"), "--preset is 'own', expected ultrabones"),
        (("--by", "frame", "--folds", "3"), "--folds and --leave-one-out are for --by donor"),
        (("--folds", "3", "--fold", "4"), "--fold is 4, expected 1 to 3"),
        (("--test", "1"), "--train is missing"),
    ],
)
def test_splits_that_cannot_be_are_one_line(  # type: ignore[no-untyped-def]
    run, root: Path, tmp_path: Path, options: tuple[str, ...], text: str
) -> None:
    done = run("split", "--data", root, "--out", tmp_path / "s.json", *options)
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert text in done.err
    assert not (tmp_path / "s.json").exists()


def test_overlays_show_the_label_and_what_the_network_says(  # type: ignore[no-untyped-def]
    run, root: Path, tmp_path: Path
) -> None:
    split = tmp_path / "s.json"
    assert run("split", "--data", root, "--folds", 3, "--fold", 1, "--out", split).code == 0
    names = read_split(split).subsets["test"]
    done = run("overlay", "--data", root, "--split", split, "--model", default_model_path(),
               "--out", tmp_path / "o")  # fmt: skip
    assert done.code == 0, done.err
    written = {path.name for path in (tmp_path / "o").iterdir()}
    assert written == {f"{n.replace('/', '_')}.png" for n in names} | {"contact_sheet.png"}
    picture = np.array(Image.open(tmp_path / "o" / f"{names[0].replace('/', '_')}.png"))
    # The label is at row 20, columns 30 to 69, three pixels wide; a prediction may lie over it.
    green = (picture == (40, 230, 60)).all(axis=2)
    assert green[19:22, 29:71].sum() == green.sum()
    assert green.sum() > 60
    few = run("overlay", "--data", root, "--count", 2, "--out", tmp_path / "few")
    assert "few: 2 pictures, and contact_sheet.png" in few.out
    gone = run("overlay", "--data", root, "--split", split, "--subset", "best", "--out", tmp_path)
    assert (gone.code, "--subset is 'best'" in gone.err) == (2, True)
