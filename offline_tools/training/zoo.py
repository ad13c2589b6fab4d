"""Networks of segmentation-models-pytorch, an optional extra, by name: smp-ARCHITECTURE-ENCODER.

Nothing of the extra (pip install -e '.[zoo]') is imported before such a network is asked for.
"""

from __future__ import annotations

import importlib
import logging
import sys
import urllib.error
import urllib.request
from typing import Any

import torch
from torch import nn

from offline_tools.errors import InputError, WorkError

PREFIX = "smp-"

_ONE_CHANNEL = {"in_channels": 1, "classes": 1}
_REACH_TIMEOUT_S = 3.0
# Operators that torchvision's compiled part would define; its Python part only wants them to exist.
_OPERATORS = ("nms", "qnms")
_defined: list[Any] = []  # the definitions live as long as this does
_log = logging.getLogger(__name__)


def build(arch: str, encoder_weights: str = "random") -> tuple[nn.Module, str]:
    """A network of one grey channel in and one of logits out, and which weights it has.

    ImageNet's come from the local cache or are fetched; where neither works a warning says so, and
    the encoder starts at random.

    Raises
    ------
    InputError : no such architecture or encoder.
    WorkError : the extra is not installed.
    """
    smp = _library()
    name, encoder = _parts(smp, arch)
    if encoder_weights == "imagenet" and (problem := _problem_with_weights(smp, encoder)):
        _log.warning("%s: no ImageNet weights (%s); the encoder starts at random", arch, problem)
        encoder_weights = "random"
    given = None if encoder_weights == "random" else encoder_weights
    maker = smp.MODEL_ARCHITECTURES_MAPPING[name]
    return maker(encoder, encoder_weights=given, **_ONE_CHANNEL), encoder_weights


def check(arch: str) -> None:
    """As `build`, without building it."""
    _parts(_library(), arch)


def _parts(smp: Any, arch: str) -> tuple[str, str]:
    """Architecture and encoder of a name, both known."""
    name, _, encoder = arch.removeprefix(PREFIX).partition("-")
    if name not in smp.MODEL_ARCHITECTURES_MAPPING:
        known = ", ".join(PREFIX + maker for maker in smp.MODEL_ARCHITECTURES_MAPPING)
        raise InputError(f"arch is {arch!r}, expected one of {known}, a dash and an encoder")
    if encoder not in smp.encoders.get_encoder_names():
        raise InputError(f"arch is {arch!r}: {encoder!r} is no encoder, expected one like resnet34")
    return name, encoder


def _library() -> Any:
    """segmentation-models-pytorch, with torchvision made importable."""
    try:
        _import_torchvision()
        return importlib.import_module("segmentation_models_pytorch")
    except ModuleNotFoundError as error:
        raise WorkError(
            f"{error.name} is missing, which networks named {PREFIX}... need: "
            "pip install -e '.[zoo]'"
        ) from None


def _import_torchvision() -> None:
    """Import torchvision, also where its compiled part does not load.

    The package index has one torchvision per version, built for CUDA; beside a torch without CUDA
    its operators stay undefined and its import fails. No network here calls them.
    """
    try:
        importlib.import_module("torchvision")
    except RuntimeError as error:
        if "torchvision::nms does not exist" not in str(error):
            raise
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[name]
        library = torch.library.Library("torchvision", "FRAGMENT")
        for name in _OPERATORS:
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _defined.append(library)
        importlib.import_module("torchvision")


def _problem_with_weights(smp: Any, encoder: str) -> str | None:
    """Why ImageNet's weights of an encoder are not to be had; None: they lie in the cache now.

    Asked before the library is, which would try for half a minute where there is no network.
    """
    hub = importlib.import_module("huggingface_hub")
    known = smp.encoders.encoders[encoder]["pretrained_settings"]
    if "imagenet" not in known:
        return "none are published"
    place = {key: known["imagenet"][key] for key in ("repo_id", "revision")}
    files = ("config.json", "model.safetensors")
    try:
        for name in files:
            hub.hf_hub_download(filename=name, local_files_only=True, **place)
        return None
    except OSError:
        pass  # not in the cache
    if problem := _unreachable(hub.constants.ENDPOINT):
        return problem
    try:
        for name in files:
            hub.hf_hub_download(filename=name, **place)
        return None
    except Exception as error:  # noqa: BLE001  errors of three network libraries share no base
        return str(error).splitlines()[0] if str(error) else type(error).__name__


def _unreachable(address: str) -> str | None:
    """Why nothing answers there; None: something does, whatever it says."""
    request = urllib.request.Request(address, method="HEAD")
    try:
        with urllib.request.urlopen(request, timeout=_REACH_TIMEOUT_S):
            return None
    except urllib.error.HTTPError as error:
        error.close()
        return None
    except OSError as error:
        return f"{address} cannot be reached: {getattr(error, 'reason', error)}"
