"""The sections of a report that show how well a network did."""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping
from typing import Any

from offline_tools.html_page import BLUE, GREEN, GREY, ORANGE, Curve, chart, table, tiles
from recon.line_metrics import Reliability

Numbers = Mapping[str, Any]

_KINDS = {"accuracy": "Accuracy", "completeness": "Completeness", "f1": "F1"}
_SHOWN_MM = (0.5, 1.0)


def opening(evaluation: Numbers) -> str:
    if not evaluation:
        return "<p>A training run that has not been evaluated yet.</p>"
    thresholds_mm, mean = evaluation["thresholds_mm"], evaluation["per_frame_mean"]
    numbers = {
        f"F1 at {limit_mm:g} mm, mean of frames": number(mean["f1"][thresholds_mm.index(limit_mm)])
        for limit_mm in _SHOWN_MM
    }
    numbers["of points 2 mm or more off"] = percent(evaluation["share_ge_2mm"])
    numbers["of frames without a line"] = percent(
        evaluation["n_empty_prediction"] / evaluation["n_frames"]
    )
    numbers["largest gap of confidence"] = number(evaluation["confidence"]["largest_gap"])
    numbers["ms per image here, median"] = number(evaluation["latency_ms"]["p50"], 1)
    return (
        f"<p>Bone lines on {evaluation['n_frames']} labelled images, judged as centre lines at "
        "native resolution; a distance has to be below its threshold, and every frame counts."
        f"</p>{tiles(numbers)}{_warning(evaluation)}"
    )


def _warning(evaluation: Numbers) -> str:
    note = (evaluation.get("data") or {}).get("seen_in_training")
    return f"<p><b>Not a test:</b> {html.escape(note)}.</p>" if note else ""


def scores(evaluation: Numbers) -> str:
    thresholds_mm = evaluation["thresholds_mm"]
    head = [""] + [f"{_KINDS[k]} {mm:g} mm" for mm in _SHOWN_MM for k in _KINDS]
    counted = {
        "all bone, mean of frames": evaluation["per_frame_mean"],
        "all bone, points pooled": evaluation["pooled"],
    }
    for name, part in evaluation["by_intensity"].items():
        bone = "bright" if name == "high" else "dim"
        counted[f"{bone} bone, mean of frames"] = part["per_frame_mean"]
    rows = [
        [name] + [number(scores[k][thresholds_mm.index(mm)]) for mm in _SHOWN_MM for k in _KINDS]
        for name, scores in counted.items()
        if scores is not None
    ]
    more = [
        ["10th percentile of F1 at 0.5 mm", number(evaluation["f1_at_0.5_p10"])],
        [
            "completeness at 1 mm, incidence up to 60 degrees",
            number(evaluation["completeness_at_1.0_incidence_le_60"]),
        ],
        ["line to label: mean mm", number(evaluation["line_to_label_mm"]["mean"])],
        ["line to label: 95th percentile mm", number(evaluation["line_to_label_mm"]["p95"])],
        [
            f"Dice of bands {2 * evaluation['overlap_half_width_mm']:g} mm wide",
            number(evaluation["dice"]),
        ],
        ["intersection over union of them", number(evaluation["iou"])],
    ]
    return (
        f"<h2>Scores</h2>{table(head, rows)}{table(['', ''], more)}"
        '<p class="muted">Accuracy: share of found points near the label. Completeness: share of '
        "label points near a found one. The mean of frames weighs each frame alike, and its F1 is "
        "the mean of the frames' F1. A frame without a line has completeness 0; a line where the "
        "label is empty has accuracy 0.</p>"
    )


def curves(evaluation: Numbers) -> str:
    thresholds_mm = evaluation["thresholds_mm"]
    classes = {"all": evaluation, **evaluation["by_intensity"]}
    names = {"all": ("all", BLUE), "high": ("bright bone", GREEN), "low": ("dim bone", GREY)}
    charts = []
    for kind, title in _KINDS.items():
        curves = [
            Curve(names[name][0], thresholds_mm, part["per_frame_mean"][kind], names[name][1])
            for name, part in classes.items()
            if part["per_frame_mean"] is not None
        ]
        charts.append(
            chart(title, curves, x_label="distance, mm", x_range=(0.0, 2.0), y_range=(0.0, 1.0))
        )
    return f'<h2>Over the distance</h2><div class="charts">{"".join(charts)}</div>'


def by_incidence(evaluation: Numbers) -> str:
    thresholds_mm = evaluation["thresholds_mm"]
    rows = [
        [f"{bin_deg} degrees", str(part["n_label_points"])]
        + [
            number(part["pooled"][kind][thresholds_mm.index(mm)])
            for mm in _SHOWN_MM
            for kind in ("accuracy", "completeness")
        ]
        for bin_deg, part in evaluation["by_incidence"].items()
        if part["pooled"] is not None
    ]
    if not rows:
        return ""
    kinds = ("Accuracy", "Completeness")
    head = ["incidence", "label points"] + [f"{k} {mm:g} mm" for mm in _SHOWN_MM for k in kinds]
    return (
        f"<h2>By incidence</h2>{table(head, rows)}<p class='muted'>Beyond 60 degrees bone is often "
        "not visible at all.</p>"
    )


def clouds(evaluation: Numbers) -> str:
    """Distances between the lines in space and the CT surface, or why there are none."""
    rows = []
    names = {
        "raw": "cloud to CT, recorded poses, all points",
        "refined_in_bone": "cloud to CT, refined poses, in the columns of the label",
    }
    for kind, name in names.items():
        reason = (evaluation.get("cloud_to_ct_reason") or {}).get(kind) or ""
        rows.append([name, *_distances(evaluation["cloud_to_ct_mm"][kind]), reason])
    for kind, poses in (("raw", "recorded"), ("refined", "refined")):
        stats = (evaluation.get("ct_to_cloud_mm") or {}).get(kind)
        rows.append([f"visible CT to cloud, {poses} poses", *_distances(stats), ""])
    return (
        f"<h2>In space</h2>{table(['', 'mean mm', 'p95 mm', 'points', ''], rows)}"
        '<p class="muted">Recorded poses hold the tracking\'s error as well; refined ones were '
        "fitted to the same images, so that theirs is the error of the network alone.</p>"
    )


def _distances(stats: Numbers | None) -> list[str]:
    if stats is None:
        return ["", "", ""]
    return [number(stats["mean"]), number(stats["p95"]), str(stats["n_points"])]


def intensity_and_confidence(evaluation: Numbers) -> str:
    histogram, threshold = evaluation["intensity_histogram"], evaluation["otsu_threshold"]
    marks = {} if threshold is None else {f"Otsu {threshold}": float(threshold)}
    n = sum(histogram["line"]) or 1
    step = 4  # grey values to a bar
    counts = [sum(histogram["label"][k : k + step]) for k in range(0, 256, step)]
    found = [sum(histogram["line"][k : k + step]) for k in range(0, 256, step)]
    highest = max(*counts, 1)
    scale = sum(histogram["label"]) / n / highest
    grey = chart(
        "Grey values under the lines",
        [
            Curve("label (bars)", [], [], GREY),
            Curve(
                "found",
                [step * (k + 0.5) for k in range(len(found))],
                [count * scale for count in found],
                ORANGE,
            ),
        ],
        x_label="grey value", x_range=(0.0, 256.0), y_range=(0.0, 1.0), counts=counts, marks=marks,
    )  # fmt: skip
    charts = [grey]
    for kind, title in (("confidence", "Confidence shown"), ("peak", "Peak probability")):
        charts.append(_reliability(evaluation[kind], title))
    return (
        f'<h2>Brightness and confidence</h2><div class="charts">{"".join(charts)}</div>'
        '<p class="muted">Confidence is honest where the dots lie on the dashed line: of points '
        "shown with 0.8, 80 % should lie within 0.5 mm of the label. Dots stand for bins of 0.1 "
        "with at least 5 % of the points; bars say how many points each bin holds.</p>"
    )


def _reliability(histogram: Numbers, title: str) -> str:
    found = Reliability.from_lists(histogram["n"], histogram["n_within_0.5"], histogram["sum"])
    promised, kept = found.held()
    gap = histogram["largest_gap"]
    return chart(
        f"{title}, largest gap {number(gap, 2)}",
        [
            Curve("as promised", [0.0, 1.0], [0.0, 1.0], GREY, is_dashed=True),
            Curve("share within 0.5 mm", promised, kept, BLUE, has_dots=True),
        ],
        x_label="promised",
        x_range=(0.0, 1.0),
        y_range=(0.0, 1.0),
        counts=found.coarse().n.tolist(),
    )


def compat(evaluation: Numbers) -> str:
    compat = evaluation.get("compat")
    if compat is None:
        return ""
    rows = []
    for kind in ("all", "visible", "invisible"):
        scores = compat[kind]
        if scores is not None:
            at = [compat["thresholds_mm"].index(mm) for mm in _SHOWN_MM]
            shown = [number(scores[k][i]) for i in at for k in _KINDS]
            rows.append([kind, str(scores["n_frames"]), *shown])
    head = ["", "frames", *(f"{_KINDS[k]} {mm:g} mm" for mm in _SHOWN_MM for k in _KINDS)]
    return (
        f"<h2>As the published code counts</h2><p>{compat['n_skipped']} frames left out; "
        f"{html.escape(compat['note'])}.</p>{table(head, rows)}"
    )


def number(value: float | None, n_digits: int = 3) -> str:
    return "" if value is None else f"{value:.{n_digits}f}"


def percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.1f} %"


SECTIONS: tuple[Callable[[Numbers], str], ...] = (
    scores, curves, by_incidence, clouds, intensity_and_confidence, compat,
)  # fmt: skip
