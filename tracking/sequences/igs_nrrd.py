"""Header of `.igs.nrrd`: NRRD with `Seq_FrameNNNN_` keys.

`field: value` is NRRD's own, `key:=value` is whatever the writer wants to keep.
"""

from __future__ import annotations

import zlib
from pathlib import Path

from tracking.errors import SequenceError
from tracking.sequences.igs import (
    IMAGE_STATUS,
    IMAGE_TYPE,
    ORIENTATION,
    STATUS,
    FieldLines,
    HeaderFormat,
    IgsHeader,
    check_layout,
    read_numbers,
    read_sizes,
    stated_spacing,
)
from tracking.sequences.pixels import PixelBlock

_LINE_BYTES = 2**20
_UINT8 = ("uchar", "unsigned char", "uint8", "uint8_t")
_ENCODINGS = {"raw": False, "gz": True, "gzip": True}

# The same things under the names that `.igs.mha` gives them.
_OUR_NAMES = {
    "ultrasound image orientation": ORIENTATION,
    "ultrasound image type": IMAGE_TYPE,
}
_THEIR_NAMES = {ours: theirs for theirs, ours in _OUR_NAMES.items()}


def read_nrrd_header(path: Path) -> IgsHeader:
    """Read up to the pixels.

    Raises
    ------
    SequenceError : with the file and what was expected.
    """
    standard, lines, pixels_at = _read_lines(path)
    for name in ("sizes", "type", "encoding"):
        if name not in standard:
            raise SequenceError(f"{path}: {name} is missing")
    kinds = standard.get("kinds", "").split()
    if "list" in kinds[:-1]:
        raise SequenceError(f"{path}: kinds are {kinds}, expected the list last")
    encoding = standard["encoding"].lower()
    if encoding not in _ENCODINGS:
        raise SequenceError(f"{path}: encoding is {encoding!r}, expected raw or gzip")
    element_type = standard["type"]
    size_px, n_frames = check_layout(
        path,
        read_sizes(path, "sizes", standard["sizes"]),
        (element_type, element_type.lower() in _UINT8),
        n_components=1,
    )
    file = standard.get("data file")
    return IgsHeader(
        size_px=size_px,
        spacing_mm=_spacing(path, standard),
        pixels=PixelBlock(
            path=path if file is None else path.parent / file,
            offset=pixels_at if file is None else 0,
            n_frames=n_frames,
            frame_bytes=size_px[0] * size_px[1],
            is_compressed=_ENCODINGS[encoding],
        ),
        fields={_OUR_NAMES.get(key, key): value for key, value in lines.fields.items()},
        frame_fields={
            number: {IMAGE_STATUS if key == STATUS else key: text for key, text in found.items()}
            for number, found in lines.frames.items()
        },
    )


def _read_lines(path: Path) -> tuple[dict[str, str], FieldLines, int]:
    """NRRD's own fields, the other pairs, and where the pixels begin."""
    standard: dict[str, str] = {}
    lines = FieldLines()
    try:
        with path.open("rb") as file:
            if not file.readline(_LINE_BYTES).startswith(b"NRRD"):
                raise SequenceError(f"{path}: not an NRRD file, expected NRRD in its first line")
            while line := file.readline(_LINE_BYTES):
                text = line.decode(errors="surrogateescape").rstrip("\r\n")
                if not text:
                    return standard, lines, file.tell()
                if text.startswith("#"):
                    continue
                key, mark, value = text.partition(":=")
                if mark:
                    lines.add(key.strip(), _unescape(value.strip()))
                    continue
                key, mark, value = text.partition(":")
                if not mark:
                    raise SequenceError(f"{path}: {text[:40]!r} is no NRRD field")
                standard[key.strip().lower()] = value.strip()
            if "data file" in standard:  # a header of its own may end without an empty line
                return standard, lines, 0
    except OSError as error:
        raise SequenceError(f"{path}: cannot be read: {error.strerror}") from None
    raise SequenceError(f"{path}: the header does not end")


def _spacing(path: Path, standard: dict[str, str]) -> tuple[float, float] | None:
    """From `spacings`, or from the first two vectors of `space directions` where they are axes."""
    if "spacings" in standard:
        first_two = standard["spacings"].split()[:2]
        return stated_spacing(read_numbers(path, "spacings", " ".join(first_two)))
    vectors = [v for v in standard.get("space directions", "").split() if v != "none"][:2]
    steps = [
        read_numbers(path, "space directions", vector.strip("()").replace(",", " "))
        for vector in vectors
    ]
    return stated_spacing([sum(x * x for x in step) ** 0.5 for step in steps])


def _format_head(
    size_px: tuple[int, int],
    n_frames: int,
    spacing_mm: tuple[float, float] | None,
    compressed_bytes: int | None,
) -> str:
    n_columns, n_rows = size_px
    column_mm, row_mm = spacing_mm or (1.0, 1.0)
    encoding = "raw" if compressed_bytes is None else "gzip"
    return (
        "NRRD0004\ntype: uint8\ndimension: 3\nspace dimension: 2\n"
        f"sizes: {f'{n_columns} {n_rows}':<20}{n_frames:>20}\n"
        f"space directions: ({column_mm!r},0) (0,{row_mm!r}) none\n"
        f"kinds: domain domain list\nendian: little\nencoding: {encoding}\nspace origin: (0,0)\n"
    )


def _format_pair(key: str, value: str) -> str | None:
    if "\n" in key or ":=" in key:
        return None
    *frame, name = key.rpartition("_")
    if key.startswith("Seq_Frame") and name == IMAGE_STATUS:
        key = "".join((*frame, STATUS))
    return f"{_THEIR_NAMES.get(key, key)}:={_escape(value)}\n"


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n")


def _unescape(value: str) -> str:
    return value.replace("\\\\", "\0").replace("\\n", "\n").replace("\0", "\\")


NRRD = HeaderFormat(_format_head, _format_pair, end="\n", container=zlib.MAX_WBITS + 16)  # gzip
