"""What a replay sends and when, without a socket: the server is a list, the clock a number."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import cast

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from numpy.typing import NDArray

from tracking import replay as replay_module
from tracking import wire
from tracking.errors import SequenceError
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

    def __init__(self) -> None:
        self.sent: list[ImageFrame | PoseSample] = []
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
    with pytest.raises(SequenceError, match="its first stamp is 0 s, expected above 0"):
        replay_of(TinySweep(t0_s=0.0), server)


@pytest.mark.parametrize("speed", [0.0, -1.0, float("nan")])
def test_speed_must_be_positive(server: FakeServer, speed: float) -> None:
    with pytest.raises(ValueError, match="expected above 0"):
        replay_of(TinySweep(), server, speed=speed)


class LazyClock:
    """Time passes only in `wait`, and each wait takes 3 ms longer than asked for."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.due_s: list[float] = []

    def perf_counter(self) -> float:
        return self.now_s

    def wait(self, timeout_s: float) -> bool:
        self.due_s.append(self.now_s + timeout_s)
        self.now_s += timeout_s + 0.003
        return False


@pytest.mark.parametrize("speed", [0.5, 1.0, 4.0])
def test_deadlines_do_not_drift_when_every_wait_is_late(
    speed: float, server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = LazyClock()
    monkeypatch.setattr(replay_module, "time", clock)
    stop = cast(threading.Event, clock)
    pace = replay_module._Pace(speed)
    for k in range(200):
        pace.wait_until(T0_S + 0.05 * k, stop)
    assert clock.due_s == pytest.approx(1000.0 + 0.05 / speed * np.arange(200), abs=1e-6)
