"""The contract inside a network file: round trip, and every way to be refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from inference.contract import ConfidenceMap, LineSpec, ModelContract, read_contract
from inference.errors import ModelError


def changed(contract: ModelContract, section: str, **values: object) -> dict[str, str]:
    """The contract's metadata with some values of a section replaced."""
    metadata = contract.to_metadata()
    metadata[f"navapp.{section}"] = json.dumps(json.loads(metadata[f"navapp.{section}"]) | values)
    return metadata


def test_round_trip_through_metadata(contract: ModelContract) -> None:
    metadata = contract.to_metadata()
    assert all(key.startswith("navapp.") for key in metadata)
    assert json.loads(metadata["navapp.contract_version"]) == "1"
    assert ModelContract.from_metadata(metadata, "m") == contract


def test_round_trip_through_a_file(
    contract: ModelContract, write_network: Callable[..., Path]
) -> None:
    assert read_contract(write_network(contract.to_metadata())) == contract


def test_no_contract(write_network: Callable[..., Path]) -> None:
    with pytest.raises(ModelError, match=r"network\.onnx has no navapp contract: its metadata"):
        read_contract(write_network({}))


@pytest.mark.parametrize(
    ("section", "values", "text"),
    [
        ("input", {"layout": "NHWC"}, r"input\.layout is 'NHWC'"),
        ("input", {"anchor": "stretch"}, r"input\.anchor is 'stretch'"),
        ("input", {"spacing_mm": 0.0}, r"input\.spacing_mm is 0\.0"),
        ("input", {"spacing_mm": "fine"}, "cannot be honoured"),
        ("input", {"padding": 3.0}, r"input\.padding is 3\.0"),
        ("input", {"colour": "grey"}, "colour"),
        ("normalisation", {"scale": "x"}, r"normalisation\.scale is 'x'"),
        ("normalisation", {"std": 0.0}, r"normalisation\.std is 0\.0"),
        ("output", {"activation": "softmax"}, r"output\.activation is 'softmax'"),
        ("output", {"threshold": 1.5}, r"output\.threshold is 1\.5"),
        ("line", {"scan_lines": "spiral"}, r"line\.scan_lines is 'spiral'"),
        ("line", {"scan_lines": "polar"}, r"line\.apex_mm is None"),
        ("line", {"apex_mm": [0.0, -40.0]}, r"line\.apex_mm is \(0\.0, -40\.0\)"),
        (
            "line",
            {"scan_lines": "polar", "apex_mm": [0.0, 5.0]},
            r"line\.apex_mm is \(0\.0, 5\.0\)",
        ),
        ("line", {"weak": 0.0}, r"line\.weak is 0\.0"),
        ("line", {"strong": 1.0}, r"line\.strong is 1\.0"),
        ("line", {"choice": "lowest"}, r"line\.choice is 'lowest'"),
        ("line", {"close_gap_mm": -1.0}, r"line\.close_gap_mm is -1\.0"),
        ("line", {"narrowest_mm": float("inf")}, r"line\.narrowest_mm is inf"),
        ("line", {"smoothing": 3}, "smoothing"),
        ("geometry", {"row_0": "far end"}, r"geometry\.row_0 is 'far end'"),
    ],
)
def test_what_cannot_be_honoured_is_refused(
    contract: ModelContract, section: str, values: dict[str, object], text: str
) -> None:
    with pytest.raises(ModelError, match=text):
        ModelContract.from_metadata(changed(contract, section, **values), "m.onnx")


@pytest.mark.parametrize(
    ("peak", "observed", "text"),
    [
        ([0.5, 0.4], [0.1, 0.2], r"confidence\.peak is \(0\.5, 0\.4\)"),
        ([0.5, 0.5], [0.1, 0.2], r"confidence\.peak is \(0\.5, 0\.5\)"),
        ([0.4, 0.5], [0.2, 0.1], r"confidence\.observed is \(0\.2, 0\.1\)"),
        ([0.4, 0.5], [0.2, 1.1], r"confidence\.observed is \(0\.2, 1\.1\)"),
        ([0.4], [0.2, 0.3], r"confidence\.peak is \(0\.4,\)"),
        ([], [], r"confidence\.peak is \(\)"),
        ([0.4], [float("nan")], r"confidence\.observed is \(nan,\)"),
    ],
)
def test_a_confidence_that_is_no_rising_map_is_refused(
    contract: ModelContract, peak: list[float], observed: list[float], text: str
) -> None:
    metadata = contract.to_metadata()
    metadata["navapp.confidence"] = json.dumps({"peak": peak, "observed": observed})
    with pytest.raises(ModelError, match=text):
        ModelContract.from_metadata(metadata, "m.onnx")


def test_files_of_before_mean_what_they_meant(contract: ModelContract) -> None:
    metadata = contract.to_metadata()
    assert "navapp.confidence" not in metadata
    del metadata["navapp.line"], metadata["navapp.precision"]
    found = ModelContract.from_metadata(metadata, "m")
    assert found == contract
    assert found.line == LineSpec(choice="run", close_gap_mm=0.0, narrowest_mm=1.0)
    assert found.precision == "float32"


def test_line_and_confidence_travel_with_the_model(contract: ModelContract) -> None:
    full = replace(
        contract,
        line=LineSpec("polar", (1.5, -40.0), 0.3, 0.9, "fragment", 1.0, 2.0),
        confidence=ConfidenceMap((0.3, 0.9), (0.1, 0.95)),
        precision="int8",
    )
    assert ModelContract.from_metadata(full.to_metadata(), "m") == full


def test_confidence_is_linear_between_knots_and_constant_beyond() -> None:
    confidence = ConfidenceMap((0.4, 0.8), (0.2, 0.9))
    peak = np.array([0.0, 0.4, 0.6, 0.8, 1.0], np.float32)
    np.testing.assert_allclose(confidence(peak), [0.2, 0.2, 0.55, 0.9, 0.9], atol=1e-6)
    assert confidence(peak).dtype == np.float32


def test_unknown_precision(contract: ModelContract) -> None:
    metadata = contract.to_metadata() | {"navapp.precision": '"int4"'}
    with pytest.raises(ModelError, match="m cannot be honoured: precision is 'int4'"):
        ModelContract.from_metadata(metadata, "m")


def test_unknown_version(contract: ModelContract) -> None:
    metadata = contract.to_metadata() | {"navapp.contract_version": '"2"'}
    with pytest.raises(ModelError, match="contract version '2', this program honours '1'"):
        ModelContract.from_metadata(metadata, "m")


def test_missing_section(contract: ModelContract) -> None:
    metadata = contract.to_metadata()
    del metadata["navapp.output"]
    with pytest.raises(ModelError, match=r"contract of model m lacks 'navapp\.output'"):
        ModelContract.from_metadata(metadata, "m")


def test_a_section_that_is_none(contract: ModelContract) -> None:
    metadata = contract.to_metadata() | {"navapp.input": "5"}
    with pytest.raises(ModelError, match=r"m\.onnx cannot be honoured"):
        ModelContract.from_metadata(metadata, "m.onnx")


def test_broken_json(contract: ModelContract) -> None:
    metadata = contract.to_metadata() | {"navapp.output": "{"}
    with pytest.raises(ModelError, match="cannot be honoured"):
        ModelContract.from_metadata(metadata, "m")


@pytest.mark.parametrize(
    "shape", [(1, 1, 256, 256), (1, 3, 224, 256), (1, 224, 256), ("n", 1, 224, 256)]
)
def test_graph_of_another_size_is_refused(
    contract: ModelContract, write_network: Callable[..., Path], shape: tuple[int | str, ...]
) -> None:
    path = write_network(contract.to_metadata(), shape)
    with pytest.raises(ModelError, match=r"its input is .* its contract says"):
        read_contract(path)


@pytest.mark.parametrize(
    ("dtype", "word"), [("FLOAT16", r"tensor\(float16\)"), ("UINT8", r"tensor\(uint8\)")]
)
def test_graph_of_another_type_is_refused(
    contract: ModelContract, write_network: Callable[..., Path], dtype: str, word: str
) -> None:
    with pytest.raises(ModelError, match=rf"its input is .*{word}.* its contract says"):
        read_contract(write_network(contract.to_metadata(), dtype=dtype))


def test_opset_from_the_future_is_refused_in_one_line(
    contract: ModelContract, write_network: Callable[..., Path]
) -> None:
    with pytest.raises(ModelError, match=r"runs here \(it needs opset 99, .* opsets up to \d+\)$"):
        read_contract(write_network(contract.to_metadata(), opset=99))


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"none\.onnx: cannot be read \(No such file"):
        read_contract(tmp_path / "none.onnx")


@pytest.mark.parametrize("content", [b"", b"no network at all"])
def test_file_that_is_no_network(
    tmp_path: Path, content: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "broken.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelError, match="not an ONNX network that runs here"):
        read_contract(path)
    assert capfd.readouterr().err == ""


def test_truncated_file(contract: ModelContract, write_network: Callable[..., Path]) -> None:
    path = write_network(contract.to_metadata())
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(ModelError, match=r"network\.onnx"):
        read_contract(path)


def test_weights_in_another_file_are_refused(
    contract: ModelContract, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    onnx = pytest.importorskip("onnx", reason="onnx comes with the extra `train`")
    shape = contract.input.size_px
    tensors = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, (1, 1, *shape))
        for name in ("image", "probability")
    ]
    weight = onnx.numpy_helper.from_array(np.ones((1, 1, *shape), np.float32), "weight")
    node = onnx.helper.make_node("Mul", ["image", "weight"], ["probability"])
    graph = onnx.helper.make_graph([node], "test", tensors[:1], tensors[1:], [weight])
    model = onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=8
    )
    onnx.helper.set_model_props(model, contract.to_metadata())
    path = tmp_path / "split.onnx"
    onnx.save(model, path, save_as_external_data=True, location="split.data", size_threshold=0)
    monkeypatch.chdir(tmp_path)  # even where the other file could be found
    with pytest.raises(ModelError, match="keeps weights in another file"):
        read_contract(path)
