"""Global search in a box: differential evolution, then Nelder-Mead, both on one thread."""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from offline_tools.labeling.objective import Problem, score

Array = NDArray[np.float64]

_N_PARAMETERS = 6
_CROSSOVER = 0.7  # share of the parameters taken from the mutant: scipy's default, as the authors'


@dataclass(frozen=True, slots=True)
class SearchBudget:
    """How long to look, in scores: n_population * (n_generations + 1) + n_polish.

    Half of it finds as good a value on nine frames of ten; the rest is for the tenth.
    """

    n_population: int = 40
    n_generations: int = 40
    n_polish: int = 200


def search(
    problem: Problem, start: Array, bound: float, budget: SearchBudget, seed: int
) -> tuple[Array, float]:
    """The best correction (6,) with every parameter within +-bound, and its score.

    `start` is in the population: the result is never worse. The same seed gives the same result.
    """
    rng = np.random.default_rng(seed)
    population = _latin_hypercube(rng, budget.n_population) * bound
    population[0] = np.clip(start, -bound, bound)
    best, _ = _evolve(problem, population, bound, budget.n_generations, rng)
    return _polish(problem, best, bound, budget.n_polish)


def _latin_hypercube(rng: np.random.Generator, n: int) -> Array:
    """n points in [-1, 1]^6, each parameter once in each n-th of its range."""
    places = rng.permuted(np.tile(np.arange(n), (_N_PARAMETERS, 1)), axis=1).T
    return 2.0 * (places + rng.uniform(size=places.shape)) / n - 1.0


@numba.njit(cache=True, nogil=True)
def _evolve(
    problem: Problem, population: Array, bound: float, n_generations: int, rng: np.random.Generator
) -> tuple[Array, float]:
    """Best1bin with a scale drawn anew in each generation; a better trial replaces at once.

    Source: Storn and Price 1997, as in scipy.optimize.differential_evolution.
    """
    n = population.shape[0]
    scores = np.empty(n)
    for i in range(n):
        scores[i] = score(problem, population[i])
    best = int(np.argmax(scores))
    trial = np.empty(_N_PARAMETERS)
    for _ in range(n_generations):
        scale = 0.5 + 0.5 * rng.random()
        for i in range(n):
            a, b = int(rng.random() * n), int(rng.random() * n)
            kept = int(rng.random() * _N_PARAMETERS)
            for k in range(_N_PARAMETERS):
                if k == kept or rng.random() < _CROSSOVER:
                    trial[k] = population[best, k] + scale * (population[a, k] - population[b, k])
                    if abs(trial[k]) > bound:
                        trial[k] = (2.0 * rng.random() - 1.0) * bound
                else:
                    trial[k] = population[i, k]
            found = score(problem, trial)
            if found >= scores[i]:
                population[i], scores[i] = trial, found
                if found > scores[best]:
                    best = i
    return population[best].copy(), scores[best]


@numba.njit(cache=True, nogil=True)
def _polish(problem: Problem, start: Array, bound: float, n_calls: int) -> tuple[Array, float]:
    """Nelder-Mead with points pulled back into the box, about `n_calls` scores long."""
    n = _N_PARAMETERS
    simplex = np.empty((n + 1, n))
    costs = np.empty(n + 1)
    for i in range(n + 1):
        simplex[i] = start
        if i > 0:  # towards the inside, so that no edge of the simplex is lost at a bound
            simplex[i, i - 1] -= np.copysign(0.08 * bound, start[i - 1])
        costs[i] = -score(problem, simplex[i])
    used = n + 1
    while used < n_calls:
        order = np.argsort(costs)
        simplex, costs = simplex[order], costs[order]
        centre = np.zeros(n)
        for i in range(n):
            centre += simplex[i] / n
        reflected = _within(2.0 * centre - simplex[n], bound)
        cost = -score(problem, reflected)
        used += 1
        if cost < costs[0]:
            expanded = _within(3.0 * centre - 2.0 * simplex[n], bound)
            cost_expanded = -score(problem, expanded)
            used += 1
            if cost_expanded < cost:
                simplex[n], costs[n] = expanded, cost_expanded
            else:
                simplex[n], costs[n] = reflected, cost
            continue
        if cost < costs[n - 1]:
            simplex[n], costs[n] = reflected, cost
            continue
        towards = reflected if cost < costs[n] else simplex[n]
        contracted = 0.5 * (centre + towards)
        cost_contracted = -score(problem, contracted)
        used += 1
        if cost_contracted < min(cost, costs[n]):
            simplex[n], costs[n] = contracted, cost_contracted
            continue
        for i in range(1, n + 1):
            simplex[i] = 0.5 * (simplex[0] + simplex[i])
            costs[i] = -score(problem, simplex[i])
        used += n
    best = np.argmin(costs)
    return simplex[best].copy(), -costs[best]


@numba.njit(cache=True, nogil=True)
def _within(point: Array, bound: float) -> Array:
    return np.minimum(np.maximum(point, -bound), bound)
