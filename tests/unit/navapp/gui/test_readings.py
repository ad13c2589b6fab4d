from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from navapp.desk.alarms import Alarm, AlarmKind
from navapp.desk.facts import Facts
from navapp.desk.surface_watch import SurfaceState
from navapp.desk.takes import TakeState
from navapp.gui import style
from navapp.gui.gauges import gauge_readings
from navapp.gui.picture import banner, waiting, watermark
from navapp.gui.readings import CHIPS, Level, readings
from navapp.insertion import Hold
from navapp.state import (
    DropReason,
    SessionState,
    SessionStatus,
    StreamState,
    ToolState,
    VolumeState,
)
from recon.scan_speed import Pace, ScanSpeed
from tracking.replay import ReplayState

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
    has_ct=False,
    surface=None,
    volume=None,
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
        "END-TO-END": "48 ms",
        "DROPPED": "3 pose invalid +1",
        "RECORDING": "REC 01:02",
    }


def test_nothing_measured_is_a_dash_and_not_a_number() -> None:
    status = replace(_RUNNING, image_rate_hz=_NAN, infer_p50_ms=_NAN, end_to_end_p95_ms=_NAN)
    chips = readings(replace(_FACTS, status=status, tools=()))
    assert chips["IMAGE"].value == "\u2013 Hz"
    assert chips["MODEL"].value == "CPU \u2013 ms"
    assert chips["END-TO-END"].level is Level.OFF
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


@pytest.mark.parametrize(("position_s", "word"), [(3.0, "paused"), (7.97, "ended")])
def test_a_replay_that_stands_still_has_lost_nothing(position_s: float, word: str) -> None:
    replay = ReplayState(True, position_s, 8.0, 1.0, False)
    facts = replace(_FACTS, replay=replay, replay_speed="1")
    chips = readings(facts)
    assert chips["SESSION"].value == f"Replay {word}"
    assert [chips[name].value for name in ("IMAGE", "PROBE", "REFERENCE")] == 3 * ["\u2013 Hz"]
    assert Level.PROBLEM not in {chip.level for chip in chips.values()}
    assert watermark(facts) == f"REPLAY {word.upper()}"
    gauges = gauge_readings(facts)
    assert (gauges["SPEED"].word, gauges["SWEEP"].word) == (word, word)
    assert gauges["SPEED"].value == "\u2013 mm/s"


def test_a_session_with_an_alarm_is_not_said_to_run_well() -> None:
    alarm = Alarm(AlarmKind.PROBE_LOST, "Probe not seen for 0.7 s")
    chip = readings(replace(_FACTS, alarm=alarm))["SESSION"]
    assert (chip.value, chip.level) == ("Holding", Level.WARNING)
    assert "PROBE LOST" in chip.tooltip
    failed = replace(_RUNNING, state=SessionState.FAILED)
    assert readings(replace(_FACTS, alarm=alarm, status=failed))["SESSION"].value == "Failed"


def test_a_session_whose_source_ended_says_so() -> None:
    status = replace(_RUNNING, state=SessionState.IDLE, detail="session ended")
    chips = readings(replace(_FACTS, status=status))
    assert chips["SESSION"].value == "Ended"
    assert chips["REFERENCE"].level is Level.OFF
    before = readings(replace(_FACTS, status=replace(status, n_received=0)))
    assert before["SESSION"].value == "Idle"


def test_a_running_replay_is_no_standstill() -> None:
    facts = replace(_FACTS, replay=ReplayState(False, 7.99, 8.0, 1.0, False), replay_speed="1")
    assert (facts.standstill, readings(facts)["SESSION"].value) == ("", "Running")
    assert watermark(facts) == "REPLAY 1x"


@pytest.mark.parametrize(
    ("volume", "value", "word", "told"),
    [
        (VolumeState(1312, 0, None), "1,312", "images", "volume.mha"),
        (VolumeState(40, 7, None), "40", "images", "7 came too fast"),
        (VolumeState(90, 0, "the volume ends"), "90", "ended", "the volume ends"),
    ],
)
def test_a_volume_says_what_is_in_it(volume: VolumeState, value: str, word: str, told: str) -> None:
    reading = gauge_readings(replace(_FACTS, volume=volume))["VOLUME"]
    assert (reading.value, reading.word) == (value, word)
    assert told in reading.tooltip
    assert "VOLUME" not in gauge_readings(_FACTS)


@pytest.mark.parametrize(("free_gb", "text"), [(212.0, "212 GB"), (1840.0, "1.8 TB")])
def test_a_large_disk_is_told_in_terabytes(free_gb: float, text: str) -> None:
    facts = replace(_FACTS, take=TakeState(False, 0, 0.0, None), free_gb=free_gb)
    assert readings(facts)["RECORDING"].value == f"off \u2013 {text}"


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


def _surface(median_mm: float) -> SurfaceState:
    return SurfaceState(median_mm, 0.3, np.zeros(1, np.int32), np.zeros(1, np.float32))


def test_a_cloud_far_from_the_ct_is_told_in_words() -> None:
    far = replace(_FACTS, has_ct=True, surface=_surface(700.4))
    text, level = banner(far)
    assert text == "700 mm off the CT: wrong bone or registration?"
    gauge = gauge_readings(far)["TO CT"]
    assert (gauge.value, gauge.word, gauge.colour) == ("700.40 mm", "not on it", style.WARNING)
    assert level is Level.WARNING
    assert banner(replace(far, surface=_surface(3.0)))[0] == ""
    few = replace(_RUNNING, n_points=20)
    assert banner(replace(far, status=few))[0] == ""
    alarm = Alarm(AlarmKind.PROBE_LOST, "Probe not seen for 1.0 s")
    assert banner(replace(far, alarm=alarm)) == (alarm.text, Level.PROBLEM)


def test_a_degraded_session_says_why_over_the_image() -> None:
    status = replace(_RUNNING, state=SessionState.DEGRADED, detail="poses come with 3 s of delay")
    assert banner(replace(_FACTS, status=status)) == (
        "DEGRADED: poses come with 3 s of delay",
        Level.WARNING,
    )


def test_why_there_is_no_image_yet() -> None:
    unreachable = "cannot reach 127.0.0.1:18944: connection refused"
    status = replace(_RUNNING, state=SessionState.CONNECTING, detail=unreachable)
    assert waiting(replace(_FACTS, status=status)) == unreachable
    alarm = Alarm(AlarmKind.DEPTH_CHANGED, "image is 640x480, the calibration is for 800x600")
    assert waiting(replace(_FACTS, alarm=alarm)) == alarm.text


def test_coverage_tells_no_ct_from_no_registration() -> None:
    assert gauge_readings(_FACTS)["COVERED"].word == "no CT"
    assert gauge_readings(_FACTS)["TO CT"].word == "no CT"
    elsewhere = replace(_RUNNING, frame="reference")
    there = replace(_FACTS, has_ct=True, status=elsewhere)
    assert gauge_readings(there)["COVERED"].word == "not registered"
    assert gauge_readings(replace(_FACTS, has_ct=True))["COVERED"].word == "of the CT"
    known = replace(_FACTS, has_ct=True, surface=_surface(0.3))
    assert gauge_readings(known)["COVERED"].word == "of the CT"
