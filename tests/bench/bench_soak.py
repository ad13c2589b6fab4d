"""A long session: does memory grow, does it become slower, is anything lost?

    python tests/bench/bench_soak.py [--seconds S] [--network-ms X] [--no-record] [--json]

Images of 950x811 at 60 Hz and poses at 200 Hz come from a process of their own into a session
without a window, with the network that ships and a recorder (47 MB/s on the disk, removed at the
end). The probe is held still, so that a cloud that rightly grows is not taken for a leak.

`--network-ms` makes the network slower than the stream, to at least so long per image: an image is
then never older than two of its runs when its line is found, and those left out are superseded.

What rightly grows is the list of where each image lay: 120 bytes per processed image, 0.4 MiB per
minute at 60 Hz.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import socket
import tempfile
import time
from array import array
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from numpy.typing import NDArray

from navapp.config import load_settings
from navapp.demo import for_simulation, write_simulation
from navapp.equipment import load_equipment
from navapp.feeds import LiveFeed
from navapp.latency import Stage
from navapp.pipeline import Pipeline, SegmentedFrame
from navapp.recorder import Recorder
from navapp.session import Session, SessionMode
from navapp.state import DropReason
from recon.simulator import SimulatedSweep, SimulatorSettings
from tracking.messages import ImageFrame
from tracking.sequences import SweepImage
from tracking.sequences.recording import Recording
from tracking.sockets import prepare, send_parts
from tracking.wire import encode_image, encode_transform

_IMAGE_HZ, _POSE_HZ = 60.0, 200.0
_STALL_TIMEOUT_S = 5.0
_PARTS = 5  # the first and the last fifth are compared; memory counts after the first
_MIB = 2**20
_EYE = np.eye(4)


def send(images: list[NDArray[np.uint8]], seconds: float, to_parent: Any) -> None:
    """Serve one client for so long, then close; tells its port, then what it sent and how late."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        to_parent.put(listener.getsockname()[1])
        peer, _ = listener.accept()
    with peer:
        prepare(peer)
        to_parent.put(_send_in_time(images, seconds, peer))
        peer.shutdown(socket.SHUT_WR)
        peer.settimeout(_STALL_TIMEOUT_S)
        while peer.recv(4096):  # to close with its greeting unread would reset the connection
            pass


def _send_in_time(
    images: list[NDArray[np.uint8]], seconds: float, peer: socket.socket
) -> tuple[int, int, float]:
    begin_s, n_images, n_poses, latest_s = time.perf_counter(), 0, 0, 0.0
    while True:
        image_due_s, pose_due_s = n_images / _IMAGE_HZ, n_poses / _POSE_HZ
        due_s = min(image_due_s, pose_due_s)
        if due_s >= seconds:
            return n_images, n_poses, latest_s
        time.sleep(max(0.0, begin_s + due_s - time.perf_counter()))
        stamp_s = time.perf_counter()
        latest_s = max(latest_s, stamp_s - begin_s - due_s)
        if pose_due_s <= image_due_s:
            n_poses += 1
            parts = encode_transform("ProbeToReference", _EYE, stamp_s)
        else:
            pixels = images[n_images % len(images)]
            n_images += 1
            parts = encode_image("Image", pixels, stamp_s)
        send_parts(peer, parts, _STALL_TIMEOUT_S)


class SlowedPipeline(Pipeline):
    """Takes at least `network_s` per image; notes how old it is when its line is found."""

    def __init__(self, **shared: Any) -> None:
        super().__init__(**shared)
        self.network_s, self.spans_s, self.ages_s = 0.0, array("d"), array("d")

    def segment(self, frame: ImageFrame) -> SegmentedFrame:
        begin_s = time.perf_counter()
        segmented = Pipeline.segment(self, frame)
        time.sleep(max(0.0, begin_s + self.network_s - time.perf_counter()))
        end_s = time.perf_counter()
        self.spans_s.append(end_s - begin_s)
        self.ages_s.append(end_s - frame.stamps.t_arrival_s)
        return segmented


def measure(seconds: float, network_s: float, is_recorded: bool) -> dict[str, Any]:
    """One session of so many seconds."""
    sweep = SimulatedSweep(
        SimulatorSettings(n_images=12, image_size_px=(950, 811), spacing_mm=(0.05, 0.05))
    )
    images = [event.load() for event in sweep.events() if isinstance(event, SweepImage)]
    context = multiprocessing.get_context("spawn")
    from_sender: Any = context.Queue()
    sender = context.Process(target=send, args=(images, seconds, from_sender))
    with tempfile.TemporaryDirectory() as folder:
        sender.start()
        try:
            port = from_sender.get(timeout=60.0)
            session = _session(sweep, Path(folder), port, is_recorded)
            shared = {f.name: getattr(session._pipeline, f.name) for f in fields(Pipeline)}
            session._pipeline = pipeline = SlowedPipeline(**shared)
            pipeline.network_s = network_s
            memory_mib, p95_ms = _watch(session, seconds)
            sent = from_sender.get(timeout=10.0)
        finally:
            sender.join(_STALL_TIMEOUT_S)
            sender.kill()
        figures = _figures(session, sent, memory_mib, p95_ms)
    return {**figures, **_ages(np.array(pipeline.spans_s), np.array(pipeline.ages_s))}


def _ages(spans_s: NDArray[np.float64], ages_s: NDArray[np.float64]) -> dict[str, float]:
    """How old images are when their line is found; at most the run before and their own."""
    return {
        "network_p50_ms": 1e3 * float(np.median(spans_s)),
        "age_p50_ms": 1e3 * float(np.median(ages_s)),
        "age_max_ms": 1e3 * float(ages_s.max()),
        "age_max_over_two_runs": float((ages_s[1:] / (spans_s[1:] + spans_s[:-1])).max()),
    }


def _session(sweep: SimulatedSweep, folder: Path, port: int, is_recorded: bool) -> Session:
    settings = for_simulation(load_settings(None, {}), *write_simulation(sweep, folder))
    server = settings.server.model_copy(update={"port": port})
    return Session(
        settings,
        load_equipment(settings),
        LiveFeed(server, until_closed=True, gives_up=True),
        SessionMode(is_live=True, has_window=False),
        Recorder(folder / "recording.mcap") if is_recorded else None,
    )


def _watch(session: Session, seconds: float) -> tuple[list[tuple[float, float]], list[float]]:
    """Run to the end: (second, resident MiB) once a second, and the p95 in ms of each fifth."""
    session.warm_up()
    process = psutil.Process()
    memory_mib: list[tuple[float, float]] = []
    p95_ms: list[float] = []
    begin_s = part_begin_s = time.perf_counter()
    session.start()
    has_ended = False
    while not has_ended:
        has_ended = session.wait(1.0)
        now_s = time.perf_counter()
        if not has_ended:
            memory_mib.append((now_s - begin_s, process.memory_info().rss / _MIB))
        if has_ended or now_s - begin_s >= (len(p95_ms) + 1) * seconds / _PARTS:
            p95_ms.append(session.latency.percentile_ms(Stage.END_TO_END, 95, part_begin_s))
            part_begin_s = now_s
    session.stop()
    if session.failure is not None:
        raise session.failure
    return memory_mib, p95_ms


def _figures(
    session: Session,
    sent: tuple[int, int, float],
    memory_mib: list[tuple[float, float]],
    p95_ms: list[float],
) -> dict[str, Any]:
    n_images, n_poses, latest_s = sent
    frames, poses = session.tally.frames, session.tally.poses
    t_s, mib = np.array(memory_mib[len(memory_mib) // _PARTS :]).T
    return {
        "seconds": memory_mib[-1][0],
        "processed_hz": session.tally.mean_rates.processed_hz,
        "end_to_end_p95_ms": session.latency.percentile_ms(Stage.END_TO_END, 95),
        "memory_slope_mib_per_min": 60.0 * float(np.polyfit(t_s, mib, 1)[0]),
        "memory_after_warm_up_mib": float(mib[0]),
        "memory_at_end_mib": float(mib[-1]),
        "end_to_end_p95_first_fifth_ms": p95_ms[0],
        "end_to_end_p95_last_fifth_ms": p95_ms[_PARTS - 1],
        "images_sent": n_images,
        "images_at_the_callback": frames.received,
        "images_processed": frames.processed,
        "images_skipped": sum(frames.skipped.values()),
        "images_superseded": frames.skipped[DropReason.SUPERSEDED],
        "poses_sent": n_poses,
        "poses_in_the_buffer": poses.received - poses.lost,
        "poses_lost": n_poses - poses.received + poses.lost,
        "sender_latest_ms": 1e3 * latest_s,
        **_recorded(session.recorder),
    }


def _recorded(recorder: Recorder | None) -> dict[str, Any]:
    if recorder is None:
        return {}
    result = recorder.conclude()
    if result.problem is not None:
        raise SystemExit(f"no whole recording: {result}")
    counts = Recording(Path(result.file)).counts
    return {
        "images_in_the_recording": counts["IMAGE", "Image"],
        "poses_in_the_recording": counts["TRANSFORM", "ProbeToReference"],
        "recording_gib": result.n_bytes / 2**30,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Memory, latency and losses over a long session.")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--network-ms", type=float, default=0.0)
    parser.add_argument("--no-record", action="store_true", help="without the recorder's load")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    figures = measure(arguments.seconds, arguments.network_ms * 1e-3, not arguments.no_record)
    if arguments.json:
        print(json.dumps(figures))
        return
    for name, value in figures.items():
        print(f"{name:32}{value:12.6g}")


if __name__ == "__main__":
    main()
