"""What a calibration needs of a recording: its images, and a tool's poses at any times."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation, Slerp

from tracking.errors import CalibrationError, TransformError
from tracking.messages import PoseStatus
from tracking.pose_path import find_path
from tracking.sequences.sweep import Sweep, SweepImage
from tracking.transforms import Matrix, check_rigid

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Track:
    """Poses of one tool: `t_s` (N,) ascending, `T_target_tool` (N, 4, 4) rigid, mm."""

    t_s: Array
    T_target_tool: Array

    def at(self, t_s: Array, *, max_gap_s: float) -> tuple[Array, NDArray[np.bool_]]:
        """Poses (M, 4, 4) at any times, and which of them are known.

        An exactly equal stamp gives that pose; else the two around are interpolated (slerp and
        linear) if they are at most `max_gap_s` apart. Unknown poses are NaN.
        """
        after = np.searchsorted(self.t_s, t_s).clip(1, len(self.t_s) - 1)
        is_inside = (t_s >= self.t_s[0]) & (t_s <= self.t_s[-1])
        inner = t_s.clip(self.t_s[0], self.t_s[-1])
        T = np.zeros((len(t_s), 4, 4))
        T[:, 3, 3] = 1.0
        T[:, :3, :3] = Slerp(self.t_s, Rotation.from_matrix(self.T_target_tool[:, :3, :3]))(
            inner
        ).as_matrix()
        for axis in range(3):
            T[:, axis, 3] = np.interp(inner, self.t_s, self.T_target_tool[:, axis, 3])
        same = np.searchsorted(self.t_s, t_s).clip(0, len(self.t_s) - 1)
        is_same = self.t_s[same] == t_s
        T[is_same] = self.T_target_tool[same[is_same]]
        is_known = is_inside & (is_same | (self.t_s[after] - self.t_s[after - 1] <= max_gap_s))
        T[~is_known] = np.nan
        return T, is_known


@dataclass(frozen=True, slots=True)
class Recorded:
    """Images and valid poses of one recording, by stream name.

    `unusable` says why a stream is not among the tracks.
    """

    name: str
    images: tuple[SweepImage, ...]
    tracks: dict[str, Track]
    unusable: dict[str, str]

    def relative(self, tool: str, reference: str, *, max_gap_s: float = 0.1) -> Track:
        """T_reference_tool, at the stamps of the tool's stream where both are known.

        Raises
        ------
        CalibrationError : where the recording has no way between the two.
        """
        path = find_path(self.tracks, tool, reference)
        if path is None or path.target != "reference":
            raise CalibrationError(
                f"{self.name}: has no way from {tool} to {reference}, its poses are "
                f"{', '.join((*self.tracks, *self.unusable.values())) or 'none'}"
            )
        t_s = self.tracks[path.steps[0].stream].t_s
        T_here_tool, is_known = np.eye(4), np.full(len(t_s), True)
        for step in path.steps:
            T_next_here, is_here = self.tracks[step.stream].at(t_s, max_gap_s=max_gap_s)
            T_next_here[~is_here] = np.eye(4)
            is_known &= is_here
            T_here_tool = (np.linalg.inv(T_next_here) if step.is_inverted else T_next_here) @ (
                T_here_tool
            )
        if is_known.sum() < 2:
            raise CalibrationError(
                f"{self.name}: {tool} and {reference} are never tracked at the same time"
            )
        return Track(t_s[is_known], T_here_tool[is_known])


def read_recorded(sweep: Sweep) -> Recorded:
    """Everything of a sweep but the pixels; of stamps that do not ascend the first counts."""
    images: list[SweepImage] = []
    poses: dict[str, tuple[list[float], list[Matrix]]] = {}
    invalid: dict[str, list[Matrix]] = {}
    for event in sweep.events():
        if isinstance(event, SweepImage):
            images.append(event)
            continue
        stamps, matrices = poses.setdefault(event.name, ([], []))
        if event.status is not PoseStatus.OK:
            invalid.setdefault(event.name, []).append(event.matrix)
        elif not stamps or event.t_s > stamps[-1]:
            stamps.append(event.t_s)
            matrices.append(event.matrix)
    tracks = {
        name: Track(np.array(stamps), np.array(matrices))
        for name, (stamps, matrices) in poses.items()
        if len(stamps) >= 2
    }
    unusable = {
        name: f"{name} ({_invalid_words(invalid.get(name, []))})"
        for name in poses
        if name not in tracks
    }
    return Recorded(sweep.name, tuple(images), tracks, unusable)


def _invalid_words(matrices: list[Matrix]) -> str:
    """How many poses of a stream are invalid, and what the first matrix shows of the reason."""
    text = f"{len(matrices)} of them invalid"
    try:
        if matrices:
            check_rigid(matrices[0], "the first")
    except TransformError as error:
        text += f"; {error}"
    return text
