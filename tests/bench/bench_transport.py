"""Receiving, beside pyigtl: one paced server, two receivers in turn, in the same run.

    python tests/bench/bench_transport.py [--seconds S] [--repeats N] [--json]

Images of 950x811 at 60 Hz and poses at 200 Hz come from a process of their own. Latency counts
from the moment a message is handed to the server's socket to the moment the application holds the
decoded record (both clocks are the system's monotonic one). pyigtl is polled every millisecond.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import statistics
import threading
import time
from collections.abc import Callable
from multiprocessing.synchronize import Event as ProcessEvent

import numpy as np
import pyigtl

from tracking.client import Client
from tracking.messages import ImageFrame, PoseSample
from tracking.server import Server
from tracking.wire import encode_image, encode_transform

_IMAGE_HZ, _POSE_HZ = 60.0, 200.0
_SIZE = (811, 950)

Latencies = dict[str, list[float]]


def serve(port_is: multiprocessing.SimpleQueue, stop: ProcessEvent) -> None:  # type: ignore[type-arg]
    """The sender's process: each message is stamped with its own moment."""
    pixels = np.random.default_rng(0).integers(0, 235, _SIZE, dtype=np.uint8)
    with Server(port=0) as server:
        port_is.put(server.port)
        start_s = time.perf_counter()
        n_images = n_poses = 0
        while not stop.is_set():
            now_s = time.perf_counter() - start_s
            if now_s * _IMAGE_HZ >= n_images:
                server.send(encode_image("Image", pixels, time.perf_counter()))
                n_images += 1
            elif now_s * _POSE_HZ >= n_poses:
                server.send(encode_transform("ProbeToReference", np.eye(4), time.perf_counter()))
                n_poses += 1
            else:
                next_s = min(n_images / _IMAGE_HZ, n_poses / _POSE_HZ)
                time.sleep(max(0.0, next_s - now_s))


def with_navapp(port: int, seconds: float) -> Latencies:
    found: Latencies = {"image": [], "pose": []}

    def image(frame: ImageFrame) -> None:
        found["image"].append(time.perf_counter() - frame.stamps.t_sender_s)

    def pose(sample: PoseSample) -> None:
        found["pose"].append(time.perf_counter() - sample.stamps.t_sender_s)

    stop = threading.Event()
    client = Client(
        "127.0.0.1",
        port,
        on_image=image,
        on_pose=pose,
        on_bad_image=lambda name, reason: None,
        on_state=lambda state, sentence: None,
    )
    thread = threading.Thread(target=client.run, args=(stop,))
    thread.start()
    time.sleep(seconds)
    stop.set()
    thread.join()
    return found


def with_pyigtl(port: int, seconds: float) -> Latencies:
    found: Latencies = {"image": [], "pose": []}
    client = pyigtl.OpenIGTLinkClient("127.0.0.1", port)
    end_s = time.perf_counter() + seconds
    while time.perf_counter() < end_s:
        for message in client.get_latest_messages():
            kind = {"IMAGE": "image", "TRANSFORM": "pose"}.get(message.message_type)
            if kind is not None:
                found[kind].append(time.perf_counter() - message.timestamp)
        time.sleep(0.001)
    client.stop()
    return found


def measure(seconds: float, n_repeats: int) -> dict[str, dict[str, float]]:
    """Medians over interleaved repeats of p50 latency (ms), delivered messages and CPU share."""
    context = multiprocessing.get_context("spawn")
    port_is, stop = context.SimpleQueue(), context.Event()
    sender = context.Process(target=serve, args=(port_is, stop))
    sender.start()
    port = port_is.get()
    receivers: dict[str, Callable[[int, float], Latencies]] = {
        "navapp": with_navapp,
        "pyigtl": with_pyigtl,
    }
    rows: dict[str, list[dict[str, float]]] = {name: [] for name in receivers}
    try:
        for _ in range(n_repeats):
            for name, receive in receivers.items():
                cpu_s = time.process_time()
                found = receive(port, seconds)
                cpu_s = time.process_time() - cpu_s
                rows[name].append(
                    {
                        "image_p50_ms": statistics.median(found["image"]) * 1e3,
                        "pose_p50_ms": statistics.median(found["pose"]) * 1e3,
                        "image_delivered": len(found["image"]) / (seconds * _IMAGE_HZ),
                        "pose_delivered": len(found["pose"]) / (seconds * _POSE_HZ),
                        "cpu_share": cpu_s / seconds,
                    }
                )
    finally:
        stop.set()
        sender.join()
    return {name: _medians(results) for name, results in rows.items()}


def _medians(results: list[dict[str, float]]) -> dict[str, float]:
    return {key: statistics.median(r[key] for r in results) for key in results[0]}


def main() -> None:
    parser = argparse.ArgumentParser(description="Receive latency beside pyigtl.")
    parser.add_argument("--seconds", type=float, default=4.0, help="of each repeat")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    figures = measure(arguments.seconds, arguments.repeats)
    figures["ratio"] = {
        key: figures["navapp"][key] / figures["pyigtl"][key] for key in figures["navapp"]
    }
    print(json.dumps(figures) if arguments.json else _table(figures))


def _table(figures: dict[str, dict[str, float]]) -> str:
    keys = list(figures["navapp"])
    lines = [f"{'':18}" + "".join(f"{name:>10}" for name in figures)]
    lines += [f"{key:18}" + "".join(f"{f[key]:10.3f}" for f in figures.values()) for key in keys]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
