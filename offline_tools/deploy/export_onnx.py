"""From a training run to one ONNX file with its contract inside; refused where it differs."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from inference.contract import ConfidenceMap, LineSpec, ModelContract
from inference.errors import InferenceError
from inference.runtime import NetworkSession
from offline_tools.datasets.images import LabelledImage
from offline_tools.datasets.simulated import FIRST_VALIDATION_SEED, simulated_images
from offline_tools.deploy.precision import to_half, to_int8
from offline_tools.errors import InputError, WorkError
from offline_tools.judging.evaluate import evaluate
from offline_tools.training.loop import load_run

# What runtimes of the last two years read.
_OPSET = 18

# Float32 sums in another order differ by some 1e-6; a wrong weight or operator by far more.
PARITY_TOLERANCE = 1e-4
_N_PARITY_IMAGES = 8
_N_METRIC_IMAGES = 10

# What fewer bits may cost in F1 at 0.5 mm, on real images: labels of two kinds differ by 0.07.
LARGEST_LOSS = 0.01
_GATE_MM = 0.5
_N_CALIBRATION_IMAGES = 64

Images = Callable[[], Iterable[LabelledImage]]


@dataclass(frozen=True, slots=True)
class RealImages:
    """Real images for fewer bits: to take ranges from, and to judge by. Each call reads anew."""

    calibration: Images
    validation: Images


@dataclass(frozen=True, slots=True)
class ExportResult:
    """What was written: largest difference to torch in probability, the size of the file, in how
    many of `n_simulated` simulated images it found bone, and for fewer bits the F1 at 0.5 mm in
    float32 and as written."""

    largest_difference: float
    n_bytes: int
    n_with_bone: int
    n_simulated: int
    f1: tuple[float, float] | None = None


def export(
    run: Path,
    out: Path,
    *,
    precision: str = "float32",
    images: RealImages | None = None,
    confidence: ConfidenceMap | None = None,
    line: LineSpec | None = None,
) -> ExportResult:
    """Write the averaged network of `run` as `out`, one file, with the contract of its run.

    `confidence` and `line` replace those of the run's contract. The file appears only if ONNX
    Runtime loads it, honours its contract and agrees with torch; "float16" and "int8" are made of
    a file that agrees, and appear only if they find bone as well, on the images given.

    Raises
    ------
    InputError : no usable checkpoint in `run`, or fewer bits without images.
    WorkError : ONNX Runtime's answer differs by more than `PARITY_TOLERANCE`, or F1 at 0.5 mm
        falls by more than `LARGEST_LOSS`.
    """
    if precision != "float32" and images is None:
        raise InputError(f"export in {precision} has to be judged on real images: give --data")
    network, description = load_run(run)
    contract = ModelContract.from_metadata(description.pop("contract"), str(run))
    contract = replace(contract, confidence=confidence or contract.confidence)
    contract = replace(contract, line=line or contract.line, provenance=description)
    module = _Probability(network).eval()
    model = _to_onnx(module, contract)
    partial = out.with_name(f".{out.name}.part")
    scores = None
    try:
        _save(model, contract, partial)
        difference = _largest_difference(module, partial, contract)
        if not difference <= PARITY_TOLERANCE:
            raise WorkError(
                f"export of {run}: ONNX differs from torch by {difference:.2g} in probability, "
                f"at most {PARITY_TOLERANCE} is allowed; nothing written"
            )
        if precision != "float32" and images is not None:
            contract = replace(contract, precision=precision)
            model, scores = _in_fewer_bits(model, contract, images, partial)
            difference = _largest_difference(module, partial, contract)
        simulated = _simulated(partial)
        description["metrics"] = {"parity_max_abs": difference, "simulated": simulated}
        if scores is not None:
            description["metrics"]["f1_at_0.5"] = {"float32": scores[0], precision: scores[1]}
        _save(model, contract, partial)
        os.replace(partial, out)
    except InferenceError as error:
        raise WorkError(f"export of {run}: the file cannot be used: {error}") from error
    except OSError as error:
        raise WorkError(f"{out}: cannot be written ({error.strerror})") from None
    finally:
        partial.unlink(missing_ok=True)
    n_simulated = simulated["n_frames"]
    n_with_bone = n_simulated - simulated["n_empty_prediction"]
    return ExportResult(difference, out.stat().st_size, n_with_bone, n_simulated, scores)


def _in_fewer_bits(
    model: onnx.ModelProto, contract: ModelContract, images: RealImages, path: Path
) -> tuple[onnx.ModelProto, tuple[float, float]]:
    """The network in the contract's precision, saved at `path`, and F1 before and after.

    Raises
    ------
    WorkError : F1 falls by more than `LARGEST_LOSS`.
    """
    before = _f1(path, images.validation())
    if contract.precision == "float16":
        small = to_half(model)
    else:
        chosen = islice(images.calibration(), _N_CALIBRATION_IMAGES)
        small = to_int8(model, (image.plan(contract).prepare(image.pixels) for image in chosen))
    _save(small, contract, path)
    after = _f1(path, images.validation())
    if not after >= before - LARGEST_LOSS:
        raise WorkError(
            f"export in {contract.precision}: F1 at {_GATE_MM} mm falls from {before:.4f} to "
            f"{after:.4f}, by more than {LARGEST_LOSS}; nothing written"
        )
    return small, (before, after)


def _f1(model: Path, images: Iterable[LabelledImage]) -> float:
    evaluation = evaluate(model, images)
    k = int(np.abs(np.array(evaluation["thresholds_mm"]) - _GATE_MM).argmin())
    return float(evaluation["per_frame_mean"]["f1"][k])


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
    for value in (*model.graph.input, *model.graph.output, *model.graph.value_info):
        del value.metadata_props[:]
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
    kept = ("n_frames", "n_empty_prediction", "thresholds_mm", "per_frame_mean")
    return {key: evaluation[key] for key in kept}
