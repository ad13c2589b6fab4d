"""`navapp volume` as a user meets it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from navapp import cli
from navapp.config import load_settings
from navapp.demo import write_simulation
from navapp.state import DropReason
from navapp.sweep_volume import make_volume, parse_plan
from recon.simulator import SimulatedSweep, SimulatorSettings
from recon.volume import enclosing_grid
from tests.support.records import write_record
from tests.support.sweeps import AlteredSweep, each
from tracking.messages import PoseStatus
from tracking.sequences import SweepImage, SweepPose, open_sweep

PLAN = parse_plan(2.0, "nearest", "mean", fills_holes=False, is_plus_mean=None)

Navapp = Callable[..., tuple[int, str, str]]


@pytest.fixture
def navapp(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Navapp:
    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["navapp", "volume", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        captured = capfd.readouterr()
        return int(ended.value.code or 0), captured.out, captured.err

    return call


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sweep") / "record"
    write_record(folder)
    return folder


@pytest.mark.parametrize("suffix", [".mha", ".nrrd"])
def test_a_record_becomes_a_volume_in_ct_space(
    navapp: Navapp, record: Path, tmp_path: Path, suffix: str
) -> None:
    itk = pytest.importorskip("SimpleITK", reason="SimpleITK is not installed")
    out = tmp_path / f"volume{suffix}"
    code, said, _ = navapp(
        record, "--out", out, "--spacing", 2, "--compounding", "latest", "--interpolation", "linear"
    )
    assert code == 0
    assert "voxels of 2 mm from" in said
    assert "mm in ct" in said
    image = itk.ReadImage(str(out))
    assert image.GetSpacing() == (2.0, 2.0, 2.0)
    assert image.GetMetaData("CoordinateFrame").strip() == "ct"
    assert np.count_nonzero(itk.GetArrayFromImage(image)) > 100


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--out", "volume.vtk"), ".mha or .nrrd"),
        (("--out", "v.mha", "--spacing", "0"), "--spacing is 0.0, expected more than 0 mm"),
        (("--out", "v.mha", "--interpolation", "cubic"), "expected nearest or linear"),
        (("--out", "v.mha", "--compounding", "median"), "expected latest, maximum or mean"),
        (("--out", "v.mha", "--spacing", "0.01"), "take a larger spacing"),
        (("--out", "v.mha", "--calibration", "none.toml"), "none.toml: cannot be read"),
    ],
)
def test_wrong_input_is_one_line(
    navapp: Navapp, record: Path, tmp_path: Path, options: tuple[str, ...], words: str
) -> None:
    placed = [str(tmp_path / word) if word.endswith((".mha", ".vtk")) else word for word in options]
    code, _, said = navapp(record, *placed)
    assert code == 2
    assert said.startswith("navapp: ")
    assert words in said
    assert said.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_disk_that_takes_nothing_is_a_failure(
    navapp: Navapp, record: Path, tmp_path: Path
) -> None:
    code, _, said = navapp(record, "--out", tmp_path / "nowhere" / "v.mha", "--spacing", 2)
    assert code == 1
    assert "cannot be written" in said


def test_images_without_a_pose_are_counted_and_left_out(record: Path, tmp_path: Path) -> None:
    hidden_s = next(iter(open_sweep(record).events())).t_s

    def hide(event: SweepImage | SweepPose) -> SweepImage | SweepPose:
        if isinstance(event, SweepPose) and event.t_s == hidden_s:
            return replace(event, status=PoseStatus.INVALID)
        return event

    sweep = AlteredSweep(open_sweep(record), each(hide))
    result = make_volume(sweep, record, tmp_path / "v.mha", load_settings(None, {}), PLAN)
    assert (result.n_images, result.n_inserted) == (6, 5)
    assert result.skipped == {DropReason.POSE_INVALID: 1}


def test_images_lie_where_the_probe_was_when_they_were_taken(tmp_path: Path) -> None:
    """They are stamped 80 ms late, at up to 40 mm/s, between poses, and placed in CT space."""
    sweep = SimulatedSweep(SimulatorSettings(seed=3, n_images=12, image_size_px=(64, 48)))
    calibration, _ = write_simulation(sweep, tmp_path / "simulation")
    settings = load_settings(
        None, {"geometry": {"calibration": calibration, "registration": calibration}}
    )
    result = make_volume(sweep, tmp_path, tmp_path / "v.nrrd", settings, PLAN)
    assert (result.frame, result.n_inserted, result.skipped) == ("ct", 12, {})
    truth = enclosing_grid(
        [sweep.A_ct_pixel(k) for k in range(12)], (0, 0, 64, 48), PLAN.spacing_mm
    )
    np.testing.assert_allclose(result.grid.origin_mm, truth.origin_mm, rtol=0.0, atol=0.05)
