"""Export in three precisions, its gates, and what the file says; with a network made of bright."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch comes with the extra `train`")
pytest.importorskip("onnxscript", reason="onnxscript comes with the extra `train`")

from inference.contract import ConfidenceMap, LineSpec, ModelContract, read_contract  # noqa: E402
from inference.runtime import NetworkSession  # noqa: E402
from offline_tools.datasets.images import images_of  # noqa: E402
from offline_tools.datasets.simulated import SimulatedImages  # noqa: E402
from offline_tools.deploy import export_onnx  # noqa: E402
from offline_tools.deploy.cli import export as export_command  # noqa: E402
from offline_tools.deploy.export_onnx import RealImages, export  # noqa: E402
from offline_tools.errors import InputError, WorkError  # noqa: E402


class Bright(torch.nn.Module):  # type: ignore[misc, name-defined]
    """Logits that rise with what is brighter than its surroundings; uses convolution and resize."""

    def __init__(self) -> None:
        super().__init__()
        self.blur = torch.nn.Conv2d(1, 1, 3, padding=1, bias=False)
        torch.nn.init.constant_(self.blur.weight, 1.0 / 9.0)

    def forward(self, image: Any) -> Any:
        fine = self.blur(image)
        around = torch.nn.functional.avg_pool2d(fine, 8)
        wide = torch.nn.functional.interpolate(around, scale_factor=8, mode="bilinear")
        return 20.0 * (fine - 0.5 * wide) - 6.0


@pytest.fixture(autouse=True)
def bright_run(contract: ModelContract, monkeypatch: pytest.MonkeyPatch) -> None:
    def load(run: Path) -> tuple[Bright, dict[str, Any]]:
        return Bright().eval(), {"contract": contract.to_metadata(), "data": {"n": 8}}

    monkeypatch.setattr(export_onnx, "load_run", load)


@pytest.fixture(scope="module")
def images() -> RealImages:
    source = SimulatedImages(600, 6)
    return RealImages(lambda: images_of([source]), lambda: images_of([source]))


@pytest.mark.parametrize(("precision", "difference"), [("float16", 0.02), ("int8", 0.6)])
def test_fewer_bits_find_the_same_bone(
    images: RealImages, tmp_path: Path, precision: str, difference: float
) -> None:
    out = tmp_path / "network.onnx"
    result = export(Path("run"), out, precision=precision, images=images)
    assert result.f1 is not None
    assert result.f1[0] > 0.2
    assert result.f1[1] >= result.f1[0] - 0.01
    assert 1e-6 < result.largest_difference < difference
    contract = read_contract(out)
    assert contract.precision == precision
    assert contract.provenance["metrics"]["parity_max_abs"] == result.largest_difference
    assert contract.provenance["metrics"]["f1_at_0.5"] == {
        "float32": result.f1[0],
        precision: result.f1[1],
    }
    answer = NetworkSession(out, "cpu").run(np.zeros((1, 1, 224, 256), np.float32))
    assert answer.dtype == np.float32
    content = out.read_bytes()
    for trace in (str(tmp_path), str(Path.home()), "site-packages", "/tmp", "test_export"):
        assert trace.encode() not in content
    assert list(tmp_path.iterdir()) == [out]


def test_int8_is_int8_and_float16_is_float16(images: RealImages, tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    types = {}
    for precision in ("float32", "float16", "int8"):
        out = tmp_path / f"{precision}.onnx"
        export(Path("run"), out, precision=precision, images=images)
        tensors = onnx.load(out).graph.initializer
        types[precision] = {onnx.TensorProto.DataType.Name(t.data_type) for t in tensors}
    assert "FLOAT16" in types["float16"]
    assert "INT8" in types["int8"]
    assert not {"FLOAT16", "INT8"} & types["float32"]


def test_fewer_bits_that_lose_bone_are_refused(
    images: RealImages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = iter((0.9, 0.8899))
    monkeypatch.setattr(export_onnx, "_f1", lambda model, images: next(scores))
    with pytest.raises(WorkError, match=r"F1 at 0\.5 mm falls from 0\.9000 to 0\.8899"):
        export(Path("run"), tmp_path / "network.onnx", precision="float16", images=images)
    assert list(tmp_path.iterdir()) == []


def test_fewer_bits_need_real_images(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has to be judged on real images: give --data"):
        export(Path("run"), tmp_path / "network.onnx", precision="int8")


def test_confidence_and_line_replace_those_of_the_run(tmp_path: Path) -> None:
    confidence, line = ConfidenceMap((0.5, 0.9), (0.1, 0.8)), LineSpec(weak=0.3, strong=0.9)
    out = tmp_path / "network.onnx"
    export(Path("run"), out, confidence=confidence, line=line)
    found = read_contract(out)
    assert (found.confidence, found.line, found.precision) == (confidence, line, "float32")


@pytest.mark.parametrize(("gain", "is_blind"), [(1.0, False), (0.0, True)])
def test_a_network_that_finds_nothing_is_told(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    gain: float,
    is_blind: bool,
) -> None:
    network, description = export_onnx.load_run(Path("run"))
    network.blur.weight.data *= gain
    monkeypatch.setattr(export_onnx, "load_run", lambda run: (network, description))
    out = tmp_path / "network.onnx"
    export_command(Path("run"), out)
    assert (
        "warning: found bone in 0 of 10 simulated images" in capsys.readouterr().out
    ) is is_blind
    found = read_contract(out).provenance["metrics"]["simulated"]
    assert (found["n_empty_prediction"] == found["n_frames"] == 10) is is_blind


def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(WorkError, match=r"network\.onnx: cannot be written \(No such file"):
        export(Path("run"), tmp_path / "none" / "network.onnx")
