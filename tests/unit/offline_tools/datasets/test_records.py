"""Labelled images and the targets made from them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from inference.contract import ModelContract
from inference.postprocess import bone_line
from inference.preprocess import InputPlan
from offline_tools.datasets.records import (
    find_records,
    make_example,
    read_record,
    record_companions,
    record_sha256,
    simulated_images,
    target_band,
)
from offline_tools.errors import InputError


@pytest.fixture
def plan(contract: ModelContract) -> InputPlan:
    return InputPlan.for_image(contract, (640, 480), (0.08, 0.08), (100, 0, 400, 480))


def test_band_is_three_pixels_wide_around_the_line(plan: InputPlan) -> None:
    row = 90.0
    v = plan.pixel_from_network(np.array([(0.0, row)]))[0, 1]
    u = np.arange(150.0, 450.0)
    target = target_band(np.column_stack((u, np.full_like(u, v))), plan)
    column = int(plan.network_from_pixel(np.array([(300.0, v)]))[0, 0])
    np.testing.assert_allclose(target[87:94, column], [0, 0, 1, 1, 1, 0, 0], atol=0.02)
    assert target[:, :60].max() == 0.0


def test_band_and_bone_line_are_inverse(plan: InputPlan) -> None:
    u = np.arange(150.0, 450.0)
    line_px = np.column_stack((u, 200.0 + 40.0 * np.sin(u / 60.0)))
    found = bone_line(target_band(line_px, plan), plan, 0.5).points_px
    inner = found[(found[:, 0] > 155) & (found[:, 0] < 445)]
    v = np.interp(inner[:, 0], line_px[:, 0], line_px[:, 1])
    assert len(inner) == 289
    assert np.abs(inner[:, 1] - v).max() * 0.08 < 0.05  # mm


def test_two_bones_are_not_joined(plan: InputPlan) -> None:
    u = np.arange(150.0, 450.0)
    v = np.where(u < 300.0, 120.0, 300.0)
    target = target_band(np.column_stack((u, v)), plan)
    assert target[65:110].max() == 0.0  # between them


def test_points_outside_the_region_are_left_out(plan: InputPlan) -> None:
    line_px = np.array([(50.0, 100.0), (620.0, 100.0)])
    assert target_band(line_px, plan).max() == 0.0
    assert target_band(np.empty((0, 2)), plan).max() == 0.0


def test_simulated_images_are_repeatable_and_differ_by_seed(contract: ModelContract) -> None:
    first, again = (next(simulated_images(700, 1)) for _ in range(2))
    other = next(simulated_images(701, 1))
    np.testing.assert_array_equal(first.pixels, again.pixels)
    assert (first.pixels != other.pixels).mean() > 0.3
    example = make_example(first, contract)
    assert example.image.shape == example.target.shape == (224, 256)
    assert 0.001 < example.target.mean() < 0.05
    assert example.target.max() == pytest.approx(1.0, abs=0.01)


def test_record_gives_images_with_the_section_of_the_ct(record01: Path) -> None:
    labelled = next(read_record(record01))
    assert labelled.pixels.shape == (811, 950)
    assert labelled.roi_px == (0, 0, 936, 811)
    assert len(labelled.line.points_px) > 100
    assert (np.diff(labelled.line.points_px[:, 0]) > 0).all()
    # The fibula's near side in the first image, as the authors drew it.
    assert 300 < labelled.line.points_px[:, 1].min() < 450


def test_records_are_found_by_themselves_and_in_a_folder(record01: Path) -> None:
    assert find_records([record01]) == [record01]
    assert [r.name for r in find_records([record01.parent, record01])] == [
        "record01",
        "record02",
        "record03",
        "record04",
    ]


def test_hash_changes_with_the_data(record01: Path, tmp_path: Path) -> None:
    before = record_sha256(record01)
    copy = tmp_path / "record"
    (copy / "UltrasoundImages").mkdir(parents=True)
    for path in (record01 / "tracking.csv", *record_companions(record01)):
        (copy / path.name).write_bytes(path.read_bytes())
    assert len(before) == 64
    assert record_sha256(copy) != before


def test_folder_without_records_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no record there, expected a folder with tracking\.csv"):
        find_records([tmp_path])


def test_record_without_calibration_or_surface_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no calibration\.json"):
        record_companions(tmp_path)
    (tmp_path / "calibration.json").write_text("{}")
    with pytest.raises(InputError, match=r"no CT_bone_model\.stl"):
        record_companions(tmp_path)
