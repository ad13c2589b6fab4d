"""Each fault that is planted is found once, in one line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from offline_tools.datasets.check import check_data
from offline_tools.datasets.split import Split
from offline_tools.errors import InputError
from tests.support.datasets import mask, save, write_calibration, write_dataset


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_dataset(tmp_path, ("cadaver01_F231091", "cadaver05_S232132L"), n_records=2)
    return tmp_path


def test_good_dataset_has_no_fault(root: Path) -> None:
    report = check_data([root])
    assert report.faults == report.notes == []
    assert (report.n_records, report.n_images, report.n_labels, report.n_examples) == (
        4,
        12,
        12,
        12,
    )


def test_every_planted_fault_is_one_line(root: Path) -> None:
    first, second = (root / "cadaver01_F231091" / f"record0{k}" for k in (1, 2))
    third = root / "cadaver05_S232132L" / "record01"
    (first / "Labels" / "1000_label.png").unlink()
    (first / "UltrasoundImages" / "1050.png").unlink()
    save(first / "Labels" / "1100_label.png", mask(20)[:, :50])
    save(second / "Labels" / "1000_label.png", np.zeros_like(mask(20)))
    save(second / "Labels" / "1050_label.png", mask(20) // 2)
    (second / "Labels" / "1100_label.png").write_text("no picture")
    image = (third / "UltrasoundImages" / "1000.png").read_bytes()
    (third / "UltrasoundImages" / "1050.png").write_bytes(image)
    (third / "UltrasoundImages" / "1100.png").write_bytes(image[:200])
    report = check_data([root])
    assert (report.n_images, report.n_labels, report.n_examples) == (11, 11, 5)
    expected = [
        "cadaver01_F231091/record01/1000: no label",
        "cadaver01_F231091/record01/1050: no image",
        "cadaver01_F231091/record01/1100: label is 50 x 64 pixels, its image 96 x 64",
        "cadaver01_F231091/record02/1000: label is empty",
        "cadaver01_F231091/record02/1050: label has the values 127, expected 0 and 255 alone",
        "cadaver01_F231091/record02/1100: label cannot be read: ",
        "cadaver05_S232132L/record01/1050: shows exactly what "
        "cadaver05_S232132L/record01/1000 shows",
        "cadaver05_S232132L/record01/1100: image cannot be read: ",
    ]
    assert len(report.faults) == len(expected)
    for line, start in zip(report.faults, expected, strict=True):
        assert line.startswith(start)
        assert "\n" not in line


def test_broken_table_does_not_end_the_check(root: Path) -> None:
    (root / "cadaver01_F231091" / "record01" / "tracking.csv").write_text("timestamp\n1\n")
    report = check_data([root])
    (fault,) = report.faults
    assert "tracking.csv: column x, y, z" in fault
    assert (report.n_records, report.n_examples) == (4, 9)


def test_names_of_a_split_that_are_gone_are_faults(root: Path) -> None:
    subsets = {"train": ("cadaver01_F231091/record01/1000",), "val": (), "test": ("a/b/1",)}
    report = check_data([root], Split("donor", 0, subsets))
    assert report.faults == ["a/b/1: in the split, but no example in the data"]


def test_a_guard_band_that_is_not_kept_is_a_fault(tmp_path: Path) -> None:
    write_dataset(tmp_path, ("cadaver01_F231091",))
    write_calibration(tmp_path)
    names = [f"cadaver01_F231091/record01/{1000 + 50 * k}" for k in range(3)]
    subsets = {"train": (names[0],), "val": (), "test": (names[1],)}
    report = check_data([tmp_path], Split("anatomy", 0, subsets))
    (fault,) = report.faults
    assert fault == (
        f"split: {names[0]} trains and lies 1.0 mm along the bone from {names[1]} in test, "
        "expected a guard band of 3 mm"
    )


def test_labelled_records_are_right_where_labelling_rejected_an_image(root: Path) -> None:
    folder = root / "cadaver01_F231091" / "record01"
    contour = np.array([(30, 20, 10, 0.9)], dtype=np.float32)
    np.savez(folder / "contours.npz", **{"1050": contour, "1100": contour})
    rows = "1000,rejected,contour off the echo\n1050,labelled,\n1100,labelled,\n"
    (folder / "labels.csv").write_text(f"timestamp,status,reason\n{rows}")
    report = check_data([folder])
    assert report.faults == []
    assert (report.n_images, report.n_examples, report.n_decided) == (3, 2, 1)
    (folder / "Labels" / "1100_label.png").unlink()
    assert check_data([folder]).faults == ["cadaver01_F231091/record01/1100: no mask"]


def test_folder_without_a_record_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no record there"):
        check_data([tmp_path])
