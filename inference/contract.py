"""What a network file says about itself: everything needed to run it, in its own metadata.

The contract travels in the ONNX `metadata_props` under keys that start with `navapp.`, each value
JSON. The runtime honours it to the letter or refuses the file in one sentence.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Self, TypeVar

import onnxruntime

from inference.errors import ModelError

CONTRACT_VERSION = "1"
_PREFIX = "navapp."

# How ONNX writes (in protobuf: field 1, 8 characters, field 2) that a tensor lies in another file.
# ONNX Runtime would look for it beside the working directory.
_EXTERNAL_DATA = b"\x0a\x08location\x12"
_Section = TypeVar("_Section")


@dataclass(frozen=True, slots=True)
class InputSpec:
    """The tensor that goes in, and how an image is laid into it.

    The region of interest is resampled to `spacing_mm` (one network pixel, the same in both
    directions), its top edge on the first row, centred sideways; what remains is `padding`.
    """

    name: str
    size_px: tuple[int, int]  # (rows, columns)
    spacing_mm: float
    layout: str = "NCHW"
    dtype: str = "float32"
    anchor: str = "top-centre"
    padding: float = 0.0  # grey value, before normalisation

    def __post_init__(self) -> None:
        _require(len(self.size_px) == 2 and min(self.size_px) > 0, "input.size_px", self.size_px)
        _require(self.spacing_mm > 0, "input.spacing_mm", self.spacing_mm)
        _require(self.layout == "NCHW", "input.layout", self.layout)
        _require(self.dtype == "float32", "input.dtype", self.dtype)
        _require(self.anchor == "top-centre", "input.anchor", self.anchor)
        _require(self.padding == 0.0, "input.padding", self.padding)


@dataclass(frozen=True, slots=True)
class Normalisation:
    """Network value of a grey value g: (scale * g - mean) / std."""

    scale: float
    mean: float
    std: float

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            is_number = isinstance(value, int | float) and math.isfinite(value)
            _require(is_number, f"normalisation.{name}", value)
        _require(self.std > 0, "normalisation.std", self.std)


@dataclass(frozen=True, slots=True)
class OutputSpec:
    """The tensor that comes out: `activation` "none" if it holds probabilities, "sigmoid" if that
    is still to be applied; bone is what exceeds `threshold`."""

    name: str
    activation: str
    threshold: float

    def __post_init__(self) -> None:
        _require(self.activation in ("none", "sigmoid"), "output.activation", self.activation)
        _require(0.0 < self.threshold < 1.0, "output.threshold", self.threshold)


@dataclass(frozen=True, slots=True)
class Geometry:
    """The images it was trained on: range of pixel spacings (mm), and what lies on row 0."""

    spacing_range_mm: tuple[float, float]
    row_0: str = "transducer"

    def __post_init__(self) -> None:
        _require(self.row_0 == "transducer", "geometry.row_0", self.row_0)


@dataclass(frozen=True, slots=True)
class ModelContract:
    """All sections of the contract; `provenance` is for people and holds what was recorded."""

    arch: str
    intended_use: str
    input: InputSpec
    normalisation: Normalisation
    output: OutputSpec
    geometry: Geometry
    provenance: dict[str, Any] = field(default_factory=dict)

    def to_metadata(self) -> dict[str, str]:
        """As ONNX `metadata_props`."""
        sections = {"contract_version": CONTRACT_VERSION, **asdict(self)}
        return {_PREFIX + name: json.dumps(value) for name, value in sections.items()}

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str], model: str) -> Self:
        """The contract in a file's metadata; `model` names the file in errors.

        Raises
        ------
        ModelError : no contract, another version, a section missing or not honoured.
        """
        version_key = _PREFIX + "contract_version"
        if version_key not in metadata:
            raise ModelError(
                f"model {model} has no navapp contract: its metadata lacks {version_key!r}; "
                "export it with `offline-tools export`"
            )
        try:
            sections = {f.name: json.loads(metadata[_PREFIX + f.name]) for f in fields(cls)}
            version = json.loads(metadata[version_key])
            if version != CONTRACT_VERSION:
                raise ModelError(
                    f"model {model} has contract version {version!r}, "
                    f"this program honours {CONTRACT_VERSION!r}"
                )
            return cls(
                arch=str(sections["arch"]),
                intended_use=str(sections["intended_use"]),
                input=_section(InputSpec, sections["input"]),
                normalisation=_section(Normalisation, sections["normalisation"]),
                output=_section(OutputSpec, sections["output"]),
                geometry=_section(Geometry, sections["geometry"]),
                provenance=dict(sections["provenance"]),
            )
        except KeyError as error:
            raise ModelError(f"contract of model {model} lacks {error}") from None
        except (TypeError, ValueError, AttributeError) as error:
            raise ModelError(f"contract of model {model} cannot be honoured: {error}") from None


def read_contract(path: Path) -> ModelContract:
    """The contract of a network file, checked against its graph.

    Raises
    ------
    ModelError : see `open_model`.
    """
    return open_model(path, read_model(path), ["CPUExecutionProvider"], quiet_options())[1]


def read_model(path: Path) -> bytes:
    """The bytes of a network file: read once, so that what is hashed is what runs."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise ModelError(f"model {path}: cannot be read ({error.strerror})") from None


def open_model(
    path: Path, content: bytes, providers: list[Any], options: onnxruntime.SessionOptions
) -> tuple[onnxruntime.InferenceSession, ModelContract]:
    """Session and contract of a network file's bytes; `path` names it in errors.

    Raises
    ------
    ModelError : no ONNX network, weights kept in other files, no contract, or a graph that is not
        what the contract says.
    """
    if _EXTERNAL_DATA in content:
        raise ModelError(f"model {path}: keeps weights in another file, expected one file for all")
    try:
        session = onnxruntime.InferenceSession(
            content, options, providers=providers, enable_fallback=0
        )
    except Exception as error:  # noqa: BLE001  ONNX Runtime's own classes share no public base
        reason = str(error).splitlines()[0]
        raise ModelError(f"model {path}: not an ONNX network that runs here ({reason})") from None
    contract = ModelContract.from_metadata(session.get_modelmeta().custom_metadata_map, str(path))
    _check_graph(session, contract, path)
    return session, contract


def quiet_options() -> onnxruntime.SessionOptions:
    """Session options that keep ONNX Runtime's own log silent: its errors come as exceptions."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    return options


def _check_graph(
    session: onnxruntime.InferenceSession, contract: ModelContract, path: Path
) -> None:
    """Names, types and sizes of the graph are those that the contract states."""
    for kind, tensors, name in (
        ("input", session.get_inputs(), contract.input.name),
        ("output", session.get_outputs(), contract.output.name),
    ):
        expected = (name, "tensor(float)", [1, 1, *contract.input.size_px])
        found = [(t.name, t.type, list(t.shape)) for t in tensors]
        if found != [expected]:
            raise ModelError(f"model {path}: its {kind} is {found}, its contract says {expected}")


def _section(cls: type[_Section], values: Mapping[str, Any]) -> _Section:
    """One section from its JSON object; JSON knows lists where we keep tuples."""
    return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})


def _require(is_met: bool, name: str, value: object) -> None:
    if not is_met:
        raise ValueError(f"{name} is {value!r}")
