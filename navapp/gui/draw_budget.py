"""How many points of the cloud are drawn, so that a paint stays short whatever draws it."""

from __future__ import annotations

from collections import deque

# With software OpenGL the paint runs on the GUI thread's time: 30 ms still lets a drag follow
# the mouse, and leaves the rest of the processor to the network.
TARGET_PAINT_S = 0.030

# Below this the cloud is not what makes the paint slow.
_MIN_DRAWN = 20_000

_SLOW_PAINTS = 3  # in a row: one slow paint may be another program's doing
_FAST_PAINTS = 10


class DrawBudget:
    """Draw every `stride`-th point; `stride` is a power of two, so that each subset holds the next.

    It grows after a few paints above the target and halves when twice the points would fit, so
    that the picture does not flicker between two strides.
    """

    def __init__(self, target_s: float = TARGET_PAINT_S) -> None:
        self.stride = 1
        self._target_s = target_s
        self._paints_s: deque[float] = deque(maxlen=_FAST_PAINTS)

    def note_paint(self, duration_s: float, n_points: int) -> None:
        """Learn from a paint that took `duration_s` with a cloud of `n_points`."""
        self._paints_s.append(duration_s)
        recent_s = list(self._paints_s)[-_SLOW_PAINTS:]
        is_fast = len(self._paints_s) == _FAST_PAINTS and max(self._paints_s) < 0.4 * self._target_s
        excess = min(recent_s) / self._target_s if len(recent_s) == _SLOW_PAINTS else 0.0
        while excess > 1.0 and n_points // (2 * self.stride) >= _MIN_DRAWN:
            self._change_to(2 * self.stride)
            excess /= 2.0
        if is_fast and self.stride > 1:
            self._change_to(self.stride // 2)

    def _change_to(self, stride: int) -> None:
        self.stride = stride
        self._paints_s.clear()
