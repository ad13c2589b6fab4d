"""Calibration files are read by their format, checked once, and refused with the reason."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pytest
import tomli_w

from tracking.calibration import find_calibration, load_calibration, load_registration
from tracking.errors import CalibrationError
from tracking.transforms import from_rotation_vector

_SPACING_MM = (0.08, 0.09)


def _affine(skew_deg: float = 0.0) -> np.ndarray:
    A = from_rotation_vector((0.1, -0.2, 0.3), (5.0, -7.0, 90.0))
    shear = np.eye(4)
    shear[0, 1], shear[1, 1] = np.sin(np.radians(skew_deg)), np.cos(np.radians(skew_deg))
    return A @ shear @ np.diag((*_SPACING_MM, 1.0, 1.0))


def _write(path: Path, matrix: np.ndarray, **probe: object) -> Path:
    content = {"probe": {"A_probe_pixel": matrix.tolist(), **probe}}
    path.write_text(tomli_w.dumps(content))
    return path


def test_our_toml(tmp_path: Path) -> None:
    path = tmp_path / "calibration.toml"
    content = {
        "probe": {"A_probe_pixel": _affine().tolist(), "image_size_px": [640, 480]},
        "temporal": {"image_lag_s": 0.08},
        "registration": {"T_ct_reference": np.eye(4).tolist()},
    }
    path.write_text(tomli_w.dumps(content))
    calibration = load_calibration(path)
    np.testing.assert_allclose(calibration.A_probe_pixel, _affine())
    assert calibration.spacing_mm == pytest.approx(_SPACING_MM)
    assert calibration.image_size_px == (640, 480)
    assert calibration.image_lag_s == 0.08
    assert len(calibration.sha256) == 64
    np.testing.assert_array_equal(load_registration(path).T_ct_reference, np.eye(4))


def test_ultrabones_pixel_centre_lies_half_a_pixel_in(shared_data: Path) -> None:
    path = shared_data / "ultrabones" / "calibration.json"
    calibration = load_calibration(path)
    data = json.loads(path.read_text())
    corner = calibration.A_probe_pixel @ (-0.5, -0.5, 0.0, 1.0)
    np.testing.assert_allclose(corner[:3], data["t_probe_image_mm"], atol=1e-9)
    assert calibration.spacing_mm == pytest.approx((0.05392, 0.05392))
    assert calibration.roi_px == (0, 0, 936, 811)
    assert calibration.image_lag_s == 0.0


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ('ClipRectangleOrigin="10 20" ClipRectangleSize="300 200"', (10, 20, 300, 200)),
        ('ClipRectangleSize="300 200"', (0, 0, 300, 200)),
        ('ClipRectangleOrigin="10 20" ClipRectangleSize="0 0"', None),
        ("", None),
    ],
)
def test_the_clip_rectangle_of_plus_is_the_region_of_interest(
    tmp_path: Path, attributes: str, expected: tuple[int, ...] | None
) -> None:
    path = tmp_path / "config.xml"
    path.write_text(
        '<P><Transform From="Image" To="Probe" Matrix="0.1 0 0 0 0 0.1 0 0 0 0 0.1 0 0 0 0 1"/>'
        f"<VolumeReconstruction {attributes}/></P>"
    )
    assert load_calibration(path).roi_px == expected


def test_a_clip_rectangle_that_is_none_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "config.xml"
    path.write_text(
        '<P><Transform From="Image" To="Probe" Matrix="0.1 0 0 0 0 0.1 0 0 0 0 0.1 0 0 0 0 1"/>'
        '<VolumeReconstruction ClipRectangleSize="300"/></P>'
    )
    with pytest.raises(CalibrationError, match="clip rectangle"):
        load_calibration(path)


def test_plus_xml(shared_data: Path) -> None:
    calibration = load_calibration(shared_data / "plus" / "BoneUltrasound_L14_config.xml")
    assert calibration.A_probe_pixel.shape == (4, 4)
    assert all(0.05 < s < 0.3 for s in calibration.spacing_mm)


def test_the_nearest_file_above_the_sweep_is_found(record01: Path) -> None:
    found = find_calibration(record01)
    assert found is not None
    assert found.name == "calibration.json"


@pytest.mark.parametrize(
    ("matrix", "text"),
    [
        (_affine() * np.array([[1], [1], [1], [0.0]]), "bottom row"),
        (_affine() @ np.diag((1e-3, 1e-3, 1.0, 1.0)), "pixel spacing x is 8e-05 mm"),
        (_affine() @ np.diag((1.0, -1.0, 1.0, 1.0)), "mirrored"),
        (_affine(skew_deg=8.0), "8.0 degrees off"),
        (np.full((4, 4), np.nan), "not finite"),
    ],
)
def test_a_calibration_that_is_none_is_refused(
    tmp_path: Path, matrix: np.ndarray, text: str
) -> None:
    with pytest.raises(CalibrationError, match=text) as caught:
        load_calibration(_write(tmp_path / "c.toml", matrix))
    assert "c.toml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_measured_skew_is_kept_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Forcing SpinePhantom's 2.74 degrees rigid would move an image corner by a millimetre."""
    with caplog.at_level(logging.WARNING):
        calibration = load_calibration(_write(tmp_path / "c.toml", _affine(skew_deg=2.74)))
    np.testing.assert_allclose(calibration.A_probe_pixel, _affine(skew_deg=2.74))
    assert "2.74 degrees" in caplog.text


@pytest.mark.parametrize(
    ("name", "content", "text"),
    [
        ("c.toml", "[probe", "cannot be read"),
        ("c.toml", "[other]\n", "probe is missing"),
        ("c.toml", "probe = 3\n", "cannot be read"),
        ("c.toml", "[probe]\nA_probe_pixel = [1, 2]\n", "shape"),
        ("c.json", "{}", "image_size_px is missing"),
        ("c.json", "nothing", "cannot be read"),
        ("c.xml", "<a/>", "Image"),
        ("c.xml", "<a>", "cannot be read"),
        ("c.yaml", "", "expected a calibration"),
    ],
)
def test_broken_files_are_named(tmp_path: Path, name: str, content: str, text: str) -> None:
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(CalibrationError, match=text) as caught:
        load_calibration(path)
    assert name in str(caught.value)


@pytest.mark.parametrize(
    ("section", "text"),
    [
        ("[temporal]\nimage_lag_s = nan", "image_lag_s is nan"),
        ("[temporal]\nimage_lag_s = 80.0", "image_lag_s is 80.0, expected within"),
        ("[provenance]\n[[temporal]]\n", "cannot be read"),
    ],
)
def test_other_sections_are_checked_too(tmp_path: Path, section: str, text: str) -> None:
    path = _write(tmp_path / "c.toml", _affine())
    path.write_text(f"{path.read_text()}\n{section}\n")
    with pytest.raises(CalibrationError, match=text):
        load_calibration(path)


def test_an_image_without_pixels(tmp_path: Path) -> None:
    with pytest.raises(CalibrationError, match="whole numbers from 1 on"):
        load_calibration(_write(tmp_path / "c.toml", _affine(), image_size_px=[0, 480]))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CalibrationError, match=r"none.toml: cannot be read: No such file"):
        load_calibration(tmp_path / "none.toml")


def test_a_registration_with_scale_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "r.toml"
    matrix = (np.diag((0.001, 0.001, 0.001, 1.0))).tolist()
    path.write_text(tomli_w.dumps({"registration": {"T_ct_reference": matrix}}))
    with pytest.raises(CalibrationError, match="not rigid"):
        load_registration(path)
