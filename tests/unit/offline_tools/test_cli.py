"""The command's door: one line and an exit code for every expected error."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
from pathlib import Path

import pytest

from inference.contract import read_contract
from offline_tools import cli


def answer(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str
) -> tuple[int, str]:
    """Exit code and standard error of a call."""
    monkeypatch.setattr(sys, "argv", ["offline-tools", *arguments])
    with pytest.raises(SystemExit) as ending:
        cli.main()
    assert isinstance(ending.value.code, int)
    return ending.value.code, capsys.readouterr().err


def test_importing_the_command_does_not_bring_torch() -> None:
    code = "import sys, offline_tools.cli; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_help_ends_well(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert answer(monkeypatch, capsys, "--help") == (0, "")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("forge",), "No such command 'forge'"),
        (("train", "--out", "x"), "--data"),
        (("train", "--data", "{tmp}", "--out", "x"), "{tmp}: no record there"),
        (("train", "--data", "{tmp}", "--out", "x", "--preset", "best"), "--preset is 'best'"),
        (("export", "{tmp}", "--out", "{tmp}/m.onnx"), "run {tmp}: no usable checkpoint there"),
        (("evaluate", "--model", "m", "--out", "x"), "either --data or --simulated"),
        (
            ("evaluate", "--model", "{tmp}/m.onnx", "--out", "{tmp}", "--simulated", "1"),
            "{tmp}/m.onnx: cannot be read",
        ),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_2(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    arguments: tuple[str, ...],
    text: str,
) -> None:
    pytest.importorskip("torch", reason="torch comes with the extra `train`")
    filled = [argument.format(tmp=tmp_path) for argument in arguments]
    code, error = answer(monkeypatch, capsys, *filled)
    assert code == 2
    assert text.format(tmp=tmp_path) in error
    assert error.startswith("offline-tools: ")
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (KeyboardInterrupt(), 130, "interrupted"),
        (ModuleNotFoundError("No module", name="torch"), 1, "torch is missing: run"),
        (ZeroDivisionError("by zero"), 1, "unexpected ZeroDivisionError: by zero"),
        (
            OSError(errno.ENOSPC, "No space left on device"),
            1,
            "offline-tools: cannot be written (No space left on device); what was finished before",
        ),
        (
            FileExistsError(errno.EEXIST, "File exists", "out"),
            2,
            "out: cannot be used (File exists",
        ),
    ],
)
def test_what_breaks_the_work_has_its_own_exit_code(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    code: int,
    text: str,
) -> None:
    def breaks(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(cli, "app", breaks)
    found, said = answer(monkeypatch, capsys)
    assert found == code
    assert text in said
    assert said.count("\n") == 1


@pytest.fixture
def short_record(record01: Path, tmp_path: Path) -> Path:
    """The first four images of a record, with the calibration and the surface beside it."""
    for companion in ("../../calibration.json", "CT_bone_model.stl"):
        source = (record01.parent / companion).resolve()
        (tmp_path / source.name).symlink_to(source)
    record = tmp_path / "specimen" / "record01"
    record.mkdir(parents=True)
    (record / "UltrasoundImages").symlink_to((record01 / "UltrasoundImages").resolve())
    lines = (record01 / "tracking.csv").read_text().splitlines()[:5]
    (record / "tracking.csv").write_text("\n".join(lines) + "\n")
    return record


def test_from_a_record_to_a_judged_network(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    short_record: Path,
) -> None:
    pytest.importorskip("torch", reason="torch comes with the extra `train`")
    run, model, out = tmp_path / "run", tmp_path / "m.onnx", tmp_path / "judged"
    train = ("train", "--preset", "first", "--data", str(short_record), "--out", str(run))
    assert answer(monkeypatch, capsys, *train, "--epochs", "1", "--simulated", "2") == (0, "")
    assert answer(monkeypatch, capsys, "export", str(run), "--out", str(model)) == (0, "")
    judge = ("evaluate", "--model", str(model), "--data", str(short_record), "--out", str(out))
    assert answer(monkeypatch, capsys, *judge) == (0, "")

    data = read_contract(model).provenance["data"]
    assert list(data["records"]) == ["specimen/record01"]
    assert (data["n_recorded"], data["n_simulated"]) == (4, 2)
    evaluation = json.loads((out / "evaluation.json").read_text())
    assert evaluation["n_frames"] == 4
    assert evaluation["data"]["records"] == ["specimen/record01"]
    assert len(evaluation["per_frame_mean"]["f1"]) == len(evaluation["thresholds_mm"])


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        (["train", "--data", "a", "b", "--out", "r"], "train --data a --data b --out r"),
        (["train", "--out", "r", "--data", "a"], "train --out r --data a"),
        (["evaluate", "--data", "a", "--data", "b"], "evaluate --data a --data b"),
    ],
)
def test_a_list_may_follow_one_option(given: list[str], meant: str) -> None:
    assert " ".join(cli._repeated(given, "--data")) == meant
