"""From judged frames to the numbers of `evaluation.json`."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offline_tools.judging.frames import FAR_MM, JudgedFrame
from recon.line_metrics import (
    BAND_HALF_WIDTH_MM,
    CONFIDENCE_EDGES,
    INCIDENCE_EDGES_DEG,
    LineDistances,
    Overlap,
    Reliability,
    incidence_class,
    mean_scores,
    otsu_threshold,
    pooled_scores,
)
from recon.metrics import THRESHOLDS_MM, LineScores, distance_stats

# Within it a point lies on the bone: what its confidence promises.
NEAR_MM = 0.5

# Beyond this incidence bone is often not visible at all: completeness up to it is what a network
# can be held to.
_SEEN_INCIDENCE_RAD = math.radians(60.0)
_SEEN_MM = 1.0

Flags = NDArray[np.bool_]


def summary(frames: Sequence[JudgedFrame]) -> dict[str, Any]:
    """Every number of `evaluation.json` that the frames alone give; each frame is counted."""
    pooled = pool(frames)
    f1_at_near = [frame.f1_at(NEAR_MM) for frame in frames]
    incidence_rad = np.concatenate([frame.incidence_rad for frame in frames])
    is_seen = incidence_rad <= _SEEN_INCIDENCE_RAD
    to_label = distance_stats(pooled.to_truth_mm[np.isfinite(pooled.to_truth_mm)])
    overlap = Overlap(
        *(sum(getattr(f.overlap, n) for f in frames) for n in ("n_both", "n_first", "n_second"))
    )
    return {
        "n_frames": len(frames),
        "n_empty_prediction": sum(frame.n_points == 0 for frame in frames),
        "n_empty_label": sum(frame.n_label == 0 for frame in frames),
        "thresholds_mm": list(THRESHOLDS_MM),
        "per_frame_mean": _lists(mean_scores([frame.scores for frame in frames])),
        "pooled": _lists(pooled.scores()),
        "f1_at_0.5_p10": float(np.percentile(f1_at_near, 10)),
        "completeness_at_1.0_incidence_le_60": _share(pooled.from_truth_mm[is_seen] < _SEEN_MM),
        "share_ge_2mm": _share(pooled.to_truth_mm >= FAR_MM),
        "line_to_label_mm": {
            "mean": _known(to_label.mean_mm),
            "median": _known(to_label.median_mm),
            "p95": _known(to_label.p95_mm),
        },
        **_by_intensity(frames),
        "by_incidence": _by_incidence(frames),
        "dice": float(np.mean([frame.overlap.dice for frame in frames])),
        "iou": float(np.mean([frame.overlap.iou for frame in frames])),
        "dice_pooled": overlap.dice,
        "iou_pooled": overlap.iou,
        "overlap_half_width_mm": BAND_HALF_WIDTH_MM,
        "confidence": _reliability(frames, "confidence"),
        "peak": _reliability(frames, "peak"),
        "latency_ms": {
            "p50": float(np.percentile([frame.latency_ms for frame in frames], 50)),
            "p95": float(np.percentile([frame.latency_ms for frame in frames], 95)),
        },
    }


def pool(frames: Sequence[JudgedFrame]) -> LineDistances:
    """The distances of all frames; whose nearest point is whose is not kept."""
    lines = [frame.distances for frame in frames]
    to_truth_mm = np.concatenate([line.to_truth_mm for line in lines])
    return LineDistances(
        to_truth_mm,
        np.full(len(to_truth_mm), -1, dtype=np.int64),
        np.concatenate([line.from_truth_mm for line in lines]),
    )


def curves_table(evaluation: dict[str, Any]) -> str:
    """`curves.csv`: accuracy, completeness and F1 over the thresholds, of all and of classes."""
    columns: dict[str, list[float]] = {"threshold_mm": evaluation["thresholds_mm"]}
    parts = {"all": evaluation, **evaluation["by_intensity"], **evaluation["by_incidence"]}
    for part, numbers in parts.items():
        for way in ("per_frame_mean", "pooled"):
            for kind, values in (numbers.get(way) or {}).items():
                columns[f"{part}_{way}_{kind}"] = values
    table = io.StringIO()
    rows = csv.writer(table, lineterminator="\n")
    rows.writerow(columns)
    rows.writerows([f"{value:.6g}" for value in row] for row in zip(*columns.values(), strict=True))
    return table.getvalue()


def _by_intensity(frames: Sequence[JudgedFrame]) -> dict[str, Any]:
    """Bone that is bright (at or above Otsu's threshold over the grey values at label points) and
    bone that is dim."""
    grey_label = np.concatenate([frame.grey_label for frame in frames])
    grey_line = np.concatenate([frame.grey_line for frame in frames])
    threshold = otsu_threshold(grey_label)
    classes: dict[str, list[Flags]] = {}
    if threshold is not None:
        is_high = [frame.grey_label >= threshold for frame in frames]
        classes = {"high": is_high, "low": [~high for high in is_high]}
    return {
        "otsu_threshold": threshold,
        "by_intensity": {name: _part(frames, is_in) for name, is_in in classes.items()},
        "intensity_histogram": {
            "label": np.bincount(grey_label, minlength=256).tolist(),
            "line": np.bincount(grey_line, minlength=256).tolist(),
        },
    }


def _by_incidence(frames: Sequence[JudgedFrame]) -> dict[str, Any]:
    """Bone by the angle at which it is met, degrees; points of unknown angle are in no bin."""
    bins = [incidence_class(frame.incidence_rad) for frame in frames]
    edges = [f"{edge:.0f}" for edge in INCIDENCE_EDGES_DEG]
    return {
        f"{low}-{high}": _part(frames, [of_frame == k for of_frame in bins])
        for k, (low, high) in enumerate(pairwise(edges))
    }


def _part(frames: Sequence[JudgedFrame], is_in: Sequence[Flags]) -> dict[str, Any]:
    """Scores of a class of label points, over the frames that have any."""
    lines = [
        frame.distances.part(chosen)
        for frame, chosen in zip(frames, is_in, strict=True)
        if chosen.any()
    ]
    if not lines:
        return {"n_frames": 0, "n_label_points": 0, "per_frame_mean": None, "pooled": None}
    return {
        "n_frames": len(lines),
        "n_label_points": sum(len(line.from_truth_mm) for line in lines),
        "per_frame_mean": _lists(mean_scores([line.scores() for line in lines])),
        "pooled": _lists(pooled_scores(lines)),
    }


def _reliability(frames: Sequence[JudgedFrame], kind: str) -> dict[str, Any]:
    """How many points were given each confidence, and how many of them lie on the bone."""
    promised = np.concatenate([getattr(frame, kind) for frame in frames])
    is_near = np.concatenate([frame.distances.to_truth_mm < NEAR_MM for frame in frames])
    found = Reliability.of(promised, is_near)
    return {
        "edges": [round(float(edge), 2) for edge in CONFIDENCE_EDGES],
        "n": found.n.tolist(),
        "n_within_0.5": found.n_near.tolist(),
        "sum": found.total.tolist(),
        "largest_gap": _known(found.largest_gap),
    }


def _lists(scores: LineScores) -> dict[str, list[float]]:
    return {
        "accuracy": scores.accuracy.tolist(),
        "completeness": scores.completeness.tolist(),
        "f1": scores.f1.tolist(),
    }


def _share(is_so: Flags) -> float | None:
    """Part of the points for which it is so; None of none."""
    return float(is_so.mean()) if is_so.size else None


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None
