"""The command `evaluate`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import track

from offline_tools.command_line import console, short_name
from offline_tools.errors import InputError


def evaluate(
    model: Annotated[Path, typer.Option(help="The .onnx file to judge.")],
    out: Annotated[Path, typer.Option(help="Folder for evaluation.json.")],
    data: Annotated[
        list[Path] | None, typer.Option(help="Record or folder of records; may repeat.")
    ] = None,
    simulated: Annotated[int, typer.Option(min=0, help="Simulated images instead of data.")] = 0,
) -> None:
    """Score a network's bone lines against the labels of recorded or simulated images."""
    from offline_tools.datasets import records as dataset
    from offline_tools.datasets.simulated import FIRST_VALIDATION_SEED, simulated_images
    from offline_tools.judging.evaluate import evaluate as run_evaluation

    if bool(data) == bool(simulated):
        raise InputError("give either --data or --simulated")
    records = dataset.find_records(data or [])
    images = (
        simulated_images(FIRST_VALIDATION_SEED, simulated)
        if simulated
        else (image for record in records for image in dataset.read_record(record))
    )
    evaluation = run_evaluation(model, track(images, "images", console=console))
    evaluation["data"] = {
        "records": [short_name(record) for record in records],
        "n_simulated": simulated,
        "poses": "original",
    }
    out.mkdir(parents=True, exist_ok=True)
    path = out / "evaluation.json"
    path.write_text(json.dumps(evaluation, indent=2) + "\n")
    console.print(f"{path}: {evaluation['n_frames']} images")
