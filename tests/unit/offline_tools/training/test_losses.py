"""Loss terms against numbers worked out by hand, and where a label is empty."""

from __future__ import annotations

import math

import pytest

torch = pytest.importorskip("torch", reason="torch comes with the extra `train`")

from offline_tools.training.losses import (  # noqa: E402
    TERMS,
    dice_loss,
    jaccard_loss,
    loss_terms,
    skeleton_loss,
)


def logits_of(probability: float, *shape: int) -> torch.Tensor:
    return torch.full(shape, math.log(probability / (1.0 - probability)))


def test_terms_of_a_uniform_answer() -> None:
    """One half everywhere, bone on a quarter of 64 pixels: overlap 8, sums 32 and 16."""
    logits = torch.zeros(1, 1, 8, 8)
    target = torch.zeros(1, 1, 8, 8)
    target[..., :2, :] = 1.0
    found = loss_terms(logits, target, {"bce": 3.0, "dice": 1.0, "jaccard": 2.0, "skeleton": 0.1})
    assert found["bce"].item() == pytest.approx(3.0 * math.log(2.0))
    assert found["dice"].item() == pytest.approx(1.0 - 17.0 / 49.0)
    assert found["jaccard"].item() == pytest.approx(2.0 * (1.0 - 9.0 / 41.0))
    assert found["skeleton"].item() == pytest.approx(-0.1 * 0.5)


def test_skeleton_is_the_mean_over_images_of_what_is_found_on_the_line() -> None:
    """The published term: an image without a line counts and contributes 0, never NaN."""
    target = torch.zeros(3, 1, 4, 4)
    target[0, 0, 1], target[1, 0, 2, :2] = 1.0, 1.0
    target[0, 0, 2] = 0.5  # the soft edge of the band is not the line
    logits = torch.cat([logits_of(p, 1, 1, 4, 4) for p in (0.9, 0.3, 0.9)])
    assert skeleton_loss(logits, target).item() == pytest.approx(-(0.9 + 0.3 + 0.0) / 3)
    assert skeleton_loss(logits, torch.zeros_like(target)).item() == 0.0


@pytest.mark.parametrize("name", list(TERMS))
def test_a_batch_without_bone_has_a_finite_loss_and_slope(name: str) -> None:
    logits = torch.full((2, 1, 8, 8), -20.0, requires_grad=True)
    loss = TERMS[name](logits, torch.zeros(2, 1, 8, 8))
    assert loss.item() == pytest.approx(0.0, abs=1e-5)
    (slope,) = torch.autograd.grad(loss, logits, allow_unused=True)
    assert slope is not None
    assert bool(slope.isfinite().all())


def test_silence_on_an_empty_label_is_better_than_bone() -> None:
    empty, full = torch.full((2, 1, 8, 8), -20.0), torch.full((2, 1, 8, 8), 20.0)
    for loss in (dice_loss, jaccard_loss):
        assert loss(full, torch.zeros(2, 1, 8, 8)).item() == pytest.approx(1 - 1 / 129)
        assert loss(empty, torch.zeros(2, 1, 8, 8)).item() == pytest.approx(0.0, abs=1e-5)


@pytest.mark.parametrize("name", list(TERMS))
def test_right_answer_costs_less_than_its_mirror_image(name: str) -> None:
    target = torch.zeros(1, 1, 8, 8)
    target[..., :2, :] = 1.0
    logits = 20.0 * target - 10.0
    lowest = -1.0 if name == "skeleton" else 0.0
    assert TERMS[name](logits, target).item() == pytest.approx(lowest, abs=1e-2)
    assert TERMS[name](logits.flip(2), target).item() > lowest + 0.9


@pytest.mark.parametrize("name", list(TERMS))
def test_no_answer_costs_anything_where_the_target_is_left_open(name: str) -> None:
    target = torch.zeros(1, 2, 8, 8)
    target[:, 0, :2] = 1.0
    target[:, 1, 2:5] = 1.0
    weights = {name: 1.0}
    answers = [torch.zeros(1, 1, 8, 8) for _ in range(3)]
    answers[1][:, :, 2:5] = 9.0
    answers[2][:, :, 5:] = 9.0
    losses = [loss_terms(answer, target, weights)[name].item() for answer in answers]
    assert losses[1] == losses[0]
    if name != "skeleton":  # which looks at the line alone
        assert losses[2] > losses[0] + 0.05
    logits = answers[0].requires_grad_()
    (slope,) = torch.autograd.grad(loss_terms(logits, target, weights)[name], logits)
    assert not slope[:, :, 2:5].any()
    assert bool(slope[:, :, :2].all())
