"""The judge itself: known lines give known scores."""

from __future__ import annotations

import csv
import hashlib
import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from offline_tools.datasets.images import LabelledImage
from offline_tools.errors import InputError
from offline_tools.judging.cli import print_scores
from offline_tools.judging.evaluate import evaluate, judge, read_evaluation, write_judgement
from tests.support.judging import NOTHING, Script, U, flat

Make = Callable[..., LabelledImage]
AT_HALF, AT_ONE, AT_TWO = 5, 10, 20


def test_scores_of_a_shifted_a_half_and_a_silent_answer(script: Script, labelled: Make) -> None:
    script.lines += [flat(203.0), flat(200.0)[:100], NOTHING]  # 0.3 mm deeper; half; silence
    found = evaluate(Path("m.onnx"), [labelled()] * 3)
    assert (found["n_frames"], found["n_empty_prediction"], found["n_empty_label"]) == (3, 1, 0)
    assert found["thresholds_mm"] == [k / 10 for k in range(21)]
    accuracy = found["per_frame_mean"]["accuracy"]
    assert accuracy[0] == 0.0
    assert accuracy[3] == pytest.approx(1 / 3)  # 0.3 mm is not below 0.3 mm
    assert accuracy[4] == pytest.approx(2 / 3)
    # The half line comes within 0.5 mm of 4 more points (a distance equal to the threshold is not
    # below it), within 1 mm of 9, 2 mm of 19.
    completeness = np.array(found["per_frame_mean"]["completeness"])[[AT_HALF, AT_ONE, AT_TWO]]
    np.testing.assert_allclose(completeness, (304 / 600, 309 / 600, 319 / 600))
    np.testing.assert_allclose(found["pooled"]["accuracy"][3:5], (1 / 3, 1.0))
    assert found["completeness_at_1.0_incidence_le_60"] == pytest.approx(2 / 3)
    assert found["share_ge_2mm"] == 0.0
    assert found["line_to_label_mm"]["p95"] == pytest.approx(0.3)


def test_f1_is_the_mean_of_the_frames_and_its_tenth_percentile(
    script: Script, labelled: Make
) -> None:
    script.lines += [flat(200.0)] * 9 + [NOTHING] * 2
    found = evaluate(Path("m.onnx"), [labelled()] * 11)
    assert found["per_frame_mean"]["f1"][AT_HALF] == pytest.approx(9 / 11)
    assert found["pooled"]["f1"][AT_HALF] == pytest.approx(18 / 20)
    assert found["f1_at_0.5_p10"] == 0.0


def test_bright_and_dim_bone_are_told_apart_by_the_bone(script: Script, labelled: Make) -> None:
    script.lines.append(flat(200.0)[:100])  # the bright half alone
    found = evaluate(Path("m.onnx"), [labelled()])
    assert 60 < found["otsu_threshold"] <= 180
    high, low = found["by_intensity"]["high"], found["by_intensity"]["low"]
    assert high["per_frame_mean"]["f1"][AT_HALF] == 1.0
    assert low["pooled"]["accuracy"][AT_HALF] == 0.0  # silence there counts
    assert low["pooled"]["completeness"][AT_HALF] == pytest.approx(0.04)
    assert high["n_label_points"] == low["n_label_points"] == 100
    assert found["intensity_histogram"]["label"][60] == 100
    assert found["intensity_histogram"]["line"][180] == 100


def test_incidence_bins_hold_what_is_met_at_their_angles(script: Script, labelled: Make) -> None:
    script.lines.append(flat(200.0)[:100])
    found = evaluate(Path("m.onnx"), [labelled()])["by_incidence"]
    assert list(found) == ["0-30", "30-60", "60-75", "75-85"]
    assert [part["n_label_points"] for part in found.values()] == [100, 0, 100, 0]
    assert found["0-30"]["pooled"]["completeness"][AT_ONE] == 1.0
    assert found["60-75"]["pooled"]["completeness"][AT_ONE] == pytest.approx(0.09)
    assert found["30-60"]["per_frame_mean"] is None


def test_a_line_where_there_is_no_bone_is_wrong(script: Script, labelled: Make) -> None:
    script.lines += [flat(200.0), NOTHING]
    found = evaluate(Path("m.onnx"), [labelled(line_px=NOTHING)] * 2)
    assert found["n_empty_label"] == 2
    assert found["per_frame_mean"]["accuracy"][AT_HALF] == 0.5  # wrong, and rightly silent
    assert found["pooled"]["accuracy"][AT_TWO] == 0.0
    assert found["share_ge_2mm"] == 1.0
    assert found["completeness_at_1.0_incidence_le_60"] is None
    assert found["otsu_threshold"] is None
    assert found["line_to_label_mm"]["mean"] is None


def test_confidence_is_counted_in_bins(script: Script, labelled: Make) -> None:
    script.confidence, script.peak = 0.75, 0.95
    shifted = np.concatenate((flat(200.0)[:100], flat(210.0)[100:]))  # half of it 1 mm off
    script.lines.append(shifted)
    found = evaluate(Path("m.onnx"), [labelled()])
    for kind, index, gap in (("confidence", 37, 0.25), ("peak", 47, 0.45)):
        histogram = found[kind]
        assert len(histogram["edges"]) == 51
        assert (sum(histogram["n"]), histogram["n"][index]) == (200, 200)
        assert histogram["n_within_0.5"][index] == 100
        assert histogram["largest_gap"] == pytest.approx(gap)


def test_dice_of_the_same_line_is_one(script: Script, labelled: Make) -> None:
    script.lines += [flat(200.0), NOTHING]
    found = evaluate(Path("m.onnx"), [labelled()] * 2)
    assert (found["dice"], found["iou"]) == (0.5, 0.5)
    assert found["dice_pooled"] == pytest.approx(2 / 3)


def test_without_pose_or_surface_the_cloud_is_null_with_a_reason(
    script: Script, labelled: Make
) -> None:
    script.lines.append(flat(200.0))
    found = evaluate(Path("m.onnx"), [labelled()])
    assert found["cloud_to_ct_mm"] == {"raw": None, "refined_in_bone": None}
    assert "no image has a CT surface" in found["cloud_to_ct_reason"]["raw"]


def test_labels_are_known_by_their_hash(script: Script, labelled: Make) -> None:
    script.lines += [flat(200.0)] * 2
    expected = hashlib.sha256(flat(200.0).tobytes()).hexdigest()
    assert evaluate(Path("m.onnx"), [labelled()])["labels_sha256"] == expected
    assert evaluate(Path("m.onnx"), [labelled(line_px=flat(201.0))])["labels_sha256"] != expected


def test_files_hold_every_frame_and_every_threshold(
    script: Script, labelled: Make, tmp_path: Path
) -> None:
    script.lines += [flat(203.0), NOTHING]
    judgement = judge(Path("m.onnx"), [labelled("a"), labelled("b")])
    path = write_judgement(judgement, tmp_path / "judged")
    assert read_evaluation(path.parent) == json.loads(path.read_text())
    frames = list(csv.DictReader((path.parent / "frames.csv").read_text().splitlines()))
    assert [row["name"] for row in frames] == ["a", "b"]
    assert (frames[0]["n_points"], frames[0]["f1_0.5"]) == ("200", "1.00000")
    assert float(frames[0]["mean_to_label_mm"]) == pytest.approx(0.3)
    assert (frames[1]["f1_0.5"], frames[1]["mean_to_label_mm"]) == ("0.00000", "")
    curves = list(csv.DictReader((path.parent / "curves.csv").read_text().splitlines()))
    assert [float(row["threshold_mm"]) for row in curves] == [k / 10 for k in range(21)]
    assert float(curves[4]["all_per_frame_mean_f1"]) == 0.5
    assert float(curves[4]["high_pooled_completeness"]) == 0.5


def test_worst_frames_come_first(script: Script, labelled: Make) -> None:
    offsets = [0, 30, 4, 60, 8, *[0] * 10]  # tenths of a mm
    script.lines += [flat(200.0 + offset) for offset in offsets]
    judgement = judge(Path("m.onnx"), [labelled(str(k)) for k in range(len(offsets))])
    names = [kept.frame.name for kept in judgement.gallery.worst]
    assert names[:3] == ["1", "3", "4"]  # 1 and 3 score 0 everywhere: the earlier one first
    assert len(names) == len(set(names)) == 8
    assert len({kept.frame.name for kept in judgement.gallery.random}) == 8


@pytest.mark.parametrize(("line", "is_blind"), [(flat(203.0), False), (NOTHING, True)])
def test_a_network_that_finds_nothing_is_told(
    script: Script,
    labelled: Make,
    capsys: pytest.CaptureFixture[str],
    line: np.ndarray,
    is_blind: bool,
) -> None:
    script.lines += [NOTHING, line]
    print_scores(evaluate(Path("m.onnx"), [labelled("a"), labelled("b")]))
    assert ("warning: found bone in 0 of 2 images" in capsys.readouterr().out) is is_blind


def test_nothing_to_judge_is_refused(script: Script) -> None:
    with pytest.raises(InputError, match="no image"):
        evaluate(Path("m.onnx"), [])


def test_what_is_no_evaluation_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read as an evaluation"):
        read_evaluation(tmp_path)
    (tmp_path / "evaluation.json").write_text("[]")
    with pytest.raises(InputError, match="not an evaluation"):
        read_evaluation(tmp_path)


def test_latency_is_that_of_a_frame(script: Script, labelled: Make) -> None:
    script.lines += [flat(200.0, U)] * 3
    found = evaluate(Path("m.onnx"), [labelled()] * 3)["latency_ms"]
    assert 0.0 < found["p50"] <= found["p95"] < math.inf
