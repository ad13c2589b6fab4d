"""The command `label`: a kill at any moment, several processes, bad input."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.records import write_record

pytestmark = pytest.mark.timeout(120)

_KILL_AFTER_TWO = """
import os, signal
from pathlib import Path
from offline_tools.labeling.job import LabelJob
from offline_tools.labeling.run import label_record

def die(n_done, n_total):
    if n_done == 2:
        os.kill(os.getpid(), signal.SIGKILL)

record = Path({record!r})
label_record(LabelJob(record, (record / "bone.ply",), Path({out!r})), n_workers=1, on_progress=die)
"""


_INTERRUPT_AFTER_ONE = """
from pathlib import Path
from offline_tools.labeling.job import LabelJob
from offline_tools.labeling.run import label_record

def stop(n_done, n_total):
    raise KeyboardInterrupt

if __name__ == "__main__":
    record = Path({record!r})
    job = LabelJob(record, (record / "bone.ply",), Path({out!r}))
    label_record(job, n_workers=2, on_progress=stop)
"""


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("record")
    write_record(folder, n_images=5)
    return folder


def run_label(record: Path, out: Path, *more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            sys.executable, "-c", "from offline_tools.cli import main; main()", "label",
            str(record), "--ct", str(record / "bone.ply"), "--out", str(out), *more,
        ],
        capture_output=True,
        encoding="utf-8",
        check=False,
    )  # fmt: skip


def fates(out: Path) -> list[tuple[str, ...]]:
    """All of labels.csv but the time that each frame took."""
    with (out / "labels.csv").open() as file:
        return [tuple(v for k, v in row.items() if k != "seconds") for row in csv.DictReader(file)]


def test_kill_9_loses_no_finished_frame_and_processes_change_nothing(
    record: Path, tmp_path: Path
) -> None:
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    code = _KILL_AFTER_TWO.format(record=str(record), out=str(killed))
    died = subprocess.run([sys.executable, "-c", code], check=False)
    assert died.returncode == -9
    continued = run_label(record, killed)
    assert continued.returncode == 0, continued.stderr
    assert "5 frames: " in continued.stdout
    assert "2 done before" in continued.stdout
    alone = run_label(record, whole, "--workers", "2")
    assert alone.returncode == 0, alone.stderr
    assert fates(killed) == fates(whole)
    assert (whole / "report.html").stat().st_size > 10_000


def test_interrupt_leaves_no_process_waiting_for_all_frames(record: Path, tmp_path: Path) -> None:
    script = tmp_path / "interrupted.py"
    script.write_text(_INTERRUPT_AFTER_ONE.format(record=str(record), out=str(tmp_path / "o")))
    done = subprocess.run([sys.executable, str(script)], capture_output=True, check=False)
    assert b"KeyboardInterrupt" in done.stderr
    assert len((tmp_path / "o" / "frames.jsonl").read_text().splitlines()) == 2


def test_bad_input_is_one_line_and_exit_code_2(record: Path, tmp_path: Path) -> None:
    for more, text in (
        (("--mode", "both"), "--mode is 'both'"),
        (("--ct", str(tmp_path / "none.stl")), "no such file"),
        (("--calibration", str(tmp_path / "none.json")), "cannot be read"),
    ):
        done = run_label(record, tmp_path / "o", *more)
        assert done.returncode == 2
        assert text in done.stderr
        assert done.stderr.count("\n") == 1
    assert not (tmp_path / "o").exists()
