"""From a training run to one ONNX file with its contract inside; refused where it differs."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from inference.contract import ModelContract
from inference.errors import InferenceError
from inference.runtime import NetworkSession
from offline_tools.datasets.simulated import FIRST_VALIDATION_SEED, simulated_images
from offline_tools.errors import WorkError
from offline_tools.judging.evaluate import evaluate
from offline_tools.training.loop import load_run

# What runtimes of the last two years read.
_OPSET = 18

# Float32 sums in another order differ by some 1e-6; a wrong weight or operator by far more.
PARITY_TOLERANCE = 1e-4
_N_PARITY_IMAGES = 8
_N_METRIC_IMAGES = 10


@dataclass(frozen=True, slots=True)
class ExportResult:
    """What was written: largest difference to torch in probability, and the size of the file."""

    largest_difference: float
    n_bytes: int


def export(run: Path, out: Path) -> ExportResult:
    """Write the averaged network of `run` as `out`, one file, with the contract of its run.

    The file appears only if ONNX Runtime loads it, honours its contract and agrees with torch.

    Raises
    ------
    InputError : no usable checkpoint in `run`.
    WorkError : ONNX Runtime's answer differs by more than `PARITY_TOLERANCE`.
    """
    network, description = load_run(run)
    contract = ModelContract.from_metadata(description.pop("contract"), str(run))
    module = _Probability(network).eval()
    model = _to_onnx(module, contract)
    partial = out.with_name(f".{out.name}.part")
    try:
        _save(model, replace(contract, provenance=description), partial)
        difference = _largest_difference(module, partial, contract)
        if not difference <= PARITY_TOLERANCE:
            raise WorkError(
                f"export of {run}: ONNX differs from torch by {difference:.2g} in probability, "
                f"at most {PARITY_TOLERANCE} is allowed; nothing written"
            )
        description["metrics"] = {"parity_max_abs": difference, "simulated": _simulated(partial)}
        _save(model, replace(contract, provenance=description), partial)
        os.replace(partial, out)
    except InferenceError as error:
        raise WorkError(f"export of {run}: the file cannot be used: {error}") from error
    finally:
        partial.unlink(missing_ok=True)
    return ExportResult(difference, out.stat().st_size)


class _Probability(nn.Module):
    """The network with its sigmoid inside, so that no runtime can forget it."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        return torch.sigmoid(self.network(image))


def _to_onnx(module: nn.Module, contract: ModelContract) -> onnx.ModelProto:
    """The graph, without the exporter's traces of the machine."""
    image = torch.zeros(1, 1, *contract.input.size_px)
    # The exporter tells of its own internals, and that torchvision, which nobody needs, is missing.
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            module,
            (image,),
            dynamo=True,
            opset_version=_OPSET,
            external_data=False,
            input_names=[contract.input.name],
            output_names=[contract.output.name],
        )
    model = program.model_proto
    del model.graph.metadata_props[:], model.metadata_props[:]
    for node in model.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    return model


def _save(model: onnx.ModelProto, contract: ModelContract, path: Path) -> None:
    onnx.helper.set_model_props(model, contract.to_metadata())
    onnx.save(model, path)


def _largest_difference(module: nn.Module, path: Path, contract: ModelContract) -> float:
    """Between torch and ONNX Runtime, over images of smooth seeded noise."""
    session = NetworkSession(path, "cpu")
    generator = torch.Generator().manual_seed(0)
    rows, columns = contract.input.size_px
    coarse = torch.rand(_N_PARITY_IMAGES, 1, rows // 8, columns // 8, generator=generator)
    images = nn.functional.interpolate(coarse, (rows, columns), mode="bilinear")
    with torch.no_grad():
        expected = module(images).numpy()
    found = np.stack([session.run(image.numpy()[None]) for image in images])[:, None]
    return float(np.abs(found - expected).max())


def _simulated(path: Path) -> dict[str, Any]:
    """How the exported network does on simulated images that no training has seen."""
    evaluation = evaluate(path, simulated_images(FIRST_VALIDATION_SEED, _N_METRIC_IMAGES))
    return {key: evaluation[key] for key in ("n_frames", "thresholds_mm", "per_frame_mean")}
