"""Volumes to MetaImage (`.mha`) and NRRD (`.nrrd`) files, pixels as they are.

Both say that x, y, z run to the left, back and head, as PLUS writes its volumes (MetaImage names
the opposite ends, RAI): so 3D Slicer shows both at the same place, with no axis turned over. For
the frame of a tracked reference this is a convention, not anatomy.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from recon.errors import ReconError
from recon.volume import VolumeGrid
from tracking.sequences.written import new_file

SUFFIXES = (".mha", ".nrrd")


def check_volume_name(path: Path) -> None:
    """Before the work is done.

    Raises
    ------
    ReconError : if the suffix is none that can be written.
    """
    if path.suffix.lower() not in SUFFIXES:
        expected = " or ".join(SUFFIXES)
        raise ReconError(f"volume {path}: suffix is {path.suffix!r}, expected {expected}")


def write_volume(path: Path, grey: NDArray[np.uint8], grid: VolumeGrid, frame: str) -> None:
    """A volume as a file by the suffix of `path`; one of that name is replaced.

    Parameters
    ----------
    grey : (z, y, x), of the grid's size
    frame : where the grid lies ("ct" or "reference"), kept in the header

    Raises
    ------
    ReconError : if the suffix is another one.
    WriteError : if the file cannot be written; an old one then stays.
    """
    check_volume_name(path)
    head = _mha_head if path.suffix.lower() == ".mha" else _nrrd_head
    with new_file(path, replaces=True) as file:
        file.write(head(grid, frame).encode("ascii"))
        file.write(np.ascontiguousarray(grey).data)


def _mha_head(grid: VolumeGrid, frame: str) -> str:
    step = repr(grid.spacing_mm)
    return (
        "ObjectType = Image\nNDims = 3\nBinaryData = True\nBinaryDataByteOrderMSB = False\n"
        "CompressedData = False\nTransformMatrix = 1 0 0 0 1 0 0 0 1\n"
        f"Offset = {_words(grid.origin_mm)}\nCenterOfRotation = 0 0 0\n"
        f"AnatomicalOrientation = RAI\nElementSpacing = {step} {step} {step}\n"
        f"DimSize = {_words(grid.size_voxels)}\nElementType = MET_UCHAR\n"
        f"CoordinateFrame = {frame}\nElementDataFile = LOCAL\n"
    )


def _nrrd_head(grid: VolumeGrid, frame: str) -> str:
    step = repr(grid.spacing_mm)
    return (
        "NRRD0004\ntype: uint8\ndimension: 3\nspace: left-posterior-superior\n"
        f"sizes: {_words(grid.size_voxels)}\n"
        f"space directions: ({step},0,0) (0,{step},0) (0,0,{step})\n"
        "kinds: domain domain domain\nendian: little\nencoding: raw\n"
        f"space origin: ({_words(grid.origin_mm, ',')})\nCoordinateFrame:={frame}\n\n"
    )


def _words(numbers: tuple[float, ...], separator: str = " ") -> str:
    return separator.join(repr(number) for number in numbers)
