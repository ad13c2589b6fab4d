"""Support of a bone line by the lines just before it: bone stays where it is, noise does not."""

from __future__ import annotations

from collections import deque
from dataclasses import replace

import numba
import numpy as np
from numpy.typing import NDArray

from inference.postprocess import MAX_STEP_MM, BoneLine

# Fascia that looks like bone in one image rarely does so in the next ones. Measured on record01 of
# UltraBones100k, 20 images per second, where networks as the shipped one had not seen the bone:
# without the points whose support is below `SUPPORTED` (0.5 % of them), those 2 mm or more off fall
# from 1.0 % to 0.6 % and the cloud's mean distance to CT by 4 %; on record03 and record04 nothing
# goes. The price: a new piece of bone counts some three images late, which moves the CT's mean
# distance to the cloud by 0 to 4 %. A network that errs more gains more: 4.3 % to 1.3 % once.
SUPPORTED = 0.35
_WINDOW_S = 0.5
_NEAR_MM = 3.0
# At 5 images per second the hand moves on so far in between that a line or two before bear out
# no more than chance does: points would go (up to 6 %), and the rest be no better.
_ENOUGH_LINES = 3
# More than any stream sends in the window; stamps that stand still keep no line for ever.
_MOST_LINES = 128


class LineSupport:
    """How far the lines of the last `window_s` agree with each new one. One thread; no latency.

    The support of a point is the share of those lines that pass within `near_mm` of it in the
    image, averaged over its fragment: a fragment stands or falls as one. Time alone decides what
    came before: carrying the lines over by their poses kept less of the bone.

    It is 1 until three lines with points came before: when a stream begins, after a gap, and where
    the probe is put on. Lines without points are no lines: air bears nothing out.
    """

    def __init__(self, window_s: float = _WINDOW_S, near_mm: float = _NEAR_MM) -> None:
        self.window_s = window_s
        self.near_mm = near_mm
        self._before: deque[tuple[float, NDArray[np.float64]]] = deque(maxlen=_MOST_LINES)

    def of(
        self, line: BoneLine, spacing_mm: tuple[float, float], t_s: float
    ) -> NDArray[np.float32]:
        """Support (N,) of a line seen at `t_s`, which then counts for those after it.

        Lines come in the order of time; after a step back in time nothing counts as seen before.
        """
        points_mm = line.points_px * spacing_mm
        if self._before and t_s < self._before[-1][0]:
            self._before.clear()
        while self._before and t_s - self._before[0][0] > self.window_s:
            self._before.popleft()
        if not len(points_mm):
            return np.ones(0, dtype=np.float32)
        by_u = np.argsort(points_mm[:, 0], kind="stable")  # as rays of a curved array may not run
        support = np.ones(len(points_mm))
        if len(self._before) >= _ENOUGH_LINES:
            others_mm = [other_mm for _, other_mm in self._before]
            ends = np.cumsum([len(other_mm) for other_mm in others_mm])
            n_near = count_near(points_mm[by_u], np.concatenate(others_mm), ends, self.near_mm)
            support[by_u] = n_near / len(others_mm)
        self._before.append((t_s, points_mm[by_u]))
        return _fragment_means(support, points_mm).astype(np.float32)

    def borne_out(self, line: BoneLine, spacing_mm: tuple[float, float], t_s: float) -> BoneLine:
        """The part of a line seen at `t_s` that is `SUPPORTED`; see `of`."""
        keep = self.of(line, spacing_mm, t_s) >= SUPPORTED
        if keep.all():
            return line
        return replace(
            line,
            points_px=line.points_px[keep],
            confidence=line.confidence[keep],
            peak=line.peak[keep],
        )


@numba.njit(nogil=True, cache=True)
def count_near(
    points_mm: NDArray[np.float64],
    others_mm: NDArray[np.float64],
    ends: NDArray[np.int64],
    near_mm: float,
) -> NDArray[np.int64]:
    """How many other lines come within a distance of each point, where they pass its u.

    Lines are sorted by u; `others_mm` holds them one after the other, line k up to `ends[k]`. Of
    each only the points just before and just after the point's u are looked at.
    """
    n_near = np.zeros(len(points_mm), dtype=np.int64)
    start = 0
    for end in ends:
        after = start
        for i in range(len(points_mm)):
            while after < end and others_mm[after, 0] < points_mm[i, 0]:
                after += 1
            for k in range(max(after - 1, start), min(after + 1, end)):
                u = others_mm[k, 0] - points_mm[i, 0]
                v = others_mm[k, 1] - points_mm[i, 1]
                if u * u + v * v <= near_mm * near_mm:
                    n_near[i] += 1
                    break
        start = end
    return n_near


def _fragment_means(
    values: NDArray[np.float64], points_mm: NDArray[np.float64]
) -> NDArray[np.float64]:
    is_new = (np.abs(np.diff(points_mm, axis=0)) > MAX_STEP_MM).any(axis=1)
    fragment = np.concatenate(([0], np.cumsum(is_new)))
    return (np.bincount(fragment, values) / np.bincount(fragment))[fragment]
