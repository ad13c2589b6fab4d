"""Everything that a GPU changes, in a single call: one table, and each result beside the CPU's.

    python tests/bench/bench_gpu.py [MODEL.onnx ...] [--runs N] [--seconds S] [--json]

Without models: the network that ships, and the peers' U-Net at 256 and 512 pixels, in fp32 and
fp16 (the files run as they are). For each model and each provider that can be had: loading with
the first run, the time per image from the prepared tensor to the probability in Python (both
copies included), preparing a 950x811 image and finding the line with it, and how far the
probability and the line are from the CPU's, and a run in a thread that did not warm it up, as the
session's thread does after start-up.

Then the whole path with the first model: images of 950x811 at 60 Hz and poses at 200 Hz through a
real socket into a session without a window, from the last byte of an image until its points are in
the cloud. The server is a thread of the same process and shares its interpreter lock; the second's
worth of images that it sends again and again was painted beforehand. Without a GPU it says so and
ends well.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from inference.providers import CPU, CUDA, LABELS, TENSORRT, is_built_in, obstacle, why_not
from inference.segmenter import Segmenter, default_model_path
from navapp.config import load_settings
from navapp.demo import for_simulation, serve, write_simulation
from navapp.equipment import load_equipment
from navapp.feeds import LiveFeed
from navapp.latency import Stage
from navapp.live import Interrupts, run_to_end
from navapp.session import Session, SessionMode
from recon.simulator import SimulatedSweep, SimulatorSettings
from tests.support.sweeps import AlteredSweep, Event, each
from tracking.sequences import SweepImage

_PROVIDERS = {"tensorrt": TENSORRT, "cuda": CUDA, "cpu": CPU}
_WARM_UPS = 10
_SIZE_PX, _SPACING_MM = (950, 811), (0.05, 0.05)
_IMAGE_HZ, _POSE_HZ = 60, 200.0


def measure(models: list[Path], n_runs: int, providers: list[str]) -> list[dict[str, Any]]:
    """A row per model and provider; the CPU's row is the truth of the others."""
    images = _images()
    rows = []
    for model in models:
        expected = _results(Segmenter(model, "cpu"), images)
        for provider in providers:
            begin_s = time.perf_counter()
            try:
                segmenter = Segmenter(model, provider)
            except Exception as error:  # noqa: BLE001  a row that says why, and on with the rest
                rows.append({"model": model.name, "provider": provider, "problem": str(error)})
                continue
            row = {"model": model.name, "provider": provider, "problem": None}
            row["load_s"] = time.perf_counter() - begin_s
            rows.append(row | _row(segmenter, images, expected, n_runs))
    return rows


def whole_path(model: Path, providers: list[str], seconds: float) -> list[dict[str, Any]]:
    """A session per provider; its latencies, and what became of the images and poses sent."""
    simulated = SimulatedSweep(
        SimulatorSettings(
            n_images=max(2, round(_IMAGE_HZ * seconds)),
            image_size_px=_SIZE_PX,
            spacing_mm=_SPACING_MM,
            image_rate_hz=float(_IMAGE_HZ),
            pose_rate_hz=_POSE_HZ,
        )
    )
    painted = [simulated.render(k) for k in range(min(simulated.n_images, _IMAGE_HZ))]

    def repeat(event: Event) -> Event:
        if not isinstance(event, SweepImage):
            return event
        return replace(event, load=painted[event.index % len(painted)].copy)

    sweep = AlteredSweep(simulated, each(repeat))
    with tempfile.TemporaryDirectory() as folder:
        files = write_simulation(simulated, Path(folder))
        return [_session_row(model, provider, sweep, files) for provider in providers]


def _session_row(
    model: Path, provider: str, sweep: AlteredSweep, files: tuple[Path, Path]
) -> dict[str, Any]:
    row: dict[str, Any] = {"model": f"whole path, {model.stem}", "provider": provider}
    named = {"model": {"path": model, "provider": provider}}
    settings = for_simulation(load_settings(None, named), *files)
    try:
        equipment = load_equipment(settings)
    except Exception as error:  # noqa: BLE001  a row that says why, and on with the rest
        return row | {"problem": str(error)}
    with serve(sweep, 1.0) as port, Interrupts() as interrupts:
        server = settings.server.model_copy(update={"port": port})
        feed = LiveFeed(server, until_closed=True, gives_up=True)
        session = Session(settings, equipment, feed, SessionMode(is_live=True, has_window=False))
        run_to_end(session, None, None, interrupts)
    latency, frames = session.latency, session.tally.frames
    return row | {
        "problem": None if session.failure is None else str(session.failure),
        "path_p50_ms": latency.percentile_ms(Stage.END_TO_END, 50),
        "path_p95_ms": latency.percentile_ms(Stage.END_TO_END, 95),
        "path_p99_ms": latency.percentile_ms(Stage.END_TO_END, 99),
        "infer_p95_ms": latency.percentile_ms(Stage.INFER, 95),
        "n_sent": sweep.n_images,
        "n_processed": frames.processed,
        "n_poses_lost": session.tally.poses.lost,
        "n_voxels": session.scene.n_voxels,
        "still_on": equipment.segmenter.session.provider,
    }


def _row(
    segmenter: Segmenter,
    images: list[NDArray[np.uint8]],
    expected: list[tuple[NDArray[np.float32], NDArray[np.float64]]],
    n_runs: int,
) -> dict[str, Any]:
    plan = _plan(segmenter, images[0])
    tensor = plan.prepare(images[0], out=segmenter.session.input)
    segmenter.warm_up(plan)
    network_ms = _times_ms(lambda k: segmenter.session.run(tensor), n_runs)
    whole_ms = _times_ms(lambda k: segmenter.segment(images[k % len(images)], plan), n_runs)
    found = _results(segmenter, images)
    first_ms = _in_a_new_thread(lambda: segmenter.segment(images[0], plan))
    return {
        "network_p50_ms": float(np.percentile(network_ms, 50)),
        "network_p99_ms": float(np.percentile(network_ms, 99)),
        "whole_p50_ms": float(np.percentile(whole_ms, 50)),
        "whole_p99_ms": float(np.percentile(whole_ms, 99)),
        "new_thread_first_ms": first_ms[0],
        "new_thread_third_ms": first_ms[2],
        "probability_off": max(
            float(np.abs(f[0] - e[0]).max()) for f, e in _pairs(found, expected)
        ),
        "line_off_px": max(_line_off_px(f[1], e[1]) for f, e in _pairs(found, expected)),
        "still_on": segmenter.session.provider,
    }


def _pairs(found: list[Any], expected: list[Any]) -> zip[tuple[Any, Any]]:
    return zip(found, expected, strict=True)


def _times_ms(run: Callable[[int], object], n: int) -> NDArray[np.float64]:
    times_s = []
    for k in range(_WARM_UPS + n):
        begin_s = time.perf_counter()
        run(k)
        times_s.append(time.perf_counter() - begin_s)
    return 1e3 * np.array(times_s[_WARM_UPS:])


def _in_a_new_thread(run: Callable[[], object]) -> list[float]:
    """What the first three runs take there: a CUDA graph may be recorded anew by thread."""
    times_ms: list[float] = []

    def body() -> None:
        for _ in range(3):
            begin_s = time.perf_counter()
            run()
            times_ms.append((time.perf_counter() - begin_s) * 1e3)

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    return times_ms


def _results(
    segmenter: Segmenter, images: list[NDArray[np.uint8]]
) -> list[tuple[NDArray[np.float32], NDArray[np.float64]]]:
    plan = _plan(segmenter, images[0])
    found = (segmenter.segment(pixels, plan) for pixels in images)
    return [(one.probability, one.line.points_px) for one in found]


def _plan(segmenter: Segmenter, pixels: NDArray[np.uint8]) -> Any:
    height, width = pixels.shape
    return segmenter.prepare_for((width, height), _SPACING_MM)


def _line_off_px(found: NDArray[np.float64], expected: NDArray[np.float64]) -> float:
    """The largest distance along a column that both lines have a point in; 0 without any."""
    _, mine, theirs = np.intersect1d(found[:, 0], expected[:, 0], return_indices=True)
    off_px = np.abs(found[mine, 1] - expected[theirs, 1])
    return float(off_px.max(initial=0.0))


def _images() -> list[NDArray[np.uint8]]:
    settings = SimulatorSettings(n_images=4, image_size_px=_SIZE_PX, spacing_mm=_SPACING_MM)
    events = SimulatedSweep(settings).events()
    return [event.load() for event in events if isinstance(event, SweepImage)]


def _models(folder: Path) -> list[Path]:
    """The shipped network and the peers' U-Net; fp16 keeps fp32 at its ends."""
    models = [default_model_path()]
    try:
        import onnx
        from onnxruntime.transformers.float16 import convert_float_to_float16
        from unet import write_unet
    except ImportError as error:
        print(f"only the network that ships: {error}", file=sys.stderr)
        return models
    for side_px in (256, 512):
        path = folder / f"unet_{side_px}.onnx"
        write_unet(path, side_px, 51.2 / side_px)
        half = convert_float_to_float16(onnx.load(path), keep_io_types=True)
        onnx.save(half, path.with_name(f"unet_{side_px}_fp16.onnx"))
        models += [path, path.with_name(f"unet_{side_px}_fp16.onnx")]
    return models


def _machine() -> dict[str, str]:
    query = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
    try:
        card = subprocess.run(query, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        card = "unknown"
    return {
        "date": date.today().isoformat(),
        "card_and_driver": card,
        "onnxruntime": onnxruntime.__version__,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="All that a GPU changes, beside the CPU.")
    parser.add_argument("models", nargs="*", type=Path)
    parser.add_argument("--runs", type=int, default=500)
    parser.add_argument("--seconds", type=float, default=20.0, help="of each whole path")
    parser.add_argument("--also-without-gpu", action="store_true", help="the CPU's rows alone")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    obstacles = {p: why for p in (TENSORRT, CUDA) if is_built_in(p) and (why := obstacle(p))}
    has_gpu = is_built_in(CUDA) and CUDA not in obstacles
    if not has_gpu and not arguments.also_without_gpu:
        line = f"no GPU: {why_not(obstacles) or 'this ONNX Runtime was built without CUDA'}"
        print(json.dumps({"left_out": line}) if arguments.json else line)
        return
    providers = [name for name, p in _PROVIDERS.items() if p == CPU or (has_gpu and is_built_in(p))]
    with tempfile.TemporaryDirectory() as folder:
        models = arguments.models or _models(Path(folder))
        rows = measure(models, arguments.runs, providers)
        paths = whole_path(models[0], providers, arguments.seconds)
    if arguments.json:
        print(
            json.dumps(
                {**_machine(), **{f"{r['model']}, {r['provider']}": r for r in rows + paths}}
            )
        )
        return
    print("  ".join(f"{key} {value}" for key, value in _machine().items()))
    print(_table(rows))
    print(_table(paths))


def _table(rows: list[dict[str, Any]]) -> str:
    keys = max((list(row) for row in rows), key=len)[3:]
    lines = [f"{'model':34}{'provider':10}" + "".join(f"{key.split('_ms')[0]:>18}" for key in keys)]
    for row in rows:
        start = f"{row['model']:34}{row['provider']:10}"
        if row["problem"]:
            lines.append(start + row["problem"])
            continue
        cells = (row[key] for key in keys)
        lines.append(
            start
            + "".join(
                f"{c:18.4g}" if isinstance(c, float) else f"{LABELS.get(c, c):>18}" for c in cells
            )
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
