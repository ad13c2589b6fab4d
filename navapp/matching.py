"""The pose that belongs to an image, or the reason why there is none."""

from __future__ import annotations

import time
from dataclasses import dataclass

from navapp.state import DropReason
from tracking.clock import Clocks
from tracking.messages import ImageFrame
from tracking.pose_buffer import PoseBuffer, PoseOutcome
from tracking.pose_path import PosePath, find_path
from tracking.transforms import Matrix

# What an image is skipped for.
DROPPED = {
    PoseOutcome.MISSING: DropReason.NO_POSE,
    PoseOutcome.GAP: DropReason.POSE_GAP,
    PoseOutcome.INVALID: DropReason.POSE_INVALID,
}


@dataclass(frozen=True, slots=True)
class Match:
    """T_target_probe at the moment the image shows; `target` is "ct" or "reference"."""

    T_target_probe: Matrix
    target: str


class PoseMatcher:
    """Reads the pose at the image's time minus `image_lag_s`.

    Stamps of one sender are compared as they are. Where image and pose come from different
    servers, or one of them is taken by its arrival, `clocks` takes the time over. The path through
    the streams is settled by the first pose that is found; until then the best one that the streams
    allow is tried.
    """

    def __init__(
        self,
        poses: PoseBuffer,
        clocks: Clocks,
        *,
        probe: str,
        reference: str,
        image_lag_s: float,
        max_pose_gap_s: float,
        max_pose_wait_s: float,
    ) -> None:
        self._poses = poses
        self._clocks = clocks
        self._probe = probe
        self._reference = reference
        self._image_lag_s = image_lag_s
        self._max_pose_gap_s = max_pose_gap_s
        # With a negative lag the image shows a moment whose poses are yet to come.
        self._max_pose_wait_s = max_pose_wait_s + max(0.0, -image_lag_s) * (max_pose_wait_s > 0.0)
        self._is_settled = False
        self.path: PosePath | None = None

    def match(self, frame: ImageFrame) -> Match | DropReason:
        """Wait until poses surround the image, and read the one at its time.

        The waiting ends `max_pose_wait_s` after the image's arrival, however long it has been
        under way: images never pile up behind a tool that is hidden. An image whose time is on a
        clock that cannot be compared with the poses' has none.
        """
        if frame.stamps.t_match_s == 0.0:  # a recording without stamps
            return DropReason.NO_POSE
        give_up_s = frame.stamps.t_arrival_s + self._max_pose_wait_s
        if not self._is_settled:
            self._find_path(_remaining_s(give_up_s))
        if self.path is None:
            return DropReason.NO_POSE
        times_s = self._times(frame, self.path)
        if times_s is None:
            return DropReason.NO_POSE
        self._poses.wait_covered(times_s, _remaining_s(give_up_s))
        read = self.path.read(self._poses, times_s, max_gap_s=self._max_pose_gap_s)
        if read.matrix is None:
            return DROPPED[read.outcome]
        self._is_settled = True
        return Match(read.matrix, self.path.target)

    def _times(self, frame: ImageFrame, path: PosePath) -> dict[str, float] | None:
        """When the image was taken, on the clock of each stream."""
        t_s, base = frame.stamps.t_match_s - self._image_lag_s, frame.stamps.base
        times_s: dict[str, float] = {}
        for name in path.streams:
            stream_base = self._poses.base(name)
            t_stream_s = (
                None if stream_base is None else self._clocks.convert(t_s, base, stream_base)
            )
            if t_stream_s is None:
                return None
            times_s[name] = t_stream_s
        return times_s

    def _find_path(self, timeout_s: float) -> None:
        def paths(names: tuple[str, ...]) -> bool:
            self.path = find_path(names, self._probe, self._reference)
            return self.path is not None

        self._poses.wait_names(paths, timeout_s)


def _remaining_s(t_end_s: float) -> float:
    return max(0.0, t_end_s - time.perf_counter())
