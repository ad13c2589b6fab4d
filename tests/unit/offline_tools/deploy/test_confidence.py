"""From histograms of peaks to a rising map of few knots."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from offline_tools.deploy.confidence import MOST_KNOTS, fit_confidence
from offline_tools.errors import InputError

EDGES = np.linspace(0.0, 1.0, 51)
MIDDLES = 0.5 * (EDGES[:-1] + EDGES[1:])


def evaluation(n: Any, share: Any) -> dict[str, Any]:
    n = np.broadcast_to(n, 50).astype(int)
    right = np.rint(n * np.broadcast_to(share, 50)).astype(int)
    counts = {"edges": EDGES.tolist(), "n": n.tolist(), "n_within_0.5": right.tolist()}
    return {"peak": counts}


def one_bin(n: int, n_right: int) -> dict[str, Any]:
    return {"peak": {"edges": [0, 1], "n": [n], "n_within_0.5": [n_right]}}


def test_a_rising_truth_is_found_within_a_few_hundredths() -> None:
    truth = 0.2 + 0.7 * MIDDLES**2
    found = fit_confidence([evaluation(1000, truth)])
    assert len(found.peak) == MOST_KNOTS
    np.testing.assert_allclose(found(MIDDLES.astype(np.float32)), truth, atol=0.06)


def test_what_falls_is_pooled_by_its_weights() -> None:
    n, share = np.zeros(50), np.zeros(50)
    n[[20, 30, 40]] = 100, 300, 200
    share[[20, 30, 40]] = 0.6, 0.2, 0.9  # the first two: (60 + 60) / 400
    found = fit_confidence([evaluation(n, share)])
    assert found.observed == (0.3, 0.9)
    assert found.peak == pytest.approx((0.25 * 0.41 + 0.75 * 0.61, 0.81), abs=1e-4)


def test_folds_are_added_up() -> None:
    used = np.isin(np.arange(50), (20, 40))
    folds = [evaluation(100 * used, 0.2 + 0.4 * MIDDLES), evaluation(300 * used, MIDDLES)]
    found = fit_confidence(folds)
    assert found.peak == (0.41, 0.81)
    shares = [(round(100 * (0.2 + 0.4 * x)) + round(300 * x)) / 400 for x in found.peak]
    assert found.observed == pytest.approx(shares, abs=1e-4)


def test_isotonic_fit_equals_the_minimax_formula() -> None:
    """Fitted value of bin i: the largest, over starts j <= i, of the smallest weighted mean of bins
    j to k, over ends k >= i."""
    rng = np.random.default_rng(4)
    places = [3, 12, 21, 30, 39, 48]
    n, share = np.zeros(50), np.zeros(50)
    n[places], share[places] = rng.integers(50, 500, 6), rng.random(6)
    counts = evaluation(n, share)["peak"]
    weight, right = np.array(counts["n"])[places], np.array(counts["n_within_0.5"])[places]
    fitted = [
        max(
            min(right[j : k + 1].sum() / weight[j : k + 1].sum() for k in range(i, 6))
            for j in range(i + 1)
        )
        for i in range(6)
    ]
    found = fit_confidence([evaluation(n, share)])
    assert 1 < len(set(fitted)) < 6
    assert found.observed == pytest.approx(sorted(set(fitted)), abs=1e-4)


@pytest.mark.parametrize(
    ("evaluations", "text"),
    [
        ([], "none given"),
        ([{}], "confidence"),
        ([evaluation(3, 0.5)], "hold 150 points, expected at least 200"),
        ([evaluation(9, 0.5), one_bin(300, 300)], "bins differ"),
        ([one_bin(300, 301)], "counts do not fit"),
    ],
)
def test_what_cannot_be_fitted_is_refused(evaluations: list[dict[str, Any]], text: str) -> None:
    with pytest.raises(InputError, match=text):
        fit_confidence(evaluations)
