"""The command `train`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import track

from offline_tools.command_line import DATA_CREDIT, Data, console, made_with, short_name
from offline_tools.errors import InputError
from offline_tools.training.presets import PRESETS

_N_VALIDATION = 20  # simulated images, from seeds that training never sees


def train(
    data: Data,
    out: Annotated[Path, typer.Option(help="Folder of the run: log and checkpoints.")],
    preset: Annotated[str, typer.Option(help=f"One of: {', '.join(PRESETS)}.")] = "first",
    epochs: Annotated[int | None, typer.Option(min=1)] = None,
    simulated: Annotated[int | None, typer.Option(min=0, help="Simulated images to add.")] = None,
    seed: Annotated[int | None, typer.Option()] = None,
) -> None:
    """Train a network on recorded and simulated images."""
    from offline_tools.datasets import examples
    from offline_tools.datasets import records as dataset
    from offline_tools.datasets import simulated as bones
    from offline_tools.training.loop import EpochResult
    from offline_tools.training.loop import train as run_training

    if preset not in PRESETS:
        raise InputError(f"--preset is {preset!r}, expected one of {', '.join(PRESETS)}")
    recipe = PRESETS[preset]
    n_simulated = recipe.n_simulated if simulated is None else simulated
    given = {"epochs": epochs, "seed": seed}
    settings = replace(recipe.settings, **{k: v for k, v in given.items() if v is not None})
    records = dataset.find_records(data)

    recorded = [
        examples.make_example(image, recipe.contract)
        for record in records
        for image in track(dataset.read_record(record), record.name, console=console)
    ]
    simulation = bones.simulated_images(bones.FIRST_TRAINING_SEED, n_simulated)
    painted = [
        examples.make_example(image, recipe.contract)
        for image in track(simulation, "simulated", n_simulated, console=console)
    ]
    validation = [
        examples.make_example(image, recipe.contract)
        for image in bones.simulated_images(bones.FIRST_VALIDATION_SEED, _N_VALIDATION)
    ]
    console.print(f"{len(recorded)} recorded and {len(painted)} simulated images")

    def show(result: EpochResult) -> None:
        console.print(
            f"epoch {result.epoch}/{settings.epochs}  train {result.train_loss:.4f}  "
            f"simulated validation {result.validation_loss:.4f}"
        )

    run_training(
        examples.stacked(recorded + painted),
        examples.stacked(validation),
        settings=settings,
        run=out,
        description={
            "contract": recipe.contract.to_metadata(),
            "data": {
                "records": {short_name(r): dataset.open_record(r).sha256 for r in records},
                "n_recorded": len(recorded),
                "n_simulated": len(painted),
                "credit": DATA_CREDIT,
            },
            "made_with": made_with(),
        },
        on_epoch=show,
    )
    console.print(f"run written to {out}")
