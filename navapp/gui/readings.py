"""What each chip of the status row says: a value, a mark with colour and shape, and a sentence."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum

from navapp.desk.alarms import Alarm, AlarmKind
from navapp.desk.facts import Facts
from navapp.gui import style
from navapp.gui.words import DROP_SENTENCES, drop_word
from navapp.state import SessionState, SessionStatus, ToolState

DASH = "\u2013"
_LOW_DISK_GB = 5.0
_SLOW_MS = 200.0


class Level(Enum):
    """How a chip is marked; each has its own shape, for those who see no colour."""

    PLAIN = style.TEXT
    OFF = style.MUTED
    OK = style.OK
    WARNING = style.WARNING
    PROBLEM = style.PROBLEM


@dataclass(frozen=True, slots=True)
class Reading:
    """What a chip says: a value, its mark, more for the mouse pointer, a word by the caption."""

    value: str
    level: Level = Level.PLAIN
    tooltip: str = ""
    word: str = ""


# Caption and share of the row's width: no chip moves or grows with its content.
CHIPS: dict[str, int] = {
    "SESSION": 188,
    "IMAGE": 142,
    "PROBE": 192,
    "REFERENCE": 192,
    "MODEL": 222,
    "END-TO-END": 170,
    "DROPPED": 234,
    "RECORDING": 184,
}

_STATE_LEVELS = {
    SessionState.IDLE: Level.OFF,
    SessionState.CONNECTING: Level.WARNING,
    SessionState.RUNNING: Level.OK,
    SessionState.DEGRADED: Level.WARNING,
    SessionState.STOPPING: Level.OFF,
    SessionState.FAILED: Level.PROBLEM,
}


def readings(facts: Facts) -> dict[str, Reading]:
    """What each chip of `CHIPS` says."""
    status = facts.status
    return {
        "SESSION": _session(facts),
        "IMAGE": _image(facts),
        "PROBE": _tool(facts.tools[:1], facts),
        "REFERENCE": _tool(facts.tools[1:2], facts),
        "MODEL": _model(status, facts.alarm),
        "END-TO-END": _end_to_end(status.end_to_end_p95_ms),
        "DROPPED": _dropped(status),
        "RECORDING": _recording(facts),
    }


def _session(facts: Facts) -> Reading:
    status, standstill = facts.status, facts.standstill
    if standstill and facts.replay is not None:
        tooltip = "Play goes on" if standstill == "paused" else "Play begins anew"
        return Reading(f"Replay {standstill}", Level.PLAIN, tooltip)
    if standstill:
        return Reading("Ended", Level.OFF, status.detail)
    if facts.alarm is not None and status.state is SessionState.RUNNING:
        return Reading("Holding", Level.WARNING, f"No points go in: {facts.alarm.text}")
    return Reading(status.state.value.capitalize(), _STATE_LEVELS[status.state], status.detail)


def _image(facts: Facts) -> Reading:
    status, alarm = facts.status, facts.alarm
    if facts.standstill:
        return _at_rest(facts)
    if math.isnan(status.image_rate_hz):
        return Reading(f"{DASH} Hz", Level.OFF, "No image has come yet")
    level = Level.OK if status.image_rate_hz > 0.0 else Level.PROBLEM
    if status.misfit is not None:
        return Reading("misfit", Level.PROBLEM, status.misfit)
    if alarm is not None and alarm.kind in (AlarmKind.NO_CONNECTION, AlarmKind.NO_IMAGE):
        return Reading("stopped", Level.PROBLEM, alarm.text)
    return Reading(f"{number(status.image_rate_hz)} Hz", level, "Images received per second")


def _tool(tools: tuple[ToolState, ...], facts: Facts) -> Reading:
    """One stream on the way of the pose; with a single stream there is no reference to lose."""
    if not tools:
        if facts.tools:
            return Reading("not needed", Level.OFF, f"All in {facts.tools[0].stream}")
        return Reading("none yet", Level.OFF, facts.status.tracking)
    if facts.standstill:
        return _at_rest(facts)
    tool = tools[0]
    rate_hz = next((s.rate_hz for s in facts.streams if s.name == tool.stream), math.nan)
    if not tool.is_visible:
        return Reading(f"lost {tool.age_s:.1f} s", Level.PROBLEM, f"{tool.stream} is silent")
    if not facts.status.is_tracking_ok:
        return Reading("unusable", Level.PROBLEM, facts.status.tracking)
    return Reading(f"seen {rate_hz:.0f} Hz", Level.OK, f"{tool.stream}: poses per second")


def _at_rest(facts: Facts) -> Reading:
    """Nothing is lost where nothing is to come."""
    is_over = facts.standstill == "ended"
    tooltip = "Nothing comes after the end" if is_over else "Nothing comes while the replay pauses"
    return Reading(f"{DASH} Hz", Level.OFF, tooltip)


def _model(status: SessionStatus, alarm: Alarm | None) -> Reading:
    provider = status.provider.removesuffix("ExecutionProvider").replace("Tensorrt", "TensorRT")
    lines = (status.model_note, f"Median time of {status.model}. {status.provider_reason}")
    is_as_wished = not status.model_note or status.model_note.startswith(f"{status.model} runs")
    level = Level.PLAIN if is_as_wished else Level.WARNING
    if alarm is not None and alarm.kind is AlarmKind.MODEL_SLOW:
        level = Level.PROBLEM
    return Reading(
        f"{provider} {number(status.infer_p50_ms)} ms",
        level,
        "\n".join(line for line in lines if line),
        status.model.removesuffix(".onnx"),
    )


def _end_to_end(p95_ms: float) -> Reading:
    tooltip = "From the image's arrival to the screen, 95 of 100"
    if math.isnan(p95_ms):
        return Reading(f"{DASH} ms", Level.OFF, tooltip, "p95")
    level = Level.OK if p95_ms <= _SLOW_MS else Level.WARNING
    return Reading(f"{p95_ms:.0f} ms", level, tooltip, "p95")


def _dropped(status: SessionStatus) -> Reading:
    reasons = {reason: n for reason, n in status.skipped.items() if n}
    received = f"{status.n_processed} of {status.n_received} images gave their points."
    if not reasons:
        return Reading("0", tooltip=received)
    lines = [received, *(f"{n}: {DROP_SENTENCES[reason]}" for reason, n in reasons.items())]
    largest = max(reasons, key=lambda reason: reasons[reason])
    n_others = sum(reasons.values()) - reasons[largest]
    others = f" +{n_others}" if n_others else ""
    return Reading(f"{reasons[largest]} {drop_word(largest)}{others}", tooltip="\n".join(lines))


def _recording(facts: Facts) -> Reading:
    take = facts.take
    free_gb = facts.free_gb
    disk = f"{free_gb:.0f} GB" if not free_gb >= 1000.0 else f"{free_gb / 1000.0:.1f} TB"
    if math.isnan(free_gb):
        disk = "no disk"
    if take.problem is not None:
        return Reading("failed", Level.PROBLEM, take.problem)
    if take.is_recording:
        # The dot stands for the recording, not for a fault: its word is beside it.
        return Reading(f"REC {clock_time(take.elapsed_s)}", Level.OK, f"{disk} free")
    level = Level.OFF if facts.free_gb >= _LOW_DISK_GB else Level.WARNING
    return Reading(f"off {DASH} {disk}", level, f"{disk} free; {take.number} recorded")


def number(value: float) -> str:
    """Three digits, a dash where nothing was measured."""
    if math.isnan(value):
        return DASH
    return f"{value:.1f}" if abs(value) < 100 else f"{value:.0f}"


def clock_time(seconds: float) -> str:
    """Minutes and seconds."""
    return f"{int(seconds) // 60:02d}:{int(seconds) % 60:02d}"
