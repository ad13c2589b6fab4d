"""Is everything ready for a scan? A list for a person; only a missing image or pose stops it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum

from navapp.desk.facts import Facts
from navapp.equipment import Equipment

_LOW_DISK_GB = 5.0


class Verdict(Enum):
    """The values are words, since colour is never the only sign."""

    OK = "ok"
    LOOK = "look"
    MISSING = "missing"


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the list."""

    name: str
    verdict: Verdict
    sentence: str


def checks(facts: Facts, equipment: Equipment | None) -> tuple[Check, ...]:
    """The list, in the order in which things are put right."""
    result = [_image(facts), _pose(facts)]
    if equipment is not None:
        result += [
            _calibration(facts, equipment),
            _lag(equipment),
            _ct(facts, equipment),
        ]
    result += [_model(facts), _disk(facts)]
    return tuple(result)


def is_ready(items: tuple[Check, ...]) -> bool:
    """Whether a scan can begin: nothing is missing."""
    return all(check.verdict is not Verdict.MISSING for check in items)


def _image(facts: Facts) -> Check:
    status = facts.status
    if status.misfit is not None:
        return Check("image", Verdict.MISSING, status.misfit)
    if not status.image_rate_hz > 0.0:
        return Check("image", Verdict.MISSING, f"no image arrives: {status.detail}")
    return Check("image", Verdict.OK, f"arrives at {status.image_rate_hz:.1f} Hz")


def _pose(facts: Facts) -> Check:
    hidden = [tool.tool for tool in facts.tools if not tool.is_visible]
    if not facts.tools:
        return Check("pose", Verdict.MISSING, facts.status.tracking)
    if hidden:
        return Check("pose", Verdict.MISSING, f"not seen: {', '.join(hidden)}")
    if not facts.status.is_tracking_ok:
        return Check("pose", Verdict.LOOK, facts.status.tracking)
    names = ", ".join(tool.stream for tool in facts.tools)
    return Check("pose", Verdict.OK, f"seen through {names}")


def _calibration(facts: Facts, equipment: Equipment) -> Check:
    calibration = equipment.calibration
    x_mm, y_mm = calibration.spacing_mm
    sentence = f"{calibration.source.name}: {x_mm:.4f} x {y_mm:.4f} mm per pixel"
    depth = "depth unverified" in facts.status.detail
    if depth:
        return Check("calibration", Verdict.LOOK, f"{sentence}; the images state no depth")
    return Check("calibration", Verdict.OK, sentence)


def _lag(equipment: Equipment) -> Check:
    lag_ms = equipment.image_lag_s * 1e3
    if lag_ms == 0.0:
        return Check("image lag", Verdict.LOOK, "0 ms: right only for data that is synchronised")
    return Check("image lag", Verdict.OK, f"{lag_ms:.0f} ms")


def _ct(facts: Facts, equipment: Equipment) -> Check:
    if equipment.surface is None:
        return Check("CT", Verdict.LOOK, "no surface: no distance, no coverage")
    n = len(equipment.surface.faces)
    if facts.status.frame != "ct":
        return Check("CT", Verdict.LOOK, f"{n:,} triangles, not registered yet")
    if facts.misplacement:
        return Check("CT", Verdict.LOOK, facts.misplacement)
    return Check("CT", Verdict.OK, f"{n:,} triangles, in the frame of the scene")


def _model(facts: Facts) -> Check:
    status = facts.status
    provider = status.provider.removesuffix("ExecutionProvider")
    sentence = f"{provider}, {status.infer_p50_ms:.1f} ms per image ({status.provider_reason})"
    is_measured = status.infer_p50_ms == status.infer_p50_ms
    if not is_measured:
        return Check("model", Verdict.LOOK, f"{provider}, not yet measured")
    is_slow = status.image_rate_hz > 0.0 and status.infer_p50_ms * status.image_rate_hz > 1e3
    return Check("model", Verdict.LOOK if is_slow else Verdict.OK, sentence)


def _disk(facts: Facts) -> Check:
    if math.isnan(facts.free_gb):
        return Check("disk", Verdict.LOOK, "the session's folder is gone")
    verdict = Verdict.LOOK if facts.free_gb < _LOW_DISK_GB else Verdict.OK
    return Check("disk", verdict, f"{facts.free_gb:.0f} GB free")
