"""The sentence that explains a session's state: the worst thing first, gone when it is mended."""

from __future__ import annotations

import pytest

from navapp.config import StreamSettings
from navapp.health import Health
from navapp.state import DropReason, SessionState
from navapp.stream_watch import StreamWatch
from tracking.clock import Clocks
from tracking.pose_path import PosePath, PoseStep

PATH = PosePath("reference", (PoseStep("ProbeToTracker"),))


@pytest.fixture
def watch():
    result = StreamWatch(StreamSettings())
    result.connected(0.0)
    result.image_seen("Image", 1.0, (32, 40))
    result.pose_seen("ProbeToTracker", 1.0)
    return result


@pytest.fixture
def health(watch):
    result = Health(watch, Clocks(), None)
    result.note_link("a:1", "connected to a:1", is_up=True)
    return result


def test_before_and_without_a_connection(watch):
    health = Health(watch, Clocks(), None)
    assert health.running_state(0, 1.0) == (SessionState.CONNECTING, "not connected")
    assert health.note_link("a:1", "a:1 refused", is_up=False)
    assert not health.note_link("a:1", "a:1 refused", is_up=False)
    assert health.running_state(0, 1.0) == (SessionState.CONNECTING, "a:1 refused")
    assert health.running_state(7, 1.0) == (SessionState.DEGRADED, "a:1 refused")
    assert health.tracking(PATH, "Probe", 1.0) == (False, "no connection")
    assert health.unreached == "a:1 refused"
    health.note_link("a:1", "connected to a:1", is_up=True)
    health.note_link("a:1", "a:1 closed", is_up=False)
    assert health.unreached is None


def test_what_is_wrong_is_told_while_it_is_wrong_and_kept_as_a_warning(health):
    assert health.running_state(7, 1.0) == (SessionState.RUNNING, "connected to a:1")
    health.note_scale("another scale")
    health.note_misfit("another depth")
    assert health.running_state(7, 1.0) == (SessionState.DEGRADED, "another depth")
    health.note_misfit(None)
    assert health.running_state(7, 1.0) == (SessionState.DEGRADED, "another scale")
    health.note_scale(None)
    assert health.running_state(7, 1.0)[0] is SessionState.RUNNING
    health.note_misfit("another depth")
    assert health.warnings == ("another scale", "another depth")


@pytest.mark.parametrize("spacing_mm", [None, (1.0, 1.0)])
def test_a_depth_that_nobody_states_is_said(health, spacing_mm):
    health.note_spacing(spacing_mm)
    assert "depth unverified" in health.running_state(7, 1.0)[1]
    health.note_spacing((0.1, 0.1))
    assert "depth" not in health.running_state(7, 1.0)[1]


def test_one_bad_output_is_chance_and_three_in_a_row_are_told(health):
    for n, is_told in ((1, False), (2, False), (3, True), (4, True)):
        health.note_output("not a number")
        detail = health.running_state(7, 1.0)[1]
        assert (f"not a number: {n} images in a row" == detail) is is_told
    health.note_output(None)
    assert health.running_state(7, 1.0)[0] is SessionState.RUNNING


def test_images_wait_for_a_result_from_the_first_unanswered_on(health):
    assert health.unanswered_s(5.0) == 0.0
    health.note_image(5.0)
    health.note_image(6.0)
    assert health.unanswered_s(6.5) == 1.5
    health.note_result(None)
    assert health.unanswered_s(7.0) == 0.0


def test_poses_that_are_missing_old_or_of_no_use(health):
    assert health.tracking(None, "Probe", 1.0) == (False, "no poses of Probe yet")
    assert health.tracking(PATH, "Probe", 1.2) == (True, "tracking OK")
    assert health.tracking(PATH, "Probe", 2.0) == (False, "Probe lost 1.0 s")
    health.note_result(DropReason.POSE_INVALID)
    assert health.tracking(PATH, "Probe", 1.2)[1] == "pose marked invalid by the tracker"
    health.note_result(DropReason.SUPERSEDED)
    assert health.tracking(PATH, "Probe", 1.2)[0]
