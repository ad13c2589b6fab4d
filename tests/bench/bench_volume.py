"""Freehand volume: the spine phantom of PLUS's tests (21 images of 820x616), after warm-up.

    python tests/bench/bench_volume.py [--repeats N] [--json]

Seconds are medians from the first insertion to the finished volume, on all cores and on one; the
images are in memory. Beside them stands how near the volume is to the one that PLUS makes.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recon.volume import Compounding, FreehandVolume, Interpolation, enclosing_grid
from tracking.calibration import load_calibration
from tracking.sequences import SweepImage, open_sweep
from tracking.transforms import Matrix, invert

_DATA = Path(
    os.environ.get("NAVAPP_SHARED_DATA") or Path(__file__).resolve().parents[3] / "shared" / "data"
)
_PLUS = _DATA / "plus"
_CLIP_PX = (0, 0, 820, 616)

Frames = list[tuple[NDArray[np.uint8], Matrix]]

_CASES = {
    "nearest mean, holes filled": (Interpolation.NEAREST, Compounding.MEAN, True, "NNMEAN"),
    "the same in whole grey values": (
        Interpolation.NEAREST,
        Compounding.MEAN_PLUS,
        True,
        "NNMEAN",
    ),
    "linear maximum": (Interpolation.LINEAR, Compounding.MAXIMUM, False, "LNMAXI"),
    "linear mean, holes filled": (Interpolation.LINEAR, Compounding.MEAN, True, None),
}


def load_frames() -> Frames:
    """Every image with A_reference_pixel; its poses have its stamp."""
    calibration = load_calibration(_PLUS / "Config_VolumeReconstruction_SpinePhantom_NN_MEAN.xml")
    images, poses = [], {}
    for event in open_sweep(_PLUS / "SpinePhantomFreehand.igs.mha").events():
        if isinstance(event, SweepImage):
            images.append((event.t_s, event.load()))
        else:
            poses[event.name, event.t_s] = event.matrix
    return [
        (
            pixels,
            invert(poses["ReferenceToTracker", t_s])
            @ poses["ProbeToTracker", t_s]
            @ calibration.A_probe_pixel,
        )
        for t_s, pixels in images
    ]


def compound(
    frames: Frames,
    interpolation: Interpolation,
    compounding: Compounding,
    fills_holes: bool,
    pool: Executor | None,
) -> tuple[float, float, NDArray[np.uint8]]:
    """Seconds to insert, seconds in all, and the volume."""
    begin_s = time.perf_counter()
    grid = enclosing_grid((A for _, A in frames), _CLIP_PX, 0.5)
    volume = FreehandVolume(grid, interpolation, compounding, pool)
    for pixels, A_reference_pixel in frames:
        volume.insert(pixels, A_reference_pixel, _CLIP_PX)
    insert_s = time.perf_counter() - begin_s
    grey = volume.grey(fills_holes=fills_holes)
    return insert_s, time.perf_counter() - begin_s, grey


def agreement(grey: NDArray[np.uint8], reference: str) -> dict[str, float]:
    content = (_PLUS / f"VolumeReconstructorTest{reference}volumeRef.mha").read_bytes()
    theirs = np.frombuffer(content[-grey.size :], np.uint8).reshape(grey.shape).astype(np.int64)
    difference = grey - theirs
    return {
        "share_within_2": float((np.abs(difference) <= 2).mean()),
        "correlation": float(np.corrcoef(grey.ravel(), theirs.ravel())[0, 1]),
        "mean_difference_where_seen": float(difference[theirs > 0].mean()),
    }


def measure(n_repeats: int) -> dict[str, Any]:
    frames = load_frames()
    figures: dict[str, Any] = {}
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for name, (interpolation, compounding, fills_holes, reference) in _CASES.items():
            how = (frames, interpolation, compounding, fills_holes)
            compound(*how, pool)  # compiles
            all_cores = [compound(*how, pool)[:2] for _ in range(n_repeats)]
            one_core = [compound(*how, None)[1] for _ in range(n_repeats)]
            insert_s = statistics.median(seconds for seconds, _ in all_cores)
            figures[name] = {
                "seconds": statistics.median(seconds for _, seconds in all_cores),
                "seconds_on_one_core": statistics.median(one_core),
                "insert_ms_per_image": insert_s / len(frames) * 1e3,
                **(agreement(compound(*how, pool)[2], reference) if reference else {}),
            }
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description="Freehand volume.")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    if _PLUS.is_dir():
        figures = measure(arguments.repeats)
    else:
        figures = {"left_out": f"no recordings at {_PLUS} (set NAVAPP_SHARED_DATA)"}
    print(json.dumps(figures, indent=None if arguments.json else 2))


if __name__ == "__main__":
    main()
