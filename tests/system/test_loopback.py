"""Client, server and replay over real sockets, with pyigtl as the peer that we did not write."""

from __future__ import annotations

import json
import signal
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import numpy as np
import pyigtl
import pytest
from numpy.testing import assert_array_equal
from numpy.typing import NDArray

from tracking import server as server_module
from tracking import wire
from tracking.client import Client, LinkState, StreamStatistics
from tracking.errors import LinkError
from tracking.faults import Faults
from tracking.messages import ImageFrame, PoseSample, PoseStatus, TextMessage
from tracking.replay import Replay
from tracking.sequences.sweep import SweepImage, SweepPose
from tracking.server import Server
from tracking.transforms import from_euler_xyz_deg

WAIT_S = 20.0  # never reached unless the test fails
STAMP_S = 1_722_470_400.123456
T_TRACKER_PROBE = from_euler_xyz_deg((10.0, -20.0, 30.0), (40.0, 50.0, 60.0))


class Inbox:
    """What a client has handed over; tests wait for what they expect."""

    def __init__(self) -> None:
        self.images: list[ImageFrame] = []
        self.poses: list[PoseSample] = []
        self.bad_images: list[tuple[str, str]] = []
        self.links: list[tuple[LinkState, str]] = []
        self._changed = threading.Condition()

    def on_image(self, image: ImageFrame) -> None:
        self._note(lambda: self.images.append(image))

    def on_pose(self, pose: PoseSample) -> None:
        self._note(lambda: self.poses.append(pose))

    def on_bad_image(self, name: str, reason: str) -> None:
        self._note(lambda: self.bad_images.append((name, reason)))

    def on_state(self, state: LinkState, detail: str) -> None:
        self._note(lambda: self.links.append((state, detail)))

    def _note(self, change: Callable[[], None]) -> None:
        with self._changed:
            change()
            self._changed.notify_all()

    def wait(self, condition: Callable[[], bool]) -> None:
        with self._changed:
            assert self._changed.wait_for(condition, WAIT_S), self.links

    def wait_link(self, state: LinkState, text: str = "") -> str:
        """The sentence that came with the first such state."""

        def found() -> list[str]:
            return [detail for s, detail in self.links if s is state and text in detail]

        self.wait(lambda: bool(found()))
        return found()[0]

    @property
    def states(self) -> list[LinkState]:
        return [state for state, _ in self.links]


def client_of(inbox: Inbox, port: int, host: str = "127.0.0.1", **options: Any) -> Client:
    return Client(
        host,
        port,
        on_image=inbox.on_image,
        on_pose=inbox.on_pose,
        on_bad_image=inbox.on_bad_image,
        on_state=inbox.on_state,
        **options,
    )


@contextmanager
def receiving(port: int, *args: Any, **options: Any) -> Iterator[tuple[Client, Inbox]]:
    """A client in its own thread; that `stop` ends it is part of every test."""
    inbox, stop = Inbox(), threading.Event()
    client = client_of(inbox, port, *args, **options)
    thread = threading.Thread(target=client.run, args=(stop,), name="receive")
    thread.start()
    try:
        yield client, inbox
    finally:
        stop.set()
        thread.join(2.0)
        assert not thread.is_alive()


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(port=0) as server:
        yield server


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A peer whose every byte the test decides."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        listener.settimeout(WAIT_S)
        yield listener


@pytest.fixture
def free_port() -> int:
    """A port on which nobody listens."""
    with closing(socket.create_server(("127.0.0.1", 0))) as probe:
        return port_of(probe)


def port_of(listener: socket.socket) -> int:
    return int(listener.getsockname()[1])


def next_messages(peer: socket.socket, n: int) -> list[wire.RawMessage]:
    reader, messages = wire.MessageReader(peer.recv_into), list[wire.RawMessage]()
    while len(messages) < n:
        messages += reader.receive()
    return messages


def pixels_of(n_rows: int, n_columns: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (n_rows, n_columns), np.uint8)


def pose_parts(k: int = 0) -> wire.Parts:
    return wire.encode_transform("ProbeToTracker", T_TRACKER_PROBE, STAMP_S + k)


def wait_for_clients(server: Server, n: int) -> None:
    with server._clients_changed:
        assert server._clients_changed.wait_for(lambda: len(server._clients) == n, WAIT_S)


# --- our server, our client ---------------------------------------------------------------------


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_image_and_pose_arrive_as_sent(host: str) -> None:
    if host == "::1" and not socket.has_ipv6:
        pytest.skip("this Python has no IPv6")
    pixels = pixels_of(811, 950)
    with Server(host, port=0) as server, receiving(server.port, host) as (client, inbox):
        wait_for_clients(server, 1)
        server.send(wire.encode_image("Image", pixels, STAMP_S, (0.05, 0.06)))
        server.send(wire.encode_transform("StylusTipToReferenceFrame", T_TRACKER_PROBE, STAMP_S))
        inbox.wait(lambda: len(inbox.poses) == 1)
        (image,), (pose,) = inbox.images, inbox.poses
    assert_array_equal(image.pixels, pixels)
    assert image.spacing_mm == pytest.approx((0.05, 0.06))
    assert image.stamps.t_sender_s == pose.stamps.t_sender_s == STAMP_S
    assert image.stamps.t_arrival_s <= pose.stamps.t_arrival_s
    assert pose.status is PoseStatus.OK
    np.testing.assert_allclose(pose.matrix, T_TRACKER_PROBE, atol=1e-5)
    assert client.statistics.names("IMAGE") == ["Image"]
    assert client.statistics.names("TRANSFORM") == ["StylusTipToReferenceFrame"]


def test_greeting_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "_KEEP_ALIVE_S", WAIT_S)
    with (
        Server(port=0) as server,
        socket.create_connection(("127.0.0.1", server.port), WAIT_S) as peer,
    ):
        peer.sendall(b"".join(wire.encode_get_status()))
        assert next_messages(peer, 1)[0].type == "STATUS"


def test_server_with_nothing_to_send_says_that_it_lives(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.port), WAIT_S) as peer:
        assert [message.type for message in next_messages(peer, 2)] == ["STATUS", "STATUS"]


def test_every_client_gets_everything_in_order(server: Server) -> None:
    with (
        receiving(server.port) as (_, a),
        receiving(server.port) as (_, b),
        receiving(server.port) as (_, c),
    ):
        wait_for_clients(server, 3)
        for k in range(100):
            server.send(pose_parts(k), wait=True)
        assert server.drain(WAIT_S)
        for inbox in (a, b, c):
            inbox.wait(lambda inbox=inbox: len(inbox.poses) == 100)  # type: ignore[misc]
            stamps_s = [pose.stamps.t_sender_s for pose in inbox.poses]
            assert stamps_s == [STAMP_S + k for k in range(100)]
    assert server.n_dropped == 0


def test_client_that_does_not_read_loses_its_own_messages_only(server: Server) -> None:
    pixels = pixels_of(1000, 1000)
    with (
        socket.create_connection(("127.0.0.1", server.port)),
        receiving(server.port) as (_, inbox),
    ):
        wait_for_clients(server, 2)
        for k in range(60):  # 60 MB, far more than outbox and socket buffers hold
            server.send(wire.encode_image("Image", pixels, STAMP_S + k))
            inbox.wait(lambda k=k: len(inbox.images) == k + 1)  # type: ignore[misc]
        assert server.n_dropped > 0
        assert server.n_clients == 2
        assert not server.drain(0.0)


def test_waiting_sender_loses_nothing(server: Server) -> None:
    pixels = pixels_of(1000, 1000)
    with receiving(server.port) as (_, inbox):
        wait_for_clients(server, 1)
        for k in range(80):  # more than an outbox holds
            server.send(wire.encode_image("Image", pixels, STAMP_S + k), wait=True)
        assert server.drain(WAIT_S)
        inbox.wait(lambda: len(inbox.images) == 80)
    assert server.n_dropped == 0


def test_server_notices_a_client_that_leaves(server: Server) -> None:
    with receiving(server.port):
        wait_for_clients(server, 1)
    wait_for_clients(server, 0)


def test_port_in_use_is_one_line_with_the_way_out(server: Server) -> None:
    with pytest.raises(LinkError) as caught:
        Server(port=server.port)
    text = str(caught.value)
    assert f"cannot listen on 127.0.0.1:{server.port}: Address already in use" in text
    assert "choose another port" in text


def test_host_that_is_not_ours_is_refused() -> None:
    with pytest.raises(LinkError, match=r"cannot listen on 192\.0\.2\.1:0"):
        Server("192.0.2.1", 0)


# --- what can go wrong with a connection --------------------------------------------------------


def test_refused_connection_is_reported_at_every_attempt(free_port: int) -> None:
    with receiving(free_port) as (_, inbox):
        inbox.wait(lambda: inbox.states.count(LinkState.UNREACHABLE) == 2)
    assert inbox.links[0] == (LinkState.CONNECTING, f"connecting to 127.0.0.1:{free_port}")
    assert inbox.links[2] == (
        LinkState.UNREACHABLE, f"cannot reach 127.0.0.1:{free_port}: Connection refused",
    )  # fmt: skip


def test_without_reconnecting_the_first_failure_ends_it(free_port: int) -> None:
    inbox = Inbox()
    client_of(inbox, free_port, reconnect=False).run(threading.Event())
    assert inbox.states == [LinkState.CONNECTING, LinkState.UNREACHABLE]


@contextmanager
def deaf_port() -> Iterator[int]:
    """A port that neither accepts nor refuses: its queue of connections is full."""
    with closing(socket.create_server(("127.0.0.1", 0), backlog=0)) as full:
        waiting = []
        try:
            for _ in range(10):
                sock = socket.socket()
                waiting.append(sock)
                sock.settimeout(0.1)
                try:
                    sock.connect(full.getsockname())
                except TimeoutError:
                    break
            else:
                pytest.skip("this system's connection queue cannot be filled")
            yield port_of(full)
        finally:
            for sock in waiting:
                sock.close()


def test_host_that_never_answers_is_reported() -> None:
    with deaf_port() as port, receiving(port, connect_timeout_s=0.2) as (_, inbox):
        detail = inbox.wait_link(LinkState.UNREACHABLE)
        assert detail == f"cannot reach 127.0.0.1:{port}: no answer within 0.2 s"


def test_stop_does_not_wait_for_a_host_that_never_answers() -> None:
    with deaf_port() as port, receiving(port, connect_timeout_s=1000.0) as (_, inbox):
        inbox.wait_link(LinkState.CONNECTING)


def test_silence_is_told_from_the_end_and_ends_with_the_next_byte(listener: socket.socket) -> None:
    options = {"silence_timeout_s": 0.05, "reconnect": False}
    with receiving(port_of(listener), **options) as (_, inbox):
        peer, _ = listener.accept()
        with peer:
            detail = inbox.wait_link(LinkState.SILENT)
            assert detail.endswith("is connected but has sent nothing for 0.05 s")
            data = b"".join(pose_parts())
            peer.sendall(data[:100])
            inbox.wait_link(LinkState.CONNECTED, "sends again")
            inbox.wait_link(LinkState.SILENT, f"after 42 of {len(data) - 58} bytes of a TRANSFORM")
            peer.sendall(data[100:])
            inbox.wait(lambda: len(inbox.poses) == 1)
            assert inbox.poses[0].stamps.t_sender_s == STAMP_S


def test_silent_server_is_dead_and_is_connected_to_anew(listener: socket.socket) -> None:
    with receiving(port_of(listener), silence_timeout_s=0.05) as (client, inbox):
        first, _ = listener.accept()
        with first:
            second, _ = listener.accept()
            with second:
                second.sendall(b"".join(pose_parts()))
                inbox.wait(lambda: len(inbox.poses) == 1)
        detail = inbox.wait_link(LinkState.SILENT)
        assert detail.endswith("has sent nothing for 0.05 s: connecting anew")
        assert client.statistics.n_connections >= 2


def test_server_that_sends_on_change_only_may_be_silent(listener: socket.socket) -> None:
    with receiving(port_of(listener), silence_timeout_s=None) as (client, inbox):
        peer, _ = listener.accept()
        with peer:
            peer.settimeout(0.3)
            next_messages(peer, 1)
            with pytest.raises(TimeoutError):
                next_messages(peer, 1)
            peer.sendall(b"".join(pose_parts()))
            inbox.wait(lambda: len(inbox.poses) == 1)
        assert client.statistics.n_connections == 1
        assert LinkState.SILENT not in inbox.states


def test_empty_messages_are_counted_and_the_stream_goes_on(listener: socket.socket) -> None:
    with receiving(port_of(listener)) as (client, inbox):
        peer, _ = listener.accept()
        with peer:
            for kind in ("IMAGE", "TRANSFORM", "STATUS", "TDATA", "VIDEO"):
                for version in (1, 2, 3):
                    header = (version, kind.encode(), b"Empty", 0, 0, 0)
                    peer.sendall(struct.pack(">H12s20sQQQ", *header))
            peer.sendall(b"".join(pose_parts()))
            inbox.wait(lambda: len(inbox.poses) == 1)
        malformed = {s.type: s.n_malformed for s in client.statistics.streams if s.name == "Empty"}
        assert malformed == {"IMAGE": 3, "TRANSFORM": 3, "STATUS": 3, "TDATA": 0, "VIDEO": 0}
        assert len(inbox.bad_images) == 3


def test_tracking_data_are_asked_for_and_every_tool_arrives(listener: socket.socket) -> None:
    records: list[object] = []
    options = {"tracking_period_ms": 20, "on_record": records.append}
    with receiving(port_of(listener), **options) as (_, inbox):
        peer, _ = listener.accept()
        with peer:
            greeting, request = next_messages(peer, 2)
            assert (greeting.type, request.type) == ("GET_STATUS", "STT_TDATA")
            tools = {"Probe": T_TRACKER_PROBE, "Reference": np.eye(4)}
            peer.sendall(b"".join(wire.encode_string("Note", "hello")))
            peer.sendall(b"".join(wire.encode_tracking_data("Tracker", tools, STAMP_S)))
            inbox.wait(lambda: len(inbox.poses) == 2)
    assert [pose.name for pose in inbox.poses] == ["Probe", "Reference"]
    assert records == [TextMessage("Note", "hello")]


def test_names_without_end_do_not_fill_the_memory(server: Server) -> None:
    with receiving(server.port) as (client, inbox):
        wait_for_clients(server, 1)
        for k in range(300):
            server.send(wire.encode_transform(f"Tool{k}ToTracker", T_TRACKER_PROBE, STAMP_S))
        server.send(wire.encode_image("Image", pixels_of(4, 4), STAMP_S))
        assert server.drain(WAIT_S)
        inbox.wait(lambda: len(inbox.poses) >= 250)
        streams = {(s.type, s.name): s.n_messages for s in client.statistics.streams}
        assert len(streams) <= 257


def test_sending_works_while_a_thousand_messages_arrive_in_a_second(
    listener: socket.socket,
) -> None:
    """pyigtl sends nothing while messages arrive less than 10 ms apart."""
    burst = b"".join(b"".join(pose_parts(k)) for k in range(10))
    with receiving(port_of(listener)) as (client, inbox):
        peer, _ = listener.accept()
        with peer:
            peer.settimeout(WAIT_S)
            inbox.wait_link(LinkState.CONNECTED)
            for k in range(100):  # each answer is waited for while ten poses arrive
                peer.sendall(burst)
                client.send(pose_parts(1000 + k))
            sent = next_messages(peer, 101)[1:]
            inbox.wait(lambda: len(inbox.poses) == 1000)
    assert [wire.seconds_from_stamp(m.stamp) - STAMP_S for m in sent] == pytest.approx(
        [1000.0 + k for k in range(100)], abs=1e-6
    )


def test_peer_that_closes_between_messages_has_closed(listener: socket.socket) -> None:
    with receiving(port_of(listener)) as (_, inbox):
        peer, _ = listener.accept()
        with peer:
            next_messages(peer, 1)  # the greeting: unread, it would turn the close into a reset
            peer.sendall(b"".join(pose_parts()))
        inbox.wait_link(LinkState.CLOSED, "closed the connection")
        assert len(inbox.poses) == 1
        assert LinkState.LOST not in inbox.states


def test_peer_that_dies_inside_an_image_is_lost_and_says_where(listener: socket.socket) -> None:
    with receiving(port_of(listener)) as (_, inbox):
        peer, _ = listener.accept()
        with peer:
            next_messages(peer, 1)
            parts = wire.encode_image("Image", pixels_of(100, 100), STAMP_S)
            peer.sendall(b"".join(parts)[:1058])
        inbox.wait_link(LinkState.LOST, "it ended after 1000 of 10086 bytes of an IMAGE")
        assert inbox.images == []


def test_bytes_that_are_no_openigtlink_end_the_connection(listener: socket.socket) -> None:
    with receiving(port_of(listener), reconnect=False) as (_, inbox):
        peer, _ = listener.accept()
        with peer:
            peer.sendall(b"HTTP/1.1 400 Bad Request\r\n" * 3)
            detail = inbox.wait_link(LinkState.LOST)
    assert "not an OpenIGTLink header: its version is 18516, expected 1 to 3" in detail


def test_client_comes_back_to_a_server_that_returns() -> None:
    first = Server(port=0)
    with closing(first), receiving(first.port) as (client, inbox):
        wait_for_clients(first, 1)
        first.send(pose_parts(0))
        inbox.wait(lambda: len(inbox.poses) == 1)
        first.close()
        inbox.wait_link(LinkState.UNREACHABLE)
        with Server(port=first.port) as second:
            wait_for_clients(second, 1)
            second.send(pose_parts(1))
            inbox.wait(lambda: len(inbox.poses) == 2)
            assert inbox.states[:3] == [
                LinkState.CONNECTING, LinkState.CONNECTED, LinkState.CLOSED,
            ]  # fmt: skip
            assert client.statistics.n_connections == 2


def test_client_survives_a_server_that_dies_fifty_times(free_port: int) -> None:
    """In turn: an orderly end, one in the middle of an image, a reset."""
    image = b"".join(wire.encode_image("Image", pixels_of(100, 100), STAMP_S))
    with receiving(free_port) as (client, inbox):
        for k in range(50):
            with closing(socket.create_server(("127.0.0.1", free_port))) as listener:
                listener.settimeout(WAIT_S)
                peer, _ = listener.accept()
            with peer:
                peer.settimeout(WAIT_S)
                next_messages(peer, 1)
                peer.sendall(b"".join(pose_parts(k)) + image[: 1000 * (k % 3 == 1)])
                inbox.wait(lambda k=k: len(inbox.poses) == k + 1)  # type: ignore[misc]
                if k % 3 == 2:
                    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            inbox.wait(lambda k=k: n_ends(inbox) == k + 1)  # type: ignore[misc]
        assert client.statistics.n_connections == 50
    assert [pose.stamps.t_sender_s - STAMP_S for pose in inbox.poses] == list(range(50))
    assert inbox.states.count(LinkState.CLOSED) == 17
    assert inbox.states.count(LinkState.LOST) == 33


def n_ends(inbox: Inbox) -> int:
    return sum(state in (LinkState.CLOSED, LinkState.LOST) for state in inbox.states)


def test_damaged_and_odd_messages_are_counted_and_the_stream_goes_on(server: Server) -> None:
    damaged = bytearray(b"".join(wire.encode_image("Image", pixels_of(9, 9), STAMP_S)))
    damaged[-20] ^= 1
    with receiving(server.port) as (client, inbox):
        wait_for_clients(server, 1)
        server.send((bytes(damaged),))
        server.send(wire.pack("IMAGE", "Odd", STAMP_S, (bytes(10),), version=2))
        server.send(wire.pack("TRANSFORM", "Odd", STAMP_S, (bytes(10),), version=2))
        server.send(wire.pack("VIDEO", "Film", STAMP_S, (bytes(10),), version=2))
        server.send(wire.encode_image("Image", pixels_of(9, 9), STAMP_S))
        inbox.wait(lambda: len(inbox.images) == 1)
        streams = {(s.type, s.name): s for s in client.statistics.streams}
    assert inbox.bad_images == [("Odd", "IMAGE Odd: the body has 10 bytes, expected at least 72")]
    image = streams["IMAGE", "Image"]
    assert (image.n_messages, image.n_bad_crc, image.n_malformed) == (1, 1, 0)
    assert streams["IMAGE", "Odd"].n_malformed == streams["TRANSFORM", "Odd"].n_malformed == 1
    assert streams["VIDEO", "Film"].n_messages == 1
    assert client.statistics.n_connections == 1


def test_client_sends_while_it_receives(listener: socket.socket) -> None:
    with receiving(port_of(listener)) as (client, inbox):
        peer, _ = listener.accept()
        with peer:
            peer.settimeout(WAIT_S)
            inbox.wait_link(LinkState.CONNECTED)
            client.send(pose_parts(7))
            greeting, sent = next_messages(peer, 2)
    assert (greeting.type, sent.type) == ("GET_STATUS", "TRANSFORM")
    assert wire.seconds_from_stamp(sent.stamp) == STAMP_S + 7


def test_sending_without_a_connection_is_an_error() -> None:
    with pytest.raises(LinkError, match=r"not connected to 127\.0\.0\.1:1"):
        client_of(Inbox(), 1).send(pose_parts())


# --- replay -------------------------------------------------------------------------------------


class TinySweep:
    name, image_name, spacing_mm, n_images = "tiny", "Image", (0.05, 0.06), 20
    span_s = (10.0, 10.95)

    def events(self) -> Iterator[SweepImage | SweepPose]:
        for k in range(self.n_images):
            t_s = 10.0 + 0.05 * k
            yield SweepImage(k, t_s, lambda k=k: pixels_of(30, 40, seed=k))  # type: ignore[misc]
            yield SweepPose("ProbeToTracker", t_s, T_TRACKER_PROBE)


def test_replay_begins_with_the_client_and_arrives_whole(server: Server) -> None:
    replay = Replay(TinySweep(), server, speed=None)
    thread = threading.Thread(target=replay.run, args=(threading.Event(),))
    thread.start()
    with receiving(server.port) as (_, inbox):
        inbox.wait(lambda: len(inbox.poses) == 20)
        thread.join(WAIT_S)
    assert [image.stamps.t_sender_s for image in inbox.images] == pytest.approx(
        [10.0 + 0.05 * k for k in range(20)], abs=1e-9
    )
    for k, image in enumerate(inbox.images):
        assert_array_equal(image.pixels, pixels_of(30, 40, seed=k))
        assert image.stamps.t_sender_s == inbox.poses[k].stamps.t_sender_s


def test_a_client_steers_the_replay_and_everyone_is_told(server: Server) -> None:
    told: list[object] = []
    replay = Replay(TinySweep(), server, speed=1e-3)
    stop = threading.Event()
    thread = threading.Thread(target=replay.run, args=(stop,))
    thread.start()
    with receiving(server.port, on_record=told.append) as (client, inbox):
        inbox.wait(lambda: len(inbox.images) == 1)
        client.send(wire.encode_string("Replay", "speed 1000"))
        client.send(wire.encode_string("Replay", "make coffee"))
        inbox.wait(lambda: len(inbox.poses) == 20)
        thread.join(WAIT_S)
    answers = [json.loads(r.text) for r in told if isinstance(r, TextMessage)]
    assert answers[0]["speed"] == answers[-1]["speed"] == 1000.0
    assert "'make coffee': expected play, pause" in answers[-1]["error"]
    assert {image.metadata["ReplaySpeed"] for image in inbox.images} == {"0.001", "1000"}


def test_damaged_messages_of_a_faulty_replay_are_dropped_and_the_rest_arrives(
    server: Server,
) -> None:
    faults = Faults(seed=3, damage=0.3, loss=0.2)
    replay = Replay(TinySweep(), server, speed=None, faults=faults)
    results = []
    thread = threading.Thread(target=lambda: results.append(replay.run(threading.Event())))
    thread.start()
    with receiving(server.port) as (client, inbox):
        thread.join(WAIT_S)
        result = results[0]
        n_sent = result.n_images + result.n_poses
        inbox.wait(lambda: sum(s.n_bad_crc + s.n_messages for s in streams_of(client)) == n_sent)
        n_bad = sum(s.n_bad_crc for s in streams_of(client))
    assert n_sent < 40
    assert 4 <= n_bad <= 16
    assert len(inbox.images) + len(inbox.poses) == n_sent - n_bad
    assert client.statistics.n_connections == 1


def streams_of(client: Client) -> list[StreamStatistics]:
    return [s for s in client.statistics.streams if s.type in ("IMAGE", "TRANSFORM")]


# --- header versions ----------------------------------------------------------------------------


def test_a_client_that_says_nothing_is_spoken_to_in_version_1(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.port), WAIT_S) as peer:
        wait_for_clients(server, 1)
        invalid = wire.encode_transform("A", np.eye(4), STAMP_S, PoseStatus.INVALID)
        server.send(invalid)
        server.send(pose_parts())
        (pose,) = next_messages(peer, 1)
    assert (pose.type, pose.device, pose.version) == ("TRANSFORM", "ProbeToTracker", 1)


@pytest.mark.parametrize(("spoken", "answered"), [(1, 1), (2, 2), (3, 2)])
def test_a_client_is_answered_in_the_version_it_speaks(
    server: Server, spoken: int, answered: int
) -> None:
    with socket.create_connection(("127.0.0.1", server.port), WAIT_S) as peer:
        peer.sendall(b"".join(wire.pack("GET_STATUS", "", 0.0, (), version=spoken)))
        assert next_messages(peer, 1)[0].version == answered


# --- pyigtl as the peer -------------------------------------------------------------------------


@pytest.fixture
def pyigtl_server() -> Iterator[pyigtl.OpenIGTLinkServer]:
    """Its constructor takes over the signal handlers; its own start() leaves threads behind."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    server = pyigtl.OpenIGTLinkServer(port=0, start_now=False)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.stop()
    thread.join(WAIT_S)
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("version", [1, 2])
def test_our_client_understands_pyigtls_server(
    pyigtl_server: pyigtl.OpenIGTLinkServer, version: int
) -> None:
    pixels = pixels_of(48, 64)
    image = pyigtl.ImageMessage(pixels[None], timestamp=STAMP_S, device_name="Image")
    pose = pyigtl.TransformMessage(T_TRACKER_PROBE, timestamp=STAMP_S, device_name="ProbeToTracker")
    with receiving(pyigtl_server.server_address[1]) as (_, inbox):
        inbox.wait_link(LinkState.CONNECTED)
        for message in (image, pose, pyigtl.StringMessage("hello", device_name="Text")):
            message.header_version = version
            message.metadata = {"Depth": "40"} if version == 2 else {}
            pyigtl_server.send_message(message, wait=False)
        inbox.wait(lambda: bool(inbox.images and inbox.poses))
    assert_array_equal(inbox.images[0].pixels, pixels)
    assert inbox.images[0].metadata == image.metadata
    assert inbox.images[0].stamps.t_sender_s == pytest.approx(STAMP_S, abs=1e-6)
    np.testing.assert_allclose(inbox.poses[0].matrix, T_TRACKER_PROBE, atol=1e-5)
    assert inbox.poses[0].status is PoseStatus.OK


@pytest.mark.parametrize("version", [1, 2])
def test_pyigtls_client_understands_our_server(server: Server, version: int) -> None:
    pixels = pixels_of(48, 64)
    client = pyigtl.OpenIGTLinkClient("127.0.0.1", server.port)
    try:
        assert server.wait_for_client(WAIT_S)
        if version == 2:  # pyigtl is silent by itself, and so gets version 1
            hello = pyigtl.StringMessage("hello", device_name="Text")
            hello.header_version = 2
            client.send_message(hello)
        server.send(wire.encode_image("Image", pixels, STAMP_S, (0.05, 0.06), {"Depth": "40"}))
        server.send(pose_parts())
        image = client.wait_for_message("Image", WAIT_S)
        pose = client.wait_for_message("ProbeToTracker", WAIT_S)
    finally:
        client.stop()
    assert_array_equal(image.image[0], pixels)
    assert image.metadata == ({"Depth": "40"} if version == 2 else {})
    assert image.timestamp == pytest.approx(STAMP_S, abs=1e-6)
    np.testing.assert_allclose(
        image.ijk_to_world_matrix, np.diag([0.05, 0.06, 1.0, 1.0]), atol=1e-6
    )
    np.testing.assert_allclose(pose.matrix, T_TRACKER_PROBE, atol=1e-5)
    status = {"TransformValid": "1", "TransformStatus": "OK"}
    assert pose.metadata == (status if version == 2 else {})
