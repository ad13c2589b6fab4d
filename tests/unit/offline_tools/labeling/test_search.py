"""The search keeps its promises: in bounds, never worse than its start, repeatable, good."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import differential_evolution

from offline_tools.labeling.objective import score
from offline_tools.labeling.refine import RefineSettings, default_settings, frame_problem, refine
from offline_tools.labeling.search import SearchBudget, search
from offline_tools.labeling.values import Objective
from tests.support.bones import simulated_frame, tube

ERROR = np.array((0.35, -0.3, 0.2, 0.3, -0.25, 0.3))


@pytest.fixture(scope="module")
def problems(simulated):
    frames = [simulated_frame(simulated, index, ERROR) for index in range(simulated.n_images)]
    return [frame_problem(simulated.mesh, frame, RefineSettings()) for frame in frames]


def test_never_leaves_the_box_and_never_below_its_start(problems) -> None:
    for seed, problem in enumerate(problems):
        found, value = search(problem, np.zeros(6), 0.3, SearchBudget(12, 6, 40), seed)
        assert np.abs(found).max() <= 0.3
        assert value >= score(problem, np.zeros(6))
        assert value == score(problem, found)


def test_same_seed_same_result(problems) -> None:
    once = search(problems[0], np.zeros(6), 1.0, SearchBudget(), 4)
    again = search(problems[0], np.zeros(6), 1.0, SearchBudget(), 4)
    other = search(problems[0], np.zeros(6), 1.0, SearchBudget(), 5)
    np.testing.assert_array_equal(once[0], again[0])
    assert np.abs(once[0] - other[0]).max() > 0.0


def test_at_least_as_good_as_scipy_at_the_papers_budget(problems) -> None:
    for problem in problems[:2]:
        _, ours = search(problem, np.zeros(6), 1.0, SearchBudget(), 0)
        theirs = differential_evolution(
            lambda x, problem=problem: -score(problem, x),
            [(-1.0, 1.0)] * 6,
            maxiter=30,
            tol=0.05,
            polish=True,
            rng=0,
            x0=np.zeros(6),
        )
        assert ours >= -theirs.fun * (1.0 - 1e-3)


def test_two_frames_get_two_corrections(simulated) -> None:
    errors = (ERROR, -ERROR)
    settings = default_settings(Objective.MEAN)
    frames = [simulated_frame(simulated, k, error) for k, error in enumerate(errors)]
    found = [refine(simulated.mesh, frame, settings, n_starts=1)[0] for frame in frames]
    assert np.linalg.norm(found[0].correction - found[1].correction) > 0.3


def test_bounds_that_stop_a_parameter_are_named(ring_frame) -> None:
    """The bone is 1.5 mm too deep: the probe cannot be moved that far with small rotations."""
    mesh = tube(6.0)
    deeper = tube(6.0).vertices_mm + np.array((0.0, 3.0, 0.0))
    result = refine(
        type(mesh)(deeper, mesh.faces), ring_frame, RefineSettings(weight=0.0, reach_mm=6.0)
    )[0]
    assert result.at_bound
    assert np.abs(result.correction).max() <= 1.0


def test_belief_is_where_the_search_starts_and_what_it_pays_for_leaving(ring_frame) -> None:
    believed = np.array((0.3, 0.0, 0.4, 0.2, -0.1, 0.0))
    stiff = refine(tube(6.0), ring_frame, RefineSettings(weight=1e9), believed=believed)[0]
    np.testing.assert_allclose(stiff.correction, believed, atol=1e-5)
    alone = refine(tube(6.0), ring_frame, RefineSettings(weight=1e9))[0]
    np.testing.assert_allclose(alone.correction, np.zeros(6), atol=1e-5)
