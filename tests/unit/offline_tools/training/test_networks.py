"""Networks by their names."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="torch comes with the extra `train`")

from offline_tools.errors import InputError  # noqa: E402
from offline_tools.training.networks import BUILDERS, build_network  # noqa: E402


@pytest.mark.parametrize("arch", list(BUILDERS))
def test_networks_keep_the_size_of_the_image(arch: str) -> None:
    network = build_network(arch)
    assert network(torch.zeros(2, 1, 32, 64)).shape == (2, 1, 32, 64)


@pytest.mark.parametrize(
    ("arch", "n_weights"), [("depthwise-unet-16", 207_745), ("half-unet-32", 202_436)]
)
def test_own_networks_are_small(arch: str, n_weights: int) -> None:
    network = build_network(arch)
    assert sum(p.numel() for p in network.parameters()) == n_weights


def test_the_network_of_half_resolution_tells_neighbouring_pixels_apart() -> None:
    """One bright pixel moves the answer of its own place, not only of its block of four."""
    torch.manual_seed(0)
    network = build_network("half-unet-32").eval()
    image = torch.zeros(1, 1, 32, 32)
    image[..., 16, 17] = 1.0
    with torch.no_grad():
        block = network(image)[0, 0, 16:18, 16:18]
    assert len(torch.unique(block)) == 4


def test_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InputError, match=r"arch is 'vgg', expected depthwise-unet-16.* or smp-"):
        build_network("vgg")
