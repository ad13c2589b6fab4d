"""Scores as UltraBones100k's published code counts them: to compare with its numbers, not to judge.

What makes them lenient, each as in the published `Evaluation.py` and `UltrasoundDataset.py`:
- the image is stretched to 256 x 256 and both lines are bands of 7 pixels (1.3 mm): a line that
  is 0.74 mm off still scores about 0.75 at 0.5 mm, by strict centre lines 0;
- one spacing for both axes of the stretched image, 0.18573 mm per pixel;
- a frame with an empty prediction or an empty label is left out: missed bone costs nothing;
- visible and invisible (image below a grey value of 107) are cut out of prediction and label
  apart, so that a point across the border has no counterpart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import distance_transform_edt

from recon.line_metrics import mean_scores
from recon.metrics import THRESHOLDS_MM, LineScores, scores_of_distances

ULTRABONES = "ultrabones"
NOTE = (
    "counted as UltraBones100k's published code does (bands of 7 pixels at 256 x 256, empty frames "
    "left out): lenient, comparable only with numbers of that code"
)

_SIZE_PX = 256
_BAND_PX = 3.0
_SPACING_MM = (950 + 811) / 256 / 2 * 0.054
_VISIBLE_GREY = 107

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class LenientFrame:
    """One frame's scores; None where the published code leaves a kind out."""

    everything: LineScores
    visible: LineScores | None
    invisible: LineScores | None


def lenient_frame(
    pixels: NDArray[np.uint8], predicted_px: Array, label_px: Array
) -> LenientFrame | None:
    """One image's scores, None where the published code skips it."""
    if not len(predicted_px) or not len(label_px):
        return None
    predicted, label = (_band(line, pixels.shape) for line in (predicted_px, label_px))
    stretched = Image.fromarray(pixels).resize((_SIZE_PX, _SIZE_PX), Image.Resampling.BILINEAR)
    is_visible = np.asarray(stretched) >= _VISIBLE_GREY
    return LenientFrame(
        _scores(predicted, label),
        _scores_if_any(predicted & is_visible, label & is_visible),
        _scores_if_any(predicted & ~is_visible, label & ~is_visible),
    )


def lenient_summary(frames: Sequence[LenientFrame | None]) -> dict[str, Any]:
    """The means over the frames that count, for `evaluation.json`."""
    kept = [frame for frame in frames if frame is not None]
    kinds = {
        "all": [frame.everything for frame in kept],
        "visible": [frame.visible for frame in kept if frame.visible is not None],
        "invisible": [frame.invisible for frame in kept if frame.invisible is not None],
    }
    return {
        "rule": ULTRABONES,
        "note": NOTE,
        "spacing_mm": _SPACING_MM,
        "thresholds_mm": list(THRESHOLDS_MM),
        "n_frames": len(kept),
        "n_skipped": len(frames) - len(kept),
        **{name: _mean(scores) for name, scores in kinds.items()},
    }


def _band(line_px: Array, shape: tuple[int, ...]) -> Mask:
    """The line in the stretched image, every pixel within 3 of it."""
    height, width = shape
    scale = np.array((_SIZE_PX / width, _SIZE_PX / height))
    u, v = np.floor((line_px + 0.5) * scale).astype(np.int64).clip(0, _SIZE_PX - 1).T
    is_away = np.ones((_SIZE_PX, _SIZE_PX), dtype=np.bool_)
    is_away[v, u] = False
    return np.asarray(distance_transform_edt(is_away) <= _BAND_PX, dtype=np.bool_)


def _scores(predicted: Mask, label: Mask) -> LineScores:
    to_label_mm = distance_transform_edt(~label)[predicted] * _SPACING_MM
    from_label_mm = distance_transform_edt(~predicted)[label] * _SPACING_MM
    return scores_of_distances(to_label_mm, from_label_mm)


def _scores_if_any(predicted: Mask, label: Mask) -> LineScores | None:
    return _scores(predicted, label) if predicted.any() and label.any() else None


def _mean(scores: Sequence[LineScores]) -> dict[str, Any] | None:
    if not scores:
        return None
    mean = mean_scores(scores)
    return {
        "n_frames": len(scores),
        "accuracy": mean.accuracy.tolist(),
        "completeness": mean.completeness.tolist(),
        "f1": mean.f1.tolist(),
    }
