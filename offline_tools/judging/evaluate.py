"""Judge an exported network: its bone lines against labels, through the runtime that runs live."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from inference.segmenter import Segmenter
from offline_tools.command_line import machine
from offline_tools.datasets.images import LabelledImage
from offline_tools.errors import InputError
from offline_tools.html_page import jpeg
from offline_tools.judging.clouds import SweepClouds
from offline_tools.judging.compat import lenient_frame, lenient_summary
from offline_tools.judging.frames import FRAMES, JudgedFrame, frames_table, judge_frame
from offline_tools.judging.pictures import Gallery, KeptFrame
from offline_tools.judging.summary import curves_table, summary
from tracking.whole_files import write_whole

EVALUATION = "evaluation.json"
CURVES = "curves.csv"
KEPT = ("worst", "random")


@dataclass(frozen=True, slots=True)
class Judgement:
    """What judging gave: the numbers, every frame, and the frames worth looking at."""

    evaluation: dict[str, Any]
    frames: tuple[JudgedFrame, ...]
    gallery: Gallery


def evaluate(model: Path, images: Iterable[LabelledImage]) -> dict[str, Any]:
    """`evaluation.json` of a network on labelled images; see `judge`."""
    return judge(model, images).evaluation


def judge(model: Path, images: Iterable[LabelledImage], *, with_compat: bool = False) -> Judgement:
    """Judge a network on labelled images, every image counted. Images are read once.

    `with_compat` adds the numbers that UltraBones100k's published code would give, as "compat";
    all others stay strict.

    Raises
    ------
    InputError : there is no image.
    InferenceError : the model cannot be run on them.
    """
    segmenter = Segmenter(model, "cpu")
    labels = hashlib.sha256()
    clouds, gallery = SweepClouds(), Gallery()
    frames: list[JudgedFrame] = []
    lenient = []
    for image in images:
        if not frames:
            segmenter.warm_up(image.plan(segmenter.contract))  # so that no frame pays for compiling
        labels.update(image.line.points_px.tobytes())
        frame, line = judge_frame(segmenter, image)
        frames.append(frame)
        clouds.add(image, line.points_px)
        gallery.offer(image, frame, line)
        if with_compat:
            lenient.append(lenient_frame(image.pixels, line.points_px, image.line.points_px))
    if not frames:
        raise InputError("nothing to evaluate: no image with a label")
    evaluation = {
        **summary(frames),
        **clouds.report(),
        **({"compat": lenient_summary(lenient)} if with_compat else {}),
        "model": {
            "name": model.name,
            "sha256": segmenter.session.sha256,
            "arch": segmenter.contract.arch,
            "contract": asdict(segmenter.contract),
            "provider": segmenter.session.provider,
        },
        "labels_sha256": labels.hexdigest(),
    }
    evaluation["latency_ms"]["machine"] = machine()
    return Judgement(evaluation, tuple(frames), gallery)


def write_judgement(judgement: Judgement, out: Path) -> Path:
    """`evaluation.json`, `frames.csv`, `curves.csv` and the pictures; the first one's path.

    The evaluation then names its pictures: "worst_frames" and "random_frames".
    """
    out.mkdir(parents=True, exist_ok=True)
    evaluation = judgement.evaluation
    for kind in KEPT:
        evaluation[f"{kind}_frames"] = _write_pictures(judgement, kind, out)
    write_whole(out / FRAMES, frames_table(judgement.frames))
    write_whole(out / CURVES, curves_table(evaluation))
    path = out / EVALUATION
    text = json.dumps(evaluation, indent=2, allow_nan=False)
    write_whole(path, text + "\n")
    return path


def _write_pictures(judgement: Judgement, kind: str, out: Path) -> list[dict[str, str]]:
    """Overlays of the worst or random frames, as `worst/01.jpg` and so on."""
    (out / kind).mkdir(exist_ok=True)
    for old in (out / kind).glob("*.jpg"):
        old.unlink()  # of an earlier evaluation with more frames
    written = []
    kept: list[KeptFrame] = getattr(judgement.gallery, kind)
    for number, frame in enumerate(kept, start=1):
        name = f"{kind}/{number:02d}.jpg"
        (out / name).write_bytes(jpeg(frame.drawn(judgement.evaluation["otsu_threshold"])))
        written.append({"name": frame.frame.name, "caption": frame.caption, "picture": name})
    return written


def read_evaluation(path: Path) -> dict[str, Any]:
    """An `evaluation.json`, named or in the folder named.

    Raises
    ------
    InputError : no such file, or not one of ours.
    """
    path = path / EVALUATION if path.is_dir() else path
    try:
        evaluation = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as an evaluation: {error}") from None
    if not isinstance(evaluation, dict) or "per_frame_mean" not in evaluation:
        raise InputError(f"{path}: not an evaluation, expected that of `offline-tools evaluate`")
    return evaluation
