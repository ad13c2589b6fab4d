"""Examples that cost nothing to make: a bright line on grey, with its own label."""

from __future__ import annotations

import numpy as np

from offline_tools.datasets.examples import Examples

SIZE_PX = (64, 96)


def drawn_examples(n: int, seed: int = 0) -> Examples:
    """Images whose every third is named as a simulated one. The line rises or falls."""
    rng = np.random.default_rng(seed)
    rows, columns = SIZE_PX
    u = np.arange(columns, dtype=np.float64)
    row = np.arange(rows)[:, None]
    images, targets, lines = [], [], []
    for _ in range(n):
        v = rng.uniform(15, 45) + rng.uniform(-0.15, 0.15) * (u - columns / 2)
        distance = np.abs(row - v)
        grey = 0.25 + 0.6 * np.exp(-0.5 * (distance / 1.5) ** 2) - 0.2 * (row > v + 4)
        images.append(np.clip(grey + 0.05 * rng.standard_normal(grey.shape), 0, 1))
        targets.append(np.clip(2.0 - distance, 0.0, 1.0))
        lines.append(np.column_stack((u, v)))
    kinds = ("specimen/record", "specimen/record", "simulated")
    return Examples(
        names=tuple(f"{kinds[k % 3]}/{k}" for k in range(n)),
        images=np.stack(images)[:, None].astype(np.float32),
        targets=np.stack(targets)[:, None].astype(np.float32),
        lines=np.concatenate(lines),
        line_ends=np.arange(n + 1) * columns,
        network_spacing_mm=np.full(n, 0.2),
    )
