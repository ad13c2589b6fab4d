"""Read calibrations: our TOML, PLUS's XML, UltraBones100k's JSON.

Our TOML:

    [probe]
    A_probe_pixel = [[...], [...], [...], [...]]   # mm per pixel
    image_size_px = [640, 480]                     # optional
    roi_px = [0, 0, 640, 480]                      # optional: column, row, width, height
    orientation = "MF"                             # optional
    depth_mm = 60.0                                # optional
    [temporal]
    image_lag_s = 0.08                             # optional
    [registration]
    T_ct_reference = [[...], [...], [...], [...]]  # optional
    [stylus]
    T_stylus_tip = [[...], [...], [...], [...]]    # optional
    [phantom]
    T_reference_phantom = [[...], [...], [...], [...]]  # optional
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracking.calibration.plus_xml import read_plus_clip_rectangle, read_plus_transforms
from tracking.calibration.probe import ProbeCalibration, Registration
from tracking.calibration.sections import parse_document
from tracking.errors import CalibrationError, TransformError
from tracking.messages import TransformName
from tracking.transforms import Matrix, check_rigid, from_euler_xyz_deg

# UltraBones100k burns a scale bar and depth ticks into columns 936 and up of its 950x811 images.
_ULTRABONES_SIZE_PX = (950, 811)
_ULTRABONES_ROI_PX = (0, 0, 936, 811)

_FILE_NAMES = ("calibration.json", "calibration.toml")


def load_calibration(path: Path) -> ProbeCalibration:
    """The probe calibration in a `.toml`, `.xml` (PLUS) or `.json` (UltraBones100k) file.

    Raises
    ------
    CalibrationError : one line with the file, what is wrong and what was expected.
    """
    readers: dict[str, Callable[[Path, bytes, str], ProbeCalibration]] = {
        ".toml": _from_toml,
        ".xml": _from_plus_xml,
        ".json": _from_ultrabones_json,
    }
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise CalibrationError(f"{path}: expected a calibration in .toml, .xml (PLUS) or .json")
    content = _read_bytes(path)
    try:
        return reader(path, content, hashlib.sha256(content).hexdigest())
    except KeyError as error:
        raise CalibrationError(
            f"{path}: {error.args[0]} is missing, expected a probe calibration"
        ) from None
    except (ValueError, TypeError, AttributeError) as error:
        raise CalibrationError(f"{path}: cannot be read as a calibration: {error}") from None


def load_registration(path: Path) -> Registration:
    """T_ct_reference from the `[registration]` section of a TOML file.

    Raises
    ------
    CalibrationError : where the file or the section is missing, or the matrix is not rigid.
    """
    content = _read_bytes(path)
    T_ct_reference = _section_transform(path, content, "registration", "T_ct_reference")
    return Registration(T_ct_reference, path, hashlib.sha256(content).hexdigest())


def load_stylus(path: Path) -> Matrix:
    """T_stylus_tip, from `[stylus]` of our TOML or StylusTip to Stylus of a PLUS XML.

    Raises
    ------
    CalibrationError : where it is missing or not rigid.
    """
    return _load_transform(path, "stylus", "T_stylus_tip", TransformName("StylusTip", "Stylus"))


def load_phantom_placement(path: Path) -> Matrix:
    """T_reference_phantom, from `[phantom]` of our TOML or Phantom to Reference of a PLUS XML.

    Raises
    ------
    CalibrationError : where it is missing or not rigid.
    """
    name = TransformName("Phantom", "Reference")
    return _load_transform(path, "phantom", "T_reference_phantom", name)


def find_calibration(sweep: Path) -> Path | None:
    """The nearest calibration file in the sweep's folder or any folder above it."""
    folder = sweep.resolve()
    for parent in (folder, *folder.parents):
        for name in _FILE_NAMES:
            if (parent / name).is_file():
                return parent / name
    return None


def _from_toml(path: Path, content: bytes, sha256: str) -> ProbeCalibration:
    data = parse_document(path, content)
    probe = data["probe"]
    lag = data.get("temporal", {}).get("image_lag_s")
    orientation, depth_mm = probe.get("orientation"), probe.get("depth_mm")
    return ProbeCalibration(
        A_probe_pixel=_matrix(probe["A_probe_pixel"]),
        source=path,
        sha256=sha256,
        image_size_px=_integers(probe.get("image_size_px"), 2, "image_size_px", at_least=1),  # type: ignore[arg-type]
        roi_px=_integers(probe.get("roi_px"), 4, "roi_px"),  # type: ignore[arg-type]
        image_lag_s=None if lag is None else float(lag),
        orientation=None if orientation is None else str(orientation),
        depth_mm=None if depth_mm is None else float(depth_mm),
        provenance={key: str(value) for key, value in _provenance(data).items()},
    )


def _provenance(data: dict[str, Any]) -> dict[str, Any]:
    """The section's own; files written before sections had one hold it at the top."""
    return data["probe"].get("provenance") or data.get("provenance", {})


def _load_transform(path: Path, section: str, key: str, name: TransformName) -> Matrix:
    content = _read_bytes(path)
    if path.suffix.lower() != ".xml":
        return _section_transform(path, content, section, key)
    found = read_plus_transforms(path, content).get(name)
    if found is None:
        raise CalibrationError(
            f"{path}: a Transform with From={name.source!r} To={name.target!r} is missing"
        )
    return _checked_rigid(found.matrix, f"{path}: {name}")


def _section_transform(path: Path, content: bytes, section: str, key: str) -> Matrix:
    try:
        matrix = parse_document(path, content)[section][key]
    except KeyError as error:
        raise CalibrationError(
            f"{path}: {error.args[0]} is missing, expected [{section}] with {key}"
        ) from None
    except TypeError:
        raise CalibrationError(f"{path}: {section} is not a section") from None
    return _checked_rigid(matrix, f"{path}: {section}.{key}")


def _checked_rigid(matrix: Any, where: str) -> Matrix:
    try:
        return check_rigid(matrix, where)
    except TransformError as error:
        raise CalibrationError(str(error)) from None
    except (ValueError, TypeError) as error:
        raise CalibrationError(f"{where}: cannot be read as a matrix: {error}") from None


def _from_plus_xml(path: Path, content: bytes, sha256: str) -> ProbeCalibration:
    """The transform Image to Probe of PLUS's `CoordinateDefinitions`, and its clip rectangle."""
    found = read_plus_transforms(path, content).get(TransformName("Image", "Probe"))
    if found is None:
        raise KeyError("a Transform with From='Image' To='Probe'")
    provenance = {"Date": found.date, "Error": found.error_mm}
    return ProbeCalibration(
        found.matrix.copy(),
        path,
        sha256,
        roi_px=read_plus_clip_rectangle(path, content),
        orientation="MF",  # the orientation of every image in PLUS's memory
        provenance={key: str(value) for key, value in provenance.items() if value is not None},
    )


def _from_ultrabones_json(path: Path, content: bytes, sha256: str) -> ProbeCalibration:
    """Pixel (u, v) shows the point ((u + 0.5) sx, (v + 0.5) sy, 0) mm of the image plane."""
    data = json.loads(content)
    width, height = data["image_size_px"]
    sx, sy = data["pixel_spacing_mm"]
    T_probe_image = from_euler_xyz_deg(
        data["t_probe_image_mm"], data["euler_probe_image_deg_extrinsic_xyz"]
    )
    A_image_pixel = np.diag((sx, sy, 1.0, 1.0))
    A_image_pixel[:2, 3] = 0.5 * sx, 0.5 * sy
    size_px = (int(width), int(height))
    return ProbeCalibration(
        A_probe_pixel=T_probe_image @ A_image_pixel,
        source=path,
        sha256=sha256,
        image_size_px=size_px,
        roi_px=_ULTRABONES_ROI_PX if size_px == _ULTRABONES_SIZE_PX else None,
        image_lag_s=0.0,  # published poses are already synchronised with the images
        provenance={"source": str(data.get("source", ""))},
    )


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CalibrationError(f"{path}: cannot be read: {error.strerror}") from None


def _matrix(values: Any) -> NDArray[np.float64]:
    return np.array(values, dtype=np.float64)


def _integers(values: Any, n: int, name: str, at_least: int = 0) -> tuple[int, ...] | None:
    if values is None:
        return None
    if len(values) != n or not all(isinstance(v, int) and v >= at_least for v in values):
        raise ValueError(f"{name} is {values}, expected {n} whole numbers from {at_least} on")
    return tuple(values)
