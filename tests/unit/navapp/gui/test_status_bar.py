from __future__ import annotations

import dataclasses

import pytest

from navapp.gui.status_bar import CHIPS, Level, readings
from navapp.gui.words import DROP_SENTENCES
from navapp.state import DropReason, SessionState, SessionStatus

_NAN = float("nan")

_RUNNING = SessionStatus(
    state=SessionState.RUNNING,
    detail="",
    image_rate_hz=19.96,
    pose_rate_hz=120.4,
    is_tracking_ok=True,
    tracking="Tracking OK",
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


def test_every_chip_has_a_reading() -> None:
    assert list(readings(_RUNNING)) == list(CHIPS)


def test_the_values_of_a_running_session() -> None:
    values = {caption: reading.value for caption, reading in readings(_RUNNING).items()}
    assert values == {
        "SESSION": "Running",
        "IMAGE": "20.0 Hz",
        "POSES": "120 Hz",
        "TRACKING": "Tracking OK",
        "MODEL": "CPU  11.3 ms",
        "END-TO-END P95": "48.2 ms",
        "POINTS": "84,210",
        "DROPPED": "3 pose invalid +1",
    }


def test_nothing_measured_is_a_dash_and_not_a_number() -> None:
    nothing = dataclasses.replace(
        _RUNNING, image_rate_hz=_NAN, pose_rate_hz=_NAN, infer_p50_ms=_NAN, end_to_end_p95_ms=_NAN
    )
    chips = readings(nothing)
    assert chips["IMAGE"].value == "\u2013 Hz"
    assert chips["MODEL"].value == "CPU  \u2013 ms"
    assert chips["END-TO-END P95"].level is Level.OFF


def test_lost_tracking_is_a_problem_in_words() -> None:
    lost = dataclasses.replace(_RUNNING, is_tracking_ok=False, tracking="Probe lost for 1.2 s")
    chip = readings(lost)["TRACKING"]
    assert (chip.level, chip.value) == (Level.PROBLEM, "Probe lost for 1.2 s")


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
    chip = readings(dataclasses.replace(_RUNNING, state=state, detail="why"))["SESSION"]
    assert (chip.level, chip.tooltip) == (level, "why")


def test_the_drops_are_told_by_reason() -> None:
    tooltip = readings(_RUNNING)["DROPPED"].tooltip
    assert tooltip.splitlines() == [
        "131 of 135 images gave their points.",
        f"3: {DROP_SENTENCES[DropReason.POSE_INVALID]}",
        f"1: {DROP_SENTENCES[DropReason.SUPERSEDED]}",
    ]


def test_no_drops_are_a_zero() -> None:
    assert readings(dataclasses.replace(_RUNNING, skipped={}))["DROPPED"].value == "0"


def test_every_reason_has_its_sentence() -> None:
    assert set(DROP_SENTENCES) == set(DropReason)
