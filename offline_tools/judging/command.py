"""Judge a network and write everything about it into one folder."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from offline_tools.datasets.images import LabelledImage
from offline_tools.judging.data import ImagesToJudge, seen_in_training
from offline_tools.judging.evaluate import judge, write_judgement
from offline_tools.judging.report import REPORT, open_folder, write_report

Progress = Callable[[Iterable[LabelledImage]], Iterable[LabelledImage]]


def judge_into(
    out: Path,
    model: Path,
    images: ImagesToJudge,
    *,
    run: Path | None = None,
    with_compat: bool = False,
    examples: Sequence[tuple[str, bytes]] = (),
    progress: Progress = lambda images: images,
) -> dict[str, Any]:
    """`evaluation.json`, tables, pictures and `report.html` in `out`; returns the evaluation.

    `run` is the training that the report tells of, `examples` are pictures of unlabelled images.
    """
    judgement = judge(model, progress(images), with_compat=with_compat)
    note = seen_in_training(judgement.evaluation["model"]["contract"], images.description)
    judgement.evaluation["data"] = {**images.description, "seen_in_training": note}
    write_judgement(judgement, out)
    _, evaluation, pictures = open_folder(out)
    if examples:
        pictures["examples"] = examples
    write_report(run, evaluation, pictures, out / REPORT)
    return evaluation
