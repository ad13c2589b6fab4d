"""One image judged: the network's bone line against its label, every number of one frame."""

from __future__ import annotations

import csv
import io
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from inference.postprocess import BoneLine
from inference.segmenter import Segmenter
from offline_tools.datasets.images import LabelledImage
from offline_tools.errors import InputError
from recon.line_metrics import LineDistances, Overlap, band_overlap
from recon.metrics import THRESHOLDS_MM, LineScores

FRAMES = "frames.csv"
FAR_MM = 2.0
_SHOWN_MM = (0.5, 1.0)

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class JudgedFrame:
    """A frame's line of N points against a label of M points; `grey_*` are the pixels under them.

    `peak` is the highest probability that the network gave in a point's column, `confidence` what
    the live program shows for it.
    """

    name: str
    distances: LineDistances
    scores: LineScores
    overlap: Overlap
    incidence_rad: Array
    confidence: NDArray[np.float32]
    peak: NDArray[np.float32]
    grey_label: NDArray[np.uint8]
    grey_line: NDArray[np.uint8]
    latency_ms: float

    @property
    def n_points(self) -> int:
        return len(self.distances.to_truth_mm)

    @property
    def n_label(self) -> int:
        return len(self.distances.from_truth_mm)

    def f1_at(self, threshold_mm: float) -> float:
        """F1 at one of `THRESHOLDS_MM`."""
        return float(self.scores.f1[THRESHOLDS_MM.index(threshold_mm)])


def judge_frame(segmenter: Segmenter, image: LabelledImage) -> tuple[JudgedFrame, BoneLine]:
    """Segment an image as it is segmented live, and compare with its label."""
    plan = image.plan(segmenter.contract)
    start_s = time.perf_counter()
    line = segmenter.segment(image.pixels, plan).line
    latency_ms = (time.perf_counter() - start_s) * 1e3
    label_px = image.line.points_px
    distances = LineDistances.between(line.points_px, label_px, image.spacing_mm)
    frame = JudgedFrame(
        name=image.name,
        distances=distances,
        scores=distances.scores(),
        overlap=band_overlap(line.points_px, label_px, image.spacing_mm),
        incidence_rad=image.line.incidence_rad,
        confidence=line.confidence,
        peak=line.peak,
        grey_label=grey_at(image.pixels, label_px),
        grey_line=grey_at(image.pixels, line.points_px),
        latency_ms=latency_ms,
    )
    return frame, line


def grey_at(pixels: NDArray[np.uint8], points_px: Array) -> NDArray[np.uint8]:
    """Grey values (N,) of the pixels on which points (N, 2) as (u, v) lie."""
    height, width = pixels.shape
    u, v = np.rint(points_px).astype(np.int64).T
    return pixels[v.clip(0, height - 1), u.clip(0, width - 1)]


def frames_table(frames: Sequence[JudgedFrame]) -> str:
    """`frames.csv`: one row per frame; empty where there is no point to speak of."""
    table = io.StringIO()
    rows = csv.writer(table, lineterminator="\n")
    kinds = ("accuracy", "completeness", "f1")
    rows.writerow(
        [
            "name", "n_points", "n_label",
            *(f"{kind}_{limit_mm}" for limit_mm in _SHOWN_MM for kind in kinds),
            "mean_to_label_mm", "p95_to_label_mm", "mean_from_label_mm", "share_ge_2mm",
            "dice", "iou", "mean_confidence", "latency_ms",
        ]
    )  # fmt: skip
    for frame in frames:
        scores = [
            float(getattr(frame.scores, kind)[THRESHOLDS_MM.index(limit_mm)])
            for limit_mm in _SHOWN_MM
            for kind in kinds
        ]
        to_label_mm = frame.distances.to_truth_mm
        numbers = [
            *scores,
            _mean(to_label_mm),
            float(np.percentile(to_label_mm, 95)) if frame.n_label and frame.n_points else math.nan,
            _mean(frame.distances.from_truth_mm),
            _mean(to_label_mm >= FAR_MM),
            frame.overlap.dice,
            frame.overlap.iou,
            _mean(frame.confidence),
            frame.latency_ms,
        ]
        shown = [f"{number:.5f}" if math.isfinite(number) else "" for number in numbers]
        rows.writerow([frame.name, frame.n_points, frame.n_label, *shown])
    return table.getvalue()


def read_frames(path: Path) -> dict[str, dict[str, str]]:
    """Rows of a `frames.csv` by the frame's name.

    Raises
    ------
    InputError : no such file, or not one of ours.
    """
    try:
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file))
        return {row["name"]: row for row in rows}
    except (OSError, KeyError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: not a table of frames: {error}") from None


def _mean(values: NDArray[np.floating] | NDArray[np.bool_]) -> float:
    return float(np.mean(values)) if len(values) else math.nan
