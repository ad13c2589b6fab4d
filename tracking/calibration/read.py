"""Read calibrations: our TOML, PLUS's XML, UltraBones100k's JSON.

Our TOML:

    [probe]
    A_probe_pixel = [[...], [...], [...], [...]]   # mm per pixel
    image_size_px = [640, 480]                     # optional
    roi_px = [0, 0, 640, 480]                      # optional: column, row, width, height
    [temporal]
    image_lag_s = 0.08                             # optional
    [registration]
    T_ct_reference = [[...], [...], [...], [...]]  # optional
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from tracking.calibration.probe import ProbeCalibration, Registration
from tracking.errors import CalibrationError, TransformError
from tracking.transforms import check_rigid, from_euler_xyz_deg

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
        raise CalibrationError(f"{path}: {error.args[0]} is missing") from None
    except (ValueError, TypeError, AttributeError, ElementTree.ParseError) as error:
        raise CalibrationError(f"{path}: cannot be read as a calibration: {error}") from None


def load_registration(path: Path) -> Registration:
    """T_ct_reference from the `[registration]` section of a TOML file.

    Raises
    ------
    CalibrationError : where the file or the section is missing, or the matrix is not rigid.
    """
    content = _read_bytes(path)
    try:
        matrix = tomllib.loads(content.decode())["registration"]["T_ct_reference"]
        T_ct_reference = check_rigid(matrix, f"{path}: registration.T_ct_reference")
    except KeyError as error:
        raise CalibrationError(
            f"{path}: {error.args[0]} is missing, expected [registration] with T_ct_reference"
        ) from None
    except TransformError as error:
        raise CalibrationError(str(error)) from None
    except (ValueError, TypeError, AttributeError) as error:
        raise CalibrationError(f"{path}: cannot be read as a registration: {error}") from None
    return Registration(T_ct_reference, path, hashlib.sha256(content).hexdigest())


def find_calibration(sweep: Path) -> Path | None:
    """The nearest calibration file in the sweep's folder or any folder above it."""
    folder = sweep.resolve()
    for parent in (folder, *folder.parents):
        for name in _FILE_NAMES:
            if (parent / name).is_file():
                return parent / name
    return None


def _from_toml(path: Path, content: bytes, sha256: str) -> ProbeCalibration:
    data = tomllib.loads(content.decode())
    probe = data["probe"]
    lag = data.get("temporal", {}).get("image_lag_s")
    return ProbeCalibration(
        A_probe_pixel=_matrix(probe["A_probe_pixel"]),
        source=path,
        sha256=sha256,
        image_size_px=_integers(probe.get("image_size_px"), 2, "image_size_px", at_least=1),  # type: ignore[arg-type]
        roi_px=_integers(probe.get("roi_px"), 4, "roi_px"),  # type: ignore[arg-type]
        image_lag_s=None if lag is None else float(lag),
        provenance={key: str(value) for key, value in data.get("provenance", {}).items()},
    )


def _from_plus_xml(path: Path, content: bytes, sha256: str) -> ProbeCalibration:
    """The transform Image to Probe of PLUS's `CoordinateDefinitions`, and its clip rectangle."""
    root = ElementTree.fromstring(content)
    for element in root.iter("Transform"):
        if element.get("From") == "Image" and element.get("To") == "Probe":
            numbers = [float(word) for word in element.get("Matrix", "").split()]
            if len(numbers) != 16:
                raise ValueError(f"Image to Probe has {len(numbers)} numbers, expected 16")
            provenance = {k: v for k in ("Date", "Error") if (v := element.get(k))}
            return ProbeCalibration(
                A_probe_pixel=_matrix(np.reshape(numbers, (4, 4))),
                source=path,
                sha256=sha256,
                roi_px=_plus_clip_rectangle(root),
                provenance=provenance,
            )
    raise KeyError("a Transform with From='Image' To='Probe'")


def _plus_clip_rectangle(root: ElementTree.Element) -> tuple[int, int, int, int] | None:
    """What PLUS's volume reconstruction takes of an image; a size of 0 0 there means all."""
    element = next(root.iter("VolumeReconstruction"), None)
    if element is None or element.get("ClipRectangleSize") is None:
        return None
    origin = element.get("ClipRectangleOrigin", "0 0").split()
    numbers = [float(word) for word in (*origin, *element.get("ClipRectangleSize", "").split())]
    if len(numbers) != 4 or not all(n >= 0.0 and n.is_integer() for n in numbers):
        raise ValueError(f"its clip rectangle is {numbers}, expected four whole numbers of pixels")
    column, row, width, height = (int(n) for n in numbers)
    return (column, row, width, height) if width and height else None


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
