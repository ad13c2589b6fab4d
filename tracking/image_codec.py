"""IMAGE: bytes to a grey image and back.

The network was trained on grey values 0 to 255, so that is what leaves here, whatever came:

- uint8 passes as it is, without a copy.
- Other number types are rounded. A value outside 0 to 255 refuses the image: how a scanner's
  16 bits map to grey is the scanner's knowledge, and a guess would change what the network sees.
- Colour becomes its luminance (ITU-R BT.601: 0.299 R + 0.587 G + 0.114 B), which leaves a grey
  image that was sent as RGB exactly as it was; a fourth component (alpha) is ignored.
- A part of an image lies where it belongs in an otherwise black image, so that every pixel keeps
  its place in the calibration.
"""

from __future__ import annotations

import math
import struct
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracking.errors import WireError
from tracking.framing import Body, Message, Parts, pack
from tracking.messages import ImageFrame

IMAGE = "IMAGE"

# Version, components, scalar type, byte order, axes; size; three columns and centre; sub-volume.
_HEADER = struct.Struct(">HBBBB 3H 12f 6H")
_SCALARS = {2: "i1", 3: "u1", 4: "i2", 5: "u2", 6: "i4", 7: "u4", 10: "f4", 11: "f8"}
_UINT8 = 3
_BIG_ENDIAN, _LITTLE_ENDIAN = 1, 2
_AXES_RAS = 1
_GREY, _RGB, _RGBA = 1, 3, 4
# BT.601 in 1/256: they add up to 256, so that grey stays grey to the last bit.
_RED, _GREEN, _BLUE = 77, 150, 29


def decode_image(message: Message) -> ImageFrame:
    """One slice as grey values; `pixels` is a read-only view of the message where it can be.

    The spacing is that of the matrix, whose columns are direction times spacing. Lengths 0 and 1
    are what libraries write that know none, so they count as "not stated".

    Raises
    ------
    WireError : naming what came and what was expected.
    """
    content = message.content
    if content.size < _HEADER.size:
        raise WireError(
            f"IMAGE {message.name}: the body has {content.size} bytes, "
            f"expected at least {_HEADER.size}"
        )
    fields = _HEADER.unpack_from(content.data)
    whole, offset, part = fields[5:8], fields[20:23], fields[23:26]
    _check_size(message.name, whole, offset, part)
    grey = _grey(message.name, content[_HEADER.size :], fields[1:4], part)
    if part != whole:
        grey = _in_its_place(grey, whole, offset)
    grey.setflags(write=False)
    spacing_mm = math.hypot(*fields[8:11]), math.hypot(*fields[11:14])
    return ImageFrame(
        name=message.name,
        pixels=grey,
        stamps=message.stamps,
        t_decoded_s=time.perf_counter(),
        spacing_mm=spacing_mm if _is_stated(spacing_mm) else None,
        metadata=message.metadata,
    )


Size = tuple[int, ...]  # columns, rows, slices


def _check_size(name: str, whole: Size, offset: Size, part: Size) -> None:
    if whole[2] != 1 or part[2] != 1:
        raise WireError(
            f"IMAGE {name}: {part[2]} of {whole[2]} slices of {whole[0]}x{whole[1]} pixels came, "
            "expected one slice"
        )
    if min(part) == 0 or any(o + p > w for o, p, w in zip(offset, part, whole, strict=True)):
        raise WireError(
            f"IMAGE {name}: part {part} at {offset} of {whole} pixels came, expected a part of it"
        )


def _grey(name: str, data: Body, kind: tuple[int, int, int], part: Size) -> NDArray[np.uint8]:
    """Grey values (rows, columns) of the pixels that came."""
    n_components, scalar_type, byte_order = kind
    scalar = _SCALARS.get(scalar_type)
    if scalar is None or n_components not in (_GREY, _RGB, _RGBA):
        raise WireError(
            f"IMAGE {name}: {n_components} components of scalar type {scalar_type} came, "
            "expected 1, 3 or 4 components of type 2 to 7, 10 or 11"
        )
    if byte_order not in (_BIG_ENDIAN, _LITTLE_ENDIAN):
        raise WireError(f"IMAGE {name}: byte order {byte_order} came, expected 1 or 2")
    n_columns, n_rows, _ = part
    dtype = np.dtype((">" if byte_order == _BIG_ENDIAN else "<") + scalar)
    if data.size != n_columns * n_rows * n_components * dtype.itemsize:
        raise WireError(
            f"IMAGE {name}: {data.size} bytes of pixels came, expected "
            f"{n_columns} x {n_rows} x {n_components} of {dtype.itemsize}"
        )
    values = data.view(dtype).reshape(n_rows, n_columns, n_components)
    grey = values[..., 0] if n_components == _GREY else None
    if scalar_type != _UINT8:
        values = _as_uint8(name, values[..., :_RGB])
        grey = values[..., 0] if n_components == _GREY else None
    return grey if grey is not None else _luminance(values)


def _as_uint8(name: str, values: NDArray[Any]) -> NDArray[np.uint8]:
    lowest, highest = values.min(), values.max()
    if not (lowest >= 0 and highest <= 255):  # also where one of them is NaN
        raise WireError(
            f"IMAGE {name}: values from {lowest:g} to {highest:g} came, expected 0 to 255; "
            "let the sender map them to grey"
        )
    return np.rint(values).astype(np.uint8) if values.dtype.kind == "f" else values.astype(np.uint8)


def _luminance(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    red, green, blue = (rgb[..., k].astype(np.uint16) for k in range(3))
    return ((_RED * red + _GREEN * green + _BLUE * blue + 128) >> 8).astype(np.uint8)


def _in_its_place(grey: NDArray[np.uint8], whole: Size, offset: Size) -> NDArray[np.uint8]:
    image = np.zeros((whole[1], whole[0]), np.uint8)
    n_rows, n_columns = grey.shape
    image[offset[1] : offset[1] + n_rows, offset[0] : offset[0] + n_columns] = grey
    return image


def encode_image(
    device: str,
    pixels: NDArray[np.uint8],
    stamp_s: float,
    spacing_mm: tuple[float, float] | None = None,
    metadata: Mapping[str, str] | None = None,
    *,
    version: int = 2,
) -> Parts:
    """An IMAGE whose pixel (0, 0) lies at the origin; the pixels are not copied.

    Parameters
    ----------
    pixels : (rows, columns) uint8. Must not change until the message is sent.
    stamp_s : the sender's clock, 0 for none.
    spacing_mm : (column, row); None writes 1 mm, which readers take as "not stated".
    version : 1 for a peer that speaks nothing newer; metadata are then left out.
    """
    is_image = pixels.dtype == np.uint8 and pixels.ndim == 2
    if not is_image or not 1 <= min(pixels.shape) <= max(pixels.shape) < 2**16:
        raise ValueError(
            f"pixels are {pixels.shape} {pixels.dtype}, expected (rows, columns) uint8"
        )
    n_rows, n_columns = pixels.shape
    column_mm, row_mm = spacing_mm or (1.0, 1.0)
    # The protocol states the position of the image's centre.
    centre_mm = (0.5 * (n_columns - 1) * column_mm, 0.5 * (n_rows - 1) * row_mm, 0.0)
    size = (n_columns, n_rows, 1)
    header = _HEADER.pack(
        1, 1, _UINT8, _LITTLE_ENDIAN, _AXES_RAS, *size,
        column_mm, 0.0, 0.0, 0.0, row_mm, 0.0, 0.0, 0.0, 1.0, *centre_mm,
        0, 0, 0, *size,
    )  # fmt: skip
    content = header, np.ascontiguousarray(pixels).data.cast("B")
    return pack(IMAGE, device, stamp_s, content, metadata=metadata, version=version)


def _is_stated(spacing_mm: tuple[float, float]) -> bool:
    return all(math.isfinite(s) and s > 0.0 for s in spacing_mm) and spacing_mm != (1.0, 1.0)
