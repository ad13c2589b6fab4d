"""Random variation of training images, whole batches at a time, and of labels alike.

Images are grey / 255, (N, 1, H, W), row 0 at the transducer. Nothing here turns an image upside
down: the shadow lies below the bone, and the network may rely on that.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from offline_tools.training.settings import AugmentationSettings

# Bone whose echo keeps less of its brightness than this is not to be seen: nor is it a target.
_SEEN_TRANSMISSION = 0.2
_SHADOW_STRENGTH = (0.6, 1.0)
_SHADOW_EDGE = 0.5  # of a shadow's half width, over which it fades

# Cover lines: the first this far down, in rows, its echoes again and again as far, fainter each.
_STRIP_ROWS = (2.0, 10.0)
_STRIP_HALF_WIDTH_PX = (0.5, 1.2)
_STRIP_BRIGHTNESS = (0.2, 0.9)
_STRIP_DECAY = (0.2, 0.6)
_N_STRIPS = 3

# Bellies of muscle, vessels, tendons: dark ellipses with a bright sheath on top. Unlike below bone,
# tissue goes on beneath them.
_N_BELLIES = 3
_BELLY_HALF_WIDTH_SHARE = (0.03, 0.22)  # of the image's width
_BELLY_HALF_HEIGHT_SHARE = (0.02, 0.14)
_BELLY_TILT_RAD = 0.9
_BELLY_TRANSMISSION = (0.1, 0.6)
_BELLY_EDGE = (0.1, 0.5)  # of its half axes, over which it fades
_SHEATH_HALF_WIDTH_PX = (0.6, 2.0)
_SHEATH_BRIGHTNESS = (0.0, 0.9)

_BLUR_REACH_PX = 2


@torch.no_grad()
def augment(
    images: Tensor, targets: Tensor, settings: AugmentationSettings, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """A random variant of every image, with its target moved along and gone under full shadow.

    `generator` decides everything and lives on the images' device.
    """
    grid = _random_grid(images.shape, settings, generator)
    moved = functional.grid_sample(torch.cat((images, targets), dim=1), grid, align_corners=False)
    images, targets = moved[:, :1], moved[:, 1:]
    if settings.belly_probability > 0.0:
        images = _with_bellies(images, targets, settings, generator)
    if settings.shadow_probability > 0.0:
        transmission = _shadows(images, settings, generator)
        images = images * transmission
        targets = targets * (transmission >= _SEEN_TRANSMISSION)
    return _vary_grey(images, settings, generator), targets


def _random_grid(
    shape: torch.Size, settings: AugmentationSettings, generator: torch.Generator
) -> Tensor:
    """Sampling grid of a flip, rotation, shear, scale and shift per image, in pixels isotropic."""
    n, _, height, width = shape
    limit_rad = math.radians(settings.rotation_deg)
    angle_rad = _uniform(n, -limit_rad, limit_rad, generator)
    zoom = 1.0 / _uniform(n, *settings.scale, generator)
    shear = _uniform(n, -settings.shear, settings.shear, generator)
    is_flipped = _uniform(n, 0.0, 1.0, generator) < settings.flip_probability
    flip = torch.where(is_flipped, -1.0, 1.0)
    cos, sin = zoom * torch.cos(angle_rad), zoom * torch.sin(angle_rad)
    aspect = height / width  # grid coordinates run from -1 to 1 both ways
    theta = torch.zeros(n, 2, 3, device=generator.device)
    theta[:, 0, 0] = flip * (cos + shear * sin)
    theta[:, 0, 1] = flip * (shear * cos - sin) * aspect
    theta[:, 1, 0] = sin / aspect
    theta[:, 1, 1] = cos
    # Grid coordinates span 2, hence twice the share.
    shift = 2.0 * _random(n, 2, generator=generator) - 1.0
    theta[:, :, 2] = 2.0 * settings.shift_share * shift
    return functional.affine_grid(theta, list(shape), align_corners=False)


def _shadows(images: Tensor, settings: AugmentationSettings, generator: torch.Generator) -> Tensor:
    """What columns let through, (N, 1, 1, W): 1, or less from the transducer all the way down."""
    n, _, _, width = images.shape
    share = torch.linspace(0.0, 1.0, width, device=images.device)
    centre = _random(n, 1, generator=generator)
    half_width = 0.5 * _uniform(n, *settings.shadow_width_share, generator).view(n, 1)
    strength = _uniform(n, *_SHADOW_STRENGTH, generator)
    strength = strength * (_random(n, generator=generator) < settings.shadow_probability)
    inside = (half_width - (share - centre).abs()) / (_SHADOW_EDGE * half_width)
    return (1.0 - strength.view(n, 1) * inside.clamp(0.0, 1.0)).view(n, 1, 1, width)


def _vary_grey(
    images: Tensor, settings: AugmentationSettings, generator: torch.Generator
) -> Tensor:
    """Gamma, gain, gain over depth, blur, speckle, cover lines and noise, different per image."""
    n, _, height, _ = images.shape
    column = (n, 1, 1, 1)

    def around_0(limit: float) -> Tensor:
        return _uniform(n, -limit, limit, generator).view(column)

    depth = torch.linspace(-1.0, 1.0, height, device=images.device).view(1, 1, height, 1)
    gamma = around_0(settings.log_gamma).exp()
    gain = (around_0(settings.log_gain) + around_0(settings.log_depth_gain) * depth).exp()
    images = images.clamp_min(1e-4).pow(gamma) * gain
    if settings.blur_probability > 0.0:
        sigma_px = _uniform(n, *settings.blur_px, generator)
        is_blurred = _random(n, generator=generator) < settings.blur_probability
        sigma_px = torch.where(is_blurred, sigma_px, 0.0)
        images = _blurred(images, sigma_px, sigma_px)
    if settings.speckle > 0.0:
        strength = _uniform(n, 0.0, settings.speckle, generator).view(column)
        images = images * (1.0 + strength * _speckle(images, settings, generator))
    if settings.strip_probability > 0.0:
        images = torch.maximum(images, _strips(images, settings, generator))
    if settings.noise > 0.0:
        strength = _uniform(n, 0.0, settings.noise, generator).view(column)
        images = images + strength * _normal_like(images, generator)
    return images.clamp(0.0, 1.0)


def _speckle(images: Tensor, settings: AugmentationSettings, generator: torch.Generator) -> Tensor:
    """Normal values of variance 1, alike over the point spread."""
    field = _normal_like(images, generator)
    axial_px, lateral_px = settings.speckle_axial_px, settings.speckle_lateral_px
    if axial_px == lateral_px == 0.0:
        return field
    n = torch.ones(len(images), device=images.device)
    kept = _gaussian(n[:1] * axial_px).square().sum() * _gaussian(n[:1] * lateral_px).square().sum()
    return _blurred(field, n * axial_px, n * lateral_px) / kept.sqrt()


def _strips(images: Tensor, settings: AugmentationSettings, generator: torch.Generator) -> Tensor:
    """Bright lines near the top of some images, with their echoes, fading sideways; else 0."""
    n, _, height, width = images.shape
    order = torch.arange(1, _N_STRIPS + 1, device=images.device)
    step_px = _uniform(n, *_STRIP_ROWS, generator).view(n, 1, 1)
    sigma_px = _uniform(n, *_STRIP_HALF_WIDTH_PX, generator).view(n, 1, 1)
    brightness = _uniform(n, *_STRIP_BRIGHTNESS, generator)
    brightness = brightness * (_random(n, generator=generator) < settings.strip_probability)
    decay = _uniform(n, *_STRIP_DECAY, generator).view(n, 1, 1) ** (order - 1).view(1, -1, 1)
    rows = torch.arange(height, device=images.device)
    lines = decay * torch.exp(-0.5 * ((rows - step_px * order.view(1, -1, 1)) / sigma_px) ** 2)
    along = torch.linspace(0.0, math.pi, width, device=images.device)
    phase = _uniform(n, 0.0, 2.0 * math.pi, generator).view(n, 1)
    fading = 0.6 + 0.4 * torch.cos(_uniform(n, 0.0, 4.0, generator).view(n, 1) * along + phase)
    profile = brightness.view(n, 1) * lines.sum(dim=1)
    return (profile[:, :, None] * fading[:, None, :]).unsqueeze(1)


def _with_bellies(
    images: Tensor, targets: Tensor, settings: AugmentationSettings, generator: torch.Generator
) -> Tensor:
    """Dark ellipses with a bright upper edge in some images, none where it would touch bone."""
    n, _, height, width = images.shape
    shape = (n, _N_BELLIES, 1, 1)

    def drawn(low: float, high: float) -> Tensor:
        return _uniform(n * _N_BELLIES, low, high, generator).view(shape)

    half_u = width * drawn(*_BELLY_HALF_WIDTH_SHARE)
    half_v = width * drawn(*_BELLY_HALF_HEIGHT_SHARE)
    u = torch.arange(width, device=images.device) - width * drawn(0.0, 1.0)
    v = torch.arange(height, device=images.device).view(-1, 1) - height * drawn(0.0, 1.0)
    tilt_rad = drawn(-_BELLY_TILT_RAD, _BELLY_TILT_RAD)
    cos, sin = torch.cos(tilt_rad), torch.sin(tilt_rad)
    along, across = (cos * u + sin * v) / half_u, (cos * v - sin * u) / half_v
    radius = torch.hypot(along, across)  # 1 on the edge
    has_some = _random(n, generator=generator) < settings.belly_probability
    fading, has_bone = drawn(*_BELLY_EDGE), (targets > 0.0).any(1, True)
    touches = ((radius < 1.0 + fading) & has_bone).any(3, True).any(2, True)
    is_there = has_some.view(n, 1, 1, 1) & ~touches
    inside = ((1.0 - radius) / fading + 0.5).clamp(0.0, 1.0) * is_there
    dark = 1.0 - inside * (1.0 - drawn(*_BELLY_TRANSMISSION))
    away_px = (radius - 1.0) * (half_u * half_v).sqrt()
    edge = torch.exp(-0.5 * (away_px / drawn(*_SHEATH_HALF_WIDTH_PX)) ** 2)
    upwards = (-across / radius.clamp_min(1e-3)).clamp_min(0.0)
    sheath = is_there * drawn(*_SHEATH_BRIGHTNESS) * edge * upwards
    return torch.maximum(images * dark.prod(dim=1, keepdim=True), sheath.amax(dim=1, keepdim=True))


def _blurred(images: Tensor, axial_px: Tensor, lateral_px: Tensor) -> Tensor:
    """Gaussian blur of each image by its own widths (N,), along rows and along columns."""
    n, _, height, width = images.shape
    as_channels = images.reshape(1, n, height, width)
    down = _gaussian(axial_px).view(n, 1, -1, 1)
    along = _gaussian(lateral_px).view(n, 1, 1, -1)
    reach = _BLUR_REACH_PX
    as_channels = functional.conv2d(as_channels, down, padding=(reach, 0), groups=n)
    as_channels = functional.conv2d(as_channels, along, padding=(0, reach), groups=n)
    return as_channels.view(n, 1, height, width)


def _gaussian(sigma_px: Tensor) -> Tensor:
    """Weights (N, 5) that add up to 1; of width 0 the middle one alone."""
    offsets = torch.arange(-_BLUR_REACH_PX, _BLUR_REACH_PX + 1, device=sigma_px.device)
    weights = torch.exp(-0.5 * (offsets / sigma_px.clamp_min(1e-3).unsqueeze(1)) ** 2)
    return weights / weights.sum(dim=1, keepdim=True)


def _normal_like(images: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randn(images.shape, generator=generator, device=generator.device)


def _random(*shape: int, generator: torch.Generator) -> Tensor:
    return torch.rand(shape, generator=generator, device=generator.device)


def _uniform(n: int, low: float, high: float, generator: torch.Generator) -> Tensor:
    return low + (high - low) * _random(n, generator=generator)
