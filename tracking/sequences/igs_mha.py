"""Header of `.igs.mha` (and `.igs.mhd`): MetaImage with `Seq_FrameNNNN_` fields."""

from __future__ import annotations

import zlib
from pathlib import Path

from tracking.errors import SequenceError
from tracking.sequences.igs import (
    FieldLines,
    HeaderFormat,
    IgsHeader,
    check_layout,
    read_numbers,
    read_sizes,
    stated_spacing,
)
from tracking.sequences.pixels import PixelBlock

# Far above any line of a header: beyond it this is something else.
_LINE_BYTES = 2**20

# What MetaImage itself defines, and what IGSIO once wrote to list the fields that follow: read or
# written anew, never kept.
_STANDARD = {
    "ObjectType", "NDims", "AnatomicalOrientation", "BinaryData", "BinaryDataByteOrderMSB",
    "CenterOfRotation", "CompressedData", "CompressedDataSize", "DimSize", "Kinds",
    "ElementNumberOfChannels", "ElementSpacing", "ElementSize", "ElementType", "Offset",
    "TransformMatrix", "HeaderSize", "ElementDataFile",
    "CustomFieldNames", "CustomFrameFieldNames", "DefaultFrameTransformName",
}  # fmt: skip


def read_mha_header(path: Path) -> IgsHeader:
    """Read up to the pixels.

    Tolerates CR/LF, superfluous blanks and unknown keys.

    Raises
    ------
    SequenceError : with the file and what was expected.
    """
    lines, pixels_at = _read_lines(path)
    fields = lines.fields
    if "DimSize" not in fields:
        raise SequenceError(f"{path}: DimSize is missing")
    if fields.get("BinaryData", "True").lower() != "true":
        raise SequenceError(f"{path}: pixels are text, expected BinaryData = True")
    element_type = fields.get("ElementType", "nothing")
    size_px, n_frames = check_layout(
        path,
        read_sizes(path, "DimSize", fields["DimSize"]),
        (element_type, element_type in ("MET_UCHAR", "MET_UCHAR_ARRAY")),
        read_sizes(path, "ElementNumberOfChannels", fields.get("ElementNumberOfChannels", "1"))[0],
    )
    stored_bytes = read_sizes(path, "CompressedDataSize", fields.get("CompressedDataSize", ""))
    file = fields["ElementDataFile"]
    is_local = file.upper() == "LOCAL"
    return IgsHeader(
        size_px=size_px,
        spacing_mm=stated_spacing(
            read_numbers(path, "ElementSpacing", fields.get("ElementSpacing", ""))
        ),
        pixels=PixelBlock(
            path=path if is_local else path.parent / file,
            offset=pixels_at if is_local else 0,
            n_frames=n_frames,
            frame_bytes=size_px[0] * size_px[1],
            is_compressed=fields.get("CompressedData", "False").lower() == "true",
            stored_bytes=stored_bytes[0] if stored_bytes else None,
        ),
        fields={key: value for key, value in fields.items() if key not in _STANDARD},
        frame_fields=lines.frames,
    )


def _read_lines(path: Path) -> tuple[FieldLines, int]:
    """All pairs, and where the pixels begin."""
    lines = FieldLines()
    try:
        with path.open("rb") as file:
            while line := file.readline(_LINE_BYTES):
                key, equals, value = line.decode(errors="surrogateescape").partition("=")
                if not equals:
                    if not key.strip():
                        continue
                    if lines.fields and not line.endswith(b"\n"):
                        break  # cut in the middle of a line
                    raise SequenceError(f"{path}: not a MetaImage header, expected key = value")
                lines.add(key.strip(), value.strip())
                if key.strip() == "ElementDataFile":
                    return lines, file.tell()
    except OSError as error:
        raise SequenceError(f"{path}: cannot be read: {error.strerror}") from None
    raise SequenceError(f"{path}: the header ends before ElementDataFile")


def _format_head(
    size_px: tuple[int, int],
    n_frames: int,
    spacing_mm: tuple[float, float] | None,
    compressed_bytes: int | None,
) -> str:
    n_columns, n_rows = size_px
    column_mm, row_mm = spacing_mm or (1.0, 1.0)
    is_compressed = compressed_bytes is not None
    size = f"CompressedDataSize = {compressed_bytes:<20}\n" if is_compressed else ""
    return (
        "ObjectType = Image\nNDims = 3\nAnatomicalOrientation = RAI\nBinaryData = True\n"
        "BinaryDataByteOrderMSB = False\nCenterOfRotation = 0 0 0\n"
        f"CompressedData = {is_compressed}\n{size}"
        f"DimSize = {f'{n_columns} {n_rows} {n_frames}':<40}\n"
        "Kinds = domain domain list\nElementNumberOfChannels = 1\n"
        f"ElementSpacing = {column_mm!r} {row_mm!r} 1\n"
        f"ElementType = {'MET_UCHAR' if n_columns else 'MET_OTHER'}\n"
        "Offset = 0 0 0\nTransformMatrix = 1 0 0 0 1 0 0 0 1\n"
    )


def _format_pair(key: str, value: str) -> str | None:
    if "\n" in key + value or "=" in key:
        return None
    return f"{key} = {value}\n"


MHA = HeaderFormat(
    _format_head, _format_pair, end="ElementDataFile = LOCAL\n", container=zlib.MAX_WBITS
)
