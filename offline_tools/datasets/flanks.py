"""Steep ends of a label that an image does not show.

A label from a surface follows a flank for as long as the surface faces the probe; its echo is gone
long before. A network that is taught such flanks goes on past the last echo wherever it looks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter1d

from offline_tools.datasets.images import LabelledImage
from offline_tools.labeling.echo import echo_evidence

_STEP_MM = 0.1
_WINDOW_MM = 1.0  # over which an echo is averaged: a speckle is none
_LARGEST_STEP_MM = 1.0  # neighbours on a label further apart are two bones


@dataclass(frozen=True, slots=True)
class FlankRule:
    """A label's end is unseen as far as it is steeper than `steeper_than_deg` and its echo, 0 to 1
    as `echo_evidence` has it, fainter than `fainter_than`.

    Up to `open_mm` past the last echo it is left open whether bone is there; farther it is
    background.
    """

    steeper_than_deg: float
    fainter_than: float
    open_mm: float


def unseen_mm(labelled: LabelledImage, rule: FlankRule) -> NDArray[np.float64]:
    """How far past its last echo each point of a label (N,) lies, along the label; 0 where seen.

    Infinite where a whole piece of the label is unseen. A faint stretch between two that are seen
    counts as seen; without incidence everything does.
    """
    points_px = labelled.line.points_px
    evidence = echo_evidence(
        labelled.pixels, points_px, labelled.line.incidence_rad, labelled.spacing_mm
    )
    points_mm = points_px * labelled.spacing_mm
    incidence_deg = np.degrees(labelled.line.incidence_rad)
    past_mm = np.zeros(len(points_mm))
    is_cut = (np.abs(np.diff(points_mm, axis=0)) > _LARGEST_STEP_MM).any(axis=1)
    for piece in np.split(np.arange(len(points_mm)), np.flatnonzero(is_cut) + 1):
        if len(piece):
            past_mm[piece] = _past_echo_mm(
                points_mm[piece], incidence_deg[piece], evidence.confidence[piece], rule
            )
    return past_mm


def _past_echo_mm(
    points_mm: NDArray[np.float64],
    incidence_deg: NDArray[np.float64],
    echo: NDArray[np.float64],
    rule: FlankRule,
) -> NDArray[np.float64]:
    """Of one piece of a label, walked in even steps: its points crowd where it is level."""
    steps_mm = np.hypot(*np.diff(points_mm, axis=0).T)
    way_mm = np.concatenate(([0.0], np.cumsum(steps_mm)))
    at_mm = np.linspace(0.0, way_mm[-1], math.ceil(way_mm[-1] / _STEP_MM) + 1)
    mean_echo = uniform_filter1d(
        np.interp(at_mm, way_mm, echo), round(_WINDOW_MM / _STEP_MM), mode="nearest"
    )
    is_steep = np.interp(at_mm, way_mm, incidence_deg) > rule.steeper_than_deg
    seen_mm = at_mm[~(is_steep & (mean_echo < rule.fainter_than))]
    if not len(seen_mm):
        return np.full(len(points_mm), np.inf)
    past_mm = np.maximum(seen_mm[0] - way_mm, way_mm - seen_mm[-1])
    return np.where(past_mm > _STEP_MM, past_mm, 0.0)
