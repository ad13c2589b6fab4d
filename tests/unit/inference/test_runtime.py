"""Where a network runs, and why; the segmenter on top of it."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from inference import runtime
from inference.contract import ModelContract
from inference.errors import InferenceError, ModelError, OutputError
from inference.runtime import NetworkSession, default_threads
from inference.segmenter import Segmenter, default_model_path

WriteNetwork = Callable[..., Path]


def test_cpu_session_returns_the_probability(
    contract: ModelContract, write_network: WriteNetwork
) -> None:
    path = write_network(contract.to_metadata())
    session = NetworkSession(path, "cpu")
    tensor = np.random.default_rng(4).random((1, 1, 224, 256), dtype=np.float32)
    np.testing.assert_array_equal(session.run(tensor), tensor[0, 0])
    assert session.provider == "CPUExecutionProvider"
    assert session.provider_reason == "the CPU was asked for"
    assert session.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_sigmoid_is_applied_where_the_contract_says_so(
    contract: ModelContract, write_network: WriteNetwork
) -> None:
    logits_out = replace(contract, output=replace(contract.output, activation="sigmoid"))
    session = NetworkSession(write_network(logits_out.to_metadata()), "cpu")
    out = session.run(np.full((1, 1, 224, 256), 2.0, dtype=np.float32))
    np.testing.assert_allclose(out, 1.0 / (1.0 + np.exp(-2.0)), rtol=1e-6)


def test_missing_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"none\.onnx: cannot be read"):
        NetworkSession(tmp_path / "none.onnx")


def test_wrong_tensor_is_an_error_of_ours(
    contract: ModelContract, write_network: WriteNetwork
) -> None:
    session = NetworkSession(write_network(contract.to_metadata()), "cpu")
    with pytest.raises(InferenceError, match=r"network network\.onnx did not run"):
        session.run(np.zeros((1, 1, 8, 8), dtype=np.float32))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_a_number_is_told_and_the_next_image_is_fine(
    value: float, contract: ModelContract, write_network: WriteNetwork
) -> None:
    session = NetworkSession(write_network(contract.to_metadata()), "cpu")
    tensor = np.zeros((1, 1, 224, 256), dtype=np.float32)
    tensor[0, 0, 3, 7] = value
    with pytest.raises(
        OutputError, match=r"network\.onnx returned values that are NaN or infinite"
    ):
        session.run(tensor)
    tensor[0, 0, 3, 7] = 0.25
    assert session.run(tensor)[3, 7] == 0.25


def test_extreme_logits_are_probabilities(
    contract: ModelContract, write_network: WriteNetwork
) -> None:
    logits_out = replace(contract, output=replace(contract.output, activation="sigmoid"))
    session = NetworkSession(write_network(logits_out.to_metadata()), "cpu")
    tensor = np.zeros((1, 1, 224, 256), dtype=np.float32)
    tensor[0, 0, 0, :2] = -1e4, 1e4
    assert session.run(tensor)[0, :2].tolist() == [0.0, 1.0]


def test_a_slow_network_gets_every_core_and_gives_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tensor = np.random.default_rng(3).random((1, 1, 224, 256), dtype=np.float32)
    monkeypatch.setattr(runtime, "physical_cores", lambda: 2)
    found = {}
    for slow_s, n_threads in ((np.inf, 1), (0.0, 2)):
        monkeypatch.setattr(runtime, "_SLOW_RUN_S", slow_s)
        session = NetworkSession(default_model_path(), "cpu")
        session.warm_up()
        assert session.n_threads == n_threads
        found[n_threads] = session.run(tensor)
    np.testing.assert_array_equal(found[1], found[2])
    asked_for_one = NetworkSession(default_model_path(), "cpu", n_threads=1)
    asked_for_one.warm_up()
    assert asked_for_one.n_threads == 1


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


def test_importing_inference_brings_neither_torch_nor_qt_nor_onnx() -> None:
    code = (
        "import sys, inference.segmenter; "
        "print([m for m in ('torch', 'onnx', 'PySide6', 'open3d') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
