"""Loss terms, each with its behaviour where a label is empty.

Every term takes logits and a soft target in [0, 1] of the same shape, (N, 1, H, W), and is the mean
of what it says: of pixels, of the batch, or of images.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn import functional

# Where a target is left open no answer costs anything: it is replaced by a firm no.
_OPEN_FROM = 0.5
_FIRM_NO = -30.0

# A target is 1 up to one pixel from its line and falls to 0 at two. Being moved and interpolated
# takes a little from the plateau: what is left above this is the line's own pixels.
_SKELETON_FROM = 0.9


def bce_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Binary cross-entropy per pixel; an image without bone counts like any other."""
    return functional.binary_cross_entropy_with_logits(logits, target)


def dice_loss(logits: Tensor, target: Tensor) -> Tensor:
    """1 - Dice of all pixels of the batch together.

    One image without bone is then an ordinary part of the sum; if the whole batch is empty, the 1
    added above and below keeps the loss finite: 0 for an empty answer.
    """
    probability = torch.sigmoid(logits)
    overlap = (probability * target).sum()
    return 1.0 - (2.0 * overlap + 1.0) / (probability.sum() + target.sum() + 1.0)


def jaccard_loss(logits: Tensor, target: Tensor) -> Tensor:
    """1 - intersection over union of the batch together; empty labels as in `dice_loss`."""
    probability = torch.sigmoid(logits)
    overlap = (probability * target).sum()
    union = probability.sum() + target.sum() - overlap
    return 1.0 - (overlap + 1.0) / (union + 1.0)


def skeleton_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Minus the mean probability on the line itself, averaged over the images: -1 at best.

    An image without a line contributes 0 to that average and is counted in it.

    Source: Wu et al. 2025, published code (which divides by zero where an image has no line).
    """
    skeleton = (target >= _SKELETON_FROM).to(logits.dtype)
    found = (torch.sigmoid(logits) * skeleton).sum(dim=(1, 2, 3))
    return -(found / skeleton.sum(dim=(1, 2, 3)).clamp_min(1.0)).mean()


TERMS: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {
    "bce": bce_loss,
    "dice": dice_loss,
    "jaccard": jaccard_loss,
    "skeleton": skeleton_loss,
}


def loss_terms(logits: Tensor, target: Tensor, weights: Mapping[str, float]) -> dict[str, Tensor]:
    """Each term by its name, times its weight; their sum is the loss.

    A second channel of the target, if there is one, says where it is left open.
    """
    if target.shape[1] > 1:
        is_open = target[:, 1:] >= _OPEN_FROM
        logits, target = logits.masked_fill(is_open, _FIRM_NO), target[:, :1] * ~is_open
    return {name: weight * TERMS[name](logits, target) for name, weight in weights.items()}
