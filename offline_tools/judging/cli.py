"""The command `evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import track
from rich.table import Table

from offline_tools.command_line import console
from offline_tools.errors import InputError


def evaluate(
    model: Annotated[Path, typer.Option(help="The .onnx file to judge.")],
    out: Annotated[Path, typer.Option(help="Folder for evaluation.json, tables and report.")],
    data: Annotated[
        list[Path] | None, typer.Option(help="Record or folder of records; may repeat.")
    ] = None,
    split: Annotated[
        Path | None, typer.Option(help="Judge the images of one subset of this split.")
    ] = None,
    subset: Annotated[str, typer.Option(help="Subset of the split.")] = "test",
    simulated: Annotated[int, typer.Option(min=0, help="Simulated images instead of data.")] = 0,
    compat: Annotated[
        str | None, typer.Option(help="ultrabones: also count as the published code does.")
    ] = None,
) -> None:
    """Score a network's bone lines against the labels of recorded or simulated images."""
    from offline_tools.judging.compat import ULTRABONES
    from offline_tools.judging.data import recorded, simulation
    from offline_tools.judging.evaluate import judge, write_judgement

    if bool(data) == bool(simulated):
        raise InputError("give either --data or --simulated")
    if compat not in (None, ULTRABONES):
        raise InputError(f"--compat is {compat!r}, expected {ULTRABONES}")
    images = simulation(simulated) if simulated else recorded(data or [], split, subset)
    console.print(images.sentence)
    judgement = judge(
        model, track(images, "images", console=console), with_compat=compat is not None
    )
    judgement.evaluation["data"] = images.description
    path = write_judgement(judgement, out)
    _print_scores(judgement.evaluation)
    console.print(f"{path}: {len(judgement.frames)} images")


def _print_scores(evaluation: dict[str, Any]) -> None:
    """The three scores at 0.5 and 1 mm, in every way of counting that was asked for."""
    thresholds_mm = evaluation["thresholds_mm"]
    rows = {
        "mean of frames": evaluation["per_frame_mean"],
        "points pooled": evaluation["pooled"],
        **{
            f"{name} intensity": part["per_frame_mean"]
            for name, part in evaluation["by_intensity"].items()
        },
    }
    compat = evaluation.get("compat")
    if compat is not None and compat["all"] is not None:
        rows["as published code"] = compat["all"]
    table = Table("counted as", "accuracy", "completeness", "F1 at 0.5 mm", "F1 at 1 mm")
    for name, scores in rows.items():
        at_half, at_one = (thresholds_mm.index(limit_mm) for limit_mm in (0.5, 1.0))
        shown = [scores[kind][at_half] for kind in ("accuracy", "completeness", "f1")]
        table.add_row(name, *(f"{value:.3f}" for value in (*shown, scores["f1"][at_one])))
    console.print(table)
    if compat is not None:
        console.print(f"{compat['n_skipped']} frames left out there: {compat['note']}")
