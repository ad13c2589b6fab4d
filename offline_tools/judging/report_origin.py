"""The sections of a report that say where a network comes from: training, data, model card."""

from __future__ import annotations

import csv
import html
import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from offline_tools.errors import InputError
from offline_tools.html_page import BLUE, GREEN, GREY, ORANGE, RED, Curve, chart, table
from offline_tools.judging.report_scores import number

LOG = "log.csv"

Numbers = Mapping[str, Any]

_COLOURS = (BLUE, ORANGE, GREEN, RED, GREY)


def training(run: Path, description: Numbers) -> str:
    """Curves of `log.csv`, one chart for losses and one for each other kind of number."""
    try:
        with (run / LOG).open(newline="") as file:
            rows = list(csv.DictReader(file))
        columns = {name: [_float(row[name]) for row in rows] for name in (rows[0] if rows else ())}
    except (OSError, csv.Error, UnicodeDecodeError) as error:
        raise InputError(f"{run / LOG}: cannot be read: {error}") from None
    epochs = columns.pop("epoch", [])
    groups: dict[str, list[str]] = {}
    for name, values in columns.items():
        if any(math.isfinite(value) for value in values):
            groups.setdefault("loss" if "loss" in name else name, []).append(name)
    charts = "".join(
        chart(
            group.replace("_", " "),
            [
                Curve(name.replace("_", " "), epochs, columns[name], colour)
                for name, colour in zip(names, _COLOURS, strict=False)
            ],
            x_label="epoch",
        )
        for group, names in groups.items()
    )
    settings = table([], _flat(description.get("settings", {})), of_words=True)
    reached = table([], _flat(description.get("reached", {})), of_words=True)
    return f'<h2>Training</h2><div class="charts">{charts}</div>{reached}{settings}'


def data(evaluation: Numbers, description: Numbers) -> str:
    """What was trained and judged on, and what the split's audit says."""
    parts = ["<h2>Data and split</h2>"]
    split = evaluation.get("data", {}).get("split")
    if evaluation and split is None:
        parts.append("<p>Judged on all labelled images of the data given, without a split.</p>")
    if split is not None and split.get("kind") == "frame":
        parts.append(
            "<p><b>Split by frame:</b> neighbouring frames lie on both sides, so these numbers say "
            "nothing about another bone.</p>"
        )
    if split is not None and split.get("leak"):
        parts.append(f"<p><b>The split leaks:</b> {html.escape(split['leak'])}.</p>")
    trained_on = {k: description[k] for k in ("data", "split") if k in description}
    for title, values in (("Judged on", evaluation.get("data")), ("Trained on", trained_on)):
        if values:
            parts.append(f"<h3>{title}</h3>{table([], _flat(values), of_words=True)}")
    return "".join(parts) if len(parts) > 1 else ""


def latency(evaluation: Numbers) -> str:
    latency_ms = evaluation.get("latency_ms")
    if latency_ms is None:
        return ""
    return (
        f"<h2>Latency</h2><p>{number(latency_ms['p50'], 1)} ms median, "
        f"{number(latency_ms['p95'], 1)} ms 95th percentile per image on the machine that made "
        f"this report ({html.escape(latency_ms.get('machine', ''))}), one image at a time: "
        "preprocessing, network and line, without reading the file.</p>"
    )


def card(evaluation: Numbers, description: Numbers) -> str:
    """The model's contract in words."""
    model = evaluation.get("model", {})
    contract = model.get("contract") or _run_contract(description)
    if not contract:
        return ""
    given, geometry = contract["input"], contract["geometry"]
    normalisation, output = contract["normalisation"], contract["output"]
    provenance = contract.get("provenance") or {}
    trained_on = provenance.get("data") or description.get("data") or {}
    rows, columns = given["size_px"]
    low_mm, high_mm = geometry["spacing_range_mm"]
    words = [
        ("intended use", contract["intended_use"]),
        ("architecture", contract["arch"]),
        ("file", " ".join(str(model[k]) for k in ("name", "sha256") if k in model)),
        (
            "input",
            f"one grey image as {rows} rows and {columns} columns of {given['spacing_mm']:g} mm "
            f"({given['layout']}, {given['dtype']}), the transducer on the first row, centred "
            "sideways, padded with black",
        ),
        (
            "normalisation",
            f"({normalisation['scale']:.6g} x grey value - {normalisation['mean']:.6g}) / "
            f"{normalisation['std']:.6g}",
        ),
        ("output", f"probability of bone; bone is what exceeds {output['threshold']:g}"),
        ("trained on images of", f"{low_mm:g} to {high_mm:g} mm per pixel"),
        ("confidence", _confidence_words(contract.get("confidence"))),
        ("data credit and licence", trained_on.get("credit", "not stated in the file")),
        ("status", "research software, not a medical device"),
    ]
    shown = table([], [(name, str(text)) for name, text in words if text], of_words=True)
    origin = table([], _flat(provenance), of_words=True)
    more = f"<h3>Provenance</h3>{origin}" if provenance else ""
    return f"<h2>Model card</h2>{shown}{more}"


def _confidence_words(section: Numbers | None) -> str:
    if not section:
        return "the network's highest probability in a column, as it is"
    return "the network's highest probability, mapped to the share of points it was right about"


def _run_contract(description: Numbers) -> dict[str, Any]:
    """A run keeps its contract as the metadata of the file to be."""
    metadata = description.get("contract") or {}
    return {name.removeprefix("navapp."): json.loads(text) for name, text in metadata.items()}


def _flat(values: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Nested values as rows of (dotted name, text); long lists are cut short."""
    if isinstance(values, Mapping):
        for key, value in values.items():
            yield from _flat(value, f"{name}.{key}" if name else str(key))
        return
    if isinstance(values, list | tuple):
        shown = [str(value) for value in values[:20]]
        more = [f"... {len(values) - 20} more"] if len(values) > 20 else []
        yield name, "; ".join(shown + more)
        return
    yield (
        name,
        "" if values is None else f"{values:g}" if isinstance(values, float) else str(values),
    )


def _float(text: str | None) -> float:
    try:
        return float(text or "nan")
    except ValueError:
        return math.nan
