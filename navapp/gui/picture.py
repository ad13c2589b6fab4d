"""From what the engine says to how the live image is shown: banner, border, watermark, target."""

from __future__ import annotations

from dataclasses import dataclass

from navapp.desk.facts import Facts
from navapp.desk.navigation import Plan, guide_plane, pixel_of
from navapp.gui.image_view import Picture
from navapp.gui.readings import Level
from navapp.insertion import Hold
from navapp.state import LiveView, SessionState


@dataclass(slots=True)
class Display:
    """What a person chose for the live image; none of it changes where a pixel lies in space."""

    has_overlay: bool = True
    opacity: float = 1.0
    is_flipped_x: bool = False
    is_flipped_y: bool = False


def banner(facts: Facts) -> tuple[str, Level]:
    """The words over the image: an alarm first, then what a person holds, then what is odd."""
    if facts.alarm is not None:
        return facts.alarm.text, Level.PROBLEM
    if Hold.FROZEN in facts.holds:
        return "FROZEN: picture and insertion are held", Level.WARNING
    if facts.holds:
        return "NOT INSERTING: points are off", Level.WARNING
    if facts.misplacement:
        return facts.misplacement, Level.WARNING
    if facts.status.state is SessionState.DEGRADED and not facts.standstill:
        return f"DEGRADED: {facts.status.detail}", Level.WARNING
    return "", Level.PROBLEM


def waiting(facts: Facts) -> str:
    """Why there is no image to show."""
    return facts.status.detail if facts.alarm is None else facts.alarm.text


def watermark(facts: Facts) -> str:
    """What tells a recording from a patient; empty while images are live."""
    speed = facts.replay_speed
    if speed is None:
        return ""
    return f"REPLAY {facts.standstill.upper() or ('max' if speed == 'max' else f'{speed}x')}"


def picture_of(facts: Facts, display: Display, view: LiveView | None, plan: Plan | None) -> Picture:
    """How the newest image is to be shown."""
    text, level = banner(facts)
    target_px, target_text = None, ""
    A_ct_pixel = None if view is None else view.A_target_pixel
    is_placed = facts.alarm is None and facts.status.frame == "ct"
    if plan is not None and A_ct_pixel is not None and is_placed:
        target_px = pixel_of(plan, A_ct_pixel)
        target_text = f"{guide_plane(plan, A_ct_pixel).distance_mm:.1f} mm off plane"
    return Picture(
        banner=text,
        waiting=waiting(facts),
        level=level,
        is_dimmed=facts.alarm is not None,
        watermark=watermark(facts),
        has_overlay=display.has_overlay,
        opacity=display.opacity,
        is_flipped_x=display.is_flipped_x,
        is_flipped_y=display.is_flipped_y,
        target_px=target_px,
        target_text=target_text,
    )
