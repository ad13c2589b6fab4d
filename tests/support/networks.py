"""Networks for tests of what surrounds them."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from inference.segmenter import default_model_path

_SIDE = 512  # of the matrices that it multiplies to pass the time


def write_slow_network(path: Path, at_least_s: float) -> Path:
    """A network with the default one's contract that takes so long for an image, on all cores.

    What is bright is bone. How many matrices it multiplies is measured here.
    """
    n_tried = 40
    _write(path, n_tried)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    tensor = np.zeros(session.get_inputs()[0].shape, dtype=np.float32)
    taken_s = []
    for _ in range(3):
        begin_s = time.perf_counter()
        session.run(None, {session.get_inputs()[0].name: tensor})
        taken_s.append(time.perf_counter() - begin_s)
    _write(path, int(n_tried * at_least_s / min(taken_s)))
    return path


def _write(path: Path, n_products: int) -> None:
    default = onnx.load(default_model_path())
    image, probability = default.graph.input[0], default.graph.output[0]
    matrix = np.random.default_rng(0).random((_SIDE, _SIDE), dtype=np.float32) / _SIDE
    one_product = helper.make_graph(
        [
            helper.make_node("Identity", ["go_on"], ["goes_on"]),
            helper.make_node("MatMul", ["state", "matrix"], ["next_state"]),
        ],
        "one_product",
        [
            helper.make_tensor_value_info("iteration", TensorProto.INT64, ()),
            helper.make_tensor_value_info("go_on", TensorProto.BOOL, ()),
            helper.make_tensor_value_info("state", TensorProto.FLOAT, (_SIDE, _SIDE)),
        ],
        [
            helper.make_tensor_value_info("goes_on", TensorProto.BOOL, ()),
            helper.make_tensor_value_info("next_state", TensorProto.FLOAT, (_SIDE, _SIDE)),
        ],
    )
    nodes = [
        # Depends on the image, so that nothing of it is computed once and for all.
        helper.make_node("ReduceMax", [image.name], ["brightest"], keepdims=0),
        helper.make_node("Mul", ["matrix", "brightest"], ["first_state"]),
        helper.make_node("Loop", ["n", "yes", "first_state"], ["last_state"], body=one_product),
        helper.make_node("ReduceMin", ["last_state"], ["smallest"], keepdims=0),
        helper.make_node("Mul", ["smallest", "nothing"], ["zero"]),
        helper.make_node("Add", [image.name, "zero"], ["sum"]),
        helper.make_node("Clip", ["sum", "nothing", "everything"], [probability.name]),
    ]
    constants = {
        "matrix": matrix,
        "n": np.array(n_products, dtype=np.int64),
        "yes": np.array(True),
        "nothing": np.array(0.0, dtype=np.float32),
        "everything": np.array(1.0, dtype=np.float32),
    }
    graph = helper.make_graph(
        nodes,
        "slow",
        [image],
        [probability],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    helper.set_model_props(model, {prop.key: prop.value for prop in default.metadata_props})
    onnx.save(model, path)
