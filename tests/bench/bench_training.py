"""What a batch costs in training: augmentation against the network's own step.

    python tests/bench/bench_training.py [--json] [--threads N]

Batches of 8 images of 224 x 256, one thread unless told otherwise; both are timed by turns, and
the ratio of their medians is what counts.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch

from offline_tools.training.augmentation import augment
from offline_tools.training.losses import loss_terms
from offline_tools.training.networks import BUILDERS
from offline_tools.training.presets import PRESETS
from offline_tools.training.settings import AugmentationSettings

_SHAPE = (8, 1, 224, 256)
_N_ROUNDS = 15


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    figures: dict[str, Any] = {arch: ratios(arch) for arch in BUILDERS}
    figures["threads"] = arguments.threads
    print(json.dumps(figures) if arguments.json else json.dumps(figures, indent=2))


def ratios(arch: str) -> dict[str, float]:
    """Medians in ms of a step in bfloat16 and of two augmentations, and their share of it."""
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(_SHAPE, generator=generator)
    targets = (torch.rand(_SHAPE, generator=generator) < 0.02).float()
    network = BUILDERS[arch]().to(memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(network.parameters())

    def step() -> None:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits = network(images.contiguous(memory_format=torch.channels_last))
        terms = loss_terms(logits.float(), targets, {"bce": 5.0, "dice": 1.0})
        optimiser.zero_grad()
        torch.stack(list(terms.values())).sum().backward()
        optimiser.step()

    everything = AugmentationSettings()
    as_first = PRESETS["first"].settings.augmentation
    medians = _medians_ms(
        {
            "step_ms": step,
            "augmentation_ms": lambda: augment(images, targets, everything, generator),
            "augmentation_of_first_ms": lambda: augment(images, targets, as_first, generator),
        }
    )
    return {**medians, "augmentation_per_step": medians["augmentation_ms"] / medians["step_ms"]}


def _medians_ms(calls: dict[str, Callable[[], object]]) -> dict[str, float]:
    times: dict[str, list[float]] = {name: [] for name in calls}
    for round_ in range(_N_ROUNDS + 2):
        for name, call in calls.items():
            start_s = time.perf_counter()
            call()
            if round_ >= 2:  # the first ones warm up
                times[name].append(time.perf_counter() - start_s)
    return {name: 1e3 * statistics.median(seconds) for name, seconds in times.items()}


if __name__ == "__main__":
    main()
