"""Random variation of training images, whole batches at a time, and of labels alike.

Images are grey / 255, (N, 1, H, W). Nothing here turns an image upside down: the shadow lies below
the bone, and the network may rely on that.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

_ROTATION_RAD = math.radians(10.0)
_SCALE_RANGE = (0.88, 1.18)
_SHIFT_SHARE = 0.09  # of the image's width and height
_LOG_GAMMA = 0.35
_LOG_GAIN = 0.35
_LOG_DEPTH_GAIN = 0.5  # at the top and, opposite, at the bottom
_BLUR_SIGMA_PX = (0.3, 1.2)
_SPECKLE = 0.2
_NOISE = 0.03


def augment(images: Tensor, targets: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """A random variant of every image, with its target moved along."""
    grid = _random_grid(images.shape, generator)
    images = functional.grid_sample(images, grid, align_corners=False)
    targets = functional.grid_sample(targets, grid, align_corners=False)
    return _vary_grey(images, generator), targets


def _random_grid(shape: torch.Size, generator: torch.Generator) -> Tensor:
    """Sampling grid of a flip, rotation, scale and shift per image, isotropic in pixels."""
    n, _, height, width = shape
    angle = _uniform(n, -_ROTATION_RAD, _ROTATION_RAD, generator)
    zoom = 1.0 / _uniform(n, *_SCALE_RANGE, generator)
    flip = torch.where(_uniform(n, 0.0, 1.0, generator) < 0.5, -1.0, 1.0)
    aspect = height / width  # grid coordinates run from -1 to 1 both ways
    theta = torch.zeros(n, 2, 3)
    theta[:, 0, 0] = flip * zoom * torch.cos(angle)
    theta[:, 0, 1] = -flip * zoom * torch.sin(angle) * aspect
    theta[:, 1, 0] = zoom * torch.sin(angle) / aspect
    theta[:, 1, 1] = zoom * torch.cos(angle)
    # Grid coordinates span 2, hence twice the share.
    theta[:, :, 2] = 2 * _SHIFT_SHARE * (2 * torch.rand(n, 2, generator=generator) - 1)
    return functional.affine_grid(theta, list(shape), align_corners=False)


def _vary_grey(images: Tensor, generator: torch.Generator) -> Tensor:
    """Gamma, gain, gain over depth, blur, speckle and noise, different for every image."""
    n, _, height, _ = images.shape
    column = (n, 1, 1, 1)
    gamma = _uniform(n, -_LOG_GAMMA, _LOG_GAMMA, generator).exp().view(column)
    gain = _uniform(n, -_LOG_GAIN, _LOG_GAIN, generator).view(column)
    slope = _uniform(n, -_LOG_DEPTH_GAIN, _LOG_DEPTH_GAIN, generator).view(column)
    depth = torch.linspace(-1.0, 1.0, height).view(1, 1, height, 1)
    images = images.clamp_min(1e-4).pow(gamma) * (gain + slope * depth).exp()
    images = _blur(images, generator)
    speckle = _uniform(n, 0.0, _SPECKLE, generator).view(column)
    noise = _uniform(n, 0.0, _NOISE, generator).view(column)
    images = images * (1.0 + speckle * torch.randn(images.shape, generator=generator))
    return (images + noise * torch.randn(images.shape, generator=generator)).clamp(0.0, 1.0)


def _blur(images: Tensor, generator: torch.Generator) -> Tensor:
    """Gaussian blur of a random width, the same for the batch, in one batch of two."""
    if float(_uniform(1, 0.0, 1.0, generator)) < 0.5:
        return images
    sigma_px = _uniform(1, *_BLUR_SIGMA_PX, generator)
    weights = torch.exp(-0.5 * (torch.arange(-2, 3) / sigma_px) ** 2)
    weights /= weights.sum()
    images = functional.conv2d(images, weights.view(1, 1, 1, 5), padding=(0, 2))
    return functional.conv2d(images, weights.view(1, 1, 5, 1), padding=(2, 0))


def _uniform(n: int, low: float, high: float, generator: torch.Generator) -> Tensor:
    return low + (high - low) * torch.rand(n, generator=generator)
