"""OpenIGTLink on the wire: framing, CRC, the hot decoders and encoders, and its names.

The only place that knows OpenIGTLink's bytes. Three steps lead from a socket to a record, and
each may fail alone: `MessageReader` cuts the stream (a damaged body costs one message),
`open_message` takes metadata and content apart, `decode` makes the `ImageFrame` or `PoseSample`.
Every number on the wire is big-endian.

Source: OpenIGTLink protocol, header versions 1 to 3 (https://openigtlink.org/developers/spec).
"""

from __future__ import annotations

import math
import re
import struct
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from fastcrc import crc64
from numpy.typing import NDArray

from tracking.errors import TransformError, WireError
from tracking.messages import ImageFrame, PoseSample, PoseStatus, Stamps, TransformName
from tracking.transforms import Matrix, check_rigid

# One message as buffers in order, never joined: an image's pixels go out from where they lie.
Parts = tuple[bytes | memoryview, ...]
Body = NDArray[np.uint8]

DEFAULT_PORT = 18944  # registered for OpenIGTLink
# Far above any ultrasound image; a larger announcement is a broken or hostile peer.
MAX_BODY_BYTES = 64 * 2**20

IMAGE = "IMAGE"
TRANSFORM = "TRANSFORM"
STATUS = "STATUS"
GET_STATUS = "GET_STATUS"

_HEADER = struct.Struct(">H12s20sQQQ")  # version, type, device name, stamp, body size, CRC-64
_EXTENDED_HEADER = struct.Struct(">HHII")  # its size, metadata header and text size, message id
_METADATA_COUNT = struct.Struct(">H")
_METADATA_ENTRY = struct.Struct(">HHI")  # key size, encoding of the value, value size
# Version, components, scalar type, byte order, axes; size; three columns and centre; sub-volume.
_IMAGE_HEADER = struct.Struct(">HBBBB 3H 12f 6H")
_STATUS_HEADER = struct.Struct(">Hq20s")  # code, sub-code, error name

_DEVICE_NAME_BYTES = 20
_DEVICE_NAME_KEY = "IGTL_DEVICE_NAME"  # metadata: the name where it is longer than that
_US_ASCII, _UTF8 = 3, 106  # IANA character sets
_UINT8 = 3
_SCALAR_NAMES = {
    2: "int8", 3: "uint8", 4: "int16", 5: "uint16", 6: "int32", 7: "uint32",
    10: "float32", 11: "float64", 13: "complex",
}  # fmt: skip
_LITTLE_ENDIAN = 2
_AXES_RAS = 1
_STATUS_OK = 1
_STAMPS_PER_SECOND = 2.0**32

_TO = re.compile(r"To(?=[A-Z])")


class EndOfStreamError(WireError):
    """The peer ended the stream; `is_clean` where it did so between two messages."""

    def __init__(self, progress: str | None) -> None:
        super().__init__(f"it ended after {progress}" if progress else "it ended")
        self.is_clean = progress is None


@dataclass(frozen=True, slots=True)
class RawMessage:
    """One complete message whose CRC was right; `body` is read-only and its own memory.

    `stamp` is the wire's 64 bits: seconds in the upper 32, their fraction in the lower, 0 for
    none. `device` is cut to 20 bytes by the header; the whole name may be in the metadata.
    """

    type: str
    device: str
    version: int
    stamp: int
    body: Body
    t_arrival_s: float


@dataclass(frozen=True, slots=True)
class Message:
    """A message taken apart: whole name, metadata and the content that its type defines."""

    type: str
    name: str
    stamps: Stamps
    content: Body
    metadata: dict[str, str]


class MessageReader:
    """Cuts one peer's byte stream into messages, however the network has split it.

    Parameters
    ----------
    recv_into : a socket's, or alike: fills the front of the buffer and returns how many bytes;
        0 is the end of the stream. It may raise TimeoutError at any time, nothing is lost.
    on_bad_crc : called with type and device name of each message whose body is damaged.
        That message is dropped; the stream goes on, for its length was right.
    """

    def __init__(
        self,
        recv_into: Callable[[memoryview], int],
        on_bad_crc: Callable[[str, str], None] | None = None,
        max_body_bytes: int = MAX_BODY_BYTES,
    ) -> None:
        self._recv_into = recv_into
        self._on_bad_crc = on_bad_crc
        self._max_body_bytes = max_body_bytes
        self._header_buffer = memoryview(bytearray(_HEADER.size))
        self._expect_header()

    @property
    def progress(self) -> str | None:
        """How much of the present message is here, in words; None between two messages."""
        if self._header is not None:
            return f"{self._n_filled} of {len(self._buffer)} bytes of {_a(self._header.type)}"
        if self._n_filled:
            return f"{self._n_filled} of {_HEADER.size} bytes of a header"
        return None

    def receive(self) -> RawMessage | None:
        """Read once; the message that this read has completed, else None.

        One read per call, so that whoever loops over it can look at other things in between
        even while a message trickles in.

        Raises
        ------
        EndOfStreamError : the peer has closed, between two messages or inside one.
        WireError : the header is none, or announces too much. The framing is lost: connect anew.
        TimeoutError : from `recv_into`; call again to go on.
        """
        n_bytes = self._recv_into(self._buffer[self._n_filled :])
        t_arrival_s = time.perf_counter()
        if n_bytes == 0:
            raise EndOfStreamError(self.progress)
        self._n_filled += n_bytes
        if self._n_filled < len(self._buffer):
            return None
        header = self._header
        if header is None:
            header = _parse_header(self._header_buffer, self._max_body_bytes)
            self._expect_body(header)
            if header.body_bytes > 0:
                return None
        return self._finish(header, t_arrival_s)

    def _expect_header(self) -> None:
        self._header: _Header | None = None
        self._buffer = self._header_buffer
        self._n_filled = 0

    def _expect_body(self, header: _Header) -> None:
        self._header = header
        self._body: Body = np.empty(header.body_bytes, np.uint8)
        self._buffer = self._body.data
        self._n_filled = 0

    def _finish(self, header: _Header, t_arrival_s: float) -> RawMessage | None:
        body = self._body
        self._expect_header()
        if crc64.ecma_182(body.data) != header.crc:
            if self._on_bad_crc is not None:
                self._on_bad_crc(header.type, header.device)
            return None
        body.setflags(write=False)
        return RawMessage(
            header.type, header.device, header.version, header.stamp, body, t_arrival_s
        )


@dataclass(frozen=True, slots=True)
class _Header:
    version: int
    type: str
    device: str
    stamp: int
    body_bytes: int
    crc: int


def _parse_header(buffer: memoryview, max_body_bytes: int) -> _Header:
    version, kind, device, stamp, body_bytes, crc = _HEADER.unpack(buffer)
    if not 1 <= version <= 3:
        raise WireError(f"not an OpenIGTLink header: its version is {version}, expected 1 to 3")
    header = _Header(version, _text(kind), _text(device), stamp, body_bytes, crc)
    if body_bytes > max_body_bytes:
        raise WireError(
            f"{header.type} {header.device} announces {body_bytes} bytes, "
            f"expected at most {max_body_bytes}"
        )
    return header


def open_message(raw: RawMessage) -> Message:
    """Take a message's body apart.

    Raises
    ------
    WireError : if the sizes that it states do not fit into the body.
    """
    content, metadata = raw.body, dict[str, str]()
    if raw.version > 1:
        content, metadata = _split_body(raw)
    return Message(
        type=raw.type,
        name=metadata.get(_DEVICE_NAME_KEY) or raw.device,
        stamps=Stamps(seconds_from_stamp(raw.stamp), raw.t_arrival_s),
        content=content,
        metadata=metadata,
    )


def _split_body(raw: RawMessage) -> tuple[Body, dict[str, str]]:
    """Content and metadata of a version 2 or 3 body: extended header, content, metadata."""
    body = raw.body
    try:
        header_bytes, index_bytes, text_bytes, _ = _EXTENDED_HEADER.unpack_from(body.data)
        content_end = body.size - index_bytes - text_bytes
        if not _EXTENDED_HEADER.size <= header_bytes <= content_end:
            raise WireError("it is shorter than its own parts")
        metadata = _read_metadata(body[content_end:].tobytes(), index_bytes)
    except (struct.error, WireError) as error:
        raise WireError(f"{raw.type} {raw.device}: broken extended header ({error})") from error
    return body[header_bytes:content_end], metadata


def _read_metadata(block: bytes, index_bytes: int) -> dict[str, str]:
    """Keys and values; a value in a character set other than US-ASCII and UTF-8 is left out."""
    if index_bytes == 0:
        return {}
    metadata: dict[str, str] = {}
    (n_entries,) = _METADATA_COUNT.unpack_from(block)
    begin = index_bytes
    for k in range(n_entries):
        key_bytes, encoding, value_bytes = _METADATA_ENTRY.unpack_from(
            block, _METADATA_COUNT.size + k * _METADATA_ENTRY.size
        )
        middle = begin + key_bytes
        end = middle + value_bytes
        if end > len(block):
            raise WireError("its metadata are longer than announced")
        if encoding in (_US_ASCII, _UTF8):
            metadata[block[begin:middle].decode(errors="replace")] = block[middle:end].decode(
                errors="replace"
            )
        begin = end
    return metadata


def decode(message: Message) -> ImageFrame | PoseSample | None:
    """The record of an IMAGE or TRANSFORM; None for every other type.

    Raises
    ------
    WireError : if the content is not what we can use.
    """
    if message.type == IMAGE:
        return decode_image(message)
    if message.type == TRANSFORM:
        return decode_transform(message)
    return None


def decode_image(message: Message) -> ImageFrame:
    """One grey uint8 slice; `pixels` is a read-only view of the message, not a copy.

    The spacing is that of the matrix, whose columns are direction times spacing. Lengths 0 and 1
    are what libraries write that know none, so they count as "not stated".

    Raises
    ------
    WireError : naming what came and what was expected.
    """
    content = message.content
    if content.size < _IMAGE_HEADER.size:
        raise WireError(
            f"IMAGE {message.name}: the body has {content.size} bytes, "
            f"expected at least {_IMAGE_HEADER.size}"
        )
    fields = _IMAGE_HEADER.unpack_from(content.data)
    _, n_components, scalar_type, _, _, n_columns, n_rows, n_slices = fields[:8]
    if (n_components, scalar_type, n_slices) != (1, _UINT8, 1):
        scalar = _SCALAR_NAMES.get(scalar_type, f"scalar type {scalar_type}")
        raise WireError(
            f"IMAGE {message.name}: {n_columns}x{n_rows}x{n_slices} pixels of {n_components} x "
            f"{scalar} came, expected one slice of 1 x uint8"
        )
    if fields[20:] != (0, 0, 0, n_columns, n_rows, n_slices):
        raise WireError(
            f"IMAGE {message.name}: part {fields[23:]} at {fields[20:23]} of "
            f"{n_columns}x{n_rows}x{n_slices} pixels came, expected the whole image"
        )
    pixels = content[_IMAGE_HEADER.size :]
    if pixels.size != n_columns * n_rows or pixels.size == 0:
        raise WireError(
            f"IMAGE {message.name}: {pixels.size} bytes of pixels came, expected "
            f"{n_columns} x {n_rows}"
        )
    spacing_mm = math.hypot(*fields[8:11]), math.hypot(*fields[11:14])
    return ImageFrame(
        name=message.name,
        pixels=pixels.reshape(n_rows, n_columns),
        stamps=message.stamps,
        t_decoded_s=time.perf_counter(),
        spacing_mm=spacing_mm if _is_stated(spacing_mm) else None,
        metadata=message.metadata,
    )


def decode_transform(message: Message) -> PoseSample:
    """A pose; INVALID where the sender marks it so or where the matrix is not rigid.

    Raises
    ------
    WireError : if the content is not twelve numbers.
    """
    if message.content.size != 48:
        raise WireError(
            f"TRANSFORM {message.name}: the body has {message.content.size} bytes, expected 48"
        )
    matrix = np.eye(4)
    matrix[:3] = message.content.view(">f4").reshape(4, 3).T  # column after column
    matrix.setflags(write=False)
    return PoseSample(
        message.name, matrix, _pose_status(matrix, message.name, message.metadata), message.stamps
    )


def _pose_status(matrix: Matrix, name: str, metadata: Mapping[str, str]) -> PoseStatus:
    """PlusServer writes TransformStatus "OK" or a reason, and TransformValid "1" or "0"."""
    if metadata.get("TransformStatus", "OK") != "OK":
        return PoseStatus.INVALID
    if metadata.get("TransformValid", "1").lower() not in ("1", "true"):
        return PoseStatus.INVALID
    try:
        check_rigid(matrix, name)
    except TransformError:
        return PoseStatus.INVALID
    return PoseStatus.OK


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
    header = _IMAGE_HEADER.pack(
        1, 1, _UINT8, _LITTLE_ENDIAN, _AXES_RAS, *size,
        column_mm, 0.0, 0.0, 0.0, row_mm, 0.0, 0.0, 0.0, 1.0, *centre_mm,
        0, 0, 0, *size,
    )  # fmt: skip
    content = header, np.ascontiguousarray(pixels).data.cast("B")
    return _pack(IMAGE, device, stamp_s, content, metadata=metadata, version=version)


def encode_transform(
    device: str,
    matrix: Matrix,
    stamp_s: float,
    status: PoseStatus = PoseStatus.OK,
    *,
    version: int = 2,
) -> Parts:
    """A TRANSFORM with its status as PlusServer writes it.

    Version 1 cannot carry the status, so an invalid pose cannot be told there: do not send it.
    """
    if version == 1 and status is not PoseStatus.OK:
        raise ValueError(f"{device}: version 1 cannot say that a pose is {status.value}")
    content = (np.asarray(matrix)[:3].T.astype(">f4").tobytes(),)
    metadata = {
        "TransformValid": "1" if status is PoseStatus.OK else "0",
        "TransformStatus": status.value,
    }
    return _pack(TRANSFORM, device, stamp_s, content, metadata=metadata, version=version)


def encode_get_status() -> Parts:
    """The greeting: PlusServer sends metadata only to who has spoken version 2 to it."""
    return _pack(GET_STATUS, "", 0.0, (), version=2)


def encode_status(device: str = "", *, version: int = 2) -> Parts:
    """A STATUS that says: all is well."""
    content = (_STATUS_HEADER.pack(_STATUS_OK, 0, b""), b"\0")
    return _pack(STATUS, device, 0.0, content, version=version)


def _pack(
    kind: str,
    device: str,
    stamp_s: float,
    content: Parts,
    *,
    metadata: Mapping[str, str] | None = None,
    version: int,
) -> Parts:
    name = device.encode()
    body = content
    if version > 1:
        whole_name = {_DEVICE_NAME_KEY: device} if len(name) > _DEVICE_NAME_BYTES else {}
        index, text = _write_metadata({**(metadata or {}), **whole_name})
        extended = _EXTENDED_HEADER.pack(_EXTENDED_HEADER.size, len(index), len(text), 0)
        body = (extended, *content, index + text)
    crc = 0
    for part in body:
        crc = crc64.ecma_182(part, crc)
    header = _HEADER.pack(
        version,
        kind.encode(),
        name[:_DEVICE_NAME_BYTES],
        stamp_from_seconds(stamp_s),
        sum(len(part) for part in body),
        crc,
    )
    return (header, *body)


def _write_metadata(metadata: Mapping[str, str]) -> tuple[bytes, bytes]:
    index, text = [_METADATA_COUNT.pack(len(metadata))], []
    for key, value in metadata.items():
        key_text, value_text = key.encode(), value.encode()
        encoding = _US_ASCII if value.isascii() else _UTF8
        index.append(_METADATA_ENTRY.pack(len(key_text), encoding, len(value_text)))
        text += [key_text, value_text]
    return b"".join(index), b"".join(text)


def stamp_from_seconds(t_s: float) -> int:
    """The wire's 64-bit stamp, exact to half of its unit (0.12 ns). 0 means: none.

    Multiplying by a power of two loses nothing, so that equal seconds give equal stamps and
    a stamp above 2^21 s (where float64 is coarser than the wire) comes back bit for bit.
    """
    if not 0.0 <= t_s < _STAMPS_PER_SECOND:
        raise ValueError(f"stamp is {t_s} s, expected 0 or more and below 2^32")
    return round(t_s * _STAMPS_PER_SECOND)


def seconds_from_stamp(stamp: int) -> float:
    """The sender's clock in seconds; 0.0 where it gave none."""
    return stamp / _STAMPS_PER_SECOND


def parse_transform_name(name: str) -> TransformName | None:
    """Frames of an IGSIO name: ProbeToTracker is T_tracker_probe. None where it is no such name.

    IGSIO's rule: exactly one "To" followed by an upper-case letter, with text on both sides.
    """
    cuts = list(_TO.finditer(name))
    if len(cuts) != 1 or cuts[0].start() == 0:
        return None
    return TransformName(source=name[: cuts[0].start()], target=name[cuts[0].end() :])


def _text(field: bytes) -> str:
    """A fixed-width text field: up to the first NUL, whatever its bytes."""
    return field.split(b"\0", 1)[0].decode(errors="replace").rstrip()


def _a(noun: str) -> str:
    return f"an {noun}" if noun[:1] in "AEIOU" else f"a {noun}"


def _is_stated(spacing_mm: tuple[float, float]) -> bool:
    return all(math.isfinite(s) and s > 0.0 for s in spacing_mm) and spacing_mm != (1.0, 1.0)


def encode_raw(raw: RawMessage) -> Parts:
    """A received message as it was on the wire, bit for bit.

    The checksum, which was right, is computed anew. Names lose blanks at their end and bytes that
    are not UTF-8, as they have in the `RawMessage`.
    """
    header = _HEADER.pack(
        raw.version,
        raw.type.encode(),
        raw.device.encode(),
        raw.stamp,
        raw.body.size,
        crc64.ecma_182(raw.body.data),
    )
    return header, raw.body.data


def parse_raw(data: bytes, t_arrival_s: float) -> RawMessage:
    """One whole message, such as `encode_raw` makes; its body is a view of `data`.

    Raises
    ------
    WireError : if it is none, or damaged.
    """
    if len(data) < _HEADER.size:
        raise WireError(f"{len(data)} bytes are no message, its header has {_HEADER.size}")
    body: Body = np.frombuffer(data, np.uint8, offset=_HEADER.size)
    header = _parse_header(memoryview(data)[: _HEADER.size], body.size)
    if header.body_bytes != body.size or crc64.ecma_182(body.data) != header.crc:
        raise WireError(f"{header.type} {header.device} is damaged")
    return RawMessage(header.type, header.device, header.version, header.stamp, body, t_arrival_s)
