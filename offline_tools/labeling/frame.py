"""One frame to one label, or to the reason why there is none."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from offline_tools.labeling.echo import EchoEvidence, echo_evidence
from offline_tools.labeling.objective import correction_matrix
from offline_tools.labeling.refine import (
    Frame,
    Refinement,
    RefineSettings,
    default_settings,
    judge,
    refine,
)
from offline_tools.labeling.values import Objective
from offline_tools.labeling.visibility import ScanLines, SeenSection, seen_section
from recon.metrics import line_distance_mm
from recon.surface import TriangleMesh
from tracking.transforms import Matrix

Array = NDArray[np.float64]


class Status(StrEnum):
    """What became of a frame."""

    LABELLED = "labelled"
    REJECTED = "rejected"  # looked at, and not to be trusted
    SKIPPED = "skipped"  # nothing to look at


class Reason(StrEnum):
    """Why a frame has no label."""

    NO_IMAGE = "no image"
    NO_POSE = "no pose"
    BAD_IMAGE = "image unreadable or of another size"
    NO_BONE = "no bone in plane"
    BAD_START = "start worse than 2 mm"
    NO_ECHO = "no echo"
    FAR_CORRECTION = "mean fiducial correction above 1 mm"
    AT_BOUND = "parameter at its bound"
    BIMODAL = "bimodal optimum"
    OFF_ECHO = "contour off the echo"


# What a look at the neighbours may repair.
REPAIRABLE = (Reason.FAR_CORRECTION, Reason.AT_BOUND, Reason.BIMODAL, Reason.OFF_ECHO)


@dataclass(frozen=True, slots=True)
class LabelSettings:
    """How frames become labels. Limits: see `Reason`.

    `apex_px` is set for a curved array. `max_echo_offset_mm` 0.85 is where, on UltraBones100k,
    contours begin to lie visibly beside the echo.
    """

    refine: RefineSettings = field(default_factory=RefineSettings)
    band_mm: float = 0.1
    max_incidence_deg: float = 85.0
    apex_px: tuple[float, float] | None = None
    max_fiducial_correction_mm: float = 1.0
    max_start_mm: float = 2.0
    max_seeds_disagree_mm: float = 0.25
    max_echo_offset_mm: float = 0.85
    repair: bool = True


@dataclass(frozen=True, slots=True)
class FrameLabel:
    """A frame's fate. Where `refinement` is None nothing else was computed.

    `contour` (N, 4): u_px, v_px, incidence_deg, confidence; empty where there is no label.
    `repaired` is the reason for which the frame would have been rejected on its own.
    """

    status: Status
    reason: Reason | None
    refinement: Refinement | None = None
    T_ct_probe: Matrix | None = None
    seeds_disagree_mm: float = math.nan
    echo_offset_start_mm: float = math.nan
    echo_offset_mm: float = math.nan
    contour: NDArray[np.float32] = field(default_factory=lambda: np.empty((0, 4), np.float32))
    repaired: Reason | None = None


def label_frame(
    mesh: TriangleMesh,
    frame: Frame,
    settings: LabelSettings,
    believed: Array | None = None,
    *,
    is_fixed: bool = False,
) -> FrameLabel:
    """Refine the frame's pose from two starts and judge what comes out.

    `believed` is the correction that neighbours suggest; see `refine`. Where it `is_fixed`
    nothing is searched: it is the correction, as in one registration for a whole sweep, and how
    far it goes is no objection.
    """
    start = section_of(mesh, frame, frame.A_ct_pixel, settings)
    if is_fixed and believed is not None:
        results = [judge(mesh, frame, settings.refine, believed)] * 2
        settings = replace(settings, max_fiducial_correction_mm=math.inf)
    else:
        results = refine(mesh, frame, settings.refine, n_starts=2, believed=believed)
    seen = [section_of(mesh, frame, frame.corrected(r.correction), settings) for r in results]
    if not len(start.line_px) and not len(seen[0].line_px):
        return FrameLabel(Status.SKIPPED, Reason.NO_BONE)
    evidence_start = _evidence(frame, start, settings, reach_mm=2.5 * settings.max_start_mm)
    evidence = _evidence(frame, seen[0], settings)
    label = FrameLabel(
        status=Status.LABELLED,
        reason=None,
        refinement=results[0],
        T_ct_probe=frame.T_ct_probe @ correction_matrix(results[0].correction),
        seeds_disagree_mm=_disagreement_mm(seen[0], seen[1], frame.spacing_mm),
        echo_offset_start_mm=evidence_start.offset_mm,
        echo_offset_mm=evidence.offset_mm,
        contour=_contour(seen[0], evidence),
    )
    reason = _reason(label, settings)
    return label if reason is None else replace(label, status=Status.REJECTED, reason=reason)


def section_of(
    mesh: TriangleMesh, frame: Frame, A_ct_pixel: Matrix, settings: LabelSettings
) -> SeenSection:
    """The section at a pose, judged by what the frame's probe can see."""
    lines = ScanLines(frame.spacing_mm, frame.size_px, settings.apex_px)
    max_incidence_rad = math.radians(settings.max_incidence_deg)
    return seen_section(mesh, A_ct_pixel, lines, frame.roi_px, max_incidence_rad)


def repair_frame(
    mesh: TriangleMesh,
    frame: Frame,
    settings: LabelSettings,
    rejected: FrameLabel,
    believed: Array | None,
) -> FrameLabel:
    """Try what neighbours suggest and the shadow-aware objective; keep what lies on the echo.

    Returns `rejected` as it is where nothing that was tried is free of objections.
    """
    shadow = replace(
        default_settings(Objective.SHADOW, settings.refine.seed), lead_mm=settings.refine.lead_mm
    )
    ways = [(replace(settings, refine=shadow), believed)]
    if believed is not None:
        ways.append((settings, believed))
    tried = [label_frame(mesh, frame, way, prior) for way, prior in ways]
    good = [label for label in tried if label.status is Status.LABELLED]
    if not good:
        return rejected
    best = min(good, key=lambda label: label.echo_offset_mm)
    return replace(best, repaired=rejected.reason)


def _evidence(
    frame: Frame, seen: SeenSection, settings: LabelSettings, reach_mm: float = 3.0
) -> EchoEvidence:
    return echo_evidence(
        frame.pixels,
        seen.line_px,
        seen.incidence_rad,
        frame.spacing_mm,
        reach_mm,
        settings.refine.lead_mm,
    )


def _disagreement_mm(
    seen: SeenSection, other: SeenSection, spacing_mm: tuple[float, float]
) -> float:
    """Mean distance between two visible lines, the larger of both ways."""
    if not len(seen.line_px) or not len(other.line_px):
        return math.inf
    there = line_distance_mm(seen.line_px, other.line_px, spacing_mm).mean()
    back = line_distance_mm(other.line_px, seen.line_px, spacing_mm).mean()
    return float(max(there, back))


def _contour(seen: SeenSection, evidence: EchoEvidence) -> NDArray[np.float32]:
    columns = (*seen.line_px.T, np.degrees(seen.incidence_rad), evidence.confidence)
    return np.column_stack(columns).astype(np.float32)


def _reason(label: FrameLabel, settings: LabelSettings) -> Reason | None:
    """The first objection against a refined frame, the gravest first."""
    refinement = label.refinement
    if refinement is None:
        return None
    objections = (
        (not len(label.contour), Reason.NO_BONE),
        (label.echo_offset_start_mm > settings.max_start_mm, Reason.BAD_START),
        (math.isnan(label.echo_offset_mm), Reason.NO_ECHO),
        (
            refinement.mean_fiducial_correction_mm > settings.max_fiducial_correction_mm,
            Reason.FAR_CORRECTION,
        ),
        (label.seeds_disagree_mm > settings.max_seeds_disagree_mm, Reason.BIMODAL),
        (bool(refinement.at_bound), Reason.AT_BOUND),
        (label.echo_offset_mm > settings.max_echo_offset_mm, Reason.OFF_ECHO),
    )
    return next((reason for is_true, reason in objections if is_true), None)
