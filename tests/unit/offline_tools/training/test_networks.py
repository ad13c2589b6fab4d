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


def test_the_first_network_is_small() -> None:
    network = build_network("depthwise-unet-16")
    assert sum(p.numel() for p in network.parameters()) == 207_745


def test_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InputError, match=r"arch is 'vgg', expected depthwise-unet-16.* or smp-"):
        build_network("vgg")
