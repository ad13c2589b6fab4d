"""One self-contained HTML page about a training run, an evaluation, or both."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from offline_tools.errors import InputError
from offline_tools.html_page import figure, page
from offline_tools.judging import report_origin, report_scores
from offline_tools.judging.evaluate import EVALUATION, KEPT, read_evaluation
from offline_tools.judging.pictures import LEGEND
from tracking.whole_files import write_whole

REPORT = "report.html"
RUN = "run.json"

# Captions and JPEGs by section: "worst", "random", "examples".
Pictures = Mapping[str, Sequence[tuple[str, bytes]]]
Numbers = Mapping[str, Any]

_TITLES = {
    "worst": ("Worst frames", LEGEND),
    "random": ("Frames picked by chance", LEGEND),
    "examples": (
        "Images without labels",
        "Other specimens, for looking: orange is what the network found. There is no number here.",
    ),
}


def write_report(run: Path | None, evaluation: Numbers, pictures: Pictures, out: Path) -> None:
    """Write the page about a run (its folder, or None) and an evaluation (empty for none).

    Raises
    ------
    InputError : the run's files cannot be read.
    """
    description = _read_run(run) if run is not None else {}
    name = str(evaluation.get("model", {}).get("name") or (run.resolve().name if run else ""))
    parts = [f"<h1>{html.escape(name)}</h1>", report_scores.opening(evaluation)]
    if evaluation:
        parts += [section(evaluation) for section in report_scores.SECTIONS]
    parts += [_gallery(kind, pictures.get(kind, ())) for kind in _TITLES]
    if run is not None:
        parts.append(report_origin.training(run, description))
    parts.append(report_origin.data(evaluation, description))
    parts.append(report_origin.latency(evaluation))
    parts.append(report_origin.card(evaluation, description))
    write_whole(out, page(f"Report of {name}", "\n".join(parts)))


def open_folder(folder: Path) -> tuple[Path | None, dict[str, Any], dict[str, Any]]:
    """A training run (None where it is none), its or the folder's evaluation, and its pictures.

    Raises
    ------
    InputError : neither a run nor an evaluation.
    """
    run = folder if (folder / RUN).is_file() else None
    found = next((f for f in (folder, folder / "evaluation") if (f / EVALUATION).is_file()), None)
    if run is None and found is None:
        raise InputError(
            f"{folder}: neither a run nor an evaluation, expected {RUN} or {EVALUATION}"
        )
    if found is None:
        return run, {}, {}
    evaluation = read_evaluation(found)
    pictures = {kind: _kept(found, evaluation.get(f"{kind}_frames") or []) for kind in KEPT}
    return run, evaluation, pictures


def _kept(folder: Path, frames: Sequence[Mapping[str, str]]) -> list[tuple[str, bytes]]:
    """Captions and pictures that an evaluation left beside it; those that are gone are left out."""
    paths = [(frame["caption"], folder / frame["picture"]) for frame in frames]
    return [(caption, path.read_bytes()) for caption, path in paths if path.is_file()]


def _gallery(kind: str, pictures: Sequence[tuple[str, bytes]]) -> str:
    if not pictures:
        return ""
    title, legend = _TITLES[kind]
    figures = "".join(figure(p, caption, is_wide=kind == "examples") for caption, p in pictures)
    return f'<h2>{title}</h2><p>{legend}</p><div class="pictures">{figures}</div>'


def _read_run(run: Path) -> dict[str, Any]:
    try:
        description: dict[str, Any] = json.loads((run / RUN).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{run / RUN}: cannot be read as a run: {error}") from None
    return description
