"""Senders' clocks against ours: offset, drift, jitter; stamps that cannot be trusted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tracking.clock import ClockEstimate, Clocks, FrameStampFilter, SenderClock
from tracking.messages import Stamps, TimeBase

T0_SENDER_S, T0_HOST_S = 1_722_470_400.0, 5000.0


def observed(
    seconds: float, *, rate_hz: float = 60.0, drift: float = 0.0, seed: int = 1
) -> tuple[SenderClock, list[bool]]:
    """A clock after so long a stream, delayed by 1 ms and an exponential jitter of 4 ms."""
    clock, rng = SenderClock(), np.random.default_rng(seed)
    trusted = []
    for k in range(int(seconds * rate_hz)):
        t_sender_s = T0_SENDER_S + k / rate_hz
        t_true_s = T0_HOST_S + (k / rate_hz) * (1.0 + drift)
        t_arrival_s = t_true_s + 0.001 + rng.exponential(0.004)
        trusted.append(clock.observe("IMAGE Image", Stamps(t_sender_s, t_arrival_s)))
    return clock, trusted


def estimate_of(clock: SenderClock) -> ClockEstimate:
    estimate = clock.estimate
    assert estimate is not None
    return estimate


@pytest.mark.parametrize("drift", [0.0, 50e-6, -200e-6, -0.75, 3.0])
def test_offset_and_drift_are_found_below_the_jitter(drift: float) -> None:
    """A drift of -0.75 is a replay at four times the speed, 3.0 one at a quarter of it."""
    clock, trusted = observed(40.0, drift=drift)
    assert all(trusted)
    estimate = estimate_of(clock)
    assert estimate.drift == pytest.approx(drift, rel=1e-4, abs=20e-6)
    t_true_s = T0_HOST_S + 35.0 * (1.0 + drift)
    assert estimate.to_host_s(T0_SENDER_S + 35.0) == pytest.approx(t_true_s + 0.001, abs=2e-3)
    assert estimate.to_sender_s(t_true_s + 0.001) == pytest.approx(T0_SENDER_S + 35.0, abs=2e-3)
    assert estimate.jitter_s == pytest.approx(0.004 * np.log(20.0), rel=0.2)


def test_the_first_seconds_give_an_offset_without_drift() -> None:
    estimate = estimate_of(observed(2.0)[0])
    assert estimate.drift == 0.0
    assert estimate.to_host_s(T0_SENDER_S) == pytest.approx(T0_HOST_S + 0.001, abs=5e-4)
    assert SenderClock().estimate is None


def test_the_window_forgets_a_lucky_message_of_long_ago() -> None:
    clock = SenderClock()
    clock.observe("s", Stamps(T0_SENDER_S, T0_HOST_S - 1.0))
    for k in range(1, 40):
        clock.observe("s", Stamps(T0_SENDER_S + k, T0_HOST_S + k))
    estimate = estimate_of(clock)
    assert estimate.to_host_s(T0_SENDER_S + 39) == pytest.approx(T0_HOST_S + 39, abs=1e-6)


def test_stamp_0_is_not_trusted_and_says_so() -> None:
    clock = SenderClock()
    assert not clock.observe("IMAGE Image", Stamps(0.0, 1.0))
    assert clock.fault == "sends no stamps"
    assert clock.estimate is None


def test_stamps_that_run_backwards_are_not_trusted_for_a_window() -> None:
    clock, _ = observed(2.0)
    assert not clock.observe("IMAGE Image", Stamps(T0_SENDER_S - 10.0, T0_HOST_S + 3.0))
    assert clock.fault == "sends stamps that run backwards (IMAGE Image)"
    assert not clock.observe("IMAGE Image", Stamps(T0_SENDER_S - 9.0, T0_HOST_S + 4.0))
    assert clock.observe("IMAGE Image", Stamps(T0_SENDER_S + 20.0, T0_HOST_S + 33.1))
    assert clock.fault is None


def test_stamps_that_stand_still_are_not_trusted_but_a_repeated_one_is() -> None:
    clock = SenderClock()
    assert clock.observe("TRANSFORM A", Stamps(7.0, 1.0))
    assert clock.observe("TRANSFORM A", Stamps(7.0, 1.9))
    assert not clock.observe("TRANSFORM A", Stamps(7.0, 2.1))
    assert clock.fault == "sends stamps that stand still (TRANSFORM A)"


def test_streams_of_one_server_may_be_out_of_step() -> None:
    clock = SenderClock()
    assert clock.observe("IMAGE Image", Stamps(10.0, 1.0))
    assert clock.observe("TRANSFORM A", Stamps(9.9, 1.01))
    assert clock.fault is None


def test_a_restarted_server_may_begin_its_clock_anew() -> None:
    clock, _ = observed(1.0)
    clock.forget()
    assert clock.observe("IMAGE Image", Stamps(5.0, T0_HOST_S + 10.0))


def test_times_go_from_server_to_server_through_the_host() -> None:
    clocks = Clocks()
    for k in range(100):
        t_s = 0.01 * k
        clocks.of("scanner").observe("i", Stamps(1000.0 + t_s, 50.0 + t_s))
        clocks.of("tracker").observe("p", Stamps(9000.0 + t_s, 50.0 + t_s))
    scanner, tracker = TimeBase("scanner"), TimeBase("tracker")
    assert clocks.convert(1000.5, scanner, tracker) == pytest.approx(9000.5, abs=1e-6)
    assert clocks.convert(1000.5, scanner, TimeBase("tracker", True)) == pytest.approx(50.5)
    assert clocks.convert(50.5, TimeBase("scanner", True), tracker) == pytest.approx(9000.5)
    assert clocks.convert(1 / 3, scanner, scanner) == 1 / 3
    assert clocks.convert(1000.5, scanner, TimeBase("unknown")) is None
    assert clocks.problem is None
    clocks.of("tracker").observe("p", Stamps(0.0, 60.0))
    assert clocks.problem == (
        "tracker sends no stamps: its images and poses are matched by their arrival"
    )


def _numbers_and_stamps(path: Path) -> list[tuple[int, float]]:
    """Frame numbers and unfiltered stamps, in the order of the frames."""
    numbers, stamps_s = [], []
    for line in path.read_bytes().split(b"ElementDataFile")[0].decode().splitlines():
        key, _, value = line.partition("=")
        if key.strip().endswith("_FrameNumber"):
            numbers.append(int(value))
        elif key.strip().endswith("_UnfilteredTimestamp"):
            stamps_s.append(float(value))
    return list(zip(numbers, stamps_s, strict=True))


def test_pluss_jitter_is_taken_out_of_its_own_recording(shared_data: Path) -> None:
    """PLUS's own limits for this file: at most 80 ms away, and a third of the jitter."""
    pairs = _numbers_and_stamps(shared_data / "plus" / "TimestampFilteringTest.igs.mha")
    assert len(pairs) == 500
    stamp_filter = FrameStampFilter()
    filtered_s = np.array([stamp_filter.filtered_s(*pair) for pair in pairs])
    numbers, stamps_s = np.array(pairs).T
    assert np.abs(filtered_s - stamps_s).max() <= 0.080
    jitter_s = [np.std(np.diff(t_s)[20:] / np.diff(numbers)[20:]) for t_s in (stamps_s, filtered_s)]
    assert jitter_s[0] / jitter_s[1] >= 3.0


def test_numbers_that_begin_anew_begin_a_new_line() -> None:
    stamp_filter = FrameStampFilter()
    for k in range(30):
        stamp_filter.filtered_s(k, 0.02 * k)
    assert stamp_filter.filtered_s(0, 100.0) == 100.0
    assert stamp_filter.filtered_s(1, 100.3) == 100.3, "too few for a line"


def test_a_line_far_off_is_not_followed() -> None:
    stamp_filter = FrameStampFilter()
    for k in range(30):
        assert stamp_filter.filtered_s(k, 0.02 * k) == pytest.approx(0.02 * k, abs=1e-9)
    assert stamp_filter.filtered_s(30, 3.0) == 3.0
