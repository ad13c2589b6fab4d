"""A run becomes one ONNX file that answers as torch does and says what it was made from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch comes with the extra `train`")
pytest.importorskip("onnxscript", reason="onnxscript comes with the extra `train`")

from inference.contract import read_contract  # noqa: E402
from inference.runtime import NetworkSession  # noqa: E402
from offline_tools.datasets.examples import Examples  # noqa: E402
from offline_tools.deploy.export_onnx import export  # noqa: E402
from offline_tools.training.loop import load_run, train  # noqa: E402
from offline_tools.training.settings import checked  # noqa: E402


@pytest.fixture(scope="module")
def run(drawn: Examples, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    tree = {"input": {"size_px": (64, 96)}, "epochs": 2, "batch_size": 4, "n_threads": 1}
    settings = checked({**tree, "device": "cpu", "optimiser": {"learning_rate": 1e-2}}, "test")
    train(drawn, drawn, settings=settings, run=folder, description={"data": {"n": 12}})
    return folder


@pytest.fixture(scope="module")
def exported(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("export") / "network.onnx"
    result = export(run, out)
    assert result.largest_difference < 1e-5
    assert result.n_bytes == out.stat().st_size < 3_000_000
    return out


def test_exported_network_equals_torch(exported: Path, run: Path, drawn: Examples) -> None:
    with torch.no_grad():
        expected = torch.sigmoid(load_run(run)[0](torch.from_numpy(drawn.images[:1])))
    found = NetworkSession(exported, "cpu").run(drawn.images[:1])
    np.testing.assert_allclose(found, expected.numpy()[0, 0], atol=1e-5)


def test_exported_file_carries_contract_and_no_paths(exported: Path) -> None:
    found = read_contract(exported)
    assert found.input.size_px == (64, 96)
    assert found.arch == "depthwise-unet-16"
    assert found.provenance["settings"]["epochs"] == 2
    assert found.provenance["best"]["epoch"] in (1, 2)
    assert found.provenance["metrics"]["parity_max_abs"] < 1e-5
    # The exporter notes source files, which say where we live.
    assert b"networks.py" not in exported.read_bytes()
    assert b"site-packages" not in exported.read_bytes()
    assert [path.name for path in exported.parent.iterdir()] == ["network.onnx"]
