"""Where a network runs, and why; the segmenter on top of it."""

from __future__ import annotations

import ctypes
import hashlib
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from inference.contract import ModelContract
from inference.errors import InferenceError, ModelError
from inference.runtime import NetworkSession, default_threads
from inference.segmenter import Segmenter

WriteNetwork = Callable[..., Path]


def no_library(name: str, *_: object) -> None:
    raise OSError(f"{name}: cannot open shared object file")


def test_cpu_session_returns_the_probability(
    contract: ModelContract, write_network: WriteNetwork
) -> None:
    path = write_network(contract.to_metadata())
    session = NetworkSession(path, "cpu")
    tensor = np.random.default_rng(4).random((1, 1, 224, 256), dtype=np.float32)
    np.testing.assert_array_equal(session.run(tensor), tensor[0, 0])
    assert session.provider == "CPUExecutionProvider"
    assert session.provider_reason == "CUDA not used: the CPU was asked for"
    assert session.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_sigmoid_is_applied_where_the_contract_says_so(
    contract: ModelContract, write_network: WriteNetwork
) -> None:
    logits_out = replace(contract, output=replace(contract.output, activation="sigmoid"))
    session = NetworkSession(write_network(logits_out.to_metadata()), "cpu")
    out = session.run(np.full((1, 1, 224, 256), 2.0, dtype=np.float32))
    np.testing.assert_allclose(out, 1.0 / (1.0 + np.exp(-2.0)), rtol=1e-6)


def test_without_a_driver_auto_takes_the_cpu_and_says_why(
    contract: ModelContract,
    write_network: WriteNetwork,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider"])
    monkeypatch.setattr(ctypes, "CDLL", no_library)
    session = NetworkSession(write_network(contract.to_metadata()))
    assert session.provider == "CPUExecutionProvider"
    assert session.provider_reason == "CUDA not used: no NVIDIA driver on this machine"
    assert capfd.readouterr() == ("", "")


def test_without_cuda_libraries_auto_names_the_missing_one(
    contract: ModelContract,
    write_network: WriteNetwork,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """A driver, but not the libraries: ONNX Runtime then opens a session without CUDA."""
    path = write_network(contract.to_metadata())
    create = onnxruntime.InferenceSession

    def create_on_cpu(content: bytes, options: object, **_: object) -> object:
        return create(content, options, providers=["CPUExecutionProvider"])

    def preload() -> None:
        print("Failed to load libcublasLt.so.13: cannot open shared object file")

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider"])
    monkeypatch.setattr(ctypes, "CDLL", lambda name: None)
    monkeypatch.setattr(onnxruntime, "preload_dlls", preload, raising=False)
    monkeypatch.setattr(onnxruntime, "InferenceSession", create_on_cpu)
    session = NetworkSession(path)
    assert session.provider == "CPUExecutionProvider"
    assert session.provider_reason == "CUDA not used: libcublasLt.so.13 not found"
    assert capfd.readouterr() == ("", "")


def test_cuda_asked_for_but_absent_is_refused(
    contract: ModelContract, write_network: WriteNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(InferenceError, match="cannot be used: this ONNX Runtime was built without"):
        NetworkSession(write_network(contract.to_metadata()), "cuda")


def test_unknown_provider_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InferenceError, match="provider is 'tpu', expected one of"):
        NetworkSession(tmp_path / "any.onnx", "tpu")


def test_missing_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"none\.onnx: cannot be read"):
        NetworkSession(tmp_path / "none.onnx")


def test_wrong_tensor_is_an_error_of_ours(
    contract: ModelContract, write_network: WriteNetwork
) -> None:
    session = NetworkSession(write_network(contract.to_metadata()), "cpu")
    with pytest.raises(InferenceError, match=r"network network\.onnx did not run"):
        session.run(np.zeros((1, 1, 8, 8), dtype=np.float32))


def test_one_core_is_left_to_the_other_threads() -> None:
    assert default_threads() >= 1


def test_segmenter_finds_a_bright_line(
    contract: ModelContract, write_network: WriteNetwork
) -> None:
    segmenter = Segmenter(write_network(contract.to_metadata()), "cpu")
    plan = segmenter.prepare_for((640, 480), (0.08, 0.08), None)
    assert segmenter.prepare_for((640, 480), (0.08, 0.08), None) is plan
    segmenter.warm_up(plan)
    profile = 255.0 * np.exp(-0.5 * ((np.arange(480) - 210.0) / 5.0) ** 2)
    pixels = np.tile(profile.astype(np.uint8)[:, None], 640)
    segmentation = segmenter.segment(pixels, plan)
    assert len(segmentation.line.points_px) == 640
    np.testing.assert_allclose(segmentation.line.points_px[:, 1], 210.0, atol=0.2)
    assert segmentation.probability.shape == (224, 256)


def test_an_image_of_another_size_than_the_plan_is_refused(
    contract: ModelContract, write_network: WriteNetwork
) -> None:
    segmenter = Segmenter(write_network(contract.to_metadata()), "cpu")
    plan = segmenter.prepare_for((640, 480), (0.08, 0.08), None)
    with pytest.raises(InferenceError, match=r"image is \(480, 320\) uint8, expected \(480, 640\)"):
        segmenter.segment(np.zeros((480, 320), np.uint8), plan)


def test_a_network_that_answers_nan_gives_no_line(
    contract: ModelContract, write_network: WriteNetwork
) -> None:
    """The logarithm of a negative number, for every pixel."""
    below = replace(contract, normalisation=replace(contract.normalisation, mean=1.1))
    segmenter = Segmenter(write_network(below.to_metadata(), operator="Log"), "cpu")
    plan = segmenter.prepare_for((640, 480), (0.08, 0.08), None)
    with pytest.raises(InferenceError, match="returned a value that is not finite"):
        segmenter.segment(np.full((480, 640), 255, np.uint8), plan)


def test_importing_inference_brings_neither_torch_nor_qt_nor_onnx() -> None:
    code = (
        "import sys, inference.segmenter; "
        "print([m for m in ('torch', 'onnx', 'PySide6', 'open3d') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
