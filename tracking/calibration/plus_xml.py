"""PLUS configuration files: coordinate definitions, read and written, and phantom geometry."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from tracking.errors import CalibrationError, TransformError
from tracking.messages import TransformName
from tracking.transforms import Matrix, check_affine
from tracking.whole_files import write_whole


@dataclass(frozen=True, slots=True)
class PlusTransform:
    """One entry of `CoordinateDefinitions`: (4, 4), mm (mm per pixel from Image), and what PLUS
    writes beside it."""

    matrix: Matrix
    error_mm: float | None = None
    date: str | None = None


@dataclass(frozen=True, slots=True)
class NWire:
    """Three wires of one N: the outer ones (0 and 2) parallel, the middle one slanting across.

    `front_mm` and `back_mm` are the wires' ends, (3, 3), frame `phantom`.
    """

    names: tuple[str, str, str]
    front_mm: NDArray[np.float64]
    back_mm: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Phantom:
    """A calibration phantom: its N-wires and its landmarks (L, 3), frame `phantom`, mm."""

    n_wires: tuple[NWire, ...]
    landmark_names: tuple[str, ...]
    landmarks_mm: NDArray[np.float64]


def parse_plus(path: Path, content: bytes | None = None) -> ElementTree.Element:
    """Root of an XML file.

    Raises
    ------
    CalibrationError : where it cannot be read.
    """
    try:
        return ElementTree.fromstring(path.read_bytes() if content is None else content)
    except OSError as error:
        raise CalibrationError(f"{path}: cannot be read: {error.strerror}") from None
    except ElementTree.ParseError as error:
        raise CalibrationError(f"{path}: cannot be read as XML: {error}") from None


def read_plus_clip_rectangle(
    path: Path, content: bytes | None = None
) -> tuple[int, int, int, int] | None:
    """What the volume reconstruction takes of an image: column, row, width, height in pixels.

    None where the file does not say, or says a size of 0 0, which means all.

    Raises
    ------
    CalibrationError : where the rectangle is none.
    """
    element = next(parse_plus(path, content).iter("VolumeReconstruction"), None)
    size = None if element is None else element.get("ClipRectangleSize")
    if element is None or size is None:
        return None
    words = (*element.get("ClipRectangleOrigin", "0 0").split(), *size.split())
    if len(words) != 4 or not all(word.isascii() and word.isdigit() for word in words):
        raise CalibrationError(
            f"{path}: the clip rectangle is {' '.join(words)}, expected four whole numbers"
        )
    column, row, width, height = (int(word) for word in words)
    return (column, row, width, height) if width and height else None


def read_plus_transforms(
    path: Path, content: bytes | None = None
) -> dict[TransformName, PlusTransform]:
    """Every `Transform` with From, To and Matrix; the last of a name counts, as in PLUS.

    Raises
    ------
    CalibrationError : naming the transform whose matrix is none.
    """
    transforms = {}
    for element in parse_plus(path, content).iter("Transform"):
        source, target = element.get("From"), element.get("To")
        if source is None or target is None or element.get("Matrix") is None:
            continue
        transforms[TransformName(source, target)] = _transform(path, element)
    return transforms


def write_plus_transforms(path: Path, transforms: Mapping[TransformName, PlusTransform]) -> None:
    """Put transforms into `CoordinateDefinitions`; all else in an existing file stays.

    Raises
    ------
    CalibrationError : where the file is there but no XML, or cannot be written.
    """
    root = parse_plus(path) if path.exists() else ElementTree.Element("PlusConfiguration")
    definitions = root.find("CoordinateDefinitions")
    if definitions is None:
        definitions = ElementTree.SubElement(root, "CoordinateDefinitions")
    for name, transform in transforms.items():
        for old in list(definitions):
            if (old.get("From"), old.get("To")) == (name.source, name.target):
                definitions.remove(old)
        element = ElementTree.SubElement(definitions, "Transform", _attributes(name, transform))
        element.tail = "\n    "
    try:
        write_whole(path, ElementTree.tostring(root))
    except OSError as error:
        raise CalibrationError(f"{path}: cannot be written: {error.strerror}") from None


def read_phantom(path: Path) -> Phantom:
    """The `PhantomDefinition` of a PLUS configuration.

    Raises
    ------
    CalibrationError : where there is none, or a wire or landmark is incomplete.
    """
    geometry = parse_plus(path).find(".//PhantomDefinition/Geometry")
    if geometry is None:
        raise CalibrationError(f"{path}: PhantomDefinition/Geometry is missing")
    landmarks = list(geometry.iterfind("Landmarks/Landmark"))
    positions = [_vector(path, landmark, "Position") for landmark in landmarks]
    return Phantom(
        n_wires=tuple(_n_wires(path, geometry)),
        landmark_names=tuple(landmark.get("Name", "") for landmark in landmarks),
        landmarks_mm=np.array(positions).reshape(-1, 3),
    )


def _n_wires(path: Path, geometry: ElementTree.Element) -> Iterator[NWire]:
    for pattern in geometry.iterfind("Pattern"):
        wires = list(pattern.iterfind("Wire"))
        if pattern.get("Type") != "NWire":
            continue
        if len(wires) != 3:
            raise CalibrationError(f"{path}: an N-wire has {len(wires)} wires, expected 3")
        first, middle, last = (wire.get("Name", "") for wire in wires)
        yield NWire(
            names=(first, middle, last),
            front_mm=np.array([_vector(path, wire, "EndPointFront") for wire in wires]),
            back_mm=np.array([_vector(path, wire, "EndPointBack") for wire in wires]),
        )


def _vector(path: Path, element: ElementTree.Element, key: str) -> NDArray[np.float64]:
    where = f"{path}: {element.get('Name', element.tag)} {key}"
    return _numbers(where, element.get(key, ""), 3)


def _numbers(where: str, text: str, n: int) -> NDArray[np.float64]:
    try:
        numbers = np.array([float(word) for word in text.split()])
    except ValueError as error:
        raise CalibrationError(f"{where}: {error}") from None
    if len(numbers) != n:
        raise CalibrationError(f"{where} has {len(numbers)} numbers, expected {n}")
    return numbers


def _transform(path: Path, element: ElementTree.Element) -> PlusTransform:
    where = f"{path}: {element.get('From')} to {element.get('To')}"
    try:
        matrix = check_affine(_numbers(where, element.get("Matrix", ""), 16).reshape(4, 4), where)
    except TransformError as error:
        raise CalibrationError(str(error)) from None
    error_text = element.get("Error")
    return PlusTransform(
        matrix,
        error_mm=float(_numbers(f"{where} Error", error_text, 1)[0]) if error_text else None,
        date=element.get("Date"),
    )


def _attributes(name: TransformName, transform: PlusTransform) -> dict[str, str]:
    rows = (" ".join(repr(float(value)) for value in row) for row in transform.matrix)
    attributes = {"From": name.source, "To": name.target, "Matrix": " ".join(rows)}
    if transform.error_mm is not None:
        attributes["Error"] = f"{transform.error_mm:.6g}"
    # PLUS's own form of a date
    attributes["Date"] = transform.date or datetime.now().strftime("%m%d%y_%H%M%S")
    return attributes
