"""A network in fewer bits: weights and layers in half precision, or in 8-bit integers."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quant_pre_process,
    quantize_static,
)


def to_half(model: onnx.ModelProto) -> onnx.ModelProto:
    """All layers in float16 between two casts, so that input and output stay float32.

    ONNX Runtime's own converter names two nodes alike where a constant is shared.
    """
    half = onnx.ModelProto()
    half.CopyFrom(model)
    graph = half.graph
    # Sizes, not values: the operator takes them in float32 only.
    kept = {name for node in graph.node if node.op_type == "Resize" for name in node.input[1:]}
    for tensor in graph.initializer:
        if tensor.name not in kept:
            _halve(tensor)
    for node in graph.node:
        for attribute in node.attribute:
            if node.op_type == "Constant" and node.output[0] not in kept:
                _halve(attribute.t)
            elif node.op_type == "Cast" and attribute.i == TensorProto.FLOAT:
                attribute.i = TensorProto.FLOAT16
    del graph.value_info[:]  # the types of before
    (source,), (target,) = graph.input, graph.output
    for node in graph.node:
        for names in (node.input, node.output):
            for k, name in enumerate(names):
                if name in (source.name, target.name):
                    names[k] = f"{name}_half"
    first = _cast(source.name, f"{source.name}_half", TensorProto.FLOAT16)
    last = _cast(f"{target.name}_half", target.name, TensorProto.FLOAT)
    nodes = [first, *graph.node, last]
    del graph.node[:]
    graph.node.extend(nodes)
    return half


def to_int8(model: onnx.ModelProto, images: Iterable[NDArray[np.float32]]) -> onnx.ModelProto:
    """Weights (one scale per channel) and activations in 8 bits, as QDQ pairs; ends stay float32.

    `images`, (1, 1, rows, columns) each, are what the ranges of the activations are taken from.
    """
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)  # the quantiser warns of what was just done
    try:
        with tempfile.TemporaryDirectory() as folder:
            full, plain, small = (
                Path(folder, f"{name}.onnx") for name in ("full", "plain", "small")
            )
            onnx.save(model, full)
            quant_pre_process(full, plain, skip_symbolic_shape=True)
            quantize_static(
                plain,
                small,
                _Images(model.graph.input[0].name, iter(images)),
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                weight_type=QuantType.QInt8,
                activation_type=QuantType.QUInt8,
            )
            return onnx.load(small)
    finally:
        root.setLevel(level)


class _Images(CalibrationDataReader):
    """What the quantiser asks for its images, one at a time."""

    def __init__(self, name: str, images: Iterator[NDArray[np.float32]]) -> None:
        self._name, self._images = name, images

    def get_next(self) -> dict[str, Any] | None:
        image = next(self._images, None)
        return None if image is None else {self._name: image}


def _halve(tensor: TensorProto) -> None:
    if tensor.data_type == TensorProto.FLOAT:
        values = onnx.numpy_helper.to_array(tensor)
        with np.errstate(over="ignore"):  # infinite then, which the gate notices
            tensor.CopyFrom(onnx.numpy_helper.from_array(values.astype(np.float16), tensor.name))


def _cast(source: str, target: str, dtype: int) -> onnx.NodeProto:
    return onnx.helper.make_node("Cast", [source], [target], name=f"to_{target}", to=dtype)
