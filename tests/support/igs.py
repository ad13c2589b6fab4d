"""Small sequence files, written by hand as PLUS writes them."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

IDENTITY = "1 0 0 0 0 1 0 0 0 0 1 0 0 0 0 1"


def pixels(n_frames: int = 3, n_rows: int = 4, n_columns: int = 5) -> NDArray[np.uint8]:
    """Frames of which every pixel of every one is different."""
    n = n_frames * n_rows * n_columns
    return np.arange(n, dtype=np.uint8).reshape(n_frames, n_rows, n_columns)


def frame_fields(n_frames: int = 3) -> list[dict[str, str]]:
    return [
        {
            "FrameNumber": str(100 + k),
            "ProbeToTrackerTransform": IDENTITY,
            "ProbeToTrackerTransformStatus": "OK",
            "Timestamp": str(10 + 0.5 * k),
            "UnfilteredTimestamp": str(10 + 0.5 * k + 0.001),
            "ImageStatus": "OK",
        }
        for k in range(n_frames)
    ]


def write_mha(
    path: Path,
    images: NDArray[np.uint8] | None = None,
    frames: list[dict[str, str]] | None = None,
    *,
    compress: bool = False,
    newline: str = "\n",
    header: Mapping[str, str | None] | None = None,
) -> Path:
    """`header` replaces lines of the header, None leaves one out."""
    images = pixels() if images is None else images
    frames = frame_fields() if frames is None else frames
    data = zlib.compress(images.tobytes()) if compress else images.tobytes()
    n_frames, n_rows, n_columns = images.shape
    lines: dict[str, str | None] = {
        "ObjectType": "Image",
        "NDims": "3",
        "BinaryData": "True",
        "CompressedData": str(compress),
        "CompressedDataSize": str(len(data)) + "      " if compress else None,
        "DimSize": f"{n_columns} {n_rows} {n_frames}              ",
        "ElementSpacing": "1 1 1",
        "ElementType": "MET_UCHAR" if images.size else "MET_OTHER",
        "UltrasoundImageOrientation": "MF" if images.size else "XX",
        **(header or {}),
    }
    for k, fields in enumerate(frames):
        lines |= {f"Seq_Frame{k:04d}_{key}": value for key, value in fields.items()}
    lines["ElementDataFile"] = "LOCAL"
    text = "".join(f"{key} = {value}{newline}" for key, value in lines.items() if value is not None)
    path.write_bytes(text.encode() + data)
    return path


def write_nrrd(path: Path, images: NDArray[np.uint8] | None = None, **standard: str) -> Path:
    images = pixels() if images is None else images
    n_frames, n_rows, n_columns = images.shape
    lines = {
        "type": "uint8",
        "dimension": "3",
        "sizes": f"{n_columns} {n_rows}      {n_frames}",
        "kinds": "domain domain                list",
        "encoding": "gz",
        **{key.replace("_", " "): value for key, value in standard.items()},
    }
    text = "NRRD0004\n# a comment\n" + "".join(f"{key}: {v}\n" for key, v in lines.items() if v)
    text += "ultrasound image orientation:=MF\nmy note:=two\\nlines\n"
    for k, fields in enumerate(frame_fields(n_frames)):
        fields["Status"] = fields.pop("ImageStatus")
        text += "".join(f"Seq_Frame{k:04d}_{key}:={value}\n" for key, value in fields.items())
    data = images.tobytes() if lines["encoding"] == "raw" else gzip.compress(images.tobytes())
    path.write_bytes(text.encode() + b"\n" + data)
    return path
