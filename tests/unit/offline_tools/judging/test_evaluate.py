"""The judge itself: known lines give known scores."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from inference.contract import ModelContract
from inference.postprocess import BoneLine
from inference.segmenter import Segmentation
from offline_tools.datasets.images import LabelledImage
from offline_tools.errors import InputError
from offline_tools.judging import evaluate as module
from offline_tools.judging.evaluate import evaluate
from recon.section import VisibleLine

U = np.arange(100.0, 300.0)


def labelled() -> LabelledImage:
    """A flat bone on row 200, half of it at an incidence where bone is rarely seen."""
    return LabelledImage(
        name="flat",
        pixels=np.zeros((480, 640), dtype=np.uint8),
        spacing_mm=(0.1, 0.1),
        roi_px=None,
        line=VisibleLine(
            points_px=np.column_stack((U, np.full_like(U, 200.0))),
            incidence_rad=np.where(U < 200.0, 0.0, 1.2),
        ),
    )


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch, contract: ModelContract) -> list[np.ndarray]:
    """Lines that a stand-in for the network answers with, one per image."""
    answers: list[np.ndarray] = []

    class Scripted:
        session = type("Session", (), {"sha256": "0" * 64})
        replies: Iterator[np.ndarray]

        def __init__(self, *_: object) -> None:
            self.contract = contract
            self.replies = iter(answers)

        def segment(self, *_: object) -> Segmentation:
            points_px = next(self.replies)
            confidence = np.ones(len(points_px), dtype=np.float32)
            line = BoneLine(points_px, confidence, confidence)
            return Segmentation(line, np.zeros((1, 1), np.float32))

    monkeypatch.setattr(module, "Segmenter", Scripted)
    return answers


def test_scores_of_a_shifted_a_half_and_a_silent_answer(lines: list[np.ndarray]) -> None:
    shifted = np.column_stack((U, np.full_like(U, 203.0)))  # 0.3 mm deeper
    half = np.column_stack((U[:100], np.full(100, 200.0)))
    lines += [shifted, half, np.empty((0, 2))]
    found = evaluate(Path("m.onnx"), [labelled()] * 3)
    assert found["n_frames"] == 3
    assert found["n_empty_prediction"] == 1
    assert found["thresholds_mm"] == [0.25, 0.5, 1.0, 2.0]
    accuracy = found["per_frame_mean"]["accuracy"]
    np.testing.assert_allclose(accuracy, [1 / 3, 2 / 3, 2 / 3, 2 / 3])
    completeness = found["per_frame_mean"]["completeness"]
    # The half line comes within 0.25 mm of 2 more points, 0.5 mm of 4 (a distance equal to the
    # threshold is not below it), 1 mm of 9, 2 mm of 19.
    np.testing.assert_allclose(
        completeness, np.array([0 + 102, 200 + 104, 200 + 109, 200 + 119]) / 600, atol=0.002
    )
    np.testing.assert_allclose(found["pooled"]["accuracy"], [1 / 3, 1.0, 1.0, 1.0])
    assert found["completeness_at_1.0_incidence_le_60"] == pytest.approx(2 / 3)
    assert found["share_ge_2mm"] == 0.0
    assert found["line_to_label_mm"]["p95"] == pytest.approx(0.3)


def test_nothing_to_judge_is_refused(lines: list[np.ndarray]) -> None:
    with pytest.raises(InputError, match="no image"):
        evaluate(Path("m.onnx"), [])
