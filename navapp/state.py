"""What the engine tells the world: frozen snapshots, read by the window, the report and tests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from inference.postprocess import BoneLine
from tracking.messages import ImageFrame
from tracking.transforms import Matrix


class SessionState(Enum):
    """IDLE -> CONNECTING -> RUNNING <-> DEGRADED -> STOPPING -> IDLE; FAILED from anywhere."""

    IDLE = "idle"
    CONNECTING = "connecting"
    RUNNING = "running"
    DEGRADED = "degraded"
    STOPPING = "stopping"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class ModelSwap:
    """One attempt to exchange the network of a running session.

    `t_s` counts from the session's start; `problem` says why `name` could not be used, and then
    the network before it runs on, None where it took over.
    """

    name: str
    sha256: str | None
    t_s: float
    problem: str | None


class DropReason(Enum):
    """Why a received image gave no points; the values are keys of `report.json`."""

    SUPERSEDED = "superseded"  # a newer image arrived before this one was looked at
    NO_POSE = "no_pose"  # no pose near the image's time
    POSE_GAP = "pose_gap"  # the poses on both sides are too far apart
    POSE_INVALID = "pose_invalid"  # the tracker marked a pose next to the image as unusable
    STALE = "stale"  # older than the session allows when its turn came
    HELD = "held"  # insertion was on hold
    BAD_IMAGE = "bad_image"  # cannot be decoded, or does not fit the calibration
    FAILED = "failed"  # the network's output was no number, or an error ended the session


@dataclass(frozen=True, slots=True)
class DrawnCloud:
    """The first point of every voxel, with what one needs to know who has drawn it before.

    `points_mm` is (n, 3) float32, read-only, and but for an undo append-only. `undone` says how
    many rows each undo so far left. In another `generation` all rows
    are elsewhere; no two sessions have one in common.
    """

    points_mm: NDArray[np.float32]
    undone: tuple[int, ...] = ()
    generation: int = 0

    def n_kept(self, drawn: DrawnCloud) -> int:
        """How many of the first rows are those of a cloud that was drawn before."""
        if drawn.generation != self.generation:
            return 0
        n_both = min(len(drawn.undone), len(self.undone))
        since = (*self.undone[n_both:], *drawn.undone[n_both:])
        return min(len(drawn.points_mm), len(self.points_mm), *since)


@dataclass(frozen=True, slots=True)
class LiveView:
    """The newest frame that went through the engine, with everything needed to draw it.

    `A_target_pixel` puts the image in the cloud's frame ("ct" or "reference"), mm; None where no
    pose was found, and then `dropped` says why; an image that was held (insertion was off) has
    both. `cloud` is the cloud after it, `sweep` the number of the sweep that its points went into,
    None where they went nowhere. `t_integrated_s` is `perf_counter()` when the points were in the
    cloud.
    """

    frame: ImageFrame
    line: BoneLine
    A_target_pixel: Matrix | None
    dropped: DropReason | None
    cloud: DrawnCloud
    t_integrated_s: float
    sweep: int | None = None


@dataclass(frozen=True, slots=True)
class SessionStatus:
    """One consistent look at a session. Rates and latencies cover the last seconds, NaN if none.

    `detail` explains the state in a sentence; `tracking` does so for the poses ("tracking OK",
    "Probe lost for 1.2 s"). `skipped` counts images without points by reason. `model` names the
    network in use, `model_note` says what became of the last attempt to exchange it ("" if none).
    `misfit` says why the newest image does not fit the calibration. `unanswered_s` is how long
    images have been arriving of which none gave a result yet.
    """

    state: SessionState
    detail: str
    image_rate_hz: float
    pose_rate_hz: float
    is_tracking_ok: bool
    tracking: str
    provider: str
    provider_reason: str
    infer_p50_ms: float
    end_to_end_p95_ms: float
    n_received: int
    n_processed: int
    skipped: Mapping[DropReason, int]
    n_points: int
    frame: str
    model: str = ""
    model_note: str = ""
    misfit: str | None = None
    unanswered_s: float = 0.0


@dataclass(frozen=True, slots=True)
class VolumeState:
    """A volume that is built of the images while they come: how many are in it, how many came too
    fast for it, and why it takes no more (`problem`, None while it does)."""

    n_images: int
    n_left_out: int
    problem: str | None


@dataclass(frozen=True, slots=True)
class ToolState:
    """One pose stream on the way from the probe: its tool, how old its last pose is, s."""

    stream: str
    tool: str
    age_s: float
    is_visible: bool


@dataclass(frozen=True, slots=True)
class StreamState:
    """What a server sends under one name: `kind` is "image" or "pose", `size_px` of images."""

    name: str
    kind: str
    rate_hz: float
    size_px: tuple[int, int] | None = None
