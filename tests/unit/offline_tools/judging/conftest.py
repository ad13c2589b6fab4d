"""A stand-in for the network that answers with given lines, and a flat bone to be found."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from inference.contract import ModelContract
from inference.postprocess import BoneLine
from inference.segmenter import Segmentation
from offline_tools.datasets.images import LabelledImage
from offline_tools.judging import evaluate as module
from recon.section import VisibleLine
from tests.support.judging import Array, Script, flat


@pytest.fixture
def labelled() -> Callable[..., LabelledImage]:
    """A flat bone on row 200, 0.1 mm pixels: half of it bright and met at right angles, the other
    half dim and at an incidence where bone is rarely seen."""

    def make(name: str = "flat", line_px: Array | None = None, **more: object) -> LabelledImage:
        pixels = np.zeros((480, 640), dtype=np.uint8)
        pixels[:, :200], pixels[:, 200:] = 180, 60
        points_px = flat(200.0) if line_px is None else line_px
        incidence_rad = np.where(points_px[:, 0] < 200.0, 0.0, 1.2)
        line = VisibleLine(points_px, incidence_rad)
        return LabelledImage(name, pixels, (0.1, 0.1), None, line, **more)  # type: ignore[arg-type]

    return make


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch, contract: ModelContract) -> Script:
    answers = Script()

    class Scripted:
        session = type("Session", (), {"sha256": "0" * 64, "provider": "CPUExecutionProvider"})

        def __init__(self, *_: object) -> None:
            self.contract = contract
            self.replies = iter(answers.lines)

        def warm_up(self, _: object) -> None:
            pass

        def segment(self, *_: object) -> Segmentation:
            points_px = next(self.replies)
            confidence = np.full(len(points_px), answers.confidence, dtype=np.float32)
            peak = np.full(len(points_px), answers.peak, dtype=np.float32)
            line = BoneLine(points_px, confidence, peak)
            return Segmentation(line, np.zeros((1, 1), np.float32))

    monkeypatch.setattr(module, "Segmenter", Scripted)
    return answers
