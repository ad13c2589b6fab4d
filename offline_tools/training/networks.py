"""Network definitions, in plain torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional

from offline_tools.errors import InputError
from offline_tools.training import zoo


class SeparableUNet(nn.Module):
    """U-Net of depthwise-separable convolutions, one width per level: milliseconds on one core.

    (N, 1, H, W) to logits of the same shape; H and W must be multiples of 16, of 32 at half
    resolution. On the way up the channels are reduced before they are enlarged and then added to
    the skip, not concatenated: that halves the time, which is spent at the highest resolution.

    `at_half`: the stem halves the image, and the head gives four logits per place, which are woven
    into the four pixels there. Twice the width then takes little more than half the time.
    """

    def __init__(self, widths: Sequence[int], *, at_half: bool) -> None:
        super().__init__()
        first = widths[0]
        self.enlargement = 2 if at_half else 1
        size, stride = (4, 2) if at_half else (3, 1)
        self.stem = nn.Sequential(
            nn.Conv2d(1, first, size, stride=stride, padding=1, bias=False),
            nn.BatchNorm2d(first),
            nn.ReLU(inplace=True),
            _separable(first, first),
        )
        self.down = nn.ModuleList(
            nn.Sequential(nn.MaxPool2d(2), _separable(n_in, n_out), _separable(n_out, n_out))
            for n_in, n_out in pairwise(widths)
        )
        self.reduce = nn.ModuleList(
            nn.Conv2d(n_below, n_skip, 1) for n_skip, n_below in reversed(list(pairwise(widths)))
        )
        self.up = nn.ModuleList(_separable(n_skip, n_skip) for n_skip in reversed(widths[:-1]))
        self.head = nn.Conv2d(first, self.enlargement**2, 1)
        # Bone covers some 2 % of an image: start there, not at one half.
        nn.init.constant_(self.head.bias, -4.0)

    def forward(self, image: Tensor) -> Tensor:
        x = self.stem(image)
        skips = []
        for down in self.down:
            skips.append(x)
            x = down(x)
        for reduce, up, skip in zip(self.reduce, self.up, reversed(skips), strict=True):
            enlarged = functional.interpolate(reduce(x), scale_factor=2, mode="bilinear")
            x = up(skip + enlarged)
        x = self.head(x)
        return x if self.enlargement == 1 else functional.pixel_shuffle(x, self.enlargement)


def small_unet() -> nn.Module:
    """The first network: 0.2 million weights at full resolution."""
    return SeparableUNet((16, 32, 64, 128, 256), at_half=False)


def half_unet() -> nn.Module:
    """The default network: 0.2 million weights at half resolution."""
    return SeparableUNet((32, 64, 96, 128, 192), at_half=True)


def _separable(n_in: int, n_out: int) -> nn.Sequential:
    """A 3x3 convolution per channel, then one that mixes the channels."""
    return nn.Sequential(
        nn.Conv2d(n_in, n_in, 3, padding=1, groups=n_in, bias=False),
        nn.Conv2d(n_in, n_out, 1, bias=False),
        nn.BatchNorm2d(n_out),
        nn.ReLU(inplace=True),
    )


# A new network needs one line here; its name goes into `run.json` and into the exported contract.
BUILDERS: dict[str, Callable[[], nn.Module]] = {
    "depthwise-unet-16": small_unet,
    "half-unet-32": half_unet,
}


def build_network(arch: str) -> nn.Module:
    """A network of random weights by its name: (N, 1, H, W) to logits of the same shape.

    Names that start with `smp-` are those of segmentation-models-pytorch, see `zoo`.

    Raises
    ------
    InputError : no network of that name.
    """
    return initial_network(arch, "random")[0]


def initial_network(arch: str, encoder_weights: str) -> tuple[nn.Module, str]:
    """A network to begin a training with, and what its weights are: "random" or "imagenet".

    `encoder_weights` is a wish that a network without such an encoder does not know of.
    """
    check_arch(arch)
    if arch in BUILDERS:
        return BUILDERS[arch](), "random"
    return zoo.build(arch, encoder_weights)


def check_arch(arch: str) -> None:
    """Whether there is such a network, before any data is read for it.

    Raises
    ------
    InputError : no network of that name.
    """
    if arch.startswith(zoo.PREFIX):
        zoo.check(arch)
    elif arch not in BUILDERS:
        raise InputError(
            f"arch is {arch!r}, expected {', '.join(BUILDERS)} or {zoo.PREFIX}ARCHITECTURE-ENCODER"
        )
