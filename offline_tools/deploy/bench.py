"""How long one image takes on this machine: preprocessing, network, line; by provider and threads.

Runs what runs live. Idle workers do not spin, as in a session, where they would take the cores
from other threads.
"""

from __future__ import annotations

import os
import platform
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from rich.table import Table

from inference.contract import ModelContract
from inference.errors import InferenceError, ModelError
from inference.postprocess import bone_line
from inference.preprocess import InputPlan
from inference.providers import PROVIDERS
from inference.runtime import NetworkSession
from offline_tools.datasets.simulated import FIRST_VALIDATION_SEED, simulated_images

STEPS = ("preprocess", "network", "line", "total")
_PERCENTILES = (50, 95, 99)
_MOST_THREADS = 8
_N_IMAGES = 5
_WARM_UP = 5


def bench(model: Path, n_frames: int) -> dict[str, Any]:
    """Percentiles in ms of `n_frames` images for each provider that runs here.

    The images fill the network's field at the finest spacing that its contract names, which is the
    most work; what they show is simulated bone. "not_run" says why a provider is missing.

    Raises
    ------
    ModelError : the file cannot be honoured.
    """
    rows: list[dict[str, Any]] = []
    not_run: dict[str, str] = {}
    for provider in sorted(set(PROVIDERS) - {"auto"}):
        for n_threads in _thread_counts() if provider == "cpu" else (1,):
            try:
                session = NetworkSession(model, provider, n_threads)
            except ModelError:
                raise
            except InferenceError as error:
                not_run[provider] = str(error)
                break
            rows.append({"provider": provider, "threads": n_threads, **_timed(session, n_frames)})
    contract = session.contract
    return {
        "model": {"name": model.name, "sha256": session.sha256, "precision": contract.precision},
        "image_size_px": list(_image_size_px(contract)),
        "network_size_px": list(contract.input.size_px),
        "n_frames": n_frames,
        "machine": {"processor": _processor(), "cores": os.cpu_count()},
        "onnxruntime": onnxruntime.__version__,
        "rows": rows,
        "not_run": not_run,
    }


def table(report: dict[str, Any]) -> Table:
    """What a person reads: the median of each step, and the tail of their total, in ms."""
    columns, lines = report["image_size_px"]
    shown = Table(
        title=f"{report['model']['name']} ({report['model']['precision']}), image of {columns} x "
        f"{lines}: median ms"
    )
    for name in ("provider", "threads", *STEPS, "p95", "p99"):
        shown.add_column(name, justify="right")
    for row in report["rows"]:
        times_ms = [row[step]["p50"] for step in STEPS] + [row["total"][p] for p in ("p95", "p99")]
        shown.add_row(row["provider"], str(row["threads"]), *(f"{t:.2f}" for t in times_ms))
    return shown


def _timed(session: NetworkSession, n_frames: int) -> dict[str, Any]:
    """Percentiles of each step over the images, in turn."""
    contract = session.contract
    spacing_mm = contract.geometry.spacing_range_mm[0]
    plan = InputPlan.for_image(contract, _image_size_px(contract), (spacing_mm, spacing_mm))
    images = _images(plan.image_size_px)
    session.warm_up()
    for k in range(_WARM_UP):
        _steps_s(session, plan, images[k % len(images)])
    steps_s = [_steps_s(session, plan, images[k % len(images)]) for k in range(n_frames)]
    values_ms = 1e3 * np.percentile(steps_s, _PERCENTILES, axis=0)
    return {
        step: {f"p{p}": float(values_ms[i, j]) for i, p in enumerate(_PERCENTILES)}
        for j, step in enumerate(STEPS)
    }


def _steps_s(
    session: NetworkSession, plan: InputPlan, pixels: NDArray[np.uint8]
) -> tuple[float, ...]:
    """Seconds that each of `STEPS` took for one image."""
    t_start_s = time.perf_counter()
    tensor = plan.prepare(pixels)
    t_prepared_s = time.perf_counter()
    probability = session.run(tensor)
    t_answered_s = time.perf_counter()
    bone_line(probability, plan, session.contract)
    t_end_s = time.perf_counter()
    return (
        t_prepared_s - t_start_s,
        t_answered_s - t_prepared_s,
        t_end_s - t_answered_s,
        t_end_s - t_start_s,
    )


def _image_size_px(contract: ModelContract) -> tuple[int, int]:
    """(width, height) of an image that fills the network's field at the finest spacing."""
    step = contract.input.spacing_mm / contract.geometry.spacing_range_mm[0]
    rows, columns = contract.input.size_px
    return int(columns * step), int(rows * step)


def _images(size_px: tuple[int, int]) -> list[NDArray[np.uint8]]:
    """Simulated images, their pixels repeated or left out to the size wanted."""
    images = []
    for image in simulated_images(FIRST_VALIDATION_SEED, _N_IMAGES):
        height, width = image.pixels.shape
        rows = np.arange(size_px[1]) * height // size_px[1]
        columns = np.arange(size_px[0]) * width // size_px[0]
        images.append(np.ascontiguousarray(image.pixels[np.ix_(rows, columns)]))
    return images


def _thread_counts() -> tuple[int, ...]:
    """1, 2, 4, ... up to the cores there are."""
    n_cores = min(os.cpu_count() or 1, _MOST_THREADS)
    return tuple(n for n in (1, 2, 4, 8) if n <= n_cores)


def _processor() -> str:
    """Name of the processor, as Linux tells it."""
    info = Path("/proc/cpuinfo")
    names = info.read_text().split("model name") if info.is_file() else []
    return names[1].split(":", 1)[1].split("\n", 1)[0].strip() if names[1:] else platform.machine()
