"""Two evaluations side by side: differences by hand, a paired test against scipy's figures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import wilcoxon

from offline_tools.datasets.images import LabelledImage
from offline_tools.errors import InputError
from offline_tools.judging.compare import TESTED, compare
from offline_tools.judging.evaluate import judge, write_judgement
from tests.support.judging import NOTHING, Array, Script, flat

Make = Callable[..., LabelledImage]


@pytest.fixture
def judged(script: Script, labelled: Make, tmp_path: Path) -> Callable[..., Path]:
    """An evaluation of given answers, by name of the frame."""

    def write(name: str, answers: dict[str, Array], **more: object) -> Path:
        script.lines[:] = list(answers.values())
        judgement = judge(Path("m.onnx"), [labelled(frame, **more) for frame in answers])
        return write_judgement(judgement, tmp_path / name)

    return write


def parts(shares: list[float]) -> dict[str, Array]:
    """Lines on the label, each over a share of it."""
    return {f"f{k}": flat(200.0)[: int(200 * share)] for k, share in enumerate(shares)}


def test_differences_are_absolute_and_relative(judged: Callable[..., Path]) -> None:
    a = judged("a", {"x": flat(200.0)[:100], "y": NOTHING})
    b = judged("b", {"x": flat(200.0), "y": NOTHING})
    rows = {row.name: row for row in compare(a, b).differences}
    row = rows["completeness at 0.5 mm"]
    assert (row.a, row.b) == (pytest.approx(0.26), 0.5)
    assert row.absolute == pytest.approx(0.24)
    assert row.relative == pytest.approx(0.24 / 0.26)
    assert np.isnan(rows["share_ge_2mm"].relative)  # from 0 there is no relative change
    assert rows["f1 at 0.5 mm, high intensity"].relative == pytest.approx(0.0)


def test_paired_test_is_scipys_times_the_number_of_tests(judged: Callable[..., Path]) -> None:
    shares = np.linspace(0.3, 0.6, 24)
    a = judged("a", parts(list(shares)))
    b = judged("b", parts(list(shares + 0.1 + 0.1 * np.sin(np.arange(24)))))
    tests = {test.name: test for test in compare(a, b).tests}
    found = tests["f1_0.5"]
    assert found.n_frames == 24
    assert found.median_difference > 0.05
    assert found.p < 1e-3
    same = tests["accuracy_0.5"]  # all are 1: no difference at all
    assert (same.median_difference, same.p) == (0.0, 1.0)
    n = np.array([int(200 * share) for share in shares + 0.1 + 0.1 * np.sin(np.arange(24))])
    m = np.array([int(200 * share) for share in shares])
    completeness = np.minimum(n + 4, 200) - np.minimum(m + 4, 200)
    expected = min(1.0, wilcoxon(completeness / 200).pvalue * len(TESTED))
    assert tests["completeness_0.5"].p == pytest.approx(expected, rel=0.2)


def test_frames_of_one_alone_and_other_labels_are_told(judged: Callable[..., Path]) -> None:
    a = judged("a", parts([0.5] * 8))
    b = judged("b", parts([0.6] * 10), line_px=flat(201.0))
    found = compare(a, b)
    assert found.tests[0].n_frames == 8
    assert any("the labels differ" in warning for warning in found.warnings)
    assert any("2 frames are in one evaluation alone" in warning for warning in found.warnings)


def test_too_few_frames_have_no_p(judged: Callable[..., Path]) -> None:
    found = compare(judged("a", parts([0.5] * 5)), judged("b", parts([0.9] * 5)))
    assert all(np.isnan(test.p) for test in found.tests)


def test_nothing_in_common_is_refused(judged: Callable[..., Path], tmp_path: Path) -> None:
    a, b = judged("a", {"x": flat(200.0)}), judged("b", {"y": flat(200.0)})
    with pytest.raises(InputError, match="no frame in common"):
        compare(a, b)
    with pytest.raises(InputError, match="cannot be read as an evaluation"):
        compare(a, tmp_path / "none.json")
    (b.parent / "frames.csv").unlink()
    with pytest.raises(InputError, match="not a table of frames"):
        compare(a, b)
