"""The pose that belongs to an image, or the reason why there is none."""

from __future__ import annotations

from dataclasses import dataclass

from navapp.state import DropReason
from tracking.messages import ImageFrame
from tracking.pose_buffer import PoseBuffer, PoseOutcome
from tracking.pose_path import PosePath, find_path
from tracking.transforms import Matrix

_DROPPED = {
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
    """Reads the pose at `t_sender_s - image_lag_s`: both stamps come from the same sender.

    The path through the streams is chosen once, as soon as the streams allow one.
    """

    def __init__(
        self,
        poses: PoseBuffer,
        *,
        probe: str,
        reference: str,
        image_lag_s: float,
        max_pose_gap_s: float,
        max_pose_wait_s: float,
    ) -> None:
        self._poses = poses
        self._probe = probe
        self._reference = reference
        self._image_lag_s = image_lag_s
        self._max_pose_gap_s = max_pose_gap_s
        self._max_pose_wait_s = max_pose_wait_s
        self.path: PosePath | None = None

    def match(self, frame: ImageFrame) -> Match | DropReason:
        """Wait, for a bounded time, until poses surround the image, and read the one at its time.

        An image without a stamp has no time at which a pose could be read.
        """
        if frame.stamps.t_sender_s == 0.0:
            return DropReason.NO_POSE
        t_s = frame.stamps.t_sender_s - self._image_lag_s
        if self.path is None:
            self.path = find_path(self._poses.names, self._probe, self._reference)
        if self.path is None:
            return DropReason.NO_POSE
        self._poses.wait_covered(self.path.streams, t_s, self._max_pose_wait_s)
        read = self.path.read(self._poses, t_s, max_gap_s=self._max_pose_gap_s)
        if read.matrix is None:
            return _DROPPED[read.outcome]
        return Match(read.matrix, self.path.target)
