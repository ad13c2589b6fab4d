"""The report: everything inside one file, every number where it belongs."""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from inference.contract import ModelContract
from offline_tools.datasets.images import LabelledImage
from offline_tools.errors import InputError
from offline_tools.judging.evaluate import judge, write_judgement
from offline_tools.judging.report import open_folder, write_report
from tests.support.judging import NOTHING, Script, flat

Make = Callable[..., LabelledImage]


@pytest.fixture
def evaluation(script: Script, labelled: Make, tmp_path: Path) -> Path:
    """The folder of an evaluation of three frames: 0.3 mm off, far off, silent."""
    script.lines += [flat(203.0), flat(240.0), NOTHING]
    images = [labelled(name) for name in ("a/<b>/1", "a/b/2", "a/b/3")]
    judgement = judge(Path("m.onnx"), images, with_compat=True)
    judgement.evaluation["data"] = {"records": ["a/b"], "split": {"kind": "frame", "notes": ["n"]}}
    return write_judgement(judgement, tmp_path / "evaluation").parent


@pytest.fixture
def run(tmp_path: Path, contract: ModelContract) -> Path:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "log.csv").write_text(
        "epoch,train_loss,validation_loss,validation_f1,seconds\n1,2.0,2.1,,3\n2,1.0,1.2,0.5,3\n"
    )
    description = {
        "contract": contract.to_metadata(),
        "settings": {"epochs": 2, "optimiser": {"name": "AdamW"}},
        "reached": {"epoch": 2},
        "data": {"records": {"a/b": "0" * 64}, "credit": "Somebody, CC BY 4.0"},
    }
    (folder / "run.json").write_text(json.dumps(description))
    return folder


def written(run: Path | None, folder: Path | None, out: Path) -> str:
    _, evaluation, pictures = open_folder(folder) if folder else (None, {}, {})
    write_report(run, evaluation, pictures, out)
    return out.read_text(encoding="utf-8")


def test_page_needs_nothing_else(run: Path, evaluation: Path, tmp_path: Path) -> None:
    page = written(run, evaluation, tmp_path / "r.html")
    assert not re.findall(r'(?:src|href)="(?!data:)', page)
    assert not re.findall(r"https?://|@import|url\(", page)
    assert "<script" not in page
    assert str(tmp_path) not in page


def test_pictures_are_whole_and_in_their_sections(evaluation: Path, tmp_path: Path) -> None:
    page = written(None, evaluation, tmp_path / "r.html")
    sources = re.findall(r'src="data:image/jpeg;base64,([^"]+)"', page)
    assert len(sources) == 6  # three frames, as worst and by chance
    for source in sources:
        with Image.open(io.BytesIO(base64.b64decode(source))) as picture:
            assert picture.size == (640, 480)
    worst = page[page.index("Worst frames") : page.index("Frames picked by chance")]
    assert worst.index("a/b/2: F1 0.00") < worst.index("a/&lt;b&gt;/1: F1 1.00")
    assert "Label: green" in worst
    assert "<b>/1" not in page


def test_overlay_has_the_colours_of_its_legend(evaluation: Path) -> None:
    frames = json.loads((evaluation / "evaluation.json").read_text())["worst_frames"]
    by_name = {frame["name"]: evaluation / frame["picture"] for frame in frames}
    with Image.open(by_name["a/b/2"]) as picture:
        label_bright, label_dim = picture.getpixel((150, 200)), picture.getpixel((250, 200))
        far = picture.getpixel((150, 240))
    assert label_bright[1] > label_bright[0] + 20  # green over grey 180
    assert label_dim[2] > label_dim[0] + 20  # blue
    assert far[0] > far[1] + 50  # red: 4 mm off


def test_numbers_curves_and_card_are_there(run: Path, evaluation: Path, tmp_path: Path) -> None:
    page = written(run, evaluation, tmp_path / "r.html")
    numbers = json.loads((evaluation / "evaluation.json").read_text())
    assert f"<b>{numbers['per_frame_mean']['f1'][5]:.3f}</b>" in page
    for title in (
        "Over the distance", "By incidence", "In space", "Otsu", "Confidence shown", "Training",
        "As the published code counts", "Data and split", "Latency", "Model card", "AdamW",
    ):  # fmt: skip
        assert title in page
    assert "Split by frame" in page
    assert "no image has a CT surface" in page
    assert "<td>data credit and licence</td><td>Somebody, CC BY 4.0</td>" in page
    assert page.count("<svg") == 6 + 3  # of the evaluation; loss, F1, seconds


def test_run_without_an_evaluation_says_so(run: Path, tmp_path: Path) -> None:
    found, evaluation, _ = open_folder(run)
    assert (found, evaluation) == (run, {})
    page = written(run, None, tmp_path / "r.html")
    assert "has not been evaluated yet" in page
    assert "train loss" in page
    assert "Model card" in page


def test_other_folders_are_refused(run: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"expected run.json or evaluation.json"):
        open_folder(tmp_path)
    (run / "run.json").write_text("{")
    with pytest.raises(InputError, match="cannot be read as a run"):
        written(run, None, tmp_path / "r.html")
    (run / "run.json").write_text("{}")
    (run / "log.csv").unlink()
    with pytest.raises(InputError, match=r"log.csv: cannot be read"):
        written(run, None, tmp_path / "r.html")
