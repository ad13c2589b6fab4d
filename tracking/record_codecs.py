"""The small messages: STATUS, STRING, CAPABILITY; and POINT, which only goes out."""

from __future__ import annotations

import struct
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from tracking.errors import WireError
from tracking.framing import Message, Parts, pack, text_of
from tracking.messages import Capability, StatusReport, TextMessage

STATUS, GET_STATUS = "STATUS", "GET_STATUS"
STRING, CAPABILITY, POINT = "STRING", "CAPABILITY", "POINT"

_STATUS_HEADER = struct.Struct(">Hq20s")  # code, sub-code, error name; then the text
_STATUS_OK = 1
_STRING_HEADER = struct.Struct(">HH")  # character set, length
_UTF8 = 106  # IANA character set
_TYPE_NAME_BYTES = 12
_POINT = np.dtype(
    [("name", "S64"), ("group", "S32"), ("rgba", "u1", 4), ("position", ">f4", 3),
     ("diameter", ">f4"), ("owner", "S20")]
)  # fmt: skip


def decode_status(message: Message) -> StatusReport:
    """Raises WireError where the content is too short."""
    _check_size(_STATUS_HEADER, message)
    code, sub_code, error = _STATUS_HEADER.unpack_from(message.content.data)
    text = message.content[_STATUS_HEADER.size :].tobytes().split(b"\0", 1)[0]
    return StatusReport(message.name, code, sub_code, text_of(error), text.decode(errors="replace"))


def decode_string(message: Message) -> TextMessage:
    """Text in UTF-8 or US-ASCII; bytes of another character set become replacement characters.

    Raises
    ------
    WireError : where it is shorter than it says.
    """
    _check_size(_STRING_HEADER, message)
    _, n_bytes = _STRING_HEADER.unpack_from(message.content.data)
    text = message.content[_STRING_HEADER.size :].tobytes()
    if n_bytes > len(text):
        raise WireError(f"STRING {message.name}: {len(text)} bytes came, {n_bytes} were announced")
    return TextMessage(message.name, text[:n_bytes].decode(errors="replace"))


def decode_capability(message: Message) -> Capability:
    """Raises WireError where the content is not a whole number of names."""
    content = message.content.tobytes()
    if len(content) % _TYPE_NAME_BYTES:
        raise WireError(
            f"CAPABILITY {message.name}: {len(content)} bytes came, expected a multiple of 12"
        )
    cuts = range(0, len(content), _TYPE_NAME_BYTES)
    return Capability(tuple(text_of(content[k : k + _TYPE_NAME_BYTES]) for k in cuts))


def _check_size(layout: struct.Struct, message: Message) -> None:
    if message.content.size < layout.size:
        raise WireError(
            f"{message.type} {message.name}: the body has {message.content.size} bytes, "
            f"expected at least {layout.size}"
        )


def encode_get_status() -> Parts:
    """The greeting: PlusServer sends metadata only to who has spoken version 2 to it."""
    return pack(GET_STATUS, "", 0.0, (), version=2)


def encode_status(device: str = "", *, version: int = 2) -> Parts:
    """A STATUS that says: all is well."""
    content = (_STATUS_HEADER.pack(_STATUS_OK, 0, b""), b"\0")
    return pack(STATUS, device, 0.0, content, version=version)


def encode_string(device: str, text: str, stamp_s: float = 0.0, *, version: int = 2) -> Parts:
    """A STRING; at most 65535 bytes of UTF-8, else ValueError."""
    data = text.encode()
    if len(data) >= 2**16:
        raise ValueError(f"{device}: the text has {len(data)} bytes, expected at most 65535")
    content = (_STRING_HEADER.pack(_UTF8, len(data)), data)
    return pack(STRING, device, stamp_s, content, version=version)


def encode_capability(device: str, types: Iterable[str], *, version: int = 2) -> Parts:
    """A CAPABILITY with the names of the message types that we know."""
    names = b"".join(kind.encode().ljust(_TYPE_NAME_BYTES, b"\0") for kind in types)
    return pack(CAPABILITY, device, 0.0, (names,), version=version)


def encode_points(
    device: str,
    points_mm: NDArray[np.float64],
    stamp_s: float,
    *,
    group: str,
    rgba: tuple[int, int, int, int] = (255, 255, 0, 255),
    owner: str = "",
    version: int = 2,
) -> Parts:
    """A POINT list: (N, 3) positions in mm, all of one group and colour, numbered from 1.

    `owner` is the device name of the image that they were found in.
    """
    points = np.zeros(len(points_mm), _POINT)
    points["name"] = np.arange(1, len(points_mm) + 1).astype("S64")
    points["group"] = group.encode()
    points["rgba"] = rgba
    points["position"] = points_mm
    points["owner"] = owner.encode()[:20]
    return pack(POINT, device, stamp_s, (points.tobytes(),), version=version)
