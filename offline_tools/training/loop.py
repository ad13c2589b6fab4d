"""The training loop: examples in, a run folder with checkpoints and a log out."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from offline_tools.errors import InputError
from offline_tools.training.augmentation import augment
from offline_tools.training.losses import bone_loss
from offline_tools.training.networks import SmallUNet
from offline_tools.training.presets import TrainSettings

CHECKPOINT_NAME = "checkpoint.pt"
RUN_NAME = "run.json"
LOG_NAME = "log.csv"


@dataclass(frozen=True, slots=True)
class EpochResult:
    """Mean losses of one epoch; validation is measured with the averaged weights."""

    epoch: int
    train_loss: float
    validation_loss: float


def train(
    examples: tuple[NDArray[np.float32], NDArray[np.float32]],
    validation: tuple[NDArray[np.float32], NDArray[np.float32]],
    *,
    settings: TrainSettings,
    run: Path,
    description: dict[str, Any],
    on_epoch: Callable[[EpochResult], None] = lambda _: None,
) -> None:
    """Train a SmallUNet on images and targets, (N, 1, rows, columns) float32 each.

    `run` receives the log and every few epochs the averaged weights with `description` (contract,
    data, versions) and the settings, so that an interrupted run can be exported too. The same
    seed on the same machine gives the same weights.
    """
    torch.set_num_threads(settings.n_threads)
    torch.manual_seed(settings.seed)
    generator = torch.Generator().manual_seed(settings.seed)
    images, targets = (torch.from_numpy(array) for array in examples)
    network = SmallUNet().to(memory_format=torch.channels_last)  # twice as fast on a CPU
    averaged = AveragedModel(network, avg_fn=_moving_average(settings.ema_decay), use_buffers=True)
    optimiser = torch.optim.AdamW(
        network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
    )
    n_steps = settings.epochs * -(-len(images) // settings.batch_size)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, n_steps)
    run.mkdir(parents=True, exist_ok=True)
    with (run / LOG_NAME).open("w", newline="") as file:
        log = csv.DictWriter(file, list(EpochResult.__dataclass_fields__))
        log.writeheader()
        for epoch in range(1, settings.epochs + 1):
            losses = []
            for chosen in torch.randperm(len(images), generator=generator).split(
                settings.batch_size
            ):
                batch = augment(images[chosen], targets[chosen], generator)
                losses.append(_step(network, optimiser, *batch))
                schedule.step()
                averaged.update_parameters(network)
            validation_loss = _evaluate(averaged.module, validation, settings.batch_size)
            result = EpochResult(epoch, float(np.mean(losses)), validation_loss)
            log.writerow(asdict(result))
            file.flush()
            if epoch % settings.checkpoint_every == 0 or epoch == settings.epochs:
                _save(run, averaged.module, settings, description, result)
            on_epoch(result)


def load_run(run: Path) -> tuple[SmallUNet, dict[str, Any]]:
    """The averaged network of a run, ready to evaluate, and what its `run.json` says.

    Raises
    ------
    InputError : no usable checkpoint there.
    """
    network = SmallUNet()
    try:
        network.load_state_dict(torch.load(run / CHECKPOINT_NAME, weights_only=True))
        return network.eval(), json.loads((run / RUN_NAME).read_text())
    except (OSError, ValueError, RuntimeError) as error:
        raise InputError(f"run {run}: no usable checkpoint there ({error})") from None


def _step(
    network: SmallUNet, optimiser: torch.optim.Optimizer, images: Tensor, targets: Tensor
) -> float:
    """One step of the optimiser; the forward pass in bfloat16, which halves its time."""
    network.train()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = network(images.contiguous(memory_format=torch.channels_last))
    loss = bone_loss(logits.float(), targets)
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    return loss.item()


def _moving_average(decay: float) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """Exponential average that forgets the first, random weights sooner than `decay` says."""

    def update(mean: Tensor, current: Tensor, n_averaged: Tensor) -> Tensor:
        if not current.is_floating_point():  # batch normalisation counts its batches
            return current
        n = int(n_averaged)
        return torch.lerp(current, mean, min(decay, (1 + n) / (10 + n)))

    return update


@torch.no_grad()
def _evaluate(
    network: torch.nn.Module,
    examples: tuple[NDArray[np.float32], NDArray[np.float32]],
    batch_size: int,
) -> float:
    network.eval()
    images, targets = (torch.from_numpy(array) for array in examples)
    losses = [
        bone_loss(network(image), target).item()
        for image, target in zip(images.split(batch_size), targets.split(batch_size), strict=True)
    ]
    return float(np.mean(losses)) if losses else float("nan")


def _save(
    run: Path,
    network: torch.nn.Module,
    settings: TrainSettings,
    description: dict[str, Any],
    result: EpochResult,
) -> None:
    """Write checkpoint and description; each appears whole or not at all."""
    _replace(run / CHECKPOINT_NAME, lambda path: torch.save(network.state_dict(), path))
    text = json.dumps(
        {**description, "settings": asdict(settings), "reached": asdict(result)}, indent=2
    )
    _replace(run / RUN_NAME, lambda path: path.write_text(text))


def _replace(path: Path, write: Callable[[Path], object]) -> None:
    partial = path.with_suffix(path.suffix + ".part")
    write(partial)
    os.replace(partial, path)
