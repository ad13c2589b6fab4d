"""Judge an exported network: its bone lines against labels, through the runtime that runs live."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference.segmenter import Segmenter
from offline_tools.datasets.images import LabelledImage
from offline_tools.errors import InputError
from recon.metrics import LineScores, line_distance_mm, line_scores

THRESHOLDS_MM = (0.25, 0.5, 1.0, 2.0)
_FAR_MM = 2.0

# Beyond this incidence bone is often not visible at all: completeness up to it is what a network
# can be held to.
_SEEN_INCIDENCE_RAD = math.radians(60.0)


@dataclass(frozen=True, slots=True)
class _Judged:
    """One image: distances (mm) of its points to the label, and of its label to the points."""

    scores: LineScores
    to_label_mm: NDArray[np.float64]
    from_label_mm: NDArray[np.float64]
    incidence_rad: NDArray[np.float64]


def evaluate(model: Path, images: Iterable[LabelledImage]) -> dict[str, Any]:
    """`evaluation.json` of a network on labelled images, every image counted.

    Raises
    ------
    InputError : there is no image.
    InferenceError : the model cannot be run on them.
    """
    segmenter = Segmenter(model, "cpu")
    labels = hashlib.sha256()
    judged = []
    for image in images:
        labels.update(image.line.points_px.tobytes())
        judged.append(_judge(segmenter, image))
    if not judged:
        raise InputError("nothing to evaluate: no image")
    to_label_mm = np.concatenate([j.to_label_mm for j in judged])
    from_label_mm = np.concatenate([j.from_label_mm for j in judged])
    incidence_rad = np.concatenate([j.incidence_rad for j in judged])
    finite_mm = to_label_mm[np.isfinite(to_label_mm)]
    f1_at_half = [j.scores.f1[THRESHOLDS_MM.index(0.5)] for j in judged]
    return {
        "n_frames": len(judged),
        "n_empty_prediction": sum(j.to_label_mm.size == 0 for j in judged),
        "thresholds_mm": list(THRESHOLDS_MM),
        "per_frame_mean": {
            name: np.mean([getattr(j.scores, name) for j in judged], axis=0).tolist()
            for name in ("accuracy", "completeness", "f1")
        },
        "pooled": _pooled(to_label_mm, from_label_mm),
        "f1_at_0.5_p10": float(np.percentile(f1_at_half, 10)),
        "completeness_at_1.0_incidence_le_60": _share(
            from_label_mm[incidence_rad <= _SEEN_INCIDENCE_RAD] < 1.0
        ),
        "share_ge_2mm": _share(to_label_mm >= _FAR_MM),
        "line_to_label_mm": {
            "mean": float(np.mean(finite_mm)) if finite_mm.size else None,
            "p95": float(np.percentile(finite_mm, 95)) if finite_mm.size else None,
        },
        "model": {
            "name": model.name,
            "sha256": segmenter.session.sha256,
            "arch": segmenter.contract.arch,
        },
        "labels_sha256": labels.hexdigest(),
    }


def _judge(segmenter: Segmenter, image: LabelledImage) -> _Judged:
    found_px = segmenter.segment(image.pixels, image.plan(segmenter.contract)).line.points_px
    label_px, spacing_mm = image.line.points_px, image.spacing_mm
    return _Judged(
        scores=line_scores(found_px, label_px, spacing_mm, THRESHOLDS_MM),
        to_label_mm=line_distance_mm(found_px, label_px, spacing_mm),
        from_label_mm=line_distance_mm(label_px, found_px, spacing_mm),
        incidence_rad=image.line.incidence_rad,
    )


def _pooled(
    to_label_mm: NDArray[np.float64], from_label_mm: NDArray[np.float64]
) -> dict[str, list[float]]:
    """Scores over the points of all images together."""
    accuracy = np.array([_share(to_label_mm < limit) for limit in THRESHOLDS_MM])
    completeness = np.array([_share(from_label_mm < limit) for limit in THRESHOLDS_MM])
    total = accuracy + completeness
    f1 = np.divide(2 * accuracy * completeness, total, out=np.zeros_like(total), where=total > 0)
    return {
        "accuracy": accuracy.tolist(),
        "completeness": completeness.tolist(),
        "f1": f1.tolist(),
    }


def _share(is_so: NDArray[np.bool_]) -> float:
    """Part of the points for which it is so; 0 of none."""
    return float(is_so.mean()) if is_so.size else 0.0
