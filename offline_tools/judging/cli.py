"""The commands `evaluate`, `report`, `predict` and `compare`."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import track
from rich.table import Column, Table

from offline_tools.command_line import console
from offline_tools.errors import InputError

Spacing = Annotated[
    float | None,
    typer.Option(min=0.001, help="mm per pixel of unlabelled images. Default: of a calibration."),
]
Examples = Annotated[
    Path | None, typer.Option(help="Folder of unlabelled images to show in the report.")
]


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
    examples: Examples = None,
    spacing: Spacing = None,
    run: Annotated[
        Path | None, typer.Option(help="Training run that the report tells of as well.")
    ] = None,
) -> None:
    """Score a network's bone lines against the labels of recorded or simulated images."""
    from offline_tools.judging.command import judge_into
    from offline_tools.judging.compat import ULTRABONES
    from offline_tools.judging.data import recorded, simulation

    if bool(data) == bool(simulated):
        raise InputError("give either --data or --simulated")
    if compat not in (None, ULTRABONES):
        raise InputError(f"--compat is {compat!r}, expected {ULTRABONES}")
    images = simulation(simulated) if simulated else recorded(data or [], split, subset)
    console.print(images.sentence)
    evaluation = judge_into(
        out,
        model,
        images,
        run=run,
        with_compat=compat is not None,
        examples=_sheet_of(model, examples, spacing) if examples is not None else (),
        progress=lambda frames: track(frames, "images", len(images), console=console),
    )
    print_scores(evaluation)
    if note := evaluation["data"]["seen_in_training"]:
        console.print(f"note: {note}")
    console.print(f"{out}: {len(images)} images; evaluation.json, report.html")


def report(
    folder: Annotated[Path, typer.Argument(help="A training run or an evaluation's folder.")],
    out: Annotated[Path, typer.Option(help="The HTML file to write.")],
    evaluation: Annotated[
        Path | None, typer.Option(help="Evaluation's folder, where FOLDER is a run.")
    ] = None,
    examples: Examples = None,
    model: Annotated[Path | None, typer.Option(help="The .onnx file for the examples.")] = None,
    spacing: Spacing = None,
) -> None:
    """Write one self-contained HTML page about a run, an evaluation, or both."""
    from offline_tools.judging.report import open_folder, write_report

    run, numbers, pictures = open_folder(folder)
    if evaluation is not None:
        _, numbers, pictures = open_folder(evaluation)
    if examples is not None:
        if model is None:
            raise InputError("--examples needs --model, the .onnx file to run on them")
        pictures["examples"] = _sheet_of(model, examples, spacing)
    write_report(run, numbers, pictures, out)
    console.print(f"{out}: {out.stat().st_size / 1e6:.1f} MB")


def predict(
    model: Annotated[Path, typer.Argument(help="The .onnx file to run.")],
    source: Annotated[
        Path, typer.Argument(metavar="INPUT", help="Image, folder of PNG or JPEG images, record.")
    ],
    out: Annotated[Path, typer.Option(help="Folder for masks, overlays, lines and sheet.")],
    spacing: Spacing = None,
) -> None:
    """Find bone in images without labels."""
    from offline_tools.judging.predict import open_images, predictions, write_predictions

    images = open_images(source, spacing)
    console.print(f"{len(images.images)} images, {images.geometry}")
    found = predictions(model, images, console.print)
    written = write_predictions(track(found, "images", len(images.images), console=console), out)
    console.print(
        f"{out}: {written.n_images} images, {written.n_empty} without bone; "
        f"look at {written.sheet.name}"
    )


def compare(
    a: Annotated[Path, typer.Argument(help="evaluation.json, frames.csv beside it.")],
    b: Annotated[Path, typer.Argument(help="The other one.")],
) -> None:
    """Two evaluations side by side, with a paired test over the frames of both."""
    from offline_tools.judging.compare import TESTED
    from offline_tools.judging.compare import compare as run_compare

    found = run_compare(a, b)
    for warning in found.warnings:
        console.print(f"note: {warning}")
    table = Table(Column("", overflow="fold"), "A", "B", "B - A", "relative")
    for row in found.differences:
        relative = "" if math.isnan(row.relative) else f"{100 * row.relative:+.1f} %"
        table.add_row(row.name, f"{row.a:.4g}", f"{row.b:.4g}", f"{row.absolute:+.4f}", relative)
    console.print(table)
    tests = Table("frame by frame", "frames", "median of B - A", "p, corrected")
    for test in found.tests:
        shown = ("too few", "") if math.isnan(test.p) else (
            f"{test.median_difference:+.4f}", f"{test.p:.2g}"
        )  # fmt: skip
        tests.add_row(test.name, str(test.n_frames), *shown)
    console.print(tests)
    console.print(
        f"Wilcoxon signed-rank, two-sided, p times {len(TESTED)} (Bonferroni). Frames of a sweep "
        "resemble their neighbours: p is smaller than it would be for as many separate images."
    )


def _sheet_of(model: Path, examples: Path, spacing_mm: float | None) -> list[tuple[str, bytes]]:
    """Contact sheet of a folder of unlabelled images, for a report."""
    from offline_tools.html_page import jpeg
    from offline_tools.judging.predict import open_images, predictions, sheet

    images = open_images(examples, spacing_mm)
    found = [(p.name, p.overlay) for p in predictions(model, images, console.print)]
    if not found:
        raise InputError(f"{examples}: no image could be used")
    n_empty = len(images.images) - len(found)
    left_out = f", {n_empty} left out" if n_empty else ""
    return [(f"{len(found)} images{left_out}, {images.geometry}", jpeg(sheet(found)))]


def print_scores(evaluation: dict[str, Any]) -> None:
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
    console.print(
        f"{evaluation['n_frames']} images, all counted; {evaluation['n_empty_prediction']} without "
        f"a line, {evaluation['n_empty_label']} without bone in the label"
    )
    if evaluation["n_empty_prediction"] == evaluation["n_frames"]:
        console.print(
            f"warning: found bone in 0 of {evaluation['n_frames']} images: trained too little, or "
            "on nothing like them?"
        )
    if compat is not None:
        console.print(f"{compat['n_skipped']} frames left out there: {compat['note']}")
