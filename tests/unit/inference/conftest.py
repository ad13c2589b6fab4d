"""A contract, and tiny ONNX networks that carry it or another."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from inference.contract import Geometry, InputSpec, ModelContract, Normalisation, OutputSpec

CONTRACT = ModelContract(
    arch="test",
    intended_use="tests",
    input=InputSpec(name="image", size_px=(224, 256), spacing_mm=0.2),
    normalisation=Normalisation(scale=1.0 / 255.0, mean=0.0, std=1.0),
    output=OutputSpec(name="probability", activation="none", threshold=0.5),
    geometry=Geometry(spacing_range_mm=(0.05, 0.1)),
    provenance={"credit": "nobody"},
)


@pytest.fixture
def contract() -> ModelContract:
    return CONTRACT


@pytest.fixture
def write_network(tmp_path: Path) -> Callable[..., Path]:
    """Writes a network that returns its input (what is bright is bone), or another operator."""
    onnx = pytest.importorskip("onnx", reason="onnx comes with the extra `train`")

    def write(
        metadata: dict[str, str],
        shape: tuple[int | str, ...] = (1, 1, 224, 256),
        operator: str = "Identity",
        opset: int = 18,
        dtype: str = "FLOAT",
    ) -> Path:
        tensors = [
            onnx.helper.make_tensor_value_info(name, onnx.TensorProto.DataType.Value(dtype), shape)
            for name in ("image", "probability")
        ]
        node = onnx.helper.make_node(operator, ["image"], ["probability"])
        graph = onnx.helper.make_graph([node], "test", tensors[:1], tensors[1:])
        model = onnx.helper.make_model(
            graph, opset_imports=[onnx.helper.make_opsetid("", opset)], ir_version=8
        )
        onnx.helper.set_model_props(model, metadata)
        path = tmp_path / "network.onnx"
        onnx.save(model, path)
        return path

    return write
