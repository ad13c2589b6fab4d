"""Receiving and sending beside pyigtl, which gets the same bytes from the same sender.

    python tests/bench/bench_transport.py [--seconds S] [--repeats N] [--only PART] [--json]

The sender is a process of its own. Latency counts from the moment a message is handed to its
socket to the moment the application holds the decoded record (both clocks are the system's
monotonic one). pyigtl is polled every millisecond, or waited for; repeats are interleaved, figures
are medians over them. `ratio` is ours through pyigtl's.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import socket
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import psutil
import pyigtl

from navapp.channels import LatestSlot
from tracking.client import Client
from tracking.messages import ImageFrame, PoseSample
from tracking.pose_buffer import PoseBuffer
from tracking.server import Server
from tracking.sockets import prepare, receiver, send_parts
from tracking.wire import MessageReader, encode_image, encode_transform, seconds_from_stamp

_SMALL, _LARGE = (480, 640), (811, 950)
_BUSY_S = 0.025
_EYE = np.eye(4)

Figures = dict[str, float]
_context = multiprocessing.get_context("spawn")


@dataclass(frozen=True)
class Load:
    """What the sender sends; `is_counted`: stamps are 1, 2, 3, ... and not the present moment."""

    size: tuple[int, int] = _LARGE
    image_hz: float = 60.0
    pose_hz: float = 200.0
    burst: int = 1
    is_counted: bool = False
    seconds: float = 2.0


# -- senders: processes of their own --------------------------------------------------------------


def send_load(load: Load, port_is: Any, stop: Any) -> None:
    """Serves one client after the other, each from the beginning and for so long; then it closes,
    for pyigtl's client cannot be stopped while messages arrive less than 10 ms apart."""
    pixels = np.random.default_rng(0).integers(0, 235, load.size, dtype=np.uint8)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.1)
        port_is.put(listener.getsockname()[1])
        while not stop.is_set():
            try:
                peer, _ = listener.accept()
            except TimeoutError:
                continue
            with peer:
                prepare(peer)
                try:
                    _send_in_time(load, pixels, peer, stop)
                except OSError:
                    continue


def _send_in_time(load: Load, pixels: Any, peer: socket.socket, stop: Any) -> None:
    start_s, n_images, n_poses = time.perf_counter(), 0, 0
    while not stop.is_set():
        now_s = time.perf_counter() - start_s
        if now_s > load.seconds + 0.3:
            return
        if now_s * load.image_hz >= n_images:
            n_images += 1
            stamp_s = n_images if load.is_counted else time.perf_counter()
            send_parts(peer, encode_image("Image", pixels, stamp_s), 5.0)
        elif now_s * load.pose_hz >= n_poses + load.burst - 1:
            for _ in range(load.burst):
                n_poses += 1
                stamp_s = n_poses if load.is_counted else time.perf_counter()
                send_parts(peer, encode_transform("ProbeToReference", _EYE, stamp_s), 5.0)
        else:
            next_s = min(n_images / load.image_hz, (n_poses + load.burst - 1) / load.pose_hz)
            time.sleep(max(0.0, next_s - now_s))


def send_as_fast_as_it_goes(seconds: float, gb_per_s: Any, port_is: Any, stop: Any) -> None:
    """Images without a pause to one client after the other, each for so long; then it closes, for
    pyigtl's client cannot be stopped while messages arrive. `gb_per_s` is what the last one took.
    """
    pixels = np.random.default_rng(0).integers(0, 235, _LARGE, dtype=np.uint8)
    parts = encode_image("Image", pixels, 1.0)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.1)
        port_is.put(listener.getsockname()[1])
        while not stop.is_set():
            try:
                peer, _ = listener.accept()
            except TimeoutError:
                continue
            with peer:
                prepare(peer)
                n_sent, start_s = 0, time.perf_counter()
                while time.perf_counter() < start_s + seconds:
                    try:
                        send_parts(peer, parts, 5.0)
                    except OSError:
                        break
                    n_sent += 1
                n_bytes = n_sent * sum(len(part) for part in parts)
                gb_per_s.value = n_bytes / (time.perf_counter() - start_s) / 1e9


def serve_poses(kind: str, port_is: Any, stop: Any) -> None:
    """400 poses in a second through our server's or pyigtl's `send`, stamped when handed over."""
    if kind == "navapp":
        with Server(port=0) as server:
            port_is.put(server.port)
            _send_poses(lambda s: server.send(encode_transform("Tool", _EYE, s)), stop)
        return
    peer = pyigtl.OpenIGTLinkServer(port=0, local_server=True)
    port_is.put(peer.server_address[1])
    _send_poses(
        lambda s: peer.send_message(
            pyigtl.TransformMessage(_EYE, timestamp=s, device_name="Tool"), wait=False
        ),
        stop,
    )
    peer.stop()


def _send_poses(send: Callable[[float], object], stop: Any) -> None:
    start_s, n = time.perf_counter(), 0
    while not stop.is_set():
        time.sleep(max(0.0, start_s + n / 400.0 - time.perf_counter()))
        send(time.perf_counter())
        n += 1


@contextmanager
def running(target: Callable[..., None], *arguments: Any) -> Iterator[int]:
    """A sender's process; yields its port."""
    port_is, stop = _context.SimpleQueue(), _context.Event()
    process = _context.Process(target=target, args=(*arguments, port_is, stop))
    process.start()
    try:
        yield port_is.get()
    finally:
        stop.set()
        process.join(5.0)
        process.kill()


# -- receivers ---------------------------------------------------------------------------------


@contextmanager
def our_client(
    port: int, on_image: Callable[[ImageFrame], None], on_pose: Callable[[PoseSample], None]
) -> Iterator[Client]:
    stop = threading.Event()
    client = Client(
        "127.0.0.1",
        port,
        on_image=on_image,
        on_pose=on_pose,
        on_bad_image=lambda name, reason: None,
        on_state=lambda state, sentence: None,
    )
    thread = threading.Thread(target=client.run, args=(stop,))
    thread.start()
    try:
        yield client
    finally:
        stop.set()
        thread.join()


@contextmanager
def pyigtls_client(port: int) -> Iterator[Any]:
    client = pyigtl.OpenIGTLinkClient("127.0.0.1", port)
    try:
        yield client
    finally:
        client.stop()


def latency_of_ours(port: int, seconds: float) -> Figures:
    images_s, poses_s = list[float](), list[float]()

    def image(frame: ImageFrame) -> None:
        images_s.append(time.perf_counter() - frame.stamps.t_sender_s)

    def pose(sample: PoseSample) -> None:
        poses_s.append(time.perf_counter() - sample.stamps.t_sender_s)

    cpu_s = time.process_time()
    with our_client(port, image, pose):
        time.sleep(seconds)
    return _latencies(images_s, poses_s, time.process_time() - cpu_s, seconds)


def latency_of_polled_pyigtl(port: int, seconds: float) -> Figures:
    found: dict[str, list[float]] = {"IMAGE": [], "TRANSFORM": []}
    cpu_s = time.process_time()
    with pyigtls_client(port) as client:
        end_s = time.perf_counter() + seconds
        while time.perf_counter() < end_s:
            for message in client.get_latest_messages():
                found[message.message_type].append(time.perf_counter() - message.timestamp)
            time.sleep(0.001)
    cpu_s = time.process_time() - cpu_s
    return _latencies(found["IMAGE"], found["TRANSFORM"], cpu_s, seconds)


def latency_of_waiting_pyigtl(port: int, seconds: float) -> Figures:
    found: dict[str, list[float]] = {"Image": [], "ProbeToReference": []}
    with pyigtls_client(port) as client:
        for name, latencies_s in found.items():
            end_s = time.perf_counter() + seconds / 2
            while time.perf_counter() < end_s:
                message = client.wait_for_message(name, timeout=0.5)
                if message is not None:
                    latencies_s.append(time.perf_counter() - message.timestamp)
    figures = _latencies(*found.values(), 0.0, seconds)
    del figures["cpu_share"]  # it waits most of its time; the polled client is the one to compare
    return figures


def _latencies(
    images_s: list[float], poses_s: list[float], cpu_s: float, seconds: float
) -> Figures:
    return {
        "image_p50_ms": statistics.median(images_s) * 1e3,
        "pose_p50_ms": statistics.median(poses_s) * 1e3,
        "cpu_share": cpu_s / seconds,
    }


def _spin() -> None:
    """A consumer that computes: it holds the interpreter as long as it is let."""
    end_s = time.perf_counter() + _BUSY_S
    while time.perf_counter() < end_s:
        pass


def delivery_to_us(port: int, seconds: float) -> Figures:
    """Poses in the buffer, images at the callback; a busy consumer takes the newest image."""
    images, poses, slot = list[float](), list[float](), LatestSlot[ImageFrame]()
    buffer, n_processed = PoseBuffer(), 0

    def image(frame: ImageFrame) -> None:
        images.append(frame.stamps.t_sender_s)
        slot.put(frame)

    def pose(sample: PoseSample) -> None:
        if buffer.add(sample):
            poses.append(sample.stamps.t_sender_s)

    before_bytes = psutil.Process().memory_info().rss
    with our_client(port, image, pose):
        end_s = time.perf_counter() + seconds
        while time.perf_counter() < end_s:
            if slot.take(0.1) is not None:
                n_processed += 1
                _spin()
    slot.close()
    while slot.take() is not None:
        n_processed += 1
    assert slot.counts.put == n_processed + slot.counts.dropped == len(images)
    grown_mb = (psutil.Process().memory_info().rss - before_bytes) / 2**20
    return {**_delivered(images, poses), "memory_mb": grown_mb, "n_processed": n_processed}


def delivery_to_pyigtl(port: int, seconds: float) -> Figures:
    found: dict[str, list[float]] = {"IMAGE": [], "TRANSFORM": []}
    with pyigtls_client(port) as client:
        end_s = time.perf_counter() + seconds
        while time.perf_counter() < end_s:
            messages = client.get_latest_messages()
            for message in messages:
                found[message.message_type].append(message.timestamp)
            if any(message.message_type == "IMAGE" for message in messages):
                _spin()
            time.sleep(0.001)
    return _delivered(found["IMAGE"], found["TRANSFORM"])


def _delivered(images: list[float], poses: list[float]) -> Figures:
    """Shares of what was sent from the first to the last received; `n_out_of_order` also counts
    duplicates."""
    figures: Figures = {}
    for name, numbers in (("image", images), ("pose", poses)):
        figures[f"{name}_delivered"] = len(set(numbers)) / (max(numbers) - min(numbers) + 1)
        figures[f"{name}_out_of_order"] = float(np.sum(np.diff(numbers) <= 0))
    figures["n_messages"] = len(images) + len(poses)
    return figures


def raw_pose_latency(port: int, seconds: float) -> Figures:
    """One receiver for both servers: the moment a pose's last byte is read."""
    latencies_s = []
    with socket.create_connection(("127.0.0.1", port)) as sock:
        prepare(sock)
        reader = MessageReader(receiver(sock))
        end_s = time.perf_counter() + seconds
        while time.perf_counter() < end_s:
            try:
                messages = reader.receive()
            except TimeoutError:
                continue
            latencies_s += [
                m.t_arrival_s - seconds_from_stamp(m.stamp)
                for m in messages
                if m.type == "TRANSFORM"
            ]
    # The first second holds what waited for the greeting.
    return {"pose_p50_ms": statistics.median(latencies_s[len(latencies_s) // 4 :]) * 1e3}


# -- the parts -----------------------------------------------------------------------------------


def interleaved(
    ways: dict[str, Callable[[], Figures]], n_repeats: int
) -> dict[str, dict[str, float]]:
    """Medians over repeats in turn, and ours through each peer's."""
    rows: dict[str, list[Figures]] = {name: [] for name in ways}
    for _ in range(n_repeats):
        for name, way in ways.items():
            rows[name].append(way())
    figures = {
        name: {key: statistics.median(row[key] for row in found) for key in found[0]}
        for name, found in rows.items()
    }
    for name in [name for name in ways if name != "navapp"]:
        figures[f"ratio to {name}"] = {
            key: figures["navapp"][key] / value
            for key, value in figures[name].items()
            if value and key in figures["navapp"]
        }
    return figures


def receive(size: tuple[int, int], seconds: float, n_repeats: int) -> dict[str, Figures]:
    with running(send_load, Load(size, seconds=seconds)) as port:
        return interleaved(
            {
                "navapp": lambda: latency_of_ours(port, seconds),
                "pyigtl": lambda: latency_of_polled_pyigtl(port, seconds),
                "pyigtl waiting": lambda: latency_of_waiting_pyigtl(port, seconds),
            },
            n_repeats,
        )


def busy(seconds: float, n_repeats: int) -> dict[str, Figures]:
    with running(send_load, Load(is_counted=True, seconds=seconds)) as port:
        return interleaved(
            {
                "navapp": lambda: delivery_to_us(port, seconds),
                "pyigtl": lambda: delivery_to_pyigtl(port, seconds),
            },
            n_repeats,
        )


def bursts(seconds: float) -> dict[str, Figures]:
    load = Load(image_hz=200.0, pose_hz=400.0, burst=20, is_counted=True, seconds=seconds)
    with running(send_load, load) as port:
        return {"navapp": delivery_to_us(port, seconds), "seconds": {"each": seconds}}


def sending(seconds: float, n_repeats: int) -> dict[str, Figures]:
    with running(serve_poses, "navapp") as ours, running(serve_poses, "pyigtl") as theirs:
        return interleaved(
            {
                "navapp": lambda: raw_pose_latency(ours, seconds),
                "pyigtl": lambda: raw_pose_latency(theirs, seconds),
            },
            n_repeats,
        )


def packing(n_repeats: int) -> dict[str, Figures]:
    pixels = np.random.default_rng(0).integers(0, 235, _SMALL, dtype=np.uint8)

    def cpu_us(pack: Callable[[], object]) -> Figures:
        start_s = time.process_time()
        for _ in range(200):
            pack()
        return {"cpu_us": (time.process_time() - start_s) / 200 * 1e6}

    theirs = pyigtl.ImageMessage(pixels[None], timestamp=1.0, device_name="Image")
    return interleaved(
        {
            "navapp": lambda: cpu_us(lambda: encode_image("Image", pixels, 1.0)),
            "pyigtl": lambda: cpu_us(theirs.pack),
        },
        n_repeats,
    )


def ingest(seconds: float, n_repeats: int) -> dict[str, Figures]:
    gb_per_s = _context.Value("d", 0.0, lock=False)

    def taken(connect: Callable[[int], Any], port: int) -> Figures:
        gb_per_s.value = 0.0
        with connect(port):
            while gb_per_s.value == 0.0:
                time.sleep(0.01)
        return {"gb_per_s": gb_per_s.value}

    def nothing(record: object) -> None:
        pass

    with running(send_as_fast_as_it_goes, seconds, gb_per_s) as port:
        return interleaved(
            {
                "navapp": lambda: taken(lambda port: our_client(port, nothing, nothing), port),
                "pyigtl": lambda: taken(pyigtls_client, port),
            },
            n_repeats,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description="Receiving and sending beside pyigtl.")
    parser.add_argument("--seconds", type=float, default=2.0, help="of each repeat")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--burst-seconds", type=float, default=60.0)
    parser.add_argument("--only", help="one part of the table")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    seconds, n = arguments.seconds, arguments.repeats
    parts: dict[str, Callable[[], dict[str, Figures]]] = {
        "receive 640x480": lambda: receive(_SMALL, seconds, n),
        "receive 950x811": lambda: receive(_LARGE, seconds, n),
        "busy consumer": lambda: busy(seconds, n),
        "bursts": lambda: bursts(arguments.burst_seconds),
        "sending": lambda: sending(seconds, n),
        "packing": lambda: packing(n),
        "ingest": lambda: ingest(seconds, n),
    }
    figures = {name: part() for name, part in parts.items() if (arguments.only or name) in name}
    print(json.dumps(figures) if arguments.json else _table(figures))


def _table(figures: dict[str, dict[str, Figures]]) -> str:
    lines = []
    for part, columns in figures.items():
        lines.append(part)
        for column, values in columns.items():
            cells = "  ".join(f"{key} {value:.4g}" for key, value in values.items())
            lines.append(f"  {column:24}{cells}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
