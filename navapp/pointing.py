"""Where a stylus touches: measured over a while in which it is held still, never by one pose."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from navapp.errors import ConfigError
from tracking.messages import TimeBase
from tracking.pose_buffer import PoseBuffer
from tracking.pose_path import PosePath
from tracking.transforms import Matrix

HELD_S = 0.5
_STEP_S = 0.02
_MAX_GAP_S = 0.1

# Of the half second that is looked at; a tracker loses a sample now and then.
_LEAST_SEEN = 0.8
# Optical trackers jitter by 0.3 mm, electromagnetic ones by up to 1 mm; a hand that moves, by more.
_MOST_SPREAD_MM = 1.5


def touched_mm(poses: PoseBuffer, path: PosePath, T_tool_tip: Matrix) -> NDArray[np.float64]:
    """The tip's mean place over the last half second, (3,), mm, frame of `path.target`.

    Raises
    ------
    ConfigError : the tool was not seen all the time, or was not held still.
    """
    # Streams of one clock are read at common moments; those of another end on their own clock.
    ends_s: dict[TimeBase | None, float] = {}
    for name in path.streams:
        base = poses.base(name)
        ends_s[base] = min(ends_s.get(base, float("inf")), poses.newest_time_s(name))
    tips_mm = []
    before_s = np.arange(0.0, HELD_S, _STEP_S)
    for t_s in before_s:
        times_s = {name: ends_s[poses.base(name)] - float(t_s) for name in path.streams}
        read = path.read(poses, times_s, max_gap_s=_MAX_GAP_S)
        if read.matrix is not None:
            tips_mm.append((read.matrix @ T_tool_tip)[:3, 3])
    if len(tips_mm) < _LEAST_SEEN * len(before_s):
        raise ConfigError(
            f"the stylus was seen for {len(tips_mm) * _STEP_S:.1f} s of the last {HELD_S:g} s: "
            "hold it where the tracker sees it, and touch again"
        )
    mean_mm = np.mean(tips_mm, axis=0)
    spread_mm = float(np.linalg.norm(tips_mm - mean_mm, axis=1).max())
    if spread_mm > _MOST_SPREAD_MM:
        raise ConfigError(
            f"the stylus moved by {spread_mm:.1f} mm while it was read, expected at most "
            f"{_MOST_SPREAD_MM:g} mm: hold it still for {HELD_S:g} s, and touch again"
        )
    return mean_mm
