"""Receiving and segmenting beside FAST (pyfast 4.18): the same bytes from the same sender.

    python tests/bench/bench_peers.py [--peer-python PYTHON] [--seconds S] [--repeats N] [--json]

pyfast is looked for in `--peer-python`, an interpreter of its own, for it brings another ONNX
Runtime and Qt: `pip install pyfast==4.18.0`, Debian packages ocl-icd-libopencl1 and
pocl-opencl-icd. Without it our own figures stand alone, and that is said.

Images of 512x512 come at 60 Hz from a process of their own. Latency counts from the making of the
pixels to the array (or the bone line) in Python. Every client is a process with the same warm-up;
repeats are interleaved, figures are medians over them, `ratio` is ours through FAST's.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from unet import write_identity, write_int8, write_unet

from inference.segmenter import Segmenter
from navapp.channels import LatestSlot
from tracking.client import Client
from tracking.messages import ImageFrame
from tracking.sockets import prepare, send_parts
from tracking.wire import encode_image

_HERE = Path(__file__).resolve().parent
_SIDE_PX, _NETWORK_PX, _SPACING_MM = 512, 256, 0.1
_IMAGE_HZ, _WARM_UP_S, _START_S = 60.0, 1.5, 60.0

Figures = dict[str, float]
_context = multiprocessing.get_context("spawn")


def send(port_is: Any, stop: Any) -> None:
    """Serve one client with images that hold their number and the moment they were made."""
    pixels = np.random.default_rng(0).integers(0, 235, (_SIDE_PX, _SIDE_PX), dtype=np.uint8)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port_is.put(listener.getsockname()[1])
        peer, _ = listener.accept()
    with peer:
        prepare(peer)
        begin_s, n = time.perf_counter(), 0
        while not stop.is_set():
            time.sleep(max(0.0, begin_s + n / _IMAGE_HZ - time.perf_counter()))
            head = struct.pack("<qq", n, time.perf_counter_ns())
            image = pixels.copy()
            image[0, :16] = np.frombuffer(head, np.uint8)
            try:
                send_parts(peer, encode_image("Image", image, time.time()), 5.0)
            except OSError:
                return
            n += 1


def our_client(port: int, seconds: float, model: Path | None) -> Figures:
    """Our client with the newest image to our segmenter; without a model it receives only."""
    slot, stop = LatestSlot[ImageFrame](), threading.Event()
    segmenter = None if model is None else Segmenter(model, "cpu")
    if segmenter is not None:
        plan = segmenter.prepare_for((_SIDE_PX, _SIDE_PX), (_SPACING_MM, _SPACING_MM))
        segmenter.warm_up(plan)
    client = Client(
        "127.0.0.1",
        port,
        on_image=slot.put,
        on_pose=lambda sample: None,
        on_bad_image=lambda name, reason: None,
        on_state=lambda state, sentence: None,
    )
    thread = threading.Thread(target=client.run, args=(stop,))
    thread.start()
    held_s, latency_s, begin_s = list[float](), list[float](), time.perf_counter()
    while (now_s := time.perf_counter()) < begin_s + _WARM_UP_S + seconds:
        frame = slot.take(1.0)
        if frame is None:
            continue
        if segmenter is not None:
            segmenter.segment(frame.pixels, plan)
        _, made_ns = struct.unpack("<qq", frame.pixels[0, :16].tobytes())
        now_s = time.perf_counter()
        if now_s > begin_s + _WARM_UP_S:
            held_s.append(now_s)
            latency_s.append(now_s - made_ns * 1e-9)
    stop.set()
    thread.join()
    return {
        "latency_p50_ms": 1e3 * float(np.median(latency_s)),
        "latency_p95_ms": 1e3 * float(np.percentile(latency_s, 95)),
        "images_hz": (len(held_s) - 1) / (held_s[-1] - held_s[0]),
    }


def in_process(program: list[str], seconds: float, *model: str) -> Figures:
    """One client in a process of its own against a sender of its own."""
    port_is, stop = _context.SimpleQueue(), _context.Event()
    sender = _context.Process(target=send, args=(port_is, stop))
    sender.start()
    try:
        done = subprocess.run(
            [*program, str(port_is.get()), str(seconds), *model],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            timeout=_START_S + seconds,
            check=True,
        )
        figures: Figures = json.loads(done.stdout.strip().splitlines()[-1])
        return figures
    finally:
        stop.set()
        sender.join(5.0)
        sender.kill()


def measure(peer: str | None, seconds: float, n_repeats: int) -> dict[str, Any]:
    """Medians of every way, and ours through FAST's."""
    ours = [sys.executable, __file__, "--client"]
    with tempfile.TemporaryDirectory() as folder:
        unet, identity = Path(folder) / "unet.onnx", Path(folder) / "identity.onnx"
        n_weights = write_unet(unet, _NETWORK_PX, 2 * _SPACING_MM)
        int8 = Path(folder) / "unet_int8.onnx"
        write_int8(unet, int8, _NETWORK_PX)
        write_identity(identity, _NETWORK_PX, 2 * _SPACING_MM)
        ways: dict[str, Callable[[], Figures]] = {
            "navapp, receive": lambda: in_process(ours, seconds),
            "navapp, identity": lambda: in_process(ours, seconds, str(identity)),
            "navapp, U-Net": lambda: in_process(ours, seconds, str(unet)),
            "navapp, U-Net int8": lambda: in_process(ours, seconds, str(int8)),
        }
        if peer is not None:
            fast = [peer, str(_HERE / "fast_client.py")]
            models = {
                "receive": (),
                "identity": (str(identity), "OpenVINO"),
                "U-Net, ONNXRuntime": (str(unet), "ONNXRuntime"),
                "U-Net, OpenVINO": (str(unet), "OpenVINO"),
            }
            for name, model in models.items():
                ways[f"FAST, {name}"] = lambda model=model: in_process(fast, seconds, *model)
        rows: dict[str, list[Figures]] = {name: [] for name in ways}
        for _ in range(n_repeats):
            for name, way in ways.items():
                rows[name].append(way())
    found: dict[str, Any] = {
        name: {key: statistics.median(row[key] for row in row_s) for key in row_s[0]}
        for name, row_s in rows.items()
    }
    found["derived"] = _derived(found)
    found["machine"] = {"unet_weights": n_weights, "load": os.getloadavg()[0]}
    return found


def _derived(found: dict[str, Figures]) -> Figures:
    def latency(name: str) -> float:
        return found[name]["latency_p50_ms"]

    derived = {"navapp: result after receive, ms": latency("navapp, identity")
               - latency("navapp, receive")}  # fmt: skip
    if "FAST, receive" in found:
        ours_hz = found["navapp, U-Net"]["images_hz"]
        derived |= {
            "FAST: result after receive, ms": latency("FAST, identity") - latency("FAST, receive"),
            "ratio of receive latencies": latency("navapp, receive") / latency("FAST, receive"),
            "ratio of U-Net rates to ONNXRuntime": ours_hz
            / found["FAST, U-Net, ONNXRuntime"]["images_hz"],
            "ratio of U-Net rates to OpenVINO": ours_hz
            / found["FAST, U-Net, OpenVINO"]["images_hz"],
            "the same with int8": found["navapp, U-Net int8"]["images_hz"]
            / found["FAST, U-Net, OpenVINO"]["images_hz"],
        }
    return derived


def _has_fast(python: str) -> bool:
    command = [
        python,
        "-c",
        "import importlib.util as u; raise SystemExit(not u.find_spec('fast'))",
    ]
    try:
        return subprocess.run(command, check=False, stderr=subprocess.DEVNULL).returncode == 0
    except OSError:
        return False


def main() -> None:
    if sys.argv[1:2] == ["--client"]:
        port, seconds, *model = sys.argv[2:]
        print(json.dumps(our_client(int(port), float(seconds), Path(*model) if model else None)))
        return
    parser = argparse.ArgumentParser(description="Receiving and segmenting beside FAST.")
    parser.add_argument("--peer-python", default=sys.executable, help="where pyfast is installed")
    parser.add_argument("--seconds", type=float, default=4.0, help="of each repeat")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    peer = arguments.peer_python if _has_fast(arguments.peer_python) else None
    if peer is None:
        print("pyfast is not installed: left out", file=sys.stderr)
    found = measure(peer, arguments.seconds, arguments.repeats)
    if arguments.json:
        print(json.dumps(found))
        return
    for name, values in found.items():
        print(f"{name:26}" + "  ".join(f"{key} {value:.4g}" for key, value in values.items()))


if __name__ == "__main__":
    main()
