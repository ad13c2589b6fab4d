"""Where a network can run: what ONNX Runtime was built with, and what is in a provider's way."""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import io
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import onnxruntime

TENSORRT = "TensorrtExecutionProvider"
CUDA = "CUDAExecutionProvider"
CPU = "CPUExecutionProvider"

# What a user may ask for, and what is then tried on the GPU, fastest first.
PROVIDERS: Mapping[str, tuple[str, ...]] = {
    "auto": (TENSORRT, CUDA),
    "tensorrt": (TENSORRT,),
    "cuda": (CUDA,),
    "cpu": (),
}
LABELS: Mapping[str, str] = {TENSORRT: "TensorRT", CUDA: "CUDA", CPU: "CPU"}

# A provider by name, or with its options.
Provider = str | tuple[str, dict[str, Any]]

_NOT_BUILT_IN = "this ONNX Runtime was built without it"
_FATAL = 4  # ONNX Runtime's log level above errors: they come as exceptions instead


def is_built_in(provider: str) -> bool:
    """Whether this ONNX Runtime could run it at all."""
    return provider in onnxruntime.get_available_providers()


def obstacle(provider: str) -> str | None:
    """What rules a GPU's provider out before a session is tried, None if nothing does."""
    if not is_built_in(provider):
        return _NOT_BUILT_IN
    if _library("libcuda.so.1") is None:
        return "no NVIDIA driver on this machine"
    if provider == TENSORRT:
        missing = [name for name in _tensorrt_names() if _library(name, "tensorrt_libs") is None]
        return f"{' and '.join(missing)} not found" if missing else None
    return None


def preload_cuda() -> str | None:
    """Load CUDA's and cuDNN's libraries from where pip puts them; the first one not found."""
    onnxruntime.set_default_logger_severity(_FATAL)
    said = io.StringIO()
    with contextlib.redirect_stdout(said):  # it prints what it does not find
        onnxruntime.preload_dlls()
    return said.getvalue().partition("Failed to load ")[2].partition(":")[0] or None


def provider_list(provider: str, model_sha256: str, *, has_graph: bool) -> list[Provider]:
    """Providers with options for one session: `provider` first, behind it what may help out.

    `has_graph`: the first run is recorded as a CUDA graph, later ones replay it. A session whose
    nodes do not all run on the GPU is refused by ONNX Runtime then.
    """
    graph = "1" if has_graph else "0"
    cuda: Provider = (CUDA, {"enable_cuda_graph": graph if provider == CUDA else "0"})
    if provider == CUDA:
        return [cuda, CPU]
    options = {"trt_cuda_graph_enable": graph, **_engine_cache(model_sha256)}
    return [(TENSORRT, options), cuda, CPU]


def why_not(obstacles: Mapping[str, str]) -> str:
    """By provider, what stood in its way, as one sentence; what they share is said once."""
    by_reason: dict[str, list[str]] = {}
    for provider, reason in obstacles.items():
        by_reason.setdefault(reason, []).append(LABELS[provider])
    return "; ".join(f"{' and '.join(who)} not used: {what}" for what, who in by_reason.items())


def engine_folder(model_sha256: str, tensorrt_version: int) -> Path:
    """Where TensorRT's engines of one model lie: a program for one model by one TensorRT. The
    GPU's kind is part of the files' names, which ONNX Runtime chooses."""
    root = Path.home() / ".cache" / "navapp" / "engines"
    return root / f"{model_sha256}-tensorrt-{tensorrt_version}"


def _engine_cache(model_sha256: str) -> dict[str, str]:
    """Options that keep engines, which take minutes to build; none where they cannot be kept."""
    names = [name for name in _tensorrt_names() if name.startswith("libnvinfer.")]
    library = _library(names[0], "tensorrt_libs") if names else None
    if library is None:
        return {}
    folder = engine_folder(model_sha256, int(library.getInferLibVersion()))
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return {}
    return {
        "trt_engine_cache_enable": "1",
        "trt_engine_cache_path": str(folder),
        "trt_timing_cache_enable": "1",
        "trt_timing_cache_path": str(folder),
    }


@cache
def _tensorrt_names() -> tuple[str, ...]:
    """The TensorRT libraries, with their versions, that ONNX Runtime's own one is linked to."""
    folder = Path(onnxruntime.__file__).parent / "capi"
    linked = next(iter(folder.glob("libonnxruntime_providers_tensorrt.so")), None)
    if linked is None:
        return ()
    found = re.findall(rb"lib(?:nvinfer|nvonnxparser)\.so\.\d+", linked.read_bytes())
    return tuple(sorted({name.decode() for name in found}))


def _library(name: str, package: str | None = None) -> ctypes.CDLL | None:
    """A shared library from the system or from a package that pip installed; None without."""
    for place in (name, *_in_package(name, package)):
        with contextlib.suppress(OSError):
            return ctypes.CDLL(place)
    return None


def _in_package(name: str, package: str | None) -> Iterator[str]:
    spec = importlib.util.find_spec(package) if package else None
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        yield str(Path(folder) / name)
