from __future__ import annotations

from dataclasses import replace

import pytest

from navapp.desk.facts import Facts
from navapp.desk.takes import TakeState
from navapp.gui.gauges import gauge_readings
from navapp.gui.readings import CHIPS, Level, readings
from navapp.insertion import Hold
from navapp.state import DropReason, SessionState, SessionStatus, StreamState, ToolState
from recon.scan_speed import Pace, ScanSpeed

_NAN = float("nan")

_RUNNING = SessionStatus(
    state=SessionState.RUNNING,
    detail="",
    image_rate_hz=19.96,
    pose_rate_hz=120.4,
    is_tracking_ok=True,
    tracking="tracking OK",
    provider="CPUExecutionProvider",
    provider_reason="CUDA: no driver",
    infer_p50_ms=11.26,
    end_to_end_p95_ms=48.2,
    n_received=135,
    n_processed=131,
    skipped={DropReason.POSE_INVALID: 3, DropReason.SUPERSEDED: 1, DropReason.HELD: 0},
    n_points=84210,
    frame="ct",
)
_FACTS = Facts(
    status=_RUNNING,
    alarm=None,
    tools=(
        ToolState("ProbeToTracker", "Probe", 0.01, True),
        ToolState("ReferenceToTracker", "Reference", 2.0, False),
    ),
    streams=(StreamState("ProbeToTracker", "pose", 100.0),),
    holds=(),
    sweep=3,
    take=TakeState(True, 1, 62.0, None),
    free_gb=212.0,
    speed=ScanSpeed(30.0, 1.5, 20.0, Pace.FAST),
    surface=None,
    guidance=None,
    plan_name="",
    replay=None,
    replay_speed=None,
    busy="",
    message="",
)


def test_every_chip_says_what_is_so() -> None:
    values = {caption: reading.value for caption, reading in readings(_FACTS).items()}
    assert list(values) == list(CHIPS)
    assert values == {
        "SESSION": "Running",
        "IMAGE": "20.0 Hz",
        "PROBE": "seen 100 Hz",
        "REFERENCE": "lost 2.0 s",
        "MODEL": "CPU 11.3 ms",
        "END-TO-END P95": "48 ms",
        "DROPPED": "3 pose invalid +1",
        "RECORDING": "REC 01:02",
    }


def test_nothing_measured_is_a_dash_and_not_a_number() -> None:
    status = replace(_RUNNING, image_rate_hz=_NAN, infer_p50_ms=_NAN, end_to_end_p95_ms=_NAN)
    chips = readings(replace(_FACTS, status=status, tools=()))
    assert chips["IMAGE"].value == "\u2013 Hz"
    assert chips["MODEL"].value == "CPU \u2013 ms"
    assert chips["END-TO-END P95"].level is Level.OFF
    assert chips["PROBE"].value == "none yet"


@pytest.mark.parametrize(
    ("note", "level"),
    [
        ("", Level.PLAIN),
        ("bone.onnx runs since 12 s", Level.PLAIN),
        ("loading other.onnx", Level.WARNING),
        ("other.onnx not used: not a model; bone.onnx runs on", Level.WARNING),
    ],
)
def test_the_network_in_use_is_named_with_what_became_of_another(note: str, level: Level) -> None:
    status = replace(_RUNNING, model="bone.onnx", model_note=note)
    chip = readings(replace(_FACTS, status=status))["MODEL"]
    assert (chip.word, chip.level) == ("bone", level)
    assert note in chip.tooltip


def test_a_recording_that_failed_says_why() -> None:
    take = TakeState(False, 1, 0.0, "recording ended: no space")
    chip = readings(replace(_FACTS, take=take))["RECORDING"]
    assert (chip.level, chip.tooltip) == (Level.PROBLEM, "recording ended: no space")


@pytest.mark.parametrize(
    ("state", "level"),
    [
        (SessionState.RUNNING, Level.OK),
        (SessionState.DEGRADED, Level.WARNING),
        (SessionState.FAILED, Level.PROBLEM),
        (SessionState.IDLE, Level.OFF),
    ],
)
def test_the_state_has_its_level(state: SessionState, level: Level) -> None:
    chip = readings(replace(_FACTS, status=replace(_RUNNING, state=state, detail="why")))["SESSION"]
    assert (chip.level, chip.tooltip) == (level, "why")


@pytest.mark.parametrize("pace", Pace)
def test_the_speed_has_a_word(pace: Pace) -> None:
    speed = ScanSpeed(31.4, 1.5, 20.0, pace)
    reading = gauge_readings(replace(_FACTS, speed=speed))["SPEED"]
    assert (reading.value, reading.word, reading.share) == ("31 mm/s", pace.value, 0.5)


@pytest.mark.parametrize(("holds", "word"), [((), "no images"), ((Hold.FROZEN,), "frozen")])
def test_without_a_speed_it_is_told_why(holds: tuple[Hold, ...], word: str) -> None:
    reading = gauge_readings(replace(_FACTS, speed=None, holds=holds))["SPEED"]
    assert (reading.value, reading.word) == ("\u2013 mm/s", word)
