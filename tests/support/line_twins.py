"""Slow twins of the bone line's kernels, in plain numpy and Python."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

Run = tuple[float, float, float]  # centre, weight, peak


def runs_of(profile: NDArray[np.float64], threshold: float) -> list[Run]:
    """All runs of a profile, from its start on."""
    above = np.concatenate(([False], profile > threshold, [False]))
    edges = np.flatnonzero(np.diff(above.astype(int))).reshape(-1, 2)
    runs = []
    for start, stop in edges:
        excess = profile[start:stop] - threshold
        centre = np.average(np.arange(start, stop), weights=excess)
        runs.append((float(centre), float(excess.sum()), float(profile[start:stop].max())))
    return runs


def column_runs(
    probability: NDArray[np.float32], columns: NDArray[np.float64], threshold: float
) -> list[list[Run]]:
    """Runs of each column, in full precision."""
    n_columns = probability.shape[1]
    found = []
    for position in np.clip(columns, 0, n_columns - 1):
        left = min(int(position), n_columns - 2)
        pair = probability[:, left : left + 2].astype(np.float64)
        found.append(runs_of(pair @ (1 - (position - left), position - left), threshold))
    return found


def ray_runs(
    probability: NDArray[np.float32],
    apex: tuple[float, float],
    angles_rad: NDArray[np.float64],
    n_samples: int,
    threshold: float,
) -> list[list[Run]]:
    """Runs of each ray, every sample of it taken."""
    radii = np.arange(n_samples)
    found = []
    for angle in angles_rad:
        rows, columns = apex[1] + radii * np.cos(angle), apex[0] + radii * np.sin(angle)
        image = probability.astype(np.float64)
        profile = map_coordinates(image, (rows, columns), order=1, mode="nearest")
        is_outside = (np.abs(rows - 0.5 * (image.shape[0] - 1)) > 0.5 * image.shape[0]) | (
            np.abs(columns - 0.5 * (image.shape[1] - 1)) > 0.5 * image.shape[1]
        )
        found.append(runs_of(np.where(is_outside, 0.0, profile), threshold))
    return found


def link_runs(centres: list[list[float]], max_gap: float, max_step: float) -> list[list[int]]:
    """Fragment of each run: the nearest earlier end within reach, else a new one."""
    ends: list[tuple[int, float]] = []  # line and centre of each fragment's last run
    fragments: list[list[int]] = []
    for i, line in enumerate(centres):
        numbers = []
        for centre in line:
            near = [
                (abs(centre - end), -j)
                for j, (at, end) in enumerate(ends)
                if at < i and i - at <= max_gap and abs(centre - end) <= max_step
            ]
            if near:
                number = -min(near)[1]
                ends[number] = (i, centre)
            else:
                number = len(ends)
                ends.append((i, centre))
            numbers.append(number)
        fragments.append(numbers)
    return fragments


def choose_runs(
    runs: list[list[Run]],
    fragments: list[list[int]],
    narrowest: float,
    strong: float,
    is_first: bool,
) -> list[int]:
    """Chosen run of each line, -1 for none."""
    members: dict[int, list[tuple[int, Run]]] = {}
    for i, (line, numbers) in enumerate(zip(runs, fragments, strict=True)):
        for run, number in zip(line, numbers, strict=True):
            members.setdefault(number, []).append((i, run))

    def is_wide(lines: list[int]) -> bool:
        return max(lines) - min(lines) + 1 >= narrowest

    weight = {
        number: sum(run[1] for _, run in parts)
        for number, parts in members.items()
        if is_wide([i for i, _ in parts]) and max(run[2] for _, run in parts) > strong
    }
    chosen = []
    for numbers in fragments:
        left = [k for k, number in enumerate(numbers) if number in weight]
        heaviest = max(left, key=lambda k: weight[numbers[k]], default=-1)
        chosen.append((left[0] if left else -1) if is_first else heaviest)
    for number in weight:
        lines = [i for i, k in enumerate(chosen) if k >= 0 and fragments[i][k] == number]
        if lines and not is_wide(lines):
            for i in lines:
                chosen[i] = -1
    return chosen
