"""One self-contained HTML page about a labelled record, and pictures of every stage."""

from __future__ import annotations

import html
import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from offline_tools.drawing import BLUE, GREEN, RED, YELLOW, canvas, draw_points
from offline_tools.html_page import bars, embedded, jpeg
from offline_tools.labeling.frame import FrameLabel, LabelSettings, Status, section_of
from offline_tools.labeling.job import Inputs, LabelJob, load_inputs
from offline_tools.labeling.journal import Journal
from offline_tools.labeling.output import JOURNAL
from offline_tools.labeling.refine import PARAMETERS, Frame
from offline_tools.labeling.visibility import Fate

STAGES = "Stages"
REPORT = "report.html"

Array = NDArray[np.float64]

_FATE_COLOURS = {Fate.VISIBLE: GREEN, Fate.SHADOWED: BLUE, Fate.GRAZING: YELLOW}
_N_WORST, _N_TYPICAL = 8, 4

_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Labels of {name}</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; color: #222; }}
table {{ border-collapse: collapse; }} td, th {{ padding: .2rem .8rem; text-align: right; }}
td:first-child, th:first-child {{ text-align: left; }} tr {{ border-bottom: 1px solid #ddd; }}
figure {{ display: inline-block; margin: .4rem; width: 32rem; }} img {{ width: 100%; }}
figcaption {{ font-size: 13px; color: #555; }} svg {{ background: #f7f7f7; margin: .4rem; }}
</style>
<h1>Labels of {name}</h1>
<p>{sentence}</p>
{tables}
<h2>Along the sweep</h2>{drift}
<h2>Distributions</h2>{histograms}
<h2>Worst frames</h2><p>{legend}</p>{worst}
<h2>Typical frames</h2>{typical}
</html>
"""
_LEGEND = (
    "Red: section at the recorded pose. Green: refined and visible. Blue: refined, in shadow. "
    "Yellow: refined, met at too shallow an angle."
)


def write_report(job: LabelJob, *, draws_stages: bool = False) -> Path:
    """Write `report.html` of a finished record, and `Stages/<timestamp>_<stage>.png` if asked."""
    inputs = load_inputs(job)
    journal = Journal(job.out / JOURNAL, job.fingerprint())
    labels = [journal.labels[plan.timestamp_ms] for plan in inputs.frames]
    if draws_stages:
        _draw_stages(job, inputs, labels)
    page = _PAGE.format(
        name=html.escape(job.record.resolve().name),
        sentence=_sentence(labels),
        tables=_reasons_table(labels) + _medians_table(labels),
        drift=_drift(inputs, labels),
        histograms=_histograms(labels),
        legend=_LEGEND,
        worst=_pictures(inputs, labels, _worst(labels), job.settings),
        typical=_pictures(inputs, labels, _typical(labels), job.settings),
    )
    path = job.out / REPORT
    path.write_text(page, encoding="utf-8")
    return path


def overlay(
    inputs: Inputs, frame: Frame, label: FrameLabel, settings: LabelSettings
) -> NDArray[np.uint8]:
    """The image with the section at the recorded pose and the refined one, (rows, columns, 3)."""
    picture = canvas(frame.pixels)
    start = section_of(inputs.mesh, frame, frame.A_ct_pixel, settings)
    draw_points(picture, start.pieces_px, RED)
    if label.T_ct_probe is not None:
        A_ct_pixel = label.T_ct_probe @ frame.A_probe_pixel
        seen = section_of(inputs.mesh, frame, A_ct_pixel, settings)
        for fate, colour in _FATE_COLOURS.items():
            draw_points(picture, seen.pieces_px[seen.fates == fate], colour)
    return picture


def _draw_stages(job: LabelJob, inputs: Inputs, labels: Sequence[FrameLabel]) -> None:
    """Initial, refined, judged and final: one picture each, as in figure 2 of the paper."""
    folder = job.out / STAGES
    folder.mkdir(exist_ok=True)
    for index, label in enumerate(labels):
        frame = inputs.load_frame(index)
        if not isinstance(frame, Frame):
            continue
        start = section_of(inputs.mesh, frame, frame.A_ct_pixel, job.settings)
        pictures = {"1_initial": [(start.pieces_px, RED)]}
        if label.T_ct_probe is not None:
            A_ct_pixel = label.T_ct_probe @ frame.A_probe_pixel
            seen = section_of(inputs.mesh, frame, A_ct_pixel, job.settings)
            by_fate = [(seen.pieces_px[seen.fates == f], c) for f, c in _FATE_COLOURS.items()]
            pictures["2_refined"] = [*pictures["1_initial"], (seen.pieces_px, GREEN)]
            pictures["3_judged"] = by_fate
            if label.status is Status.LABELLED:
                pictures["4_final"] = by_fate[:1]
        for stage, lines in pictures.items():
            picture = canvas(frame.pixels)
            for points_px, colour in lines:
                draw_points(picture, points_px, colour)
            name = f"{inputs.frames[index].timestamp_ms}_{stage}.png"
            Image.fromarray(picture).save(folder / name, compress_level=1)


def _sentence(labels: Sequence[FrameLabel]) -> str:
    n = Counter(label.status for label in labels)
    repaired = sum(label.repaired is not None for label in labels)
    return (
        f"{len(labels)} frames: {n[Status.LABELLED]} labelled (of them {repaired} repaired), "
        f"{n[Status.REJECTED]} rejected, {n[Status.SKIPPED]} skipped."
    )


def _reasons_table(labels: Sequence[FrameLabel]) -> str:
    counts = Counter(label.reason for label in labels if label.reason is not None)
    repaired = Counter(label.repaired for label in labels if label.repaired is not None)
    reasons = sorted(set(counts) | set(repaired))
    rows = "".join(f"<tr><td>{r}<td>{counts[r]}<td>{repaired[r]}" for r in reasons)
    return f"<h2>Reasons</h2><table><tr><th>reason<th>no label<th>repaired{rows}</table>"


def _medians_table(labels: Sequence[FrameLabel]) -> str:
    rows = ""
    for name, values in _measures(labels).items():
        if len(values):
            median, p95 = np.percentile(values, (50, 95))
            rows += f"<tr><td>{name}<td>{median:.3f}<td>{p95:.3f}<td>{values.max():.3f}"
    return f"<h2>Figures</h2><table><tr><th><th>median<th>95 %<th>largest{rows}</table>"


def _measures(labels: Sequence[FrameLabel]) -> dict[str, Array]:
    moved = [x.refinement.mean_fiducial_correction_mm for x in labels if x.refinement]
    columns = {
        "mean fiducial correction, mm": moved,
        "contour to echo, recorded pose, mm": [x.echo_offset_start_mm for x in labels],
        "contour to echo, refined pose, mm": [x.echo_offset_mm for x in labels],
        "two starts disagree by, mm": [x.seeds_disagree_mm for x in labels],
    }
    arrays = {name: np.array(values, dtype=np.float64) for name, values in columns.items()}
    return {name: values[np.isfinite(values)] for name, values in arrays.items()}


def _histograms(labels: Sequence[FrameLabel]) -> str:
    return "".join(
        _histogram(name, values) for name, values in _measures(labels).items() if len(values)
    )


def _histogram(name: str, values: Array, n_bins: int = 24) -> str:
    width, height = 420, 150
    counts, edges = np.histogram(values, bins=n_bins, range=(0.0, max(float(values.max()), 1e-6)))
    drawn = bars(counts, 20, 120, 380, 90, "#4a7ab5")
    return (
        f'<svg width="{width}" height="{height}">{drawn}<text x="20" y="16">{name}</text>'
        f'<text x="20" y="140">0</text><text x="350" y="140">{edges[-1]:.2f}</text></svg>'
    )


def _drift(inputs: Inputs, labels: Sequence[FrameLabel]) -> str:
    """One curve per parameter of the correction, over time; rejected frames in red."""
    first_ms, last_ms = inputs.frames[0].timestamp_ms, inputs.frames[-1].timestamp_ms
    plots = ""
    for k, name in enumerate(PARAMETERS):
        dots = ""
        for plan, label in zip(inputs.frames, labels, strict=True):
            if label.refinement is None:
                continue
            x = 20 + 980 * (plan.timestamp_ms - first_ms) / max(last_ms - first_ms, 1)
            y = 60 - 45 * float(np.clip(label.refinement.correction[k], -1.1, 1.1))
            colour = "#4a7ab5" if label.status is Status.LABELLED else "#d33"
            dots += f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2" fill="{colour}"/>'
        unit = "mm" if k < 3 else "degrees"
        plots += (
            f'<svg width="1020" height="120"><line x1="20" x2="1000" y1="60" y2="60" '
            f'stroke="#bbb"/>{dots}<text x="20" y="16">{name}, {unit}, -1 to 1</text></svg>'
        )
    return plots


def _worst(labels: Sequence[FrameLabel]) -> list[int]:
    """Rejected frames first, then those farthest from their echo."""
    looked_at = [i for i, label in enumerate(labels) if label.refinement is not None]

    def badness(i: int) -> tuple[bool, float]:
        offset_mm = labels[i].echo_offset_mm
        is_rejected = labels[i].status is Status.REJECTED
        return is_rejected, math.inf if math.isnan(offset_mm) else offset_mm

    return sorted(looked_at, key=badness, reverse=True)[:_N_WORST]


def _typical(labels: Sequence[FrameLabel]) -> list[int]:
    """Labelled frames around the median distance to the echo."""
    good = [i for i, label in enumerate(labels) if label.status is Status.LABELLED]
    good.sort(key=lambda i: labels[i].echo_offset_mm)
    middle = max((len(good) - _N_TYPICAL) // 2, 0)
    return good[middle : middle + _N_TYPICAL]


def _pictures(
    inputs: Inputs, labels: Sequence[FrameLabel], indices: Sequence[int], settings: LabelSettings
) -> str:
    figures = ""
    for index in indices:
        frame = inputs.load_frame(index)
        if not isinstance(frame, Frame):
            continue
        label = labels[index]
        picture = embedded(jpeg(overlay(inputs, frame, label, settings)))
        fate = label.reason or (f"repaired ({label.repaired})" if label.repaired else label.status)
        figures += (
            f'<figure><img src="{picture}" alt="{fate}"><figcaption>'
            f"{inputs.frames[index].timestamp_ms}: {fate}, {label.echo_offset_mm:.2f} mm off the "
            "echo</figcaption></figure>"
        )
    return figures
