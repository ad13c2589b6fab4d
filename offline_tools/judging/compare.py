"""Two evaluations side by side: how far apart, and whether that is more than chance."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import wilcoxon

from offline_tools.errors import InputError
from offline_tools.judging.evaluate import read_evaluation
from offline_tools.judging.frames import FRAMES, read_frames

# Columns of `frames.csv` that are tested; p values are multiplied by how many there are
# (Bonferroni), so that one of many tests does not win by chance.
TESTED = (
    "accuracy_0.5", "completeness_0.5", "f1_0.5", "accuracy_1.0", "completeness_1.0", "f1_1.0",
    "mean_to_label_mm", "mean_from_label_mm",
)  # fmt: skip
_LEAST_FRAMES = 6  # with fewer no difference can reach p = 0.05


@dataclass(frozen=True, slots=True)
class Difference:
    """One number of both evaluations; `relative` is the change from A to B, NaN where A is 0."""

    name: str
    a: float
    b: float

    @property
    def absolute(self) -> float:
        return self.b - self.a

    @property
    def relative(self) -> float:
        return (self.b - self.a) / self.a if self.a else math.nan


@dataclass(frozen=True, slots=True)
class PairedTest:
    """Wilcoxon signed-rank test of one column over the `n_frames` that have it in both.

    `p` is two-sided and corrected; NaN where too few frames could be compared.
    """

    name: str
    n_frames: int
    median_difference: float
    p: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """Everything that `compare` prints."""

    differences: list[Difference]
    tests: list[PairedTest]
    warnings: list[str]


def compare(a: Path, b: Path) -> Comparison:
    """Compare two `evaluation.json`, each with its `frames.csv` beside it.

    Raises
    ------
    InputError : a file is missing or no evaluation, or the two have no frame in common.
    """
    first, second = read_evaluation(a), read_evaluation(b)
    tables = [read_frames(_folder(path) / FRAMES) for path in (a, b)]
    common = [name for name in tables[0] if name in tables[1]]
    if not common:
        raise InputError(f"{a} and {b} have no frame in common, expected the same images judged")
    warnings = []
    if first.get("labels_sha256") != second.get("labels_sha256"):
        warnings.append("the labels differ: what is compared is networks and labels together")
    n_alone = sum(len(table) - len(common) for table in tables)
    if n_alone:
        warnings.append(
            f"{n_alone} frames are in one evaluation alone: they are in the table, not in the tests"
        )
    numbers = [_numbers(evaluation) for evaluation in (first, second)]
    differences = [
        Difference(name, value, numbers[1][name])
        for name, value in numbers[0].items()
        if name in numbers[1]
    ]
    tests = [_paired(name, common, tables[0], tables[1]) for name in TESTED]
    return Comparison(differences, tests, warnings)


def _numbers(evaluation: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of an evaluation that are worth a row; unknown ones are left out."""
    thresholds_mm = evaluation["thresholds_mm"]
    parts = {"": evaluation, **(evaluation.get("by_intensity") or {})}
    found: dict[str, Any] = {}
    for part, scores in parts.items():
        for limit_mm in (0.5, 1.0):
            for kind in ("accuracy", "completeness", "f1"):
                values = (scores.get("per_frame_mean") or {}).get(kind)
                if values is not None and limit_mm in thresholds_mm:
                    name = f"{kind} at {limit_mm} mm" + (f", {part} intensity" if part else "")
                    found[name] = values[thresholds_mm.index(limit_mm)]
    for key in (
        "f1_at_0.5_p10", "completeness_at_1.0_incidence_le_60", "share_ge_2mm", "dice", "iou",
        "n_empty_prediction",
    ):  # fmt: skip
        found[key] = evaluation.get(key)
    for name, stats in (evaluation.get("cloud_to_ct_mm") or {}).items():
        if stats is not None:
            found[f"cloud to CT, {name}, mean mm"] = stats["mean"]
            found[f"cloud to CT, {name}, p95 mm"] = stats["p95"]
    latency_ms = evaluation.get("latency_ms")
    found["latency p50 ms"] = latency_ms["p50"] if latency_ms else None
    return {name: float(value) for name, value in found.items() if value is not None}


def _paired(
    name: str,
    common: list[str],
    first: Mapping[str, Mapping[str, str]],
    second: Mapping[str, Mapping[str, str]],
) -> PairedTest:
    pairs = [(first[frame].get(name), second[frame].get(name)) for frame in common]
    known = np.array([(float(x), float(y)) for x, y in pairs if x and y]).reshape(-1, 2)
    difference = known[:, 1] - known[:, 0]
    if len(difference) < _LEAST_FRAMES:
        return PairedTest(name, len(difference), math.nan, math.nan)
    p = float(wilcoxon(difference).pvalue) if difference.any() else 1.0
    return PairedTest(
        name, len(difference), float(np.median(difference)), min(1.0, p * len(TESTED))
    )


def _folder(path: Path) -> Path:
    return path if path.is_dir() else path.parent
