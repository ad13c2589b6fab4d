"""Poses are read at a time, between two good samples that are close enough, or not at all."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from tracking import pose_buffer
from tracking.messages import PoseSample, PoseStatus, Stamps, TimeBase
from tracking.pose_buffer import PoseBuffer, PoseOutcome
from tracking.pose_path import PosePath, PoseStep, find_path
from tracking.transforms import Matrix, from_rotation_vector, invert

_PAIR = PosePath("reference", (PoseStep("ProbeToTracker"), PoseStep("ReferenceToTracker", True)))


def _direct(target: str, stream: str) -> PosePath:
    return PosePath(target, (PoseStep(stream),))


def _sample(
    t_s: float, x_mm: float = 0.0, status: PoseStatus = PoseStatus.OK, name: str = "ProbeToTracker"
) -> PoseSample:
    matrix = from_rotation_vector((0.0, 0.0, 0.0), (x_mm, 0.0, 0.0))
    return PoseSample(name, matrix, status, Stamps(t_s, 0.0))


def _buffer(*samples: PoseSample) -> PoseBuffer:
    buffer = PoseBuffer()
    for sample in samples:
        assert buffer.add(sample)
    return buffer


def _read(buffer: PoseBuffer, t_s: float) -> tuple[PoseOutcome, float | None]:
    read = buffer.read("ProbeToTracker", t_s, max_gap_s=0.1)
    return read.outcome, None if read.matrix is None else float(read.matrix[0, 3])


def test_between_two_samples_it_interpolates() -> None:
    buffer = _buffer(_sample(1.0, 0.0), _sample(1.08, 8.0))
    assert _read(buffer, 1.02) == (PoseOutcome.FOUND, pytest.approx(2.0))


def test_a_sample_with_the_very_stamp_is_taken_alone() -> None:
    """Also at the ends, and where the neighbours are too far away to interpolate."""
    buffer = _buffer(_sample(1.0, 1.0), _sample(5.0, 5.0), _sample(9.0, 9.0))
    assert [_read(buffer, t) for t in (1.0, 5.0, 9.0)] == [
        (PoseOutcome.FOUND, 1.0),
        (PoseOutcome.FOUND, 5.0),
        (PoseOutcome.FOUND, 9.0),
    ]


def test_it_never_extrapolates() -> None:
    buffer = _buffer(_sample(1.0), _sample(1.05))
    assert _read(buffer, 0.99) == (PoseOutcome.MISSING, None)
    assert _read(buffer, 1.06) == (PoseOutcome.MISSING, None)
    assert _read(PoseBuffer(), 1.0) == (PoseOutcome.MISSING, None)


def test_a_gap_is_not_bridged() -> None:
    assert _read(_buffer(_sample(1.0), _sample(1.11)), 1.05) == (PoseOutcome.GAP, None)


def test_a_pose_far_away_is_no_neighbour() -> None:
    """Whether it has come yet or not, the outcome is the same."""
    buffer = _buffer(_sample(1.0))
    assert _read(buffer, 1.05) == (PoseOutcome.MISSING, None)
    buffer.add(_sample(1.5, status=PoseStatus.INVALID))
    assert _read(buffer, 1.05) == (PoseOutcome.MISSING, None)


@pytest.mark.parametrize("bad", [0, 1])
def test_an_invalid_neighbour_spoils_the_pose(bad: int) -> None:
    status = [PoseStatus.OK, PoseStatus.OK]
    status[bad] = PoseStatus.INVALID
    buffer = _buffer(_sample(1.0, status=status[0]), _sample(1.05, status=status[1]))
    assert _read(buffer, 1.02) == (PoseOutcome.INVALID, None)


def test_a_sample_that_is_not_newer_is_refused() -> None:
    buffer = _buffer(_sample(1.0, 1.0))
    assert not buffer.add(_sample(1.0, 2.0))
    assert not buffer.add(_sample(0.96, 3.0))
    assert _read(buffer, 1.0) == (PoseOutcome.FOUND, 1.0)


def test_a_clock_that_goes_back_begins_anew() -> None:
    """A server's clock was set, or its recording loops: the old poses belong to another time."""
    buffer = _buffer(_sample(1.0, 1.0), _sample(1.05, 1.0))
    buffer.add(_sample(1.0, 1.0, name="ReferenceToTracker"))
    assert buffer.add(_sample(0.5, 7.0))
    assert _read(buffer, 1.0)[0] is PoseOutcome.MISSING
    assert _read(buffer, 0.5) == (PoseOutcome.FOUND, 7.0)
    assert buffer.read("ReferenceToTracker", 1.0, max_gap_s=0.1).outcome is PoseOutcome.MISSING


def test_old_samples_go_and_memory_stays_bounded() -> None:
    buffer = PoseBuffer(span_s=1.0)
    for k in range(10_000):
        buffer.add(_sample(k * 0.01, float(k)))
    assert _read(buffer, 99.5)[0] is PoseOutcome.FOUND
    assert _read(buffer, 90.0)[0] is PoseOutcome.MISSING
    assert len(buffer._streams["ProbeToTracker"].samples) <= 2 * 101 + 1


def test_clear_forgets_poses_and_keeps_names() -> None:
    buffer = _buffer(_sample(5.0))
    buffer.clear()
    assert buffer.names == ("ProbeToTracker",)
    assert buffer.add(_sample(1.0)), "a restarted server may begin its clock anew"


def test_waiting_ends_when_the_pose_comes() -> None:
    buffer = _buffer(_sample(1.0))
    waiter_result: list[bool] = []
    waiter = threading.Thread(
        target=lambda: waiter_result.append(buffer.wait_covered({"ProbeToTracker": 1.5}, 30.0))
    )
    waiter.start()
    buffer.add(_sample(2.0))
    waiter.join(10.0)
    assert waiter_result == [True]


def test_waiting_ends_when_no_more_poses_can_come() -> None:
    buffer = _buffer(_sample(1.0))
    buffer.close()
    assert not buffer.wait_covered({"ProbeToTracker": 1.5}, None)


def _moving_pair(t_s: float) -> tuple[Matrix, Matrix]:
    T_tracker_probe = from_rotation_vector((0.1, 0.2, 0.3), (10.0, 20.0, 30.0))
    T_tracker_reference = from_rotation_vector((0.0, 0.0, 0.5), (-5.0, 3.0, 1.0))
    return T_tracker_probe, T_tracker_reference


def test_probe_and_reference_combine() -> None:
    T_tracker_probe, T_tracker_reference = _moving_pair(1.0)
    buffer = PoseBuffer()
    buffer.add(PoseSample("ProbeToTracker", T_tracker_probe, PoseStatus.OK, Stamps(1.0, 0.0)))
    buffer.add(
        PoseSample("ReferenceToTracker", T_tracker_reference, PoseStatus.OK, Stamps(1.0, 0.0))
    )
    path = find_path(buffer.names, "Probe", "Reference")
    assert path == _PAIR
    read = path.read(buffer, dict.fromkeys(path.streams, 1.0), max_gap_s=0.1)
    assert read.matrix is not None
    np.testing.assert_allclose(read.matrix, invert(T_tracker_reference) @ T_tracker_probe)


def test_a_hidden_reference_spoils_the_pair() -> None:
    buffer = _buffer(
        _sample(1.0, name="ProbeToTracker"),
        _sample(1.0, name="ReferenceToTracker", status=PoseStatus.INVALID),
    )
    path = _PAIR
    assert (
        path.read(buffer, dict.fromkeys(path.streams, 1.0), max_gap_s=0.1).outcome
        is PoseOutcome.INVALID
    )


@pytest.mark.parametrize(
    ("names", "probe", "expected"),
    [
        (["ProbeToCt"], "Probe", _direct("ct", "ProbeToCt")),
        (["ProbeToReference"], "Probe", _direct("reference", "ProbeToReference")),
        (["ProbeToTracker"], "Probe", None),
        (["StylusToTracker", "ReferenceToTracker"], "Probe", None),
        (
            ["ReferenceToTracker", "NeedleToTracker", "ProbeToTracker"],
            "NeedleToTracker",
            PosePath(
                "reference",
                (PoseStep("NeedleToTracker"), PoseStep("ReferenceToTracker", is_inverted=True)),
            ),
        ),
        (["LinearTransform_3"], "LinearTransform_3", _direct("reference", "LinearTransform_3")),
    ],
)
def test_the_path_follows_from_the_names(
    names: list[str], probe: str, expected: PosePath | None
) -> None:
    assert find_path(names, probe, "Reference") == expected


def test_the_way_may_be_long_and_run_against_the_streams() -> None:
    names = ["ProbeToCamera", "RoomToCamera", "RoomToTable", "ReferenceToTable", "StylusToCamera"]
    path = find_path(names, "Probe", "Reference")
    assert path is not None
    assert path.steps == (
        PoseStep("ProbeToCamera"),
        PoseStep("RoomToCamera", is_inverted=True),
        PoseStep("RoomToTable"),
        PoseStep("ReferenceToTable", is_inverted=True),
    )
    rng = np.random.default_rng(3)
    matrices = {n: from_rotation_vector(*rng.normal(size=(2, 3))) for n in path.streams}
    buffer = PoseBuffer()
    for name, matrix in matrices.items():
        buffer.add(PoseSample(name, matrix, PoseStatus.OK, Stamps(1.0, 0.0)))
    read = path.read(buffer, dict.fromkeys(path.streams, 1.0), max_gap_s=0.1)
    expected = (
        invert(matrices["ReferenceToTable"])
        @ matrices["RoomToTable"]
        @ invert(matrices["RoomToCamera"])
        @ matrices["ProbeToCamera"]
    )
    assert read.matrix is not None
    np.testing.assert_allclose(read.matrix, expected, atol=1e-12)


def test_a_shorter_way_and_one_to_the_ct_come_first() -> None:
    names = ["ProbeToTracker", "ReferenceToTracker", "ProbeToReference"]
    assert find_path(names, "Probe", "Reference") == _direct("reference", "ProbeToReference")
    path = find_path([*names, "CtToReference"], "Probe", "Reference")
    assert path == PosePath("ct", (PoseStep("ProbeToReference"), PoseStep("CtToReference", True)))


def test_the_worst_outcome_on_the_way_counts() -> None:
    buffer = _buffer(
        _sample(1.0, name="ProbeToTracker"),  # nothing near 2 s: missing
        _sample(1.95, name="ReferenceToTracker", status=PoseStatus.INVALID),
        _sample(2.05, name="ReferenceToTracker"),
    )
    times_s = dict.fromkeys(_PAIR.streams, 2.0)
    assert _PAIR.read(buffer, times_s, max_gap_s=0.1).outcome is PoseOutcome.INVALID


def _nearest(buffer: PoseBuffer, t_s: float) -> tuple[PoseOutcome, float | None]:
    read = buffer.read_nearest("ProbeToTracker", t_s, max_distance_s=0.1)
    return read.outcome, None if read.matrix is None else float(read.matrix[0, 3])


def test_the_nearest_sample_is_one_that_came() -> None:
    buffer = _buffer(_sample(1.0, 1.0), _sample(1.1, 2.0), _sample(1.2, 3.0, PoseStatus.INVALID))
    assert _nearest(buffer, 1.04) == (PoseOutcome.FOUND, 1.0)
    assert _nearest(buffer, 1.06) == (PoseOutcome.FOUND, 2.0)
    assert _nearest(buffer, 0.91) == (PoseOutcome.FOUND, 1.0)
    assert _nearest(buffer, 1.19) == (PoseOutcome.INVALID, None)
    assert _nearest(buffer, 1.31) == (PoseOutcome.MISSING, None)
    assert _nearest(PoseBuffer(), 1.0) == (PoseOutcome.MISSING, None)


def _timed(t_sender_s: float, t_arrival_s: float, base: TimeBase) -> PoseSample:
    stamps = Stamps(t_sender_s, t_arrival_s, base)
    return PoseSample("ProbeToTracker", np.eye(4), PoseStatus.OK, stamps)


def test_a_stream_that_changes_to_arrival_times_begins_anew() -> None:
    buffer = PoseBuffer()
    assert buffer.add(_timed(1e9, 5.0, TimeBase("a")))
    assert buffer.add(_timed(0.0, 5.1, TimeBase("a", is_arrival=True)))
    assert buffer.base("ProbeToTracker") == TimeBase("a", is_arrival=True)
    assert _read(buffer, 5.1)[0] is PoseOutcome.FOUND
    assert _read(buffer, 1e9)[0] is PoseOutcome.MISSING


def test_the_same_name_from_another_server_is_refused_until_the_first_has_gone() -> None:
    buffer = PoseBuffer()
    assert buffer.add(_timed(1.0, 5.0, TimeBase("a")))
    assert not buffer.add(_timed(2.0, 5.1, TimeBase("b")))
    buffer.clear("b")
    assert _read(buffer, 1.0)[0] is PoseOutcome.FOUND
    buffer.clear("a")
    assert buffer.add(_timed(2.0, 5.1, TimeBase("b")))


def test_stamps_that_hardly_rise_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pose_buffer, "_MAX_SAMPLES", 100)
    buffer = PoseBuffer()
    for k in range(1000):
        assert buffer.add(_sample(1.0 + 1e-9 * k))
    assert len(buffer._streams["ProbeToTracker"].samples) <= 200
