"""Sections with hash and provenance, PLUS's XML both ways, and use with the wrong images."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from tracking.calibration import (
    ProbeCalibration,
    load_calibration,
    load_phantom_placement,
    load_registration,
    load_stylus,
)
from tracking.calibration.plus_xml import (
    PlusTransform,
    read_phantom,
    read_plus_transforms,
    write_plus_transforms,
)
from tracking.calibration.residuals import Residuals
from tracking.calibration.sections import provenance, read_document, write_section
from tracking.errors import CalibrationError
from tracking.messages import TransformName
from tracking.transforms import from_rotation_vector

_IMAGE_TO_PROBE = TransformName("Image", "Probe")


def _affine() -> np.ndarray:
    T = from_rotation_vector((0.1, -0.2, 0.3), (5.0, -7.0, 90.0))
    return T @ np.diag((0.08, 0.09, 0.085, 1.0))


def test_sections_are_added_and_their_digits_kept(tmp_path: Path) -> None:
    path = tmp_path / "calibration.toml"
    source = tmp_path / "sweep.igs.mha"
    source.write_bytes(b"recorded")
    T_ct_reference = from_rotation_vector((0.3, 0.1, -0.9), (100.0 / 3.0, 2.0, 1e3))
    write_section(
        path,
        "probe",
        {
            "A_probe_pixel": _affine(),
            "image_size_px": (820, 616),
            "orientation": "MF",
            "depth_mm": 60.0,
            "roi_px": None,
            "provenance": provenance("N-wire", [source], 190),
        },
    )
    write_section(path, "registration", {"T_ct_reference": T_ct_reference})
    calibration = load_calibration(path)
    np.testing.assert_array_equal(calibration.A_probe_pixel, _affine())
    np.testing.assert_array_equal(load_registration(path).T_ct_reference, T_ct_reference)
    assert (calibration.orientation, calibration.depth_mm) == ("MF", 60.0)
    assert calibration.provenance["n_samples"] == "190"
    stored = read_document(path)["probe"]["provenance"]["sources"][0]
    assert stored["name"] == "sweep.igs.mha"
    assert stored["sha256"] == hashlib.sha256(b"recorded").hexdigest()
    assert not list(tmp_path.glob(".*"))


def test_a_number_changed_by_hand_is_found_out(tmp_path: Path) -> None:
    path = tmp_path / "calibration.toml"
    write_section(path, "temporal", {"image_lag_s": 0.0648})
    write_section(path, "probe", {"A_probe_pixel": _affine()})
    assert load_calibration(path).image_lag_s == 0.0648
    path.write_text(path.read_text().replace("0.0648", "0.0848"))
    with pytest.raises(CalibrationError, match=r"section \[temporal\] does not match its sha256"):
        load_calibration(path)


def test_plus_xml_is_written_and_read_back(tmp_path: Path, shared_data: Path) -> None:
    """What else the file holds stays, and an old entry of the same name is replaced."""
    source = shared_data / "plus" / "BoneUltrasound_L14_config.xml"
    path = tmp_path / "config.xml"
    path.write_bytes(source.read_bytes())
    write_plus_transforms(path, {_IMAGE_TO_PROBE: PlusTransform(_affine(), error_mm=0.5)})
    transforms = read_plus_transforms(path)
    np.testing.assert_array_equal(transforms[_IMAGE_TO_PROBE].matrix, _affine())
    assert transforms[_IMAGE_TO_PROBE].error_mm == 0.5
    assert path.read_text().count('To="Probe"') == 1
    assert "ScanConversion" in path.read_text()
    assert load_calibration(path).orientation == "MF"


def test_stylus_and_phantom_from_both_formats(tmp_path: Path, shared_data: Path) -> None:
    config = shared_data / "plus" / "PlusDeviceSet_fCal_Sim_SpatialCalibration_2.0.xml"
    T_stylus_tip, T_reference_phantom = load_stylus(config), load_phantom_placement(config)
    np.testing.assert_allclose(T_stylus_tip[:3, 3], (194.844, -13.2023, -6.13342))
    path = tmp_path / "c.toml"
    write_section(path, "stylus", {"T_stylus_tip": T_stylus_tip})
    write_section(path, "phantom", {"T_reference_phantom": T_reference_phantom})
    np.testing.assert_array_equal(load_stylus(path), T_stylus_tip)
    np.testing.assert_array_equal(load_phantom_placement(path), T_reference_phantom)
    with pytest.raises(CalibrationError, match="registration is missing"):
        load_registration(path)


def test_phantom_geometry(shared_data: Path) -> None:
    config = shared_data / "plus" / "PlusDeviceSet_fCal_Sim_RecordPhantomLandmarks.xml"
    phantom = read_phantom(config)
    assert [wire.names[1] for wire in phantom.n_wires] == ["8:L1_h1", "5:H3_l3", "2:L5_i5"]
    np.testing.assert_array_equal(phantom.n_wires[2].back_mm[1], (40.0, 40.0, 0.0))
    assert phantom.landmark_names == tuple(f"#{k}" for k in range(1, 9))
    np.testing.assert_array_equal(phantom.landmarks_mm[4], (-34.3, 45.0, 15.0))


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("<a><Transform From='Image' To='Probe' Matrix='1 2'/></a>", "has 2 numbers, expected 16"),
        ("<a><Transform From='Image' To='Probe' Matrix='x'/></a>", "could not convert"),
        ("<a>", "cannot be read as XML"),
    ],
)
def test_broken_xml_is_named(tmp_path: Path, content: str, text: str) -> None:
    path = tmp_path / "c.xml"
    path.write_text(content)
    with pytest.raises(CalibrationError, match=text):
        read_plus_transforms(path)


@pytest.mark.parametrize(
    ("image", "text"),
    [
        ({"image_size_px": (640, 480)}, "640x480 pixels, the calibration is for 820x616"),
        ({"orientation": "UFA"}, "orientation is UF, the calibration is for MF"),
        ({"spacing_mm": (0.1, 0.09)}, "spacing is 0.1000 x 0.0900 mm, the calibration's 0.0800"),
        ({"depth_mm": 50.0}, "depth is 50 mm, the calibration is for 60 mm"),
    ],
)
def test_use_with_other_images_is_refused(image: dict[str, object], text: str) -> None:
    calibration = ProbeCalibration(
        _affine(), Path("c.toml"), "", (820, 616), orientation="MF", depth_mm=60.0
    )
    misfit = calibration.misfit(**image)  # type: ignore[arg-type]
    assert misfit is not None
    assert text in misfit
    same = {
        "image_size_px": (820, 616), "spacing_mm": (0.08, 0.09), "orientation": "MFA",
        "depth_mm": 60.4,
    }  # fmt: skip
    assert calibration.misfit(**same) is None  # type: ignore[arg-type]
    assert calibration.misfit() is None


def test_residuals_hide_nothing() -> None:
    """PLUS drops the highest 5 % before it reports a mean."""
    residuals = Residuals.of([1.0] * 19 + [101.0])
    assert residuals.mean == 6.0
    assert residuals.max == 101.0
    assert residuals.rms == pytest.approx(np.sqrt((19 + 101.0**2) / 20))
    assert residuals.as_section("mm")["median_mm"] == 1.0


def test_the_example_of_the_documentation_is_one_that_is_read(tmp_path: Path) -> None:
    text = (Path(__file__).parents[4] / "docs" / "files.md").read_text(encoding="utf-8")
    path = tmp_path / "calibration.toml"
    path.write_text(text.split("```toml\n")[1].split("```")[0], encoding="utf-8")
    assert load_calibration(path).spacing_mm == pytest.approx((0.08, 0.085))
    assert load_registration(path).T_ct_reference[0, 3] == 240.0
