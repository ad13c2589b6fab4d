"""OpenIGTLink on the wire: what a message's content means, and its names.

The door to everything that knows OpenIGTLink's bytes: `framing` cuts the stream, the codecs make
records of contents and contents of records, `decode` finds the codec of a message, and IGSIO's
names (ProbeToReference) become ours (T_reference_probe) here and nowhere else.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from tracking.framing import (
    MAX_BODY_BYTES,
    Body,
    EndOfStreamError,
    Message,
    MessageReader,
    Parts,
    RawMessage,
    as_version_1,
    encode_raw,
    metadata_of,
    open_message,
    pack,
    parse_raw,
    seconds_from_stamp,
    stamp_from_seconds,
)
from tracking.image_codec import IMAGE, decode_image, encode_image
from tracking.messages import (
    Capability,
    ImageFrame,
    PoseSample,
    StatusReport,
    TextMessage,
    TransformName,
)
from tracking.pose_codecs import (
    POSITION,
    QTDATA,
    QTRANS,
    TDATA,
    TRANSFORM,
    decode_position,
    decode_tracking_data,
    decode_transform,
    encode_start_tracking,
    encode_stop_tracking,
    encode_tracking_data,
    encode_transform,
)
from tracking.record_codecs import (
    CAPABILITY,
    GET_STATUS,
    POINT,
    STATUS,
    STRING,
    decode_capability,
    decode_status,
    decode_string,
    encode_capability,
    encode_get_status,
    encode_points,
    encode_status,
    encode_string,
)

__all__ = [
    "CAPABILITY", "DEFAULT_PORT", "GET_STATUS", "IMAGE", "MAX_BODY_BYTES", "POINT", "POSE_TYPES",
    "POSITION", "QTDATA", "QTRANS", "STATUS", "STRING", "TDATA", "TRANSFORM",
    "Body", "EndOfStreamError", "Message", "MessageReader", "Parts", "RawMessage", "Record",
    "as_version_1", "decode", "decode_capability", "decode_image", "decode_position",
    "decode_status", "decode_string", "decode_tracking_data", "decode_transform",
    "encode_capability", "encode_get_status", "encode_image", "encode_points", "encode_raw",
    "encode_start_tracking", "encode_status", "encode_stop_tracking", "encode_string",
    "encode_tracking_data", "encode_transform", "for_version", "metadata_of", "open_message",
    "pack", "parse_raw", "parse_transform_name", "seconds_from_stamp", "stamp_from_seconds",
]  # fmt: skip

DEFAULT_PORT = 18944  # registered for OpenIGTLink

POSE_TYPES = frozenset({TRANSFORM, POSITION, QTRANS, TDATA, QTDATA})

Record = ImageFrame | PoseSample | StatusReport | TextMessage | Capability

_TO = re.compile(r"To(?=[A-Z])")

_DECODERS: dict[str, Callable[[Message], Record]] = {
    IMAGE: decode_image,
    TRANSFORM: decode_transform,
    POSITION: decode_position,
    QTRANS: decode_position,  # the name that the specification prefers since protocol 2
    STATUS: decode_status,
    STRING: decode_string,
    CAPABILITY: decode_capability,
}


def decode(message: Message) -> tuple[Record, ...]:
    """The records in a message: one for most types, several for TDATA, none for other types.

    Raises
    ------
    WireError : if the content is not what we can use.
    """
    if message.type in (TDATA, QTDATA):
        return decode_tracking_data(message)
    decoder = _DECODERS.get(message.type)
    return () if decoder is None else (decoder(message),)


def for_version(parts: Parts, version: int) -> Parts | None:
    """A message for a peer of that header version; None where version 1 cannot say it.

    That is an invalid pose: without its metadata it would look like a valid one.
    """
    if version > 1:
        return parts
    if metadata_of(parts).get("TransformValid") == "0":
        return None
    return as_version_1(parts)


def parse_transform_name(name: str) -> TransformName | None:
    """Frames of an IGSIO name: ProbeToTracker is T_tracker_probe. None where it is no such name.

    IGSIO's rule: exactly one "To" followed by an upper-case letter, with text on both sides.
    """
    cuts = list(_TO.finditer(name))
    if len(cuts) != 1 or cuts[0].start() == 0:
        return None
    return TransformName(source=name[: cuts[0].start()], target=name[cuts[0].end() :])
