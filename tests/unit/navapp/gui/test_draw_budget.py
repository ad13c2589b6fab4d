from __future__ import annotations

from navapp.gui.draw_budget import DrawBudget

_MILLION = 1_000_000


def _paint(budget: DrawBudget, duration_s: float, n_paints: int, n_points: int = _MILLION) -> None:
    for _ in range(n_paints):
        budget.note_paint(duration_s, n_points)


def test_short_paints_draw_every_point() -> None:
    budget = DrawBudget(target_s=0.03)
    _paint(budget, 0.02, 50)
    assert budget.stride == 1


def test_one_slow_paint_changes_nothing() -> None:
    budget = DrawBudget(target_s=0.03)
    for duration_s in (0.02, 0.5, 0.02, 0.5, 0.02):
        budget.note_paint(duration_s, _MILLION)
    assert budget.stride == 1


def test_slow_paints_thin_by_as_much_as_they_are_too_slow() -> None:
    budget = DrawBudget(target_s=0.03)
    _paint(budget, 0.10, 3)
    assert budget.stride == 4


def test_a_small_cloud_is_never_thinned() -> None:
    budget = DrawBudget(target_s=0.03)
    _paint(budget, 1.0, 100, n_points=30_000)
    assert budget.stride == 1


def test_it_settles_where_the_cost_follows_the_points() -> None:
    budget = DrawBudget(target_s=0.03)
    strides = []
    for _ in range(200):
        budget.note_paint(0.2 / budget.stride, _MILLION)
        strides.append(budget.stride)
    assert set(strides[20:]) == {8}


def test_fast_paints_bring_the_points_back() -> None:
    budget = DrawBudget(target_s=0.03)
    _paint(budget, 0.10, 3)
    _paint(budget, 0.005, 20)
    assert budget.stride == 1
