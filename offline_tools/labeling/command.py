"""What the command `label` asks for, in the words of the command line, and its answer."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from offline_tools.errors import InputError
from offline_tools.labeling.baseline import MEAN_WEIGHTS, SUM_WEIGHTS, weigh
from offline_tools.labeling.frame import LabelSettings
from offline_tools.labeling.job import LabelJob, load_inputs, surfaces
from offline_tools.labeling.output import write_summary
from offline_tools.labeling.refine import default_settings
from offline_tools.labeling.report import write_report
from offline_tools.labeling.run import label_record, sampled_frames
from offline_tools.labeling.values import Objective

_N_WEIGHED_FRAMES = 24


@dataclass(frozen=True, slots=True)
class Request:
    """Arguments of `offline-tools label`, as they were given."""

    record: Path
    out: Path
    ct: list[Path]
    calibration: Path | None
    registration: Path | None
    objective: str
    gamma_mm: float | None
    weight: str | None
    lead_mm: float
    band_mm: float
    max_incidence_deg: float
    apex: str | None
    mode: str
    repair: bool
    seed: int


def job_of(request: Request) -> LabelJob:
    """The job that is asked for.

    Raises
    ------
    InputError : naming the argument and what was expected.
    """
    if request.mode not in ("frame", "global"):
        raise InputError(f"--mode is {request.mode!r}, expected frame or global")
    try:
        objective = Objective(request.objective)
    except ValueError:
        names = ", ".join(Objective)
        raise InputError(f"--objective is {request.objective!r}, expected {names}") from None
    refine = replace(default_settings(objective, request.seed), lead_mm=request.lead_mm)
    if request.gamma_mm is not None:
        refine = replace(refine, gamma_mm=request.gamma_mm)
    if request.weight not in (None, "auto"):
        refine = replace(refine, weight=_weight(str(request.weight)))
    settings = LabelSettings(
        refine=refine,
        band_mm=request.band_mm,
        max_incidence_deg=request.max_incidence_deg,
        apex_px=None if request.apex is None else _apex(request.apex),
        repair=request.repair,
    )
    return LabelJob(
        record=request.record,
        meshes=surfaces(request.ct, request.record),
        out=request.out,
        calibration=request.calibration,
        registration=request.registration,
        settings=settings,
        is_global=request.mode == "global",
    )


def weighed(job: LabelJob, request: Request) -> tuple[LabelJob, list[str]]:
    """The job with the best weight where `auto` is asked for, and the table that shows why."""
    if request.weight != "auto":
        return job, []
    inputs = load_inputs(job)
    is_mean = job.settings.refine.objective is Objective.MEAN
    frames = sampled_frames(inputs, _N_WEIGHED_FRAMES)
    scores = weigh(inputs.mesh, frames, job.settings, MEAN_WEIGHTS if is_mean else SUM_WEIGHTS)
    # Differences of 3 % are chance: of weights as good as the best, the one that moves least.
    good_mm = 1.03 * min(score.bone_line_mm for score in scores)
    best = max((x for x in scores if x.bone_line_mm <= good_mm), key=lambda x: x.weight)
    rows = [
        f"weight {score.weight:g}: bone line {score.bone_line_mm:.3f} mm off, correction "
        f"{score.mean_fiducial_correction_mm:.3f} mm, {score.rejected_share:.0%} rejected"
        for score in scores
    ]
    refine = replace(job.settings.refine, weight=best.weight)
    chosen = replace(job, settings=replace(job.settings, refine=refine))
    return chosen, [*rows, f"chosen: {best.weight:g}"]


def run(
    job: LabelJob, *, n_workers: int, on_progress: Callable[[int, int], None], draws_stages: bool
) -> list[str]:
    """Label, write the report, and say in a few lines what came out."""
    summary = label_record(job, n_workers=n_workers, on_progress=on_progress)
    write_summary(
        job.out,
        {
            "record": "/".join(job.record.resolve().parts[-2:]),
            "surfaces": [path.name for path in job.meshes],
            "mode": "global" if job.is_global else "frame",
            "settings": asdict(job.settings),
            "fingerprint": job.fingerprint(),
            **asdict(summary),
            "complete": True,
        },
    )
    report = write_report(job, draws_stages=draws_stages)
    counts = ", ".join(f"{n} {status}" for status, n in sorted(summary.n_by_status.items()))
    reasons = [f"  {n} {reason}" for reason, n in sorted(summary.n_by_reason.items())]
    return [
        *(f"note: {warning}" for warning in summary.warnings),
        f"{summary.n_frames} frames: {counts}; {summary.n_repaired} repaired, "
        f"{summary.n_resumed} done before",
        *reasons,
        f"{job.out}: report in {report.name}",
    ]


def _weight(text: str) -> float:
    try:
        weight = float(text)
    except ValueError:
        weight = math.nan
    if not (math.isfinite(weight) and weight >= 0.0):
        raise InputError(f"--weight is {text!r}, expected a number from 0 on or auto")
    return weight


def _apex(text: str) -> tuple[float, float]:
    number = r"\s*(-?\d+(?:\.\d*)?)\s*"
    match = re.fullmatch(f"{number},{number}", text)
    if match is None or float(match[2]) >= 0.0:
        raise InputError(f"--apex is {text!r}, expected U,V in pixels with V above the image (< 0)")
    return float(match[1]), float(match[2])
