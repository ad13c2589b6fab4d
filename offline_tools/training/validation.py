"""How good a network is while it trains: its loss, and the bone line decoded as it is live."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from inference.contract import ModelContract
from inference.postprocess import bone_line
from inference.preprocess import InputPlan
from offline_tools.datasets.examples import Examples
from offline_tools.training.losses import loss_terms
from offline_tools.training.settings import TrainSettings
from recon.metrics import line_scores

THRESHOLDS_MM = (0.5, 1.0)


@torch.no_grad()
def validate(
    network: nn.Module, examples: Examples, settings: TrainSettings, device: torch.device
) -> tuple[float, tuple[float, float]]:
    """Mean loss, and mean per-frame F1 at 0.5 and 1.0 mm with a strict "<".

    Lines are decoded and compared in network pixels: some hundredths lower or higher than at the
    images' own resolution, the same for every epoch. Every frame counts, empty answers too.
    """
    network.eval()
    contract = settings.contract()
    weights = settings.loss.weights()
    losses, scores = [], []
    for start in range(0, len(examples), settings.batch_size):
        rows = slice(start, start + settings.batch_size)
        # Copied: torch does not like arrays that are mapped read-only.
        images = torch.from_numpy(np.array(examples.images[rows])).to(device)
        targets = torch.from_numpy(np.array(examples.targets[rows])).to(device)
        logits = network(images.contiguous(memory_format=torch.channels_last)).float()
        terms = loss_terms(logits, targets, weights)
        losses.append(sum(term.item() for term in terms.values()))
        for k, probability in enumerate(torch.sigmoid(logits[:, 0]).cpu().numpy(), start):
            scores.append(_f1(probability, examples, k, contract))
    f1 = np.mean(scores, axis=0)
    return float(np.mean(losses)), (float(f1[0]), float(f1[1]))


def _f1(
    probability: NDArray[np.float32], examples: Examples, index: int, contract: ModelContract
) -> NDArray[np.float64]:
    size_px = (probability.shape[1], probability.shape[0])
    spacing_mm = float(examples.network_spacing_mm[index])
    # Under this plan network pixels are image pixels.
    plan = InputPlan.for_image(contract, size_px, (spacing_mm, spacing_mm))
    found = bone_line(probability, plan, contract)
    label = examples.line(index)
    inside = ((label >= -0.5) & (label < np.array(size_px) - 0.5)).all(axis=1)
    return line_scores(found.points_px, label[inside], plan.spacing_mm, THRESHOLDS_MM).f1
