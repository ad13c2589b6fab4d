"""Which image is seen when."""

from __future__ import annotations

import numpy as np
import pytest

from offline_tools.training.order import epoch_order, epoch_seed

NAMES = [*(f"specimen/record/{k}" for k in range(6)), *(f"simulated/1/{k}" for k in range(10))]


@pytest.mark.parametrize(
    ("weight", "n_simulated", "each"),
    [(1.0, 10, {1}), (0.25, 3, {0, 1}), (2.0, 20, {2}), (1.5, 15, {1, 2})],
)
def test_recorded_come_once_and_simulated_as_often_as_told(
    weight: float, n_simulated: int, each: set[int]
) -> None:
    counts = np.bincount(epoch_order(NAMES, weight, seed=0, epoch=1), minlength=16)
    assert counts[:6].tolist() == [1] * 6
    assert counts[6:].sum() == n_simulated
    assert set(counts[6:].tolist()) == each


def test_every_epoch_has_its_own_order_that_comes_again() -> None:
    first, again, next_one = (epoch_order(NAMES, 0.5, 3, epoch) for epoch in (1, 1, 2))
    assert first.tolist() == again.tolist()
    assert first.tolist() != next_one.tolist()
    assert set(first[first >= 6]) != set(next_one[next_one >= 6])  # drawn anew
    seeds = {epoch_seed(seed, epoch) for seed in range(20) for epoch in range(20)}
    assert len(seeds) == 400


def test_order_without_simulated_images_or_recorded_ones() -> None:
    assert sorted(epoch_order(NAMES[:6], 1.0, 0, 1)) == list(range(6))
    assert sorted(epoch_order(NAMES[6:], 1.0, 0, 1)) == list(range(10))
