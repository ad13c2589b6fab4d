"""The commands `evaluate`, `report`, `predict` and `compare` on a simulated record."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from inference.segmenter import default_model_path
from offline_tools.datasets.records import open_record
from recon.mesh_io import read_mesh, write_mesh
from tests.support.records import write_record

pytestmark = pytest.mark.timeout(120)

N_IMAGES = 6


def run_tool(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "from offline_tools.cli import main; main()", *arguments],
        capture_output=True,
        encoding="utf-8",
        env={**os.environ, "COLUMNS": "100"},
        check=False,
    )


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A simulated record with the surface where a record has it."""
    folder = tmp_path_factory.mktemp("data") / "cadaver77" / "record01"
    folder.mkdir(parents=True)
    write_record(folder, n_images=N_IMAGES)
    write_mesh(folder / "CT_bone_model.stl", read_mesh(folder / "bone.ply"))
    return folder


@pytest.fixture(scope="module")
def evaluated(record: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("evaluated")
    done = run_tool(
        "evaluate", "--model", str(default_model_path()), "--data", str(record),
        "--out", str(out), "--compat", "ultrabones", "--examples", str(record / "UltrasoundImages"),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "lenient" in done.stdout
    assert f"{N_IMAGES} images, all labelled images" in done.stdout
    return out


def test_evaluation_has_every_key_and_measures_space(evaluated: Path) -> None:
    found = json.loads((evaluated / "evaluation.json").read_text())
    assert found["n_frames"] == N_IMAGES
    assert len(found["thresholds_mm"]) == 21
    for way in ("per_frame_mean", "pooled"):
        assert {len(values) for values in found[way].values()} == {21}
        assert list(found[way]) == ["accuracy", "completeness", "f1"]
    for key in (
        "n_empty_prediction", "f1_at_0.5_p10", "completeness_at_1.0_incidence_le_60",
        "share_ge_2mm", "model", "data", "labels_sha256", "by_intensity", "by_incidence", "dice",
        "iou", "otsu_threshold", "confidence", "peak", "latency_ms",
    ):  # fmt: skip
        assert key in found
    assert found["per_frame_mean"]["f1"][10] > 0.5  # simulated bone is not hard
    assert 0.0 < found["cloud_to_ct_mm"]["raw"]["mean"] < 2.0
    assert found["cloud_to_ct_mm"]["refined_in_bone"] is None
    assert found["compat"]["rule"] == "ultrabones"
    assert found["data"]["records"] == ["cadaver77/record01"]
    page = (evaluated / "report.html").read_text()
    assert "Images without labels" in page
    assert str(evaluated) not in page


def test_only_the_subset_of_a_split_is_judged(record: Path, tmp_path: Path) -> None:
    names = open_record(record).names
    split = tmp_path / "split.json"
    subsets = {"train": names[:3], "val": names[3:4], "test": names[4:]}
    split.write_text(json.dumps({"kind": "frame", "seed": 0, "subsets": subsets, "notes": ["n"]}))
    judge = (
        "evaluate", "--model", str(default_model_path()), "--data", str(record),
        "--split", str(split), "--out", str(tmp_path / "out"),
    )  # fmt: skip
    done = run_tool(*judge)
    assert done.returncode == 0, done.stderr
    assert f"{N_IMAGES - 4} images, subset 'test' of split.json" in done.stdout
    with (tmp_path / "out" / "frames.csv").open() as file:
        assert [row["name"] for row in csv.DictReader(file)] == list(names[4:])
    found = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert found["data"]["split"]["subset"] == "test"
    for more, text in (
        (("--subset", "holdout"), "has no subset 'holdout'"),
        (("--split", str(tmp_path / "none.json")), "cannot be read"),
    ):
        done = run_tool(*judge, *more)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
        assert text in done.stderr
    split.write_text(json.dumps({"kind": "specimen", "seed": 0, "subsets": subsets}))
    done = run_tool(*judge)
    assert "is in several subsets: no test of unseen donors" in " ".join(done.stdout.split())
    assert "<b>The split leaks:</b> donor " in (tmp_path / "out" / "report.html").read_text()
    subsets["test"] = ["elsewhere/record09/1"]
    split.write_text(json.dumps({"kind": "frame", "seed": 0, "subsets": subsets, "notes": []}))
    done = run_tool(*judge)
    assert done.returncode == 2
    assert "no image of subset 'test'" in done.stderr


def test_report_is_written_again_from_its_folder(evaluated: Path, tmp_path: Path) -> None:
    out = tmp_path / "again.html"
    done = run_tool("report", str(evaluated), "--out", str(out))
    assert done.returncode == 0, done.stderr
    assert "Worst frames" in out.read_text()
    done = run_tool("report", str(tmp_path), "--out", str(out))
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)


def test_images_are_predicted_without_labels(record: Path, tmp_path: Path) -> None:
    model, out = str(default_model_path()), tmp_path / "found"
    done = run_tool("predict", model, str(record), "--out", str(out))
    assert done.returncode == 0, done.stderr
    masks = sorted((out / "masks").iterdir())
    assert [path.name for path in masks] == [f"{1000 + 50 * k}.png" for k in range(N_IMAGES)]
    with Image.open(masks[0]) as image:
        mask = np.array(image)
    assert set(np.unique(mask)) <= {0, 255}
    with np.load(out / "lines.npz") as arrays:
        u, v = np.rint(arrays["points_px"][arrays["image"] == 0]).astype(int).T
    assert mask[v, u].mean() > 0.95 * 255  # the line runs inside the mask
    volume = tmp_path / "ct.nii.gz"
    volume.write_bytes(b"")
    done = run_tool("predict", model, str(volume), "--out", str(out))
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "volumes cannot be predicted yet" in done.stderr


def test_an_evaluation_compared_with_itself_does_not_differ(evaluated: Path) -> None:
    path = str(evaluated / "evaluation.json")
    done = run_tool("compare", path, path)
    assert done.returncode == 0, done.stderr
    assert "+0.0 %" in done.stdout
    assert "Bonferroni" in done.stdout


def test_wrong_counting_is_refused(record: Path, tmp_path: Path) -> None:
    done = run_tool(
        "evaluate", "--model", str(default_model_path()), "--data", str(record),
        "--out", str(tmp_path / "o"), "--compat", "nnunet",
    )  # fmt: skip
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "--compat is 'nnunet', expected ultrabones" in done.stderr
    assert not (tmp_path / "o").exists()
