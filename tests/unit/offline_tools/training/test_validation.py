"""The score that chooses the best epoch: answers of known quality get known values."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch comes with the extra `train`")

from offline_tools.datasets.examples import Examples  # noqa: E402
from offline_tools.training.settings import TrainSettings  # noqa: E402
from offline_tools.training.validation import validate  # noqa: E402


class Says(torch.nn.Module):  # type: ignore[misc, name-defined]
    """Logits that are the image itself."""

    def forward(self, image: Any) -> Any:
        return image


def answered(drawn: Examples, down_px: int = 0, n_silent: int = 0) -> Examples:
    """Examples whose images are the answer: their target, some rows deeper; the first ones none."""
    logits = 20.0 * np.roll(drawn.targets, down_px, axis=2) - 10.0
    logits[:n_silent] = -10.0
    return replace(drawn, images=logits.astype(np.float32))


@pytest.mark.parametrize(
    ("down_px", "n_silent", "f1"),
    [(0, 0, (1.0, 1.0)), (2, 0, (1.0, 1.0)), (4, 0, (0.0, 1.0)), (6, 0, (0.0, 0.0)),
     (0, 3, (0.75, 0.75))],
)  # fmt: skip
def test_lines_within_the_threshold_count_and_silence_does_not(
    drawn: Examples,
    small_settings: TrainSettings,
    down_px: int,
    n_silent: int,
    f1: tuple[float, float],
) -> None:
    """One network pixel is 0.2 mm: 2 are within 0.5 mm, 4 within 1 mm, 6 within neither."""
    examples = answered(drawn, down_px, n_silent)
    loss, found = validate(Says(), examples, small_settings, torch.device("cpu"))
    assert found == pytest.approx(f1, abs=1e-6)
    is_right = down_px == n_silent == 0
    assert (loss < 0.3) is is_right  # the soft edge of the target costs a little


def test_an_image_without_bone_is_right_when_nothing_is_found(
    drawn: Examples, small_settings: TrainSettings
) -> None:
    empty = replace(
        drawn,
        targets=np.zeros_like(drawn.targets),
        lines=np.empty((0, 2)),
        line_ends=np.zeros(len(drawn) + 1, dtype=np.int64),
    )
    device = torch.device("cpu")
    assert validate(Says(), answered(empty), small_settings, device)[1] == (1.0, 1.0)
    bone = replace(empty, images=answered(drawn).images)
    assert validate(Says(), bone, small_settings, device)[1] == (0.0, 0.0)
