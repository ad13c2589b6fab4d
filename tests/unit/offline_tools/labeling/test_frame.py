"""A frame's way to a label, and each reason for which it gets none."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from offline_tools.labeling.echo import bone_line, echo_evidence
from offline_tools.labeling.frame import (
    LabelSettings,
    Reason,
    Status,
    label_frame,
    repair_frame,
)
from offline_tools.labeling.refine import RefineSettings, default_settings
from offline_tools.labeling.search import SearchBudget
from offline_tools.labeling.values import Objective
from recon.metrics import line_distance_mm
from tests.support.bones import (
    SIZE_PX,
    SPACING_MM,
    shifted,
    simulated_frame,
    tube,
)

SPACINGS_MM = (SPACING_MM, SPACING_MM)
ERROR = np.array((0.35, -0.35, 0.3, 0.3, -0.25, 0.3))  # 0.6 mm and 0.5 degree


def arc(radius_px: float, shift_px: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """The upper arc around the middle of `ring_frame`, and its incidence."""
    u = np.arange(199.5 - radius_px * 0.9, 199.5 + radius_px * 0.9)
    x = u - 199.5
    return np.column_stack((u, 150.0 + shift_px - np.sqrt(radius_px**2 - x**2))), np.arcsin(
        np.abs(x) / radius_px
    )


def test_contour_on_the_echo_has_no_offset_and_full_confidence(ring_frame) -> None:
    evidence = echo_evidence(ring_frame.pixels, *arc(60.0), SPACINGS_MM)
    assert evidence.offset_mm < 0.15
    assert np.median(evidence.confidence) > 0.9


def test_contour_beside_the_echo_is_off_by_as_much(ring_frame) -> None:
    evidence = echo_evidence(ring_frame.pixels, *arc(72.0), SPACINGS_MM)
    assert evidence.offset_mm == pytest.approx(1.2, abs=0.2)
    assert np.median(evidence.confidence) < 0.3
    led = echo_evidence(ring_frame.pixels, *arc(72.0), SPACINGS_MM, lead_mm=1.2)
    assert led.offset_mm < 0.2


def test_without_an_echo_nothing_is_said(ring_frame) -> None:
    noise = np.random.default_rng(0).integers(50, 70, ring_frame.pixels.shape).astype(np.uint8)
    evidence = echo_evidence(noise, *arc(60.0), SPACINGS_MM)
    assert math.isnan(evidence.offset_mm)
    empty = echo_evidence(noise, np.empty((0, 2)), np.empty(0), SPACINGS_MM)
    assert math.isnan(empty.offset_mm) and len(empty.confidence) == 0


def test_bone_line_without_ct_lies_on_the_ring(ring_frame) -> None:
    line_px = bone_line(ring_frame.pixels, (0, 0, *SIZE_PX), SPACINGS_MM)
    radii_mm = np.linalg.norm(line_px - (199.5, 150.0), axis=1) * SPACING_MM
    assert len(line_px) > 30
    assert np.abs(radii_mm - 6.0).mean() < 0.25
    assert len(bone_line(np.full_like(ring_frame.pixels, 50), (0, 0, *SIZE_PX), SPACINGS_MM)) == 0


def test_injected_error_is_taken_back(simulated) -> None:
    settings = LabelSettings(refine=replace(default_settings(Objective.MEAN), lead_mm=0.35))
    spacing_mm = simulated.settings.spacing_mm
    for index in range(3):
        label = label_frame(simulated.mesh, simulated_frame(simulated, index, ERROR), settings)
        assert label.status is Status.LABELLED
        truth = simulated.truth_line(index)
        clear = truth.points_px[truth.incidence_rad < math.radians(60.0)]
        found = label.contour[:, :2].astype(np.float64)
        assert line_distance_mm(clear, found, spacing_mm).mean() < 0.1
        assert label.refinement is not None
        assert label.refinement.score_end > label.refinement.score_start


def test_bone_elsewhere_is_no_bone_in_plane(ring_frame) -> None:
    far = shifted(tube(6.0), 0.0, 0.0, 300.0)
    label = label_frame(far, ring_frame, LabelSettings())
    assert (label.status, label.reason) == (Status.SKIPPED, Reason.NO_BONE)
    assert label.refinement is None


def test_each_objection_has_its_reason(ring_frame) -> None:
    mesh = tube(6.0)
    dark = replace(ring_frame, pixels=np.full_like(ring_frame.pixels, 4))
    off = shifted(mesh, 0.0, 1.4)
    stiff = RefineSettings(weight=1e9)
    cases = (
        (mesh, dark, LabelSettings(), Reason.NO_ECHO),
        (off, ring_frame, LabelSettings(refine=stiff), Reason.OFF_ECHO),
        (off, ring_frame, LabelSettings(max_start_mm=0.9), Reason.BAD_START),
        (off, ring_frame, LabelSettings(max_fiducial_correction_mm=0.05), Reason.FAR_CORRECTION),
        (mesh, ring_frame, LabelSettings(max_seeds_disagree_mm=-1.0), Reason.BIMODAL),
        (off, ring_frame, LabelSettings(refine=RefineSettings(bound=0.2)), Reason.AT_BOUND),
    )
    for surface, frame, settings, reason in cases:
        label = label_frame(surface, frame, settings)
        assert (label.status, label.reason) == (Status.REJECTED, reason)


def test_what_neighbours_believe_repairs_a_frame(ring_frame) -> None:
    """A search too short to find the echo alone finds it from where the neighbours found it."""
    mesh = tube(6.0)
    off = shifted(mesh, 0.0, 0.8)
    settings = LabelSettings(
        refine=RefineSettings(budget=SearchBudget(4, 0, 0), weight=1e9), max_echo_offset_mm=0.4
    )
    rejected = label_frame(off, ring_frame, settings)
    assert rejected.reason is Reason.OFF_ECHO
    own = label_frame(off, ring_frame, LabelSettings())
    assert own.refinement is not None
    repaired = repair_frame(off, ring_frame, settings, rejected, own.refinement.correction)
    assert (repaired.status, repaired.repaired) == (Status.LABELLED, Reason.OFF_ECHO)
    assert repaired.echo_offset_mm < 0.4
    dark = replace(ring_frame, pixels=np.full_like(ring_frame.pixels, 4))
    assert repair_frame(off, dark, settings, rejected, None) is rejected
