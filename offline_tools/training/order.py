"""Which image is seen when: a function of the seed and the epoch, so that nothing has to be saved.

The place in the order is the number of the epoch; a training that continues finds it again.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

SIMULATED_PREFIX = "simulated/"


def epoch_seed(seed: int, epoch: int) -> int:
    """For the random numbers of one epoch: neighbours share nothing."""
    return int(np.random.SeedSequence((seed, epoch)).generate_state(1, np.uint64)[0] >> 1)


def epoch_order(
    names: Sequence[str], simulated_weight: float, seed: int, epoch: int
) -> NDArray[np.int64]:
    """Indices of the images of an epoch, in the order in which they are seen.

    Recorded images come once. Simulated ones come `simulated_weight` times each: a whole number of
    times all of them, and of the rest a part drawn anew for every epoch.
    """
    rng = np.random.default_rng((seed, epoch))
    is_simulated = np.array([name.startswith(SIMULATED_PREFIX) for name in names], dtype=bool)
    simulated = np.flatnonzero(is_simulated)
    n_drawn = math.ceil(simulated_weight * len(simulated))
    n_whole, n_part = divmod(n_drawn, len(simulated)) if len(simulated) else (0, 0)
    part = rng.permutation(simulated)[:n_part]
    order = np.concatenate([np.flatnonzero(~is_simulated), *[simulated] * n_whole, part])
    return rng.permutation(order)
