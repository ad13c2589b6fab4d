"""Statistics of images whose numbers are known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from offline_tools.datasets.images import LabelledImage, images_of
from offline_tools.datasets.stats import dataset_stats, line_length_mm
from offline_tools.errors import InputError
from recon.section import VisibleLine
from tests.support.datasets import FakeSource


def test_length_follows_the_line_and_bridges_no_gap() -> None:
    flank = np.column_stack((np.arange(11.0), 2.0 * np.arange(11.0)))
    assert line_length_mm(flank, (0.3, 0.2)) == pytest.approx(10 * 0.5)
    other = flank + np.array((20.0, 0.0))  # 3 mm further across
    both = np.concatenate((flank, other))
    assert line_length_mm(both, (0.3, 0.2)) == pytest.approx(2 * 10 * 0.5)
    assert line_length_mm(flank[:1], (0.3, 0.2)) == 0.0
    assert line_length_mm(flank[:0], (0.3, 0.2)) == 0.0


def test_numbers_are_those_of_the_images() -> None:
    source = FakeSource(positions_mm=[0.0] * 3, problems=["a: no label"])
    found = dataset_stats([source], images_of([source]))
    assert (found["n_frames"], found["n_left_out"], found["donors"]) == (3, 1, ["F231091"])
    assert found["records"] == {"cadaver01_F231091/record01": 3}
    assert (found["image_size_px"], found["spacing_mm"]) == ([[96, 64]], [[0.1, 0.1]])
    assert found["grey"]["mean"] == pytest.approx(10.0)  # of 0, 10 and 20
    assert found["grey"]["std"] == pytest.approx(np.std((0, 10, 20)))
    assert found["grey"]["histogram"][:3] == pytest.approx([2 / 3, 1 / 3, 0.0])
    assert found["label_length_mm"]["median"] == pytest.approx(3.9)
    assert (found["label_depth_mm"]["min"], found["label_depth_mm"]["max"]) == (2.0, 2.2)
    assert found["columns_with_label"]["mean"] == pytest.approx(40 / 96)
    assert found["incidence"]["n"] == [120, 0, 0, 0, 0, 0, 0, 0, 0]
    assert (found["incidence"]["n_unknown"], found["n_without_bone"]) == (0, 0)


def test_unknown_incidence_and_missing_bone_are_counted() -> None:
    image = FakeSource(positions_mm=[0.0]).load(0)
    unknown = replace(image, line=VisibleLine(image.line.points_px, np.full(40, np.nan)))
    empty = replace(image, line=VisibleLine(np.empty((0, 2)), np.empty(0)))
    angles = VisibleLine(image.line.points_px[:2], np.radians((12.0, 84.0)))
    found = dataset_stats([], [unknown, empty, replace(image, line=angles)])
    assert found["incidence"]["n"] == [0, 1, 0, 0, 0, 0, 0, 0, 1]
    assert (found["incidence"]["n_unknown"], found["n_without_bone"]) == (40, 1)


def test_grey_values_are_those_of_the_region_of_interest() -> None:
    image: LabelledImage = FakeSource(positions_mm=[0.0]).load(0)
    image.pixels[:, 90:] = 255
    found = dataset_stats([], [replace(image, roi_px=(0, 0, 90, 64))])
    assert (found["grey"]["mean"], found["grey"]["max"]) == (0.0, 0)


def test_no_image_is_refused() -> None:
    with pytest.raises(InputError, match="no labelled image"):
        dataset_stats([], [])
