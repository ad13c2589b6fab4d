"""The command `train`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from offline_tools.command_line import Data, console
from offline_tools.training.presets import PRESETS

if TYPE_CHECKING:
    from offline_tools.training.run_folder import EpochResult


def train(
    data: Data,
    out: Annotated[Path, typer.Option(help="Folder of the run: log and checkpoints.")],
    preset: Annotated[
        str | None, typer.Option(help=f"One of: {', '.join(PRESETS)}. Default: default.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="Settings in TOML instead of a preset.")
    ] = None,
    split: Annotated[
        Path | None, typer.Option(help="Train on its train, validate on its val.")
    ] = None,
    without: Annotated[
        list[str] | None, typer.Option(help="Image not to train on; may repeat.")
    ] = None,
    simulated: Annotated[int | None, typer.Option(min=0, help="Simulated images to add.")] = None,
    epochs: Annotated[int | None, typer.Option(min=1)] = None,
    seed: Annotated[int | None, typer.Option(min=0)] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue what OUT holds.")] = False,
    cache: Annotated[
        Path | None, typer.Option(help="Folder for prepared images, used again by later runs.")
    ] = None,
    init: Annotated[
        Path | None, typer.Option(help="Weights to begin with: a run's checkpoint.pt.")
    ] = None,
) -> None:
    """Train a network on recorded and simulated images."""
    from offline_tools.training import command
    from offline_tools.training.run_folder import check_free

    check_free(out, resume)  # before the images are prepared
    settings, source = command.recipe(preset, config)
    given = {"simulated.n": simulated, "epochs": epochs, "seed": seed}
    settings = settings.changed(given, "command line")
    _say(source)
    _say(command.summary(settings))

    with Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), console=console
    ) as bar:
        task = bar.add_task("images")

        def count(n_done: int, n_images: int) -> None:
            bar.update(task, completed=n_done, total=n_images)

        prepared = command.prepare(settings, data, split, cache, count, without or ())
    for line in prepared.lines:
        _say(line)

    from offline_tools.training.loop import train as run_training

    run_training(
        prepared.training,
        prepared.validation,
        settings=settings,
        run=out,
        description=prepared.description,
        resume=resume,
        init=init,
        say=_say,
        on_epoch=lambda result: _say(epoch_line(result, settings.epochs)),
    )
    _say(f"run written to {out}")


def epoch_line(result: EpochResult, n_epochs: int) -> str:
    """One epoch for a person."""
    return (
        f"epoch {result.epoch}/{n_epochs}  train {result.train_loss:.4f}  validation "
        f"{result.validation_loss:.4f}  F1 {result.f1[0]:.3f} at 0.5 mm, {result.f1[1]:.3f} at "
        f"1 mm  {result.seconds:.0f} s"
    )


def _say(text: str) -> None:
    console.print(text, highlight=False, soft_wrap=True, markup=False)
