"""Where labels come from, and what makes them unusable."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from offline_tools.datasets.labels import (
    ContourLabels,
    MaskLabels,
    mask_fault,
    mask_line_px,
    mask_paths,
)
from offline_tools.errors import InputError
from tests.support.datasets import SIZE_PX, mask, save


def test_line_of_a_mask_is_the_centre_of_the_first_run() -> None:
    pixels = np.zeros((10, 5), dtype=np.uint8)
    pixels[2:5, 0] = 255  # centre 3
    pixels[4:6, 1] = 255  # centre 4.5
    pixels[1, 3] = pixels[6:9, 3] = 255  # two runs: the first counts
    pixels[7:10, 4] = 255  # up to the last row
    np.testing.assert_array_equal(mask_line_px(pixels), [(0, 3), (1, 4.5), (3, 1), (4, 8)])


@pytest.mark.parametrize("seed", range(5))
def test_line_of_a_mask_agrees_with_a_plain_search(seed: int) -> None:
    pixels = (np.random.default_rng(seed).random((12, 40)) < 0.3).astype(np.uint8) * 255
    expected = []
    for u, column in enumerate(pixels.T.tolist()):
        if 255 in column:
            first = column.index(255)
            end = column.index(0, first) if 0 in column[first:] else len(column)
            expected.append((u, (first + end - 1) / 2))
    np.testing.assert_array_equal(mask_line_px(pixels), expected)


def test_masks_are_found_under_both_names(tmp_path: Path) -> None:
    for name in ("20_label.png", "3.png", "readme.png", "x_label.png"):
        save(tmp_path / name, mask(20))
    assert {k: p.name for k, p in mask_paths(tmp_path).items()} == {3: "3.png", 20: "20_label.png"}
    assert mask_paths(tmp_path / "none") == {}


def test_faults_of_masks_are_named(tmp_path: Path) -> None:
    path = tmp_path / "1_label.png"
    save(path, mask(20))
    assert mask_fault(path, SIZE_PX) is None
    assert mask_fault(path, (10, 10)) == "label is 96 x 64 pixels, its image 10 x 10"
    save(path, np.zeros((64, 96), dtype=np.uint8))
    assert mask_fault(path, SIZE_PX) == "label is empty"
    odd = mask(20)
    odd[0, :4] = (1, 7, 128, 254)
    save(path, odd)
    reason = "label has the values 1, 7, 128, ..., expected 0 and 255 alone"
    assert mask_fault(path, SIZE_PX) == reason
    Image.new("RGB", SIZE_PX).save(path)
    assert mask_fault(path, SIZE_PX) == "label's mode is RGB, expected 8-bit grey"
    path.write_bytes(path.read_bytes()[:60])
    assert (mask_fault(path, SIZE_PX) or "").startswith("label")
    path.write_text("no picture")
    assert (mask_fault(path, SIZE_PX) or "").startswith("label cannot be read")


def test_incidence_of_masks_is_not_known(tmp_path: Path) -> None:
    save(tmp_path / "5_label.png", mask(20))
    labels = MaskLabels(tmp_path)
    line = labels.line(5, SIZE_PX)
    np.testing.assert_array_equal(line.points_px[:, 1], np.full(40, 20.0))
    assert np.isnan(line.incidence_rad).all()
    assert labels.fault(6, SIZE_PX) == "no label"


def test_contours_keep_points_and_incidence(tmp_path: Path) -> None:
    path = tmp_path / "contours.npz"
    contour = np.array([(3, 10.25, 30, 0.5), (4, 11.5, 60, 0.25)], dtype=np.float32)
    outside = np.array([(3, 64, 0, 1)], dtype=np.float32)
    lost = np.array([(3, np.nan, 0, 1)], dtype=np.float32)
    np.savez(path, **{"7": contour, "8": contour[:0], "9": outside, "10": lost})
    labels = ContourLabels(path)
    line = labels.line(7, SIZE_PX)
    np.testing.assert_array_equal(line.points_px, [(3, 10.25), (4, 11.5)])
    np.testing.assert_allclose(np.degrees(line.incidence_rad), (30, 60))
    faults = [labels.fault(stamp_ms, SIZE_PX) for stamp_ms in (7, 8, 9, 10, 11)]
    leaves = "contour leaves the image of 96 x 64 pixels"
    assert faults == [None, "contour is empty", leaves, leaves, "no label"]


def test_broken_contours_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "contours.npz"
    path.write_text("not an archive")
    with pytest.raises(InputError, match=r"contours\.npz: cannot be read as contours"):
        ContourLabels(path)
    np.savez(path, **{"7": np.zeros((4, 2))})
    with pytest.raises(InputError, match=r"7 has shape \(4, 2\), expected \(N, 4\)"):
        ContourLabels(path)
