"""The learning rate at a step: a plain function, so that nothing of it has to be saved."""

from __future__ import annotations

import math

from offline_tools.training.settings import CosineSchedule, StepSchedule, TrainSettings


def learning_rate(settings: TrainSettings, step: int, steps_per_epoch: int) -> float:
    """Of step 0, 1, ... since the start of the training."""
    return settings.optimiser.learning_rate * _factor(settings, step, steps_per_epoch)


def _factor(settings: TrainSettings, step: int, steps_per_epoch: int) -> float:
    schedule = settings.schedule
    if isinstance(schedule, StepSchedule):
        return float(schedule.factor ** (step // steps_per_epoch // schedule.every_epochs))
    if isinstance(schedule, CosineSchedule):
        n_steps = settings.epochs * steps_per_epoch
        n_warmup = min(schedule.warmup_epochs * steps_per_epoch, n_steps // 2)
        if step < n_warmup:
            return (step + 1) / n_warmup
        share = (step - n_warmup) / (n_steps - n_warmup)
        return 0.5 * (1.0 + math.cos(math.pi * share))
    return 1.0
