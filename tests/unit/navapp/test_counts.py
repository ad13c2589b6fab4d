"""Rates, latencies and stream names: what the status row and the report are made of."""

from __future__ import annotations

import math

import pytest

from navapp.config import StreamSettings
from navapp.latency import LatencyLog, Stage
from navapp.state import DropReason
from navapp.stream_watch import StreamWatch
from navapp.tally import Tally


def test_counts_of_images_and_poses() -> None:
    tally = Tally()
    for k in range(11):
        tally.image_received(10.0 + 0.1 * k)
    tally.image_processed(10.2)
    tally.image_skipped(DropReason.NO_POSE)
    tally.pose_received(10.0, is_valid=True, is_kept=True)
    tally.pose_received(10.1, is_valid=False, is_kept=True)
    tally.pose_received(10.2, is_valid=True, is_kept=False)
    tally.poses_damaged(2)
    frames, poses = tally.frames, tally.poses
    assert (frames.received, frames.processed) == (11, 1)
    assert frames.skipped[DropReason.NO_POSE] == 1
    assert sum(frames.skipped.values()) == 1
    assert (poses.received, poses.invalid, poses.lost) == (5, 1, 3)
    assert tally.mean_rates.image_hz == pytest.approx(10.0)
    assert tally.processing_span_s == (10.0, 10.2)


def test_recent_rates_fall_to_zero_when_a_stream_ends() -> None:
    tally = Tally()
    assert math.isnan(tally.recent_rates(1.0).image_hz)
    for k in range(100):
        tally.image_received(k * 0.02)
    assert tally.recent_rates(2.0).image_hz == pytest.approx(50.0, rel=0.02)
    assert tally.recent_rates(10.0).image_hz == 0.0


def test_latency_percentiles_since_a_time() -> None:
    log = LatencyLog()
    for k in range(100):
        log.add(Stage.INFER, k, k + 0.001 * (k + 1))
    assert log.percentile_ms(Stage.INFER, 50) == pytest.approx(50.5)
    assert log.percentile_ms(Stage.INFER, 50, since_s=90.0) > 90.0
    assert math.isnan(log.percentile_ms(Stage.MATCH, 50))


def test_streams_that_are_all_there() -> None:
    watch = StreamWatch(StreamSettings())
    watch.connected(1.0)
    watch.image_seen("Image_Probe")
    watch.pose_seen("ProbeToReference", 1.1)
    assert watch.problem(100.0) is None
    assert watch.is_chosen("Image_Probe")
    assert watch.pose_age_s("ProbeToReference", 3.1) == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        (StreamSettings(image="Video"), "no image stream Video came"),
        (StreamSettings(probe="Needle"), "no poses that lead from Needle to Reference"),
    ],
)
def test_a_name_that_does_not_appear_lists_those_that_do(
    settings: StreamSettings, text: str
) -> None:
    watch = StreamWatch(settings)
    watch.connected(1.0)
    watch.image_seen("Image_Probe")
    watch.pose_seen("ProbeToReference", 1.0)
    assert watch.problem(5.9) is None, "too early to tell"
    problem = watch.problem(6.1)
    assert problem is not None
    assert text in problem
    assert "Image_Probe (image), ProbeToReference (pose)" in problem


def test_a_server_that_says_nothing() -> None:
    watch = StreamWatch(StreamSettings())
    assert watch.problem(100.0) is None, "not connected yet"
    watch.connected(100.0)
    assert watch.problem(104.0) is None
    assert watch.problem(106.0) == "no images came; the server sends neither images nor poses"


def test_at_the_end_there_is_nothing_to_wait_for() -> None:
    watch = StreamWatch(StreamSettings(image="Video"))
    watch.connected(1.0)
    watch.image_seen("Image")
    assert watch.problem(1.1) is None
    problem = watch.problem(float("inf"))
    assert problem is not None
    assert "Image (image)" in problem


def test_two_unnamed_images_are_not_guessed_between() -> None:
    watch = StreamWatch(StreamSettings())
    watch.connected(1.0)
    watch.image_seen("Left")
    assert watch.is_chosen("Left")
    watch.image_seen("Right")
    assert not watch.is_chosen("Left")
    assert watch.problem(1.1) == (
        "the server sends 2 images, name one: Left (image), Right (image)"
    )
    named = StreamWatch(StreamSettings(image="Right"))
    named.image_seen("Left")
    named.image_seen("Right")
    assert named.is_chosen("Right")
    assert not named.is_chosen("Left")
