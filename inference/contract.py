"""What a network file says about itself: everything needed to run it, in its own metadata.

The contract travels in the ONNX `metadata_props` under keys that start with `navapp.`, each value
JSON. The runtime honours it to the letter or refuses the file in one sentence.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Self, TypeVar

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from inference.errors import ModelError

CONTRACT_VERSION = "1"
PRECISIONS = ("float32", "float16", "int8")
_PREFIX = "navapp."
_OPTIONAL = ("line", "confidence", "precision")  # files of before lack them

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
class LineSpec:
    """How the bone line is read from the probability; the defaults are what files without it mean.

    Along each scan line, an image column ("columns") or a ray from the apex of a curved array
    ("polar"), a run is what exceeds `weak` (None: the output's threshold). Runs that continue each
    other from scan line to scan line make a fragment; it counts as bone if it exceeds `strong`
    somewhere and is `narrowest_mm` wide. Where several runs are left, `choice` takes the heaviest
    run, the run of the heaviest fragment, or the first, seen from the transducer.

    `apex_mm` (right, down) is measured from the middle of the region's top edge: negative down is
    above the image. Gaps of up to `close_gap_mm` inside a fragment are filled.
    """

    scan_lines: str = "columns"
    apex_mm: tuple[float, float] | None = None
    weak: float | None = None
    strong: float = 0.0
    choice: str = "run"
    close_gap_mm: float = 0.0
    narrowest_mm: float = 1.0

    def __post_init__(self) -> None:
        _require(self.scan_lines in ("columns", "polar"), "line.scan_lines", self.scan_lines)
        is_polar = self.scan_lines == "polar"
        _require(is_polar == (self.apex_mm is not None), "line.apex_mm", self.apex_mm)
        if self.apex_mm is not None:
            right_mm, down_mm = self.apex_mm
            _require(math.isfinite(right_mm) and down_mm < 0.0, "line.apex_mm", self.apex_mm)
        _require(self.weak is None or 0.0 < self.weak < 1.0, "line.weak", self.weak)
        _require(0.0 <= self.strong < 1.0, "line.strong", self.strong)
        _require(self.choice in ("run", "fragment", "first"), "line.choice", self.choice)
        _require(0.0 <= self.close_gap_mm < math.inf, "line.close_gap_mm", self.close_gap_mm)
        _require(0.0 <= self.narrowest_mm < math.inf, "line.narrowest_mm", self.narrowest_mm)


@dataclass(frozen=True, slots=True)
class ConfidenceMap:
    """From a point's peak probability to the share of such points that were right when judged.

    Linear between its knots, constant beyond them; neither list ever falls.
    """

    peak: tuple[float, ...]
    observed: tuple[float, ...]

    def __post_init__(self) -> None:
        for name, values in asdict(self).items():
            is_share = all(0.0 <= value <= 1.0 for value in values)
            _require(is_share and list(values) == sorted(values), f"confidence.{name}", values)
        is_map = len(self.peak) == len(self.observed) > 0 and len(set(self.peak)) == len(self.peak)
        _require(is_map, "confidence.peak", self.peak)

    def __call__(self, peak: NDArray[np.float32]) -> NDArray[np.float32]:
        """The share observed for each peak (N,)."""
        return np.interp(peak, self.peak, self.observed).astype(np.float32)


@dataclass(frozen=True, slots=True)
class ModelContract:
    """All sections of the contract.

    `precision` of the weights and `provenance` are for people: what goes in and comes out is
    float32 in any case. Without a `confidence` section a point's confidence is its peak.
    """

    arch: str
    intended_use: str
    input: InputSpec
    normalisation: Normalisation
    output: OutputSpec
    geometry: Geometry
    line: LineSpec = field(default_factory=LineSpec)
    confidence: ConfidenceMap | None = None
    precision: str = "float32"
    provenance: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _require(self.precision in PRECISIONS, "precision", self.precision)

    def to_metadata(self) -> dict[str, str]:
        """As ONNX `metadata_props`; an absent section is left out."""
        sections = {"contract_version": CONTRACT_VERSION, **asdict(self)}
        return {
            _PREFIX + name: json.dumps(value)
            for name, value in sections.items()
            if value is not None
        }

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
            sections = {
                f.name: json.loads(metadata[_PREFIX + f.name])
                for f in fields(cls)
                if f.name not in _OPTIONAL or _PREFIX + f.name in metadata
            }
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
                line=_section(LineSpec, sections.get("line", {})),
                confidence=(
                    _section(ConfidenceMap, sections["confidence"])
                    if "confidence" in sections
                    else None
                ),
                precision=str(sections.get("precision", PRECISIONS[0])),
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
        reason = _plain_reason(str(error).splitlines()[0])
        raise ModelError(f"model {path}: not an ONNX network that runs here ({reason})") from None
    contract = ModelContract.from_metadata(session.get_modelmeta().custom_metadata_map, str(path))
    _check_graph(session, contract, path)
    return session, contract


def quiet_options() -> onnxruntime.SessionOptions:
    """Session options that keep ONNX Runtime's own log silent: its errors come as exceptions."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    return options


def _plain_reason(said: str) -> str:
    """What ONNX Runtime said, without its source files; of an opset only the numbers."""
    opset = re.search(r"Opset (\d+) is under development.* till opset (\d+)", said)
    if opset:
        return f"it needs opset {opset[1]}, this ONNX Runtime knows opsets up to {opset[2]}"
    return re.sub(r"\S*/onnxruntime_src/\S+ ", "", said)


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
