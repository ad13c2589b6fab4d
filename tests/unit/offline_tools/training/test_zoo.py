"""segmentation-models-pytorch, where the extra is installed."""

from __future__ import annotations

import importlib.util
import logging
import subprocess
import sys
import time

import pytest

torch = pytest.importorskip("torch", reason="torch comes with the extra `train`")

from offline_tools.errors import InputError, WorkError  # noqa: E402
from offline_tools.training import zoo  # noqa: E402
from offline_tools.training.networks import build_network, initial_network  # noqa: E402
from offline_tools.training.presets import PRESETS  # noqa: E402

needs_zoo = pytest.mark.skipif(
    importlib.util.find_spec("segmentation_models_pytorch") is None,
    reason="segmentation-models-pytorch comes with the extra `zoo`",
)


@needs_zoo
@pytest.mark.parametrize(
    ("preset", "n_weights"), [("ultrabones-readme", 23_149_121), ("ultrabones-paper", 67_150_609)]
)
def test_published_networks_answer_in_the_size_of_their_input(preset: str, n_weights: int) -> None:
    settings = PRESETS[preset].settings
    network = build_network(settings.arch).eval()
    assert sum(p.numel() for p in network.parameters()) == n_weights
    image = torch.rand(1, 1, *settings.input.size_px, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        answer = network(image)
    assert answer.shape == image.shape
    assert bool(answer.isfinite().all())
    assert float(answer.std()) > 0.0


@needs_zoo
def test_without_a_network_connection_the_encoder_starts_at_random_soon(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path
) -> None:
    zoo._library()
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")  # nobody listens there
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    start_s = time.monotonic()
    with caplog.at_level(logging.WARNING):
        _, weights = initial_network("smp-fpn-resnet34", "imagenet")
    assert time.monotonic() - start_s < 10.0
    assert weights == "random"
    (record,) = caplog.records
    assert "no ImageNet weights (http://127.0.0.1:9 cannot be reached" in record.message
    assert "starts at random" in record.message


@needs_zoo
@pytest.mark.parametrize(
    ("arch", "text"),
    [
        ("smp-net-resnet34", "expected one of smp-unet, smp-unetplusplus"),
        ("smp-unet-resnet35", "'resnet35' is no encoder, expected one like resnet34"),
        ("smp-unet", "'' is no encoder"),
    ],
)
def test_what_is_not_in_the_zoo_is_refused(arch: str, text: str) -> None:
    with pytest.raises(InputError, match=text):
        build_network(arch)


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchvision", None)
    with pytest.raises(WorkError, match=r"torchvision is missing.*pip install -e '\.\[zoo\]'"):
        build_network("smp-fpn-resnet34")


def test_the_zoo_stays_closed_until_it_is_asked_for() -> None:
    code = (
        "import sys, offline_tools.training.loop; "
        "print({'torchvision', 'timm', 'segmentation_models_pytorch'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_only_the_known_error_is_helped(monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(name: str) -> None:
        raise RuntimeError(f"{name}: something else")

    monkeypatch.setattr(zoo.importlib, "import_module", breaks)
    with pytest.raises(RuntimeError, match="torchvision: something else"):
        zoo._import_torchvision()
