"""OpenIGTLink's frame: from a byte stream to messages whose CRC was right, and back.

Two steps lead from a socket to a message's content, and each may fail alone: `MessageReader`
cuts the stream (a damaged body costs one message), `open_message` takes content and metadata
apart. What a content means is `wire`'s business. Every number of the frame is big-endian.

Source: OpenIGTLink protocol, header versions 1 to 3 (https://openigtlink.org/developers/spec).
"""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from fastcrc import crc64
from numpy.typing import NDArray

from tracking.errors import WireError
from tracking.messages import Stamps, TimeBase

# One message as buffers in order, never joined: an image's pixels go out from where they lie.
# Version 2 and above: header, extended header, content (any number), metadata.
Parts = tuple[bytes | memoryview, ...]
Body = NDArray[np.uint8]

# Far above any ultrasound image; a larger announcement is a broken or hostile peer.
MAX_BODY_BYTES = 64 * 2**20

DEVICE_NAME_BYTES = 20
_DEVICE_NAME_KEY = "IGTL_DEVICE_NAME"  # metadata: the name where it is longer than that

# One read takes as much: a burst of some 400 poses. What a body has more comes in reads of its own.
READ_AHEAD_BYTES = 64 * 2**10

_HEADER = struct.Struct(">H12s20sQQQ")  # version, type, device name, stamp, body size, CRC-64
HEADER_BYTES = _HEADER.size
_EXTENDED_HEADER = struct.Struct(">HHII")  # its size, metadata header and text size, message id
_METADATA_COUNT = struct.Struct(">H")
_METADATA_ENTRY = struct.Struct(">HHI")  # key size, encoding of the value, value size
_US_ASCII, _UTF8 = 3, 106  # IANA character sets
_STAMPS_PER_SECOND = 2.0**32


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
    """Cuts one peer's byte stream into messages, however the network has split or joined it.

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
        self._ahead = memoryview(bytearray(READ_AHEAD_BYTES))
        self._n_ahead = 0  # bytes in `_ahead`; between two reads fewer than a header
        self._header: _Header | None = None  # of the body that is being filled
        self._body: Body = np.empty(0, np.uint8)
        self._n_filled = 0
        self._failure: WireError | None = None

    @property
    def progress(self) -> str | None:
        """How much of the present message is here, in words; None between two messages."""
        if self._header is not None:
            return f"{self._n_filled} of {self._body.size} bytes of {_a(self._header.type)}"
        if self._n_ahead:
            return f"{self._n_ahead} of {_HEADER.size} bytes of a header"
        return None

    def receive(self) -> list[RawMessage]:
        """Read once; the messages that this read has completed, in order, often none.

        One read per call, so that whoever loops over it can look at other things in between
        even while a message trickles in.

        Raises
        ------
        EndOfStreamError : the peer has closed, between two messages or inside one.
        WireError : the header is none, or announces too much. The framing is lost: connect anew.
        TimeoutError : from `recv_into`; call again to go on.
        """
        if self._failure is not None:
            raise self._failure
        is_in_body = self._header is not None
        buffer = self._body.data[self._n_filled :] if is_in_body else self._ahead[self._n_ahead :]
        n_bytes = self._recv_into(buffer)
        t_arrival_s = time.perf_counter()
        if n_bytes == 0:
            raise EndOfStreamError(self.progress)
        messages: list[RawMessage] = []
        if is_in_body:
            self._n_filled += n_bytes
            self._finish_body(messages, t_arrival_s)
        else:
            self._n_ahead += n_bytes
            self._cut(messages, t_arrival_s)
        return messages

    def _finish_body(self, messages: list[RawMessage], t_arrival_s: float) -> None:
        header, body = self._header, self._body
        if header is None or self._n_filled < body.size:
            return
        self._header = None
        body.setflags(write=False)
        self._check(header, body, messages, t_arrival_s)

    def _cut(self, messages: list[RawMessage], t_arrival_s: float) -> None:
        """Take every message out of what was read ahead; a body that is not whole gets memory
        of its own, where the next reads go."""
        ahead, begin, end = self._ahead, 0, self._n_ahead
        while end - begin >= _HEADER.size:
            try:
                header = _parse_header(ahead, begin, self._max_body_bytes)
            except WireError as failure:
                if not messages:
                    raise
                self._failure = failure  # what came before it is delivered first
                return
            begin += _HEADER.size
            if header.body_bytes > end - begin:
                self._expect_body(header, ahead[begin:end])
                begin = end
                break
            body = np.frombuffer(ahead[begin : begin + header.body_bytes].tobytes(), np.uint8)
            begin += header.body_bytes
            self._check(header, body, messages, t_arrival_s)
        self._n_ahead = end - begin
        if begin > 0 and self._n_ahead > 0:
            ahead[: self._n_ahead] = bytes(ahead[begin:end])

    def _expect_body(self, header: _Header, first: memoryview) -> None:
        self._header = header
        self._body = np.empty(header.body_bytes, np.uint8)
        self._body.data[: len(first)] = first
        self._n_filled = len(first)

    def _check(
        self, header: _Header, body: Body, messages: list[RawMessage], t_arrival_s: float
    ) -> None:
        if crc64.ecma_182(body.data) == header.crc:
            messages.append(
                RawMessage(
                    header.type, header.device, header.version, header.stamp, body, t_arrival_s
                )
            )
        elif self._on_bad_crc is not None:
            self._on_bad_crc(header.type, header.device)


@dataclass(frozen=True, slots=True)
class _Header:
    version: int
    type: str
    device: str
    stamp: int
    body_bytes: int
    crc: int


def _parse_header(buffer: memoryview, offset: int, max_body_bytes: int) -> _Header:
    version, kind, device, stamp, body_bytes, crc = _HEADER.unpack_from(buffer, offset)
    if not 1 <= version <= 3:
        raise WireError(f"not an OpenIGTLink header: its version is {version}, expected 1 to 3")
    header = _Header(version, text_of(kind), text_of(device), stamp, body_bytes, crc)
    if body_bytes > max_body_bytes:
        raise WireError(
            f"{header.type} {header.device} announces {body_bytes} bytes, "
            f"expected at most {max_body_bytes}"
        )
    return header


def open_message(raw: RawMessage, server: str = "") -> Message:
    """Take a message's body apart; `server` names the clock that its stamp is of.

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
        stamps=Stamps(seconds_from_stamp(raw.stamp), raw.t_arrival_s, TimeBase(server)),
        content=content,
        metadata=metadata,
    )


def _split_body(raw: RawMessage) -> tuple[Body, dict[str, str]]:
    """Content and metadata of a version 2 or 3 body: extended header, content, metadata.

    A body of no bytes at all has neither: servers of version 2 send it for an empty message.
    """
    body = raw.body
    if body.size == 0:
        return body, {}
    try:
        header_bytes, index_bytes, text_bytes, _ = _EXTENDED_HEADER.unpack_from(body.data)
        content_end = body.size - index_bytes - text_bytes
        if not _EXTENDED_HEADER.size <= header_bytes <= content_end:
            raise WireError("it is shorter than its own parts")
        metadata = _read_metadata(body.data[content_end:].tobytes(), index_bytes)
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


def pack(
    kind: str,
    device: str,
    stamp_s: float,
    content: Parts,
    *,
    metadata: Mapping[str, str] | None = None,
    version: int,
) -> Parts:
    """One message, its buffers not joined; metadata need version 2."""
    name = device.encode()
    body = content
    if version > 1:
        whole_name = {_DEVICE_NAME_KEY: device} if len(name) > DEVICE_NAME_BYTES else {}
        index, text = _write_metadata({**(metadata or {}), **whole_name})
        extended = _EXTENDED_HEADER.pack(_EXTENDED_HEADER.size, len(index), len(text), 0)
        body = (extended, *content, index + text)
    header = _HEADER.pack(
        version,
        kind.encode(),
        name[:DEVICE_NAME_BYTES],
        stamp_from_seconds(stamp_s),
        sum(len(part) for part in body),
        _crc(body),
    )
    return (header, *body)


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
        _crc((raw.body.data,)),
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
    header = _parse_header(memoryview(data), 0, body.size)
    if header.body_bytes != body.size or _crc((body.data,)) != header.crc:
        raise WireError(f"{header.type} {header.device} is damaged")
    return RawMessage(header.type, header.device, header.version, header.stamp, body, t_arrival_s)


def metadata_of(parts: Parts) -> dict[str, str]:
    """The metadata of a message that `pack` has made; {} in version 1."""
    if _HEADER.unpack(parts[0])[0] == 1:
        return {}
    _, index_bytes, _, _ = _EXTENDED_HEADER.unpack(parts[1])
    return _read_metadata(bytes(parts[-1]), index_bytes)


def as_version_1(parts: Parts) -> Parts:
    """The same message for a peer that speaks version 1 alone: content without metadata."""
    version, kind, device, stamp, _, _ = _HEADER.unpack(parts[0])
    if version == 1:
        return parts
    content = parts[2:-1]
    n_bytes = sum(len(part) for part in content)
    return (_HEADER.pack(1, kind, device, stamp, n_bytes, _crc(content)), *content)


def _crc(parts: Parts) -> int:
    crc = 0
    for part in parts:
        crc = crc64.ecma_182(part, crc)
    return crc


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


@lru_cache(maxsize=256)  # the same few names come with every message
def text_of(field: bytes) -> str:
    """A fixed-width text field: up to the first NUL, whatever its bytes."""
    return field.split(b"\0", 1)[0].decode(errors="replace").rstrip()


def _a(noun: str) -> str:
    return f"an {noun}" if noun[:1] in "AEIOU" else f"a {noun}"
