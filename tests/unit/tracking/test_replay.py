"""What a replay sends and when, without a socket: the server is a list, the clock a number."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import cast

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from numpy.typing import NDArray

from tracking import replay as replay_module
from tracking import wire
from tracking.errors import SequenceError
from tracking.faults import Fate, FaultInjector, Faults, with_flipped_bit
from tracking.messages import ImageFrame, PoseSample, PoseStatus
from tracking.replay import Replay
from tracking.sequences.sweep import SweepImage, SweepPose
from tracking.server import Server
from tracking.transforms import from_euler_xyz_deg

T0_S = 162.005


def pixels_of(index: int) -> NDArray[np.uint8]:
    return np.full((3, 4), 10 * index, np.uint8)


class TinySweep:
    """Five images at 20 Hz, each with a pose of the same stamp; the third pose is invalid."""

    name = "tiny"
    image_name = "Image"
    spacing_mm = (0.05, 0.06)
    n_images = 5

    def __init__(self, t0_s: float = T0_S, unreadable: int | None = None) -> None:
        self._t0_s = t0_s
        self._unreadable = unreadable

    @property
    def span_s(self) -> tuple[float, float]:
        return self._t0_s, self._t0_s + 0.2

    def events(self) -> Iterator[SweepImage | SweepPose]:
        for k in range(self.n_images):
            t_s = self._t0_s + 0.05 * k
            status = PoseStatus.INVALID if k == 2 else PoseStatus.OK
            yield SweepImage(k, t_s, lambda k=k: self._load(k))  # type: ignore[misc]
            yield SweepPose(
                "ProbeToTracker", t_s, from_euler_xyz_deg((k, 0, 0), (0, 0, 10 * k)), status
            )

    def _load(self, index: int) -> NDArray[np.uint8]:
        if index == self._unreadable:
            raise SequenceError(f"{index}.png cannot be read")
        return pixels_of(index)


class FakeServer:
    """Keeps the decoded records of what is sent."""

    on_message = None

    def __init__(self) -> None:
        self.sent: list[wire.Record] = []
        self.waits: list[bool] = []
        self.is_drained = False
        self.has_client = True

    def wait_for_client(self, timeout_s: float) -> bool:
        return self.has_client

    def send(self, parts: wire.Parts, *, wait: bool = False) -> None:
        data = memoryview(b"".join(parts))

        def recv_into(buffer: memoryview) -> int:
            nonlocal data
            n_bytes = min(len(buffer), len(data))
            buffer[:n_bytes] = data[:n_bytes]
            data = data[n_bytes:]
            return n_bytes

        reader = wire.MessageReader(recv_into)
        (raw,) = reader.receive() or reader.receive()
        self.sent += wire.decode(wire.open_message(raw))
        self.waits.append(wait)

    def drain(self, timeout_s: float) -> bool:
        self.is_drained = True
        return True

    @property
    def images(self) -> list[ImageFrame]:
        return [r for r in self.sent if isinstance(r, ImageFrame)]

    @property
    def poses(self) -> list[PoseSample]:
        return [r for r in self.sent if isinstance(r, PoseSample)]


@pytest.fixture
def server() -> FakeServer:
    return FakeServer()


def replay_of(sweep: TinySweep, server: FakeServer, **options: object) -> Replay:
    return Replay(sweep, cast(Server, server), **options)  # type: ignore[arg-type]


def stamps_s(records: list[ImageFrame] | list[PoseSample]) -> list[float]:
    return [record.stamps.t_sender_s for record in records]


def test_everything_is_sent_with_its_own_stamp(server: FakeServer) -> None:
    result = replay_of(TinySweep(), server, speed=None).run(threading.Event())
    assert (result.n_images, result.n_poses, result.n_unreadable) == (5, 5, 0)
    for k, (image, pose) in enumerate(zip(server.images, server.poses, strict=True)):
        assert_array_equal(image.pixels, pixels_of(k))
        assert image.spacing_mm == pytest.approx((0.05, 0.06))
        assert image.stamps.t_sender_s == pose.stamps.t_sender_s
        assert image.stamps.t_sender_s == pytest.approx(T0_S + 0.05 * k, abs=1e-9)
        np.testing.assert_allclose(
            pose.matrix, from_euler_xyz_deg((k, 0, 0), (0, 0, 10 * k)), atol=1e-6
        )
    assert [pose.status is PoseStatus.INVALID for pose in server.poses] == [
        k == 2 for k in range(5)
    ]
    assert server.is_drained


def test_only_full_speed_waits_for_slow_clients(server: FakeServer) -> None:
    replay_of(TinySweep(), server, speed=None).run(threading.Event())
    assert all(server.waits)
    server.waits.clear()
    replay_of(TinySweep(), server, speed=1e6).run(threading.Event())
    assert not any(server.waits)


def test_part_of_a_sweep_counts_from_its_first_stamp(server: FakeServer) -> None:
    replay_of(TinySweep(), server, speed=None, from_s=0.04, to_s=0.11).run(threading.Event())
    assert stamps_s(server.images) == pytest.approx([T0_S + 0.05, T0_S + 0.10], abs=1e-9)


def test_loop_goes_on_with_rising_stamps_one_period_later(server: FakeServer) -> None:
    stop = threading.Event()

    def stop_after_three_rounds(event: SweepImage | SweepPose) -> None:
        if len(server.images) == 15:
            stop.set()

    replay_of(TinySweep(), server, speed=None, loop=True, on_sent=stop_after_three_rounds).run(stop)
    expected_s = T0_S + 0.05 * np.arange(15)
    assert stamps_s(server.images) == pytest.approx(expected_s, abs=1e-9)
    assert_array_equal(server.images[5].pixels, pixels_of(0))
    assert not server.is_drained


def test_unreadable_image_is_left_out_and_counted(
    server: FakeServer, caplog: pytest.LogCaptureFixture
) -> None:
    result = replay_of(TinySweep(unreadable=1), server, speed=None).run(threading.Event())
    assert (result.n_images, result.n_poses, result.n_unreadable) == (4, 5, 1)
    assert [int(image.pixels[0, 0]) for image in server.images] == [0, 20, 30, 40]
    assert caplog.messages == ["image 1 is left out: 1.png cannot be read"]


def test_nothing_is_sent_without_a_client(server: FakeServer) -> None:
    server.has_client = False
    stop = threading.Event()
    stop.set()
    assert replay_of(TinySweep(), server).run(stop).n_images == 0
    assert server.sent == []


def test_stop_ends_it_at_once(server: FakeServer) -> None:
    stop = threading.Event()
    stop.set()
    assert replay_of(TinySweep(), server).run(stop).n_images == 0


@pytest.mark.parametrize(("from_s", "to_s"), [(0.3, None), (0.1, 0.05)])
def test_empty_part_is_refused(server: FakeServer, from_s: float, to_s: float | None) -> None:
    with pytest.raises(
        SequenceError, match=r"tiny: nothing lies between .* the sweep lasts 0\.2 s"
    ):
        replay_of(TinySweep(), server, from_s=from_s, to_s=to_s)


def test_stamp_that_means_none_on_the_wire_is_refused(server: FakeServer) -> None:
    with pytest.raises(SequenceError, match=r"its stamps go from 0 to 0\.2 s, expected above 0"):
        replay_of(TinySweep(t0_s=0.0), server)


@pytest.mark.parametrize("speed", [0.0, -1.0, float("nan")])
def test_speed_must_be_positive(server: FakeServer, speed: float) -> None:
    with pytest.raises(ValueError, match="expected above 0"):
        replay_of(TinySweep(), server, speed=speed)


class LazyClock:
    """Whoever asks finds it 3 ms later than before."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def perf_counter(self) -> float:
        self.now_s += 0.003
        return self.now_s

    def time(self) -> float:
        return 1.7e9 + self.perf_counter()


@pytest.mark.parametrize("speed", [0.5, 1.0, 4.0])
def test_deadlines_do_not_drift_when_time_goes_by(
    speed: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replay_module, "time", LazyClock())
    pace = replay_module._Pace(speed)
    due_s = [pace.due_s(T0_S + 0.05 * k) for k in range(200)]
    assert due_s == pytest.approx(1000.003 + 0.05 / speed * np.arange(200), abs=1e-9)


# -- steering ------------------------------------------------------------------------------------


def image_numbers(server: FakeServer) -> list[int]:
    return [int(image.pixels[0, 0]) // 10 for image in server.images]


def test_seeking_back_and_ahead_keeps_stamps_rising(server: FakeServer) -> None:
    targets = iter([0.05, 0.2])

    def seek(event: SweepImage | SweepPose) -> None:
        if len(server.images) in (3, 5) and isinstance(event, SweepImage):
            replay.seek(next(targets))

    replay = replay_of(TinySweep(), server, speed=None, on_sent=seek)
    replay.run(threading.Event())
    assert image_numbers(server) == [0, 1, 2, 1, 2, 4]
    stamps = stamps_s(server.images)
    assert np.all(np.diff(stamps) > 0.0)
    assert stamps[3] == pytest.approx(stamps[2] + 0.05, abs=1e-9), "one period after the last"
    assert stamps[5] == pytest.approx(stamps[4] + 0.1, abs=1e-9), (
        "ahead the sweep's own steps count"
    )
    assert np.all(np.diff(stamps_s(server.poses)) > 0.0)


class Running:
    """A replay in a thread of its own."""

    def __init__(self, replay: Replay) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=replay.run, args=(self._stop,))

    def __enter__(self) -> Running:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(10.0)
        assert not self._thread.is_alive()

    def wait(self, is_true: Callable[[], bool]) -> None:
        """Until another thread has made it so; the test's own limit ends a vain wait."""
        while not is_true():
            self._stop.wait(0.005)


def test_a_paused_replay_steps_image_by_image_with_the_poses_after_it(server: FakeServer) -> None:
    replay = replay_of(TinySweep(), server, speed=1.0)
    replay.pause()
    with Running(replay) as running:
        replay.step()
        running.wait(lambda: len(server.poses) == 1)
        assert image_numbers(server) == [0]
        replay.step(2)
        running.wait(lambda: len(server.poses) == 3)
        assert image_numbers(server) == [0, 1, 2]
        state = replay.state
        assert (state.is_paused, state.duration_s) == (True, pytest.approx(0.2))
        assert state.position_s == pytest.approx(0.1)
        replay.set_speed(100.0)
        replay.play()
        running.wait(lambda: len(server.poses) == 5)
    assert image_numbers(server) == [0, 1, 2, 3, 4]


def test_a_change_of_speed_counts_from_the_next_message(server: FakeServer) -> None:
    replay = replay_of(TinySweep(), server, speed=1e-3)  # 50 s from image to image
    with Running(replay) as running:
        running.wait(lambda: len(server.images) == 1)
        replay.set_speed(1e3)
        running.wait(lambda: len(server.images) == 5)
    assert [image.metadata["ReplaySpeed"] for image in server.images[::4]] == ["0.001", "1000"]


def test_stamps_of_today_go_with_the_speed(server: FakeServer) -> None:
    before_s = time.time()
    replay_of(TinySweep(), server, speed=10.0, stamps="now").run(threading.Event())
    stamps = np.array(stamps_s(server.images))
    assert np.diff(stamps) == pytest.approx(np.full(4, 0.005), abs=1e-6)
    assert before_s <= stamps[0] <= time.time()
    assert stamps_s(server.poses) == stamps.tolist()


@pytest.mark.parametrize(
    ("line", "key", "value"),
    [
        ("pause", "is_paused", True),
        ("play", "is_paused", False),
        ("step 2", "is_paused", True),
        ("seek 0.1", "position_s", pytest.approx(0.1, abs=1e-5)),
        ("speed 0.5", "speed", 0.5),
        ("speed max", "speed", None),
        ("loop on", "loop", True),
        ("loop off", "loop", False),
        ("state", "duration_s", pytest.approx(0.2)),
    ],
)
def test_commands_are_obeyed_and_answered(
    server: FakeServer, line: str, key: str, value: object
) -> None:
    answer = json.loads(replay_of(TinySweep(), server).command(line))
    assert answer[key] == value
    assert "error" not in answer


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("jump", "expected play, pause"),
        ("", "expected play"),
        ("seek 0.3", "position is 0.3 s, expected 0 to 0.2 s"),
        ("seek far", "could not convert"),
        ("speed 0", "speed is 0.0, expected above 0"),
        ("speed nan", "expected above 0"),
        ("step 0", "0 steps, expected at least 1"),
        ("loop maybe", "loop on|off"),
    ],
)
def test_commands_that_make_no_sense_are_refused(server: FakeServer, line: str, text: str) -> None:
    answer = json.loads(replay_of(TinySweep(), server).command(line))
    assert text in answer["error"]
    assert answer["is_paused"] is False


# -- faults --------------------------------------------------------------------------------------


def fates(faults: Faults, n: int = 1000) -> list[tuple[SweepImage | SweepPose, Fate]]:
    injector = FaultInjector(faults, T0_S)
    events = [
        SweepImage(k, T0_S + 0.01 * k, lambda: pixels_of(0))
        if k % 2
        else SweepPose("ProbeToTracker", T0_S + 0.01 * k, np.eye(4))
        for k in range(n)
    ]
    return [(event, injector.fate_of(event, event.t_s)) for event in events]


def test_without_faults_nothing_happens() -> None:
    assert all(fate == Fate(event.t_s) for event, fate in fates(Faults(seed=5)))


def test_the_seed_repeats_every_fault() -> None:
    faults = Faults(seed=1, jitter_s=0.01, loss=0.1, damage=0.1)
    first, again, other = (
        [fate for _, fate in fates(f)] for f in (faults, faults, replace(faults, seed=2))
    )
    assert first == again != other


def test_faults_are_as_many_and_as_large_as_asked_for() -> None:
    drawn = [fate for _, fate in fates(Faults(jitter_s=0.02, loss=0.1, damage=0.2))]
    assert sum(not fate.is_sent for fate in drawn) == pytest.approx(100, abs=30)
    assert sum(fate.flipped_bit is not None for fate in drawn) == pytest.approx(200, abs=40)
    delays_s = [fate.delay_s for fate in drawn]
    assert 0.0 <= min(delays_s) < 0.001
    assert 0.019 < max(delays_s) <= 0.02


def test_skew_and_lag_change_stamps() -> None:
    faults = Faults(clock_offset_s=100.0, clock_skew_ppm=1000.0, image_lag_s=0.06)
    for event, fate in fates(faults):
        lag_s = 0.06 if isinstance(event, SweepImage) else 0.0
        assert fate.t_s == pytest.approx(event.t_s + 100.0 + (event.t_s - T0_S) * 1e-3 + lag_s)


def test_an_occlusion_hides_poses_and_a_stall_holds_everything_back() -> None:
    for event, fate in fates(Faults(occlusion_s=1.0, stall_s=2.0)):
        phase_s = (event.t_s - T0_S) % 5.0
        assert fate.is_sent == (isinstance(event, SweepImage) or phase_s <= 4.0)
        assert fate.delay_s == pytest.approx(5.0 - phase_s if phase_s > 3.0 else 0.0, abs=1e-6)


def test_one_tool_is_hidden_or_marked_and_no_other() -> None:
    for event, fate in fates(Faults(occlusion_s=1.0, invalid_s=2.0, tool="Probe")):
        phase_s = (event.t_s - T0_S) % 5.0
        is_probe = isinstance(event, SweepPose) and event.name.startswith("Probe")
        assert fate.is_sent == (not is_probe or phase_s <= 4.0)
        assert fate.is_usable == (not is_probe or phase_s <= 3.0)
    assert all(fate == Fate(event.t_s) for event, fate in fates(Faults(occlusion_s=1.0, tool="X")))


def test_a_turn_of_the_depth_knob_changes_what_images_state() -> None:
    for event, fate in fates(Faults(depth_s=1.0, depth_scale=2.0)):
        is_turned = isinstance(event, SweepImage) and (event.t_s - T0_S) % 5.0 > 4.0
        assert fate.spacing_scale == (2.0 if is_turned else 1.0)


@pytest.mark.parametrize(
    "wrong",
    [{"loss": 1.5}, {"damage": -0.1}, {"jitter_s": -1.0}, {"depth_s": -1.0}, {"depth_scale": 0.0}],
)
def test_faults_that_make_no_sense_are_a_wrong_call(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} is"):
        Faults(**wrong)  # type: ignore[arg-type]


def test_a_damaged_message_differs_in_one_bit_of_its_body() -> None:
    whole = wire.encode_transform("A", np.eye(4), T0_S)
    (damaged,) = with_flipped_bit(whole, 123_456_789)
    changed = np.unpackbits(np.frombuffer(damaged, np.uint8) ^ np.frombuffer(b"".join(whole), "u1"))
    assert changed.sum() == 1
    assert not changed[: 8 * 58].any()
