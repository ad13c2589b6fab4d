"""Which provider runs a network, and the reason, without a GPU: its parts are replaced.

A session that claims to run on a GPU runs on the CPU here, through the same bound buffers.
"""

from __future__ import annotations

import ctypes
import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime
import pytest

from inference import providers
from inference.contract import ModelContract
from inference.errors import InferenceError, ModelError
from inference.providers import CPU, CUDA, TENSORRT, engine_folder, provider_list, why_not
from inference.runners import page_locked
from inference.runtime import NetworkSession
from inference.segmenter import Segmenter

WriteNetwork = Callable[..., Path]
_SHAPE = (1, 1, 224, 256)
_GRAPH_OPTIONS = ("enable_cuda_graph", "trt_cuda_graph_enable")


class Machine:
    """What a machine has; `asked` are the provider lists that sessions were asked for."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
        self.built_in = [TENSORRT, CUDA, CPU]
        self.missing_libraries: set[str] = set()
        self.not_preloaded = ""
        self.refuses: Callable[[str, bool], str | None] = lambda provider, has_graph: None
        self.loads: Callable[[str], bool] = lambda provider: True
        self.breaks: Exception | None = None  # raised by each further run on the GPU
        self.asked: list[list[Any]] = []
        self.n_gpu_runs = 0
        self._create = onnxruntime.InferenceSession
        self._value = onnxruntime.OrtValue.ortvalue_from_numpy
        monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: self.built_in)
        monkeypatch.setattr(onnxruntime, "InferenceSession", self._session)
        monkeypatch.setattr(onnxruntime.OrtValue, "ortvalue_from_numpy", self._on_device)
        monkeypatch.setattr(onnxruntime, "preload_dlls", self._preload, raising=False)
        monkeypatch.setattr(ctypes, "CDLL", self._library)
        monkeypatch.setattr(Path, "home", lambda: home)
        names = ("libnvinfer.so.10", "libnvonnxparser.so.10")
        monkeypatch.setattr(providers, "_tensorrt_names", lambda: names)

    def _library(self, place: str) -> object:
        if Path(place).name in self.missing_libraries or "cudart" in place:
            raise OSError(f"{place}: cannot open shared object file")
        return SimpleNamespace(getInferLibVersion=lambda: 101300)

    def _preload(self) -> None:
        if self.not_preloaded:
            print(f"Failed to load {self.not_preloaded}: cannot open shared object file")

    def _on_device(self, array: np.ndarray, device: str, device_id: int) -> Any:
        assert (device, device_id) == ("cuda", 0)
        on_cpu = self._value(array.copy(), "cpu")
        return DeviceValue(on_cpu._ortvalue, on_cpu._numpy_obj)

    def _session(self, content: bytes, options: Any, providers: Iterable[Any], **_: Any) -> Any:
        providers = list(providers)
        self.asked.append(providers)
        session = self._create(content, options, providers=[CPU])
        if providers[0] == CPU or not self.loads(providers[0][0]):
            return session
        name, settings = providers[0]
        has_graph = "1" in (
            settings.get("enable_cuda_graph"),
            settings.get("trt_cuda_graph_enable"),
        )
        refusal = self.refuses(name, has_graph)
        if refusal is not None:
            raise RuntimeError(refusal)
        return GpuSession(session, name, self)


class DeviceValue(onnxruntime.OrtValue):
    """A buffer that numpy cannot look into: what is read from it is a copy."""

    def numpy(self) -> np.ndarray:
        return super().numpy().copy()


class GpuSession:
    """A CPU session under another name."""

    def __init__(self, session: Any, provider: str, machine: Machine) -> None:
        self._session, self._provider, self._machine = session, provider, machine

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    def get_providers(self) -> list[str]:
        return [self._provider, CPU]

    def run_with_iobinding(self, binding: Any) -> None:
        self._machine.n_gpu_runs += 1
        if self._machine.breaks is not None:
            raise self._machine.breaks
        self._session.run_with_iobinding(binding)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Machine:
    return Machine(monkeypatch, tmp_path / "home")


@pytest.fixture
def model(contract: ModelContract, write_network: WriteNetwork) -> Path:
    return write_network(contract.to_metadata())


def _place(session: NetworkSession) -> tuple[str, str]:
    return session.provider, session.provider_reason


# -- which one, and why --------------------------------------------------------------------------


def test_tensorrt_comes_first(machine: Machine, model: Path) -> None:
    assert _place(NetworkSession(model)) == (TENSORRT, "TensorRT session created")


def test_without_tensorrts_library_cuda_runs_it(machine: Machine, model: Path) -> None:
    machine.missing_libraries = {"libnvinfer.so.10"}
    reason = "CUDA session created; TensorRT not used: libnvinfer.so.10 not found"
    assert _place(NetworkSession(model)) == (CUDA, reason)


def test_what_tensorrt_refuses_runs_on_cuda(machine: Machine, model: Path) -> None:
    machine.refuses = lambda provider, _: "no such layer\nmore" if provider == TENSORRT else None
    provider, reason = _place(NetworkSession(model))
    assert provider == CUDA
    assert reason.startswith("CUDA session created; TensorRT not used: model ")
    assert reason.endswith("not an ONNX network that runs here (no such layer)")


def test_a_network_that_cannot_be_recorded_runs_without_a_graph(
    machine: Machine, model: Path
) -> None:
    machine.built_in = [CUDA, CPU]
    machine.refuses = lambda _, has_graph: "nodes on the CPU" if has_graph else None
    assert NetworkSession(model).provider == CUDA
    assert [asked[0][1]["enable_cuda_graph"] for asked in machine.asked] == ["1", "0"]


def test_without_a_driver_the_cpu_runs_it(
    machine: Machine, model: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    machine.missing_libraries = {"libcuda.so.1"}
    reason = "TensorRT and CUDA not used: no NVIDIA driver on this machine"
    assert _place(NetworkSession(model)) == (CPU, reason)
    assert machine.asked == [[CPU]], "a provider that cannot work is not asked for"
    assert capfd.readouterr() == ("", "")


def test_what_is_not_built_in_is_not_spoken_of(machine: Machine, model: Path) -> None:
    machine.built_in = [CUDA, CPU]
    machine.missing_libraries = {"libcuda.so.1"}
    reason = "CUDA not used: no NVIDIA driver on this machine"
    assert _place(NetworkSession(model)) == (CPU, reason)
    machine.built_in = [CPU]
    reason = "this ONNX Runtime was built without TensorRT and CUDA"
    assert _place(NetworkSession(model)) == (CPU, reason)


def test_the_missing_library_is_named(
    machine: Machine, model: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A driver, but not the libraries: ONNX Runtime then opens a session without CUDA."""
    machine.built_in = [CUDA, CPU]
    machine.loads = lambda provider: False
    machine.not_preloaded = "libcublasLt.so.13"
    assert _place(NetworkSession(model)) == (CPU, "CUDA not used: libcublasLt.so.13 not found")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("asked", "line"),
    [
        ("cuda", "CUDA was asked for and cannot be used: no NVIDIA driver on this machine"),
        ("tensorrt", "TensorRT was asked for and cannot be used: no NVIDIA driver on this machine"),
        ("tpu", r"provider is 'tpu', expected one of \('auto', 'tensorrt', 'cuda', 'cpu'\)"),
    ],
)
def test_what_was_asked_for_and_cannot_be_had_is_refused(
    machine: Machine, model: Path, asked: str, line: str
) -> None:
    machine.missing_libraries = {"libcuda.so.1"}
    with pytest.raises(InferenceError, match=line):
        NetworkSession(model, asked)


def test_cuda_can_be_asked_for_where_tensorrt_is(machine: Machine, model: Path) -> None:
    assert _place(NetworkSession(model, "cuda")) == (CUDA, "CUDA session created")
    assert _place(NetworkSession(model, "cpu")) == (CPU, "the CPU was asked for")


def test_a_model_that_cannot_be_honoured_is_refused_on_every_machine(
    machine: Machine, write_network: WriteNetwork
) -> None:
    with pytest.raises(ModelError, match="has no navapp contract"):
        NetworkSession(write_network({}))


def test_reasons_that_are_shared_are_said_once() -> None:
    assert why_not({}) == ""
    assert why_not({TENSORRT: "a", CUDA: "b"}) == "TensorRT not used: a; CUDA not used: b"
    assert why_not({TENSORRT: "a", CUDA: "a"}) == "TensorRT and CUDA not used: a"


# -- engines -------------------------------------------------------------------------------------


def test_engines_are_kept_by_model_and_by_tensorrt(machine: Machine, model: Path) -> None:
    session = NetworkSession(model)
    (tensorrt, cuda, cpu) = machine.asked[0]
    folder = engine_folder(session.sha256, 101300)
    assert folder.is_dir()
    assert folder.name == f"{session.sha256}-tensorrt-101300"
    assert tensorrt[1]["trt_engine_cache_path"] == str(folder)
    assert tensorrt[1]["trt_engine_cache_enable"] == "1"
    assert (cuda, cpu) == ((CUDA, {"enable_cuda_graph": "0"}), CPU)


def test_where_engines_cannot_be_kept_they_are_built_each_time(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(Path, "home", lambda: tmp_path / "file")
    assert provider_list(TENSORRT, "ab" * 32, has_graph=True)[0] == (
        TENSORRT,
        {"trt_cuda_graph_enable": "1"},
    )


# -- running -------------------------------------------------------------------------------------


def test_bound_buffers_give_what_the_cpu_gives(machine: Machine, model: Path) -> None:
    on_gpu, on_cpu = NetworkSession(model), NetworkSession(model, "cpu")
    rng = np.random.default_rng(1)
    first = on_gpu.run(rng.random(_SHAPE, dtype=np.float32))
    kept = first.copy()
    tensor = rng.random(_SHAPE, dtype=np.float32)
    np.testing.assert_array_equal(on_gpu.run(tensor), on_cpu.run(tensor))
    on_gpu.input[:] = tensor / 2
    np.testing.assert_array_equal(on_gpu.run(on_gpu.input), tensor[0, 0] / 2)
    np.testing.assert_array_equal(first, kept, "no later image writes into an earlier result")
    assert machine.n_gpu_runs == 4, "one while it was opened, three images"


def test_a_gpu_that_fails_in_mid_session_hands_over_to_the_cpu(
    machine: Machine, model: Path, caplog: pytest.LogCaptureFixture
) -> None:
    segmenter = Segmenter(model)
    plan = segmenter.prepare_for((640, 480), (0.08, 0.08))
    rng = np.random.default_rng(2)
    pixels = [rng.integers(0, 255, (480, 640), dtype=np.uint8) for _ in range(3)]
    expected = [Segmenter(model, "cpu").segment(p, plan).probability for p in pixels]
    found = [segmenter.segment(pixels[0], plan).probability]
    machine.breaks = RuntimeError("CUDA failure 2: out of memory\nat gpu_data_transfer.cc")
    with caplog.at_level(logging.WARNING):
        found += [segmenter.segment(p, plan).probability for p in pixels[1:]]
    np.testing.assert_array_equal(found, expected)
    assert _place(segmenter.session) == (
        CPU,
        "TensorRT failed in mid-session: CUDA failure 2: out of memory",
    )
    (record,) = caplog.records
    assert record.getMessage() == (
        "network network.onnx: TensorRT failed (CUDA failure 2: out of memory); "
        "from here on it runs on the CPU"
    )


def test_a_wrong_tensor_is_not_the_gpus_fault(machine: Machine, model: Path) -> None:
    session = NetworkSession(model)
    with pytest.raises(InferenceError, match=r"did not run: input is \(1, 1, 8, 8\) float32"):
        session.run(np.zeros((1, 1, 8, 8), dtype=np.float32))
    assert session.provider == TENSORRT


# -- page-locked memory --------------------------------------------------------------------------


class Cudart:
    """Notes what it is asked to lock and to release; answers with a CUDA error code."""

    def __init__(self, code: int) -> None:
        self.code, self.locked, self.released = code, list[tuple[int, int]](), list[int]()

    def cudaHostRegister(self, address: Any, n_bytes: Any, flags: Any) -> int:
        self.locked.append((address.value, n_bytes.value))
        return self.code

    def cudaHostUnregister(self, address: Any) -> int:
        self.released.append(address.value)
        return 0


@pytest.mark.parametrize("code", [0, 2])
def test_an_array_is_locked_as_long_as_it_lives(code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where CUDA refuses (error 2: out of memory), it is an ordinary array and not released."""
    cudart = Cudart(code)
    monkeypatch.setattr(ctypes, "CDLL", lambda name: cudart)
    array = page_locked(np.zeros((2, 3), dtype=np.float32))
    address = array.ctypes.data
    assert cudart.locked == [(address, 24)]
    assert cudart.released == []
    del array
    assert cudart.released == ([address] if code == 0 else [])
