"""The optimiser, and the average over the weights that it goes through."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from offline_tools.training.settings import OptimiserSettings


def make_optimiser(network: nn.Module, settings: OptimiserSettings) -> torch.optim.Optimizer:
    """Adam or AdamW over all weights; the learning rate is set anew before every step."""
    kind = torch.optim.Adam if settings.kind == "adam" else torch.optim.AdamW
    return kind(
        network.parameters(),
        lr=settings.learning_rate,
        betas=settings.betas,
        weight_decay=settings.weight_decay,
    )


def averaged(network: nn.Module, decay: float | None) -> AveragedModel | None:
    """Of the network's weights over the steps to come; None where they are not averaged."""
    if decay is None:
        return None
    return AveragedModel(network, avg_fn=_moving_average(decay), use_buffers=True)


def _moving_average(decay: float) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """Exponential average that forgets the first, random weights sooner than `decay` says."""

    def update(mean: Tensor, current: Tensor, n_averaged: Tensor) -> Tensor:
        if not current.is_floating_point():  # batch normalisation counts its batches
            return current
        n = int(n_averaged)
        return torch.lerp(current, mean, min(decay, (1 + n) / (10 + n)))

    return update
