"""Files: recording beside a live stream, opening a long recording, packing and reading sequences.

    python tests/bench/bench_files.py [--repeats N] [--seconds S] [--json]

Everything is written to a temporary folder. Times are CPU times of this process and medians.
The recording is of 950x811 images and poses at 60 and 200 Hz, as fast as it goes; `cpu_share` is
what one second of such a stream costs the record thread. zlib's own time for the same pixels
stands beside ours, because it is the floor.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import statistics
import tempfile
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from bench_transport import serve
from numpy.typing import NDArray

from navapp.channels import LatestSlot
from navapp.recorder import Recorder
from tracking.client import Client
from tracking.messages import ImageFrame
from tracking.sequences import Sweep, SweepImage, SweepPose, open_sweep, save_sweep
from tracking.sequences.recording import Recording, RecordingWriter
from tracking.wire import RawMessage, encode_image, encode_transform, parse_raw

_N_ROWS, _N_COLUMNS = 811, 950
_IMAGE_HZ, _POSE_HZ = 60, 200
_N_SECONDS = 5

Figures = dict[str, float]


@dataclass(frozen=True)
class SpeckleSweep:
    """Images of speckle, which does not compress well, each with a pose at its stamp."""

    n_images: int

    name = "speckle"
    image_name = "Image"
    spacing_mm = (0.05, 0.05)

    @property
    def span_s(self) -> tuple[float, float]:
        return 1.0, 1.0 + self.n_images / _IMAGE_HZ

    def events(self) -> Iterator[SweepImage | SweepPose]:
        for k in range(self.n_images):
            t_s = 1.0 + k / _IMAGE_HZ
            yield SweepImage(k, t_s, lambda k=k: speckle(k))  # type: ignore[misc]
            yield SweepPose("ProbeToTracker", t_s, np.eye(4))


def speckle(seed: int) -> NDArray[np.uint8]:
    rows = np.random.default_rng(7).rayleigh(40.0, (_N_ROWS, _N_COLUMNS))
    return np.roll(np.minimum(rows, 235).astype(np.uint8), seed, axis=0)


def cpu_s(call: Callable[[], object]) -> float:
    begin_s = time.process_time()
    call()
    return time.process_time() - begin_s


def second_of_stream() -> list[RawMessage]:
    """What one second brings, in order."""
    pixels = speckle(0)
    times = [(k / _IMAGE_HZ, encode_image("Image", pixels, 1.0)) for k in range(_IMAGE_HZ)]
    times += [
        (k / _POSE_HZ, encode_transform("ProbeToTracker", np.eye(4), 1.0)) for k in range(_POSE_HZ)
    ]
    times.sort(key=lambda item: item[0])
    return [parse_raw(b"".join(parts), t_s) for t_s, parts in times]


def measure_recording(folder: Path, n_repeats: int) -> Figures:
    messages = second_of_stream()
    write_s, open_s = [], []
    for k in range(n_repeats):
        path = folder / f"{k}.mcap"
        writer = RecordingWriter(path)

        def write(writer: RecordingWriter = writer) -> None:
            for _ in range(_N_SECONDS):
                for message in messages:
                    writer.add(message)
            writer.close({})

        write_s.append(cpu_s(write) / _N_SECONDS)
        open_s.append(cpu_s(lambda path=path: Recording(path)))  # type: ignore[misc]
        n_bytes = path.stat().st_size
        path.unlink()
    n_gigabytes = n_bytes / 1e9
    return {
        "megabytes_per_s": n_bytes / _N_SECONDS / 1e6,
        "cpu_share": statistics.median(write_s),
        "open_cpu_s_per_gigabyte": statistics.median(open_s) / n_gigabytes,
    }


def measure_live(folder: Path, seconds: float) -> Figures:
    """A stream from another process, recorded while a consumer computes 25 ms per image."""
    context = multiprocessing.get_context("spawn")
    port_is, stop_sender = context.SimpleQueue(), context.Event()
    sender = context.Process(target=serve, args=(port_is, stop_sender))
    sender.start()
    recorder = Recorder(folder / "live.mcap")
    newest: LatestSlot[ImageFrame] = LatestSlot()
    stop = threading.Event()
    client = Client(
        "127.0.0.1",
        port_is.get(),
        on_image=newest.put,
        on_pose=lambda sample: None,
        on_bad_image=lambda name, reason: None,
        on_state=lambda state, sentence: None,
        on_raw=recorder.put,
    )
    threads = [
        threading.Thread(target=client.run, args=(stop,)),
        threading.Thread(target=recorder.run),
        threading.Thread(target=compute, args=(newest,)),
    ]
    for thread in threads:
        thread.start()
    time.sleep(seconds)
    stop.set()
    threads[0].join()
    recorder.end()
    newest.close()
    for thread in threads[1:]:
        thread.join()
    stop_sender.set()
    sender.join()
    result = recorder.conclude()
    counts = Recording(recorder.path).counts
    n_received = sum(stream.n_messages for stream in client.statistics.streams)
    return {
        "image_hz": counts["IMAGE", "Image"] / seconds,
        "pose_hz": counts["TRANSFORM", "ProbeToReference"] / seconds,
        "recorded_of_received": result.n_messages / n_received,
        "images_computed": newest.counts.taken / newest.counts.put,
    }


def compute(newest: LatestSlot[ImageFrame]) -> None:
    """Holds the interpreter as a careless consumer would."""
    for _ in newest:
        end_s = time.perf_counter() + 0.025
        while time.perf_counter() < end_s:
            pass


def measure_sequences(folder: Path, n_repeats: int) -> dict[str, Figures]:
    """CPU time per image, ms."""
    sweep = SpeckleSweep(20)
    images = [speckle(k) for k in range(sweep.n_images)]
    paint_s = cpu_s(lambda: [speckle(k) for k in range(sweep.n_images)])
    deflate_s = cpu_s(lambda: zlib.compress(b"".join(i.tobytes() for i in images), 1))
    figures: dict[str, Figures] = {
        "zlib": {"write_ms": deflate_s / sweep.n_images * 1e3},
    }
    for name, is_compressed in (
        ("raw.igs.mha", False),
        ("zlib.igs.mha", True),
        ("gzip.igs.nrrd", True),
        ("messages.mcap", False),
    ):
        write_s, read_s = [], []
        for _ in range(n_repeats):
            path = folder / name
            write_s.append(
                cpu_s(lambda p=path, c=is_compressed: save_sweep(sweep, p, is_compressed=c))  # type: ignore[misc]
                - paint_s
            )
            read_s.append(cpu_s(lambda p=path: read_all(open_sweep(p))))  # type: ignore[misc]
            path.unlink()
        figures[name] = {
            "write_ms": statistics.median(write_s) / sweep.n_images * 1e3,
            "read_ms": statistics.median(read_s) / sweep.n_images * 1e3,
        }
    return figures


def read_all(sweep: Sweep) -> int:
    return sum(int(e.load()[0, 0]) for e in sweep.events() if isinstance(e, SweepImage))


def main() -> None:
    parser = argparse.ArgumentParser(description="Recordings and sequence files.")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=8.0, help="of the live stream")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        figures: dict[str, Figures | dict[str, Figures]] = {
            "live": measure_live(Path(folder), arguments.seconds),
            "recording": measure_recording(Path(folder), arguments.repeats),
            "sequences": measure_sequences(Path(folder), arguments.repeats),
        }
    print(json.dumps(figures, indent=None if arguments.json else 2))


if __name__ == "__main__":
    main()
