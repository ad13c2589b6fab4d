"""The commands `export` and `bench`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from offline_tools.command_line import console
from offline_tools.errors import InputError


def export(
    run: Annotated[Path, typer.Argument(help="Folder of a training run.")],
    out: Annotated[Path, typer.Option(help="The .onnx file to write.")],
    confidence: Annotated[
        list[Path] | None,
        typer.Option(help="evaluation.json of images that were not trained on; may repeat."),
    ] = None,
    line: Annotated[
        Path | None, typer.Option(help="JSON: how the bone line is read, instead of the run's.")
    ] = None,
    fp16: Annotated[bool, typer.Option("--fp16", help="In half precision, for GPUs.")] = False,
    int8: Annotated[bool, typer.Option("--int8", help="In 8-bit integers, for CPUs.")] = False,
    data: Annotated[
        list[Path] | None, typer.Option(help="Records that fewer bits are judged on; may repeat.")
    ] = None,
    split: Annotated[
        Path | None, typer.Option(help="Ranges from its train images, judgement by its val images.")
    ] = None,
) -> None:
    """Write a run's network as one ONNX file with its contract inside."""
    from offline_tools.deploy.confidence import fit_confidence
    from offline_tools.deploy.export_onnx import export as run_export
    from offline_tools.deploy.inputs import read_line
    from offline_tools.deploy.real_images import real_images
    from offline_tools.judging.evaluate import read_evaluation

    if fp16 and int8:
        raise InputError("give either --fp16 or --int8")
    precision = "float16" if fp16 else "int8" if int8 else "float32"
    result = run_export(
        run,
        out,
        precision=precision,
        images=real_images(data, split) if data else None,
        confidence=fit_confidence([read_evaluation(f) for f in confidence]) if confidence else None,
        line=read_line(line) if line else None,
    )
    console.print(
        f"{out}: {precision}, {result.n_bytes / 1e6:.2f} MB, differs from torch by at most "
        f"{result.largest_difference:.1e}"
    )
    if result.n_with_bone == 0:
        console.print(
            f"warning: found bone in 0 of {result.n_simulated} simulated images: trained too "
            "little, or on nothing like them?"
        )
    if result.f1:
        console.print(f"F1 at 0.5 mm: {result.f1[0]:.4f} in float32, {result.f1[1]:.4f} as written")


def bench(
    model: Annotated[Path, typer.Argument(help="The .onnx file to time.")],
    out: Annotated[Path | None, typer.Option(help="JSON file for the numbers.")] = None,
    frames: Annotated[int, typer.Option(min=10, help="Images per row.")] = 200,
) -> None:
    """Latency of a network on this machine, by provider and threads."""
    from offline_tools.deploy.bench import bench as run_bench
    from offline_tools.deploy.bench import table

    report = run_bench(model, n_frames=frames)
    console.print(table(report))
    for provider, reason in report["not_run"].items():
        console.print(f"{provider}: {reason}", markup=False)
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(report, indent=2) + "\n")
