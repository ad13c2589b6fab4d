"""Records of the published layout and of our own, as sources of labelled images."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from offline_tools.datasets.images import donor_of, images_of
from offline_tools.datasets.records import (
    find_records,
    open_record,
    open_records,
    record_companions,
)
from offline_tools.errors import InputError
from tests.support.datasets import (
    SIZE_PX,
    line_row,
    mask,
    save,
    write_calibration,
    write_dataset,
    write_record,
)
from tracking.errors import SequenceError


@pytest.mark.parametrize(
    ("specimen", "donor"),
    [
        ("cadaver01_F231091", "F231091"),
        ("cadaver05_S232132L", "S232132"),
        ("cadaver07_S232132R", "S232132"),
        ("cadaver13_S232110L", "S232110"),
        ("cadaver01_fibula", "cadaver01"),
        ("specimen_A", "specimen_A"),
        ("cadaver12", "cadaver12"),
    ],
)
def test_donor_is_the_same_for_both_legs(specimen: str, donor: str) -> None:
    assert donor_of(specimen) == donor


def test_published_tree_is_read_at_every_level(tmp_path: Path) -> None:
    root = tmp_path / "AI_Ultrasound_dataset"
    write_dataset(root, ("cadaver01_F231091", "cadaver05_S232132L"), n_records=2)
    records = open_records([root])
    assert [r.prefix for r in records] == [
        "cadaver01_F231091/record01",
        "cadaver01_F231091/record02",
        "cadaver05_S232132L/record01",
        "cadaver05_S232132L/record02",
    ]
    assert records[0].names == tuple(f"cadaver01_F231091/record01/{k}" for k in (1000, 1050, 1100))
    assert records[2].donor == "S232132"
    specimen = root / "cadaver01_F231091"
    assert find_records([specimen]) == find_records([specimen / "record02", specimen / "record01"])
    rows = [image.line.points_px[:, 1] for image in images_of(records[:1])]
    assert [set(row) for row in rows] == [{line_row(k)} for k in range(3)]
    assert records[0].spacing_mm == (0.1, 0.1)  # of the table: there is no calibration
    assert records[0].position_mm(0) is None


def test_frames_without_a_usable_label_are_left_out_with_the_reason(tmp_path: Path) -> None:
    folder = tmp_path / "cadaver01_F231091" / "record01"
    write_record(folder, n_images=8)
    images, labels = folder / "UltrasoundImages", folder / "Labels"
    (labels / "1000_label.png").unlink()
    save(labels / "1050_label.png", mask(20)[:, :80])
    save(labels / "1100_label.png", np.minimum(mask(20), 254))
    save(labels / "1150_label.png", np.zeros_like(mask(20)))
    save(labels / "999_label.png", mask(20))
    save(images / "2000.png", mask(20))
    Image.new("RGB", SIZE_PX).save(images / "1200.png")
    (images / "1250.png").write_text("no picture")
    record = open_record(folder)
    assert [name.rpartition("/")[2] for name in record.names] == ["1300", "1350"]
    problems = [line.removeprefix("cadaver01_F231091/record01/") for line in record.problems]
    assert problems[:-2] == [
        "999: no image",
        "1000: no label",
        "1050: label is 80 x 64 pixels, its image 96 x 64",
        "1100: label has the values 254, expected 0 and 255 alone",
        "1150: label is empty",
        "1200: image's mode is RGB, expected 8-bit grey",
    ]
    assert problems[-2].startswith("1250: image cannot be read")
    assert problems[-1] == "2000: no row in tracking.csv"


def test_record_without_any_label_is_refused(tmp_path: Path) -> None:
    write_record(tmp_path / "a" / "record01")
    for path in (tmp_path / "a" / "record01" / "Labels").iterdir():
        path.unlink()
    with pytest.raises(InputError, match=r"none of 3 images has a usable label .*: no label"):
        open_record(tmp_path / "a" / "record01")


def test_an_empty_set_of_masks_is_not_replaced_by_sections(tmp_path: Path) -> None:
    root = tmp_path / "tree"
    write_dataset(root, ("cadaver01_F231091",))
    write_calibration(root)
    labels = root / "cadaver01_F231091" / "record01" / "Labels"
    for path in labels.iterdir():
        path.unlink()
    with pytest.raises(
        InputError, match=r"none of 3 images has a usable label \(the first: no label"
    ):
        open_record(labels.parent)
    labels.rmdir()  # as in a record that was never labelled
    assert open_record(labels.parent).label_note == (
        "cadaver01_F231091/record01: no labels there, the section of the CT surface at original "
        "poses"
    )


def test_places_lie_along_the_bone_at_the_refined_pose(tmp_path: Path) -> None:
    write_dataset(tmp_path, ["cadaver01_F231091"])
    write_calibration(tmp_path)
    folder = tmp_path / "cadaver01_F231091" / "record01"
    write_record(folder, refined_by_mm=0.5)
    record = open_record(folder)
    np.testing.assert_allclose([record.position_mm(k) for k in range(3)], (0, 1, 2), atol=1e-6)
    image = record.load(1)
    assert image.A_ct_pixel is not None
    assert image.A_ct_pixel_refined is not None
    moved_mm = image.A_ct_pixel_refined[:3, 3] - image.A_ct_pixel[:3, 3]
    np.testing.assert_allclose(moved_mm, (0.5, 0.0, 0.0), atol=1e-9)
    assert image.roi_px == (0, 0, 90, 64)
    assert image.surface == folder.resolve().parent / "CT_bone_model.stl"


def test_sections_are_cut_at_the_poses_asked_for(tmp_path: Path) -> None:
    write_dataset(tmp_path, ["cadaver01_F231091"])
    write_calibration(tmp_path)
    folder = tmp_path / "cadaver01_F231091" / "record01"
    write_record(folder, refined_by_mm=2.0)
    recorded, refined = (
        open_record(folder, "section", poses) for poses in ("original", "optimized")
    )
    v_recorded, v_refined = (r.load(0).line.points_px[0, 1] for r in (recorded, refined))
    # A circle of 10 mm whose centre is 12 mm below row 0 of column 0, or 2 mm beside it.
    assert v_recorded == pytest.approx(20.0, abs=1.0)
    assert v_refined == pytest.approx((12.0 - np.sqrt(10.0**2 - 2.0**2)) / 0.1, abs=1.0)
    assert recorded.sha256 != refined.sha256
    write_record(folder)
    with pytest.raises(SequenceError, match=r"x_optimized, .* is missing"):
        open_record(folder, "section", "optimized")


def labelled_record(folder: Path) -> None:
    """A record as `offline-tools label` leaves it, in a folder of another name."""
    write_record(folder)
    contour = np.array([(30, 20.5, 10, 0.9), (31, 20.75, 12, 0.8)], dtype=np.float32)
    np.savez_compressed(folder / "contours.npz", **{"1050": contour, "1100": contour})
    table = "timestamp,status,reason\n1000,rejected,contour off the echo\n1050,labelled,\n"
    (folder / "labels.csv").write_text(table + "1100,labelled,\n")
    (folder / "label.json").write_text(json.dumps({"record": "cadaver05_S232132L/record07"}))


def test_labelled_record_is_named_by_its_summary_and_read_from_its_contours(
    tmp_path: Path,
) -> None:
    labelled_record(tmp_path / "out")
    record = open_record(tmp_path / "out")
    assert record.label_kind == "contours"
    assert record.donor == "S232132"
    assert record.names == ("cadaver05_S232132L/record07/1050", "cadaver05_S232132L/record07/1100")
    assert list(record.problems) == [
        "cadaver05_S232132L/record07/1000: rejected when labelled (contour off the echo)"
    ]
    np.testing.assert_array_equal(record.load(0).line.points_px, [(30, 20.5), (31, 20.75)])
    masks = open_record(tmp_path / "out", "masks")
    assert len(masks.load(0).line.points_px) == 40
    with pytest.raises(InputError, match="labels is 'best', expected one of auto, contours"):
        open_record(tmp_path / "out", "best")


def test_one_record_twice_is_refused(tmp_path: Path) -> None:
    for name in ("first", "second"):
        labelled_record(tmp_path / name)
    with pytest.raises(InputError, match=r"first are both cadaver05_S232132L/record07"):
        open_records([tmp_path])


def test_hash_changes_with_images_labels_and_nothing_else(tmp_path: Path) -> None:
    folder = tmp_path / "cadaver01_F231091" / "record01"
    write_record(folder)
    before = open_record(folder).sha256
    assert len(before) == 64
    assert open_record(folder).sha256 == before
    save(folder / "Labels" / "1050_label.png", mask(33))
    with_label = open_record(folder).sha256
    save(folder / "UltrasoundImages" / "1050.png", mask(33))
    assert len({before, with_label, open_record(folder).sha256}) == 3


def test_record_gives_images_with_the_section_of_the_ct(record01: Path) -> None:
    record = open_record(record01)
    labelled = record.load(0)
    assert labelled.pixels.shape == (811, 950)
    assert labelled.roi_px == (0, 0, 936, 811)
    assert len(labelled.line.points_px) > 100
    assert (np.diff(labelled.line.points_px[:, 0]) > 0).all()
    # The fibula's near side in the first image, as the authors drew it.
    assert 300 < labelled.line.points_px[:, 1].min() < 450
    assert record.position_mm(0) == pytest.approx(186.0, abs=2.0)  # the proximal end


def test_records_are_found_by_themselves_and_in_a_folder(record01: Path) -> None:
    names = ["record01", "record02", "record03", "record04"]
    assert find_records([record01]) == [record01]
    assert [r.name for r in find_records([record01.parent, record01])] == names
    assert [r.name for r in find_records([record01.parents[1]])] == names


def test_folder_without_records_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no record there, expected a folder with tracking\.csv"):
        find_records([tmp_path])


def test_record_without_calibration_or_surface_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no calibration\.json"):
        record_companions(tmp_path)
    (tmp_path / "calibration.json").write_text("{}")
    with pytest.raises(InputError, match=r"no CT_bone_model\.stl"):
        record_companions(tmp_path)
