"""Does every image get the pose of the moment it shows? A known motion, through a real socket.

    python tests/bench/bench_matching.py [--seconds S] [--json]

The probe swings along x with a peak speed of 80 mm/s. Poses come at 60 Hz, unaligned with the
images, and the images are stamped 80 ms late. The truth is the formula.
"""

from __future__ import annotations

import argparse
import json
import math
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from navapp.channels import BoundedQueue, FullPolicy
from navapp.demo import serve
from navapp.matching import Match, PoseMatcher
from tracking.client import Client, LinkState
from tracking.clock import Clocks
from tracking.messages import ImageFrame
from tracking.pose_buffer import PoseBuffer
from tracking.sequences import SweepImage, SweepPose
from tracking.transforms import Matrix, from_rotation_vector

PEAK_SPEED_MM_S = 80.0
SWING_HZ = 1.0
POSE_RATE_HZ = 60.0
IMAGE_RATE_HZ = 19.3  # no whole fraction of the pose rate: images fall anywhere between poses
IMAGE_LAG_S = 0.080

_T_BEGIN_S = 1000.0
_POSE_OFFSET_S = 0.0037


@dataclass(frozen=True, slots=True)
class SwingingSweep:
    """A sweep of tiny images whose probe swings; `duration_s` of the sweep's own time."""

    duration_s: float
    name: str = "swinging probe"
    image_name: str = "Image"
    spacing_mm: tuple[float, float] | None = None

    @property
    def n_images(self) -> int:
        return int(self.duration_s * IMAGE_RATE_HZ)

    @property
    def span_s(self) -> tuple[float, float]:
        return _T_BEGIN_S, _T_BEGIN_S + self.duration_s

    def events(self) -> Iterator[SweepImage | SweepPose]:
        pixels = np.zeros((8, 8), dtype=np.uint8)
        # The first image shows the moment of its stamp minus the lag: poses begin before it.
        images = [
            SweepImage(i, _T_BEGIN_S + 0.2 + i / IMAGE_RATE_HZ, lambda: pixels)
            for i in range(self.n_images - int(0.2 * IMAGE_RATE_HZ))
        ]
        times_s = [
            _T_BEGIN_S + _POSE_OFFSET_S + k / POSE_RATE_HZ
            for k in range(int(self.duration_s * POSE_RATE_HZ))
        ]
        poses = [SweepPose("ProbeToReference", t_s, pose_at(t_s)) for t_s in times_s]
        yield from sorted([*images, *poses], key=lambda event: event.t_s)


def pose_at(t_s: float) -> Matrix:
    """T_reference_probe of the swing at a time."""
    phase_rad = 2.0 * math.pi * SWING_HZ * (t_s - _T_BEGIN_S)
    amplitude_mm = PEAK_SPEED_MM_S / (2.0 * math.pi * SWING_HZ)
    x_mm = amplitude_mm * math.sin(phase_rad)
    return from_rotation_vector((0.0, 0.1 * math.sin(phase_rad), 0.0), (x_mm, 20.0, -5.0))


@dataclass(frozen=True, slots=True)
class MatchingResult:
    """`error_mm` per matched image, `poses` by image stamp, `n_unmatched` images without a pose."""

    error_mm: np.ndarray
    poses: dict[float, Matrix]
    n_unmatched: int


def measure(speed: float, duration_s: float) -> MatchingResult:
    """Stream the swing at a speed through TCP and match every image."""
    sweep = SwingingSweep(duration_s)
    poses = PoseBuffer()
    images: BoundedQueue[ImageFrame] = BoundedQueue(1024, FullPolicy.FAIL)
    stop = threading.Event()

    def end_when_closed(state: LinkState, sentence: str) -> None:
        if state is LinkState.CLOSED:
            stop.set()

    with serve(sweep, speed) as port:
        client = Client(
            "127.0.0.1",
            port,
            on_image=images.put,
            on_pose=poses.add,
            on_bad_image=lambda name, reason: None,
            on_state=end_when_closed,
        )
        thread = threading.Thread(target=client.run, args=(stop,), name="receive")
        thread.start()
        thread.join()
    images.close()
    poses.close()
    return _compare(poses, images)


def _compare(poses: PoseBuffer, images: BoundedQueue[ImageFrame]) -> MatchingResult:
    matcher = PoseMatcher(
        poses,
        Clocks(),
        probe="Probe",
        reference="Reference",
        image_lag_s=IMAGE_LAG_S,
        max_pose_gap_s=0.1,
        max_pose_wait_s=0.2,
    )
    errors_mm, matched, n_unmatched = [], {}, 0
    for frame in images:
        match = matcher.match(frame)
        if not isinstance(match, Match):
            n_unmatched += 1
            continue
        t_s = frame.stamps.t_sender_s
        truth = pose_at(t_s - IMAGE_LAG_S)
        errors_mm.append(np.linalg.norm(match.T_target_probe[:3, 3] - truth[:3, 3]))
        matched[t_s] = match.T_target_probe
    return MatchingResult(np.array(errors_mm), matched, n_unmatched)


def main() -> None:
    parser = argparse.ArgumentParser(description="Matching error against a known motion.")
    parser.add_argument("--seconds", type=float, default=4.0, help="length of the sweep")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    results = {speed: measure(speed, arguments.seconds) for speed in (0.25, 1.0, 4.0)}
    reference = results[1.0].poses
    figures = {
        f"{speed:g}x": {
            "n_matched": len(result.error_mm),
            "n_unmatched": result.n_unmatched,
            "error_p95_mm": float(np.percentile(result.error_mm, 95)),
            "error_max_mm": float(result.error_mm.max()),
            "same_pairs_as_1x": _are_same(result.poses, reference),
        }
        for speed, result in results.items()
    }
    print(json.dumps(figures) if arguments.json else _table(figures))


def _are_same(poses: dict[float, Matrix], reference: dict[float, Matrix]) -> bool:
    return poses.keys() == reference.keys() and all(
        np.array_equal(poses[stamp], reference[stamp]) for stamp in reference
    )


def _table(figures: dict[str, dict[str, float | bool]]) -> str:
    return "\n".join(
        f"{speed:>5}  {f['n_matched']} matched, {f['n_unmatched']} not; error p95 "
        f"{f['error_p95_mm']:.4f} mm, max {f['error_max_mm']:.4f} mm; "
        f"same pairs as at 1x: {f['same_pairs_as_1x']}"
        for speed, f in figures.items()
    )


if __name__ == "__main__":
    main()
