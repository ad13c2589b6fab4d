"""Network definitions, in plain torch."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class SmallUNet(nn.Module):
    """U-Net of depthwise-separable convolutions: 0.2 million weights, milliseconds on one core.

    (N, 1, H, W) to logits of the same shape; H and W must be multiples of 16.
    """

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        widths = [width * 2**level for level in range(5)]
        self.stem = _activated(nn.Conv2d(1, width, 3, padding=1, bias=False), width)
        self.down = nn.ModuleList(
            _double_block(n_in, n_out)
            for n_in, n_out in zip([width, *widths], widths, strict=False)
        )
        self.up = nn.ModuleList(
            _double_block(n_below + n_skip, n_skip)
            for n_below, n_skip in zip(widths[:0:-1], widths[-2::-1], strict=True)
        )
        self.head = nn.Conv2d(width, 1, 1)
        # Bone covers some 2 % of an image: start there, not at one half.
        nn.init.constant_(self.head.bias, -4.0)

    def forward(self, image: Tensor) -> Tensor:
        x = self.stem(image)
        skips = []
        for level, block in enumerate(self.down):
            x = block(x if level == 0 else nn.functional.max_pool2d(x, 2))
            skips.append(x)
        for block, skip in zip(self.up, skips[-2::-1], strict=True):
            x = nn.functional.interpolate(x, scale_factor=2, mode="bilinear")
            x = block(torch.cat((x, skip), dim=1))
        return self.head(x)


def _double_block(n_in: int, n_out: int) -> nn.Sequential:
    return nn.Sequential(_separable(n_in, n_out), _separable(n_out, n_out))


def _separable(n_in: int, n_out: int) -> nn.Sequential:
    """A 3x3 convolution per channel, then one that mixes the channels."""
    depthwise = nn.Conv2d(n_in, n_in, 3, padding=1, groups=n_in, bias=False)
    return nn.Sequential(depthwise, _activated(nn.Conv2d(n_in, n_out, 1, bias=False), n_out))


def _activated(convolution: nn.Conv2d, n_out: int) -> nn.Sequential:
    return nn.Sequential(convolution, nn.BatchNorm2d(n_out), nn.ReLU(inplace=True))
