"""`offline-tools run`: from a CT surface and a sweep to a network that the live program takes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="torch comes with the extra `train`")

from inference.contract import read_contract
from inference.segmenter import Segmenter
from offline_tools import cli
from offline_tools.datasets.split import Split, write_split
from tests.support.records import write_record


def go(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr("sys.argv", ["offline-tools", "run", *arguments])
    with pytest.raises(SystemExit) as ending:
        cli.main()
    return int(ending.value.code or 0)


@pytest.mark.timeout(180)
def test_ct_and_a_sweep_become_a_network_and_a_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    record, out = tmp_path / "leg01_F123456" / "record01", tmp_path / "out"
    record.mkdir(parents=True)
    write_record(record, n_images=24)
    asked = ("--ct", str(record / "bone.ply"), "--sweep", str(record), "--out", str(out))
    short = ("--preset", "first", "--epochs", "1", "--simulated", "2")
    assert go(monkeypatch, *asked, *short) == 0

    evaluation = json.loads((out / "evaluation" / "evaluation.json").read_text())
    split = json.loads((out / "split.json").read_text())
    assert evaluation["n_frames"] == len(split["subsets"]["test"]) > 0
    assert evaluation["data"]["seen_in_training"] is None
    assert f"test has {evaluation['n_frames']} images of 1 donor (F123456)" in split["notes"]
    assert "credit" not in read_contract(out / "model.onnx").provenance["data"]
    assert "</html>" in (out / "evaluation" / "report.html").read_text()
    contract = read_contract(out / "model.onnx")
    assert contract.provenance["data"]["n_recorded"] == len(split["subsets"]["train"])
    assert Segmenter(out / "model.onnx", "cpu").prepare_for((640, 480), (0.08, 0.08))

    written = (out / "run" / "checkpoint.pt").read_bytes()
    capsys.readouterr()
    assert go(monkeypatch, *asked, *short) == 0  # continues: nothing is trained again
    said = capsys.readouterr().out
    assert "epoch 1/1" not in said
    assert (out / "run" / "checkpoint.pt").read_bytes() == written

    other = tmp_path / "leg01_F123456" / "record02"
    other.mkdir()
    write_record(other, n_images=4)
    assert go(monkeypatch, *asked, "--sweep", str(other), *short) == 2
    assert "made without leg01_F123456/record02, which would not be used" in capsys.readouterr().err


@pytest.mark.timeout(180)
def test_a_split_without_validation_images_still_becomes_a_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    record, out = tmp_path / "leg01_F123456" / "record01", tmp_path / "out"
    record.mkdir(parents=True)
    write_record(record, n_images=8)
    names = [f"leg01_F123456/record01/{1000 + 50 * k}" for k in range(8)]
    subsets = {"train": tuple(names[:5]), "val": (), "test": tuple(names[5:])}
    write_split(Split("frame", 0, subsets), out / "split.json")
    asked = ("--ct", str(record / "bone.ply"), "--sweep", str(record), "--out", str(out))
    assert go(monkeypatch, *asked, "--preset", "first", "--epochs", "1", "--simulated", "2") == 0
    assert "peaks are shown as they are; nothing to evaluate" in capsys.readouterr().out
    assert read_contract(out / "model.onnx").confidence is None


def test_a_folder_without_sweeps_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ("--ct", "bone.stl", "--sweep", str(tmp_path), "--out", str(tmp_path / "out"))
    assert go(monkeypatch, *asked) == 2
    assert "no sweep there, expected a record" in capsys.readouterr().err
