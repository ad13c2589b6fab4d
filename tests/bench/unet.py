"""The U-Net of the peers' benchmark as an ONNX file that carries a contract; needs no torch.

Four levels, 16 filters at the top, two 3x3 convolutions with ReLU per level (their normalisation
is part of the weights), transposed convolutions upwards, sigmoid: 1.94 million weights at random.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static

from inference.contract import Geometry, InputSpec, ModelContract, Normalisation, OutputSpec

_WIDTH, _LEVELS = 16, 4


def contract(size_px: int, spacing_mm: float) -> ModelContract:
    """Grey / 255 in, probability out, a square of so many pixels."""
    return ModelContract(
        arch="benchmark",
        intended_use="benchmarks",
        input=InputSpec(name="input", size_px=(size_px, size_px), spacing_mm=spacing_mm),
        normalisation=Normalisation(scale=1.0 / 255.0, mean=0.0, std=1.0),
        output=OutputSpec(name="output", activation="none", threshold=0.5),
        geometry=Geometry(spacing_range_mm=(0.05, 0.1)),
    )


def write_identity(path: Path, size_px: int, spacing_mm: float) -> None:
    """What is bright is bone."""
    _save(path, [helper.make_node("Identity", ["input"], ["output"])], [], size_px, spacing_mm)


def write_unet(path: Path, size_px: int, spacing_mm: float) -> int:
    """Returns the number of weights."""
    net = _Net()
    name, n, skips = "input", 1, list[tuple[str, int]]()
    for level in range(_LEVELS + 1):
        if level:
            skips.append((name, n))
            name = net.add("MaxPool", [name], kernel_shape=[2, 2], strides=[2, 2])
        name, n = net.double_conv(name, n, _WIDTH * 2**level), _WIDTH * 2**level
    for skip, n_skip in reversed(skips):
        weights = [name, net.weights(n, n_skip, 2, 2), net.weights(n_skip)]
        name = net.add("ConvTranspose", weights, kernel_shape=[2, 2], strides=[2, 2])
        name = net.double_conv(net.add("Concat", [name, skip], axis=1), 2 * n_skip, n_skip)
        n = n_skip
    last = net.add("Conv", [name, net.weights(1, n, 1, 1), net.weights(1)], kernel_shape=[1, 1])
    net.nodes.append(helper.make_node("Sigmoid", [last], ["output"]))
    _save(path, net.nodes, net.initializers, size_px, spacing_mm)
    return sum(int(np.prod(tensor.dims)) for tensor in net.initializers)


def write_int8(source: Path, path: Path, size_px: int) -> None:
    """The same network with weights and activations in 8 bits, ranges from random images."""
    rng = np.random.default_rng(1)
    shape = (1, 1, size_px, size_px)
    samples = iter([{"input": rng.random(shape, dtype=np.float32)} for _ in range(4)])

    class Samples(CalibrationDataReader):
        def get_next(self) -> Any:
            return next(samples, None)

    logging.disable(logging.WARNING)  # it advises to simplify a graph that is simple
    quantize_static(
        source, path, Samples(), activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
        per_channel=True,
    )  # fmt: skip
    logging.disable(logging.NOTSET)


class _Net:
    """Nodes and weights, named as they come."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.initializers: list[Any] = []
        self._rng = np.random.default_rng(0)

    def add(self, operator: str, inputs: list[str], **attributes: Any) -> str:
        name = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [name], **attributes))
        return name

    def weights(self, *shape: int) -> str:
        name = f"w{len(self.initializers)}"
        scale = np.sqrt(2.0 / np.prod(shape[1:])) if len(shape) > 1 else 0.0
        values: NDArray[np.float32] = (scale * self._rng.normal(size=shape)).astype(np.float32)
        self.initializers.append(numpy_helper.from_array(values, name))
        return name

    def double_conv(self, name: str, n_in: int, n_out: int) -> str:
        for n in (n_in, n_out):
            weights = [name, self.weights(n_out, n, 3, 3), self.weights(n_out)]
            conv = self.add("Conv", weights, kernel_shape=[3, 3], pads=[1, 1, 1, 1])
            name = self.add("Relu", [conv])
        return name


def _save(
    path: Path, nodes: list[Any], initializers: list[Any], size_px: int, spacing_mm: float
) -> None:
    shape = (1, 1, size_px, size_px)
    tensors = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name in ("input", "output")
    ]
    graph = helper.make_graph(nodes, "benchmark", tensors[:1], tensors[1:], initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, contract(size_px, spacing_mm).to_metadata())
    onnx.save(model, path)
