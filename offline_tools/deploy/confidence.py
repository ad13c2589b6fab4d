"""Confidence that means something: from a point's peak probability to the share that was right."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference.contract import ConfidenceMap
from offline_tools.errors import InputError

# With fewer points a bin's share is known no better than the 0.1 that it is held to.
FEWEST_POINTS = 200
MOST_KNOTS = 8

Array = NDArray[np.float64]


def fit_confidence(evaluations: Sequence[dict[str, Any]]) -> ConfidenceMap:
    """Isotonic regression of "within 0.5 mm of the label" on the peak, over all evaluations.

    The evaluations should be of images that their networks have not seen: one per fold. Their
    "peak" histograms are added up; pool-adjacent-violators makes the observed shares rise; the
    two neighbours that differ least are joined until `MOST_KNOTS` are left.

    Raises
    ------
    InputError : no such histograms, bins that differ, or fewer than `FEWEST_POINTS` points.

    Source: Barlow et al. 1972, Statistical inference under order restrictions.
    """
    peak, n_points, n_right = _added(evaluations)
    if n_points.sum() < FEWEST_POINTS:
        raise InputError(
            f"confidence: the evaluations hold {n_points.sum():.0f} points, expected at least "
            f"{FEWEST_POINTS}"
        )
    filled = n_points > 0
    blocks = np.column_stack((peak, n_right / np.maximum(n_points, 1), n_points))[filled]
    blocks = _joined(_rising(blocks), MOST_KNOTS)
    return ConfidenceMap(
        peak=tuple(round(float(x), 4) for x in blocks[:, 0]),
        observed=tuple(round(float(y), 4) for y in blocks[:, 1]),
    )


def _added(evaluations: Sequence[dict[str, Any]]) -> tuple[Array, Array, Array]:
    """Middle of each bin, number of points and number of right ones in it, over all evaluations."""
    try:
        parts = [evaluation["peak"] for evaluation in evaluations]
        edges = [np.array(part["edges"], dtype=np.float64) for part in parts]
        counts = [np.array((part["n"], part["n_within_0.5"]), dtype=np.float64) for part in parts]
        if not parts or any(not np.array_equal(edges[0], other) for other in edges):
            raise ValueError("their bins differ" if parts else "none given")
        n_points, n_right = np.sum(counts, axis=0)
        if n_points.shape != (edges[0].size - 1,) or (n_right > n_points).any():
            raise ValueError("counts do not fit their bins")
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"confidence: no usable histograms of peaks in the evaluations ({error}); expected "
            "evaluation.json of `offline-tools evaluate`"
        ) from None
    middles = 0.5 * (edges[0][:-1] + edges[0][1:])
    return middles, n_points, n_right


def _rising(blocks: Array) -> Array:
    """Pool neighbours, rows of (peak, share, weight), until no share is below the one before."""
    pooled: list[Array] = []
    for block in blocks:
        pooled.append(block)
        while len(pooled) > 1 and pooled[-1][1] <= pooled[-2][1]:
            pooled[-2:] = [_pool(pooled[-2], pooled[-1])]
    return np.array(pooled)


def _joined(blocks: Array, n_most: int) -> Array:
    """Pool the two neighbours that cost the least squared error until `n_most` are left."""
    while len(blocks) > n_most:
        weight = blocks[:-1, 2] * blocks[1:, 2] / (blocks[:-1, 2] + blocks[1:, 2])
        k = int(np.argmin(weight * np.diff(blocks[:, 1]) ** 2))
        blocks = np.vstack((blocks[:k], _pool(blocks[k], blocks[k + 1]), blocks[k + 2 :]))
    return blocks


def _pool(one: Array, other: Array) -> Array:
    weight = one[2] + other[2]
    return np.append((one[:2] * one[2] + other[:2] * other[2]) / weight, weight)
