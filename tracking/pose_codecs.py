"""The four ways in which poses travel: TRANSFORM, POSITION (also QTRANS), TDATA and QTDATA.

Each gives `PoseSample`s; a pose that the sender marks as unusable, or that is not rigid, comes
out INVALID, never repaired. Numbers are float32, big-endian; quaternions are (x, y, z, w).
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping

import numpy as np

from tracking.errors import WireError
from tracking.framing import Message, Parts, pack, text_of
from tracking.messages import PoseSample, PoseStatus
from tracking.transforms import (
    MAX_TRANSLATION_MM,
    RIGID_TOLERANCE,
    Matrix,
    is_right_handed,
    rotation_deviation,
)

TRANSFORM, POSITION, QTRANS = "TRANSFORM", "POSITION", "QTRANS"
TDATA, QTDATA = "TDATA", "QTDATA"

_TRANSFORM = struct.Struct(">12f")  # three columns of the rotation, translation
_POSITION = struct.Struct(">3f4f")  # position, quaternion
_POSITION_SHORT = struct.Struct(">3f3f")  # without w, which is then 0 or more
_TDATA_ENTRY = struct.Struct(">20sBB12f")  # name, kind of instrument, reserved, as TRANSFORM
_QTDATA_ENTRY = struct.Struct(">20sBB7f")  # name, kind of instrument, reserved, as POSITION
_START_TRACKING = struct.Struct(">i32s")  # shortest period in ms, name of the coordinate system

_BOTTOM = (0.0, 0.0, 0.0, 1.0)

# A unit quaternion in float32 is off by 1e-7; half-normalised ones of some senders by 1e-4.
_UNIT_TOLERANCE = 1e-3


def decode_transform(message: Message) -> PoseSample:
    """One pose; INVALID where the sender marks it so or where the matrix is not rigid.

    Raises
    ------
    WireError : if the content is not twelve numbers.
    """
    if message.content.size != _TRANSFORM.size:
        raise WireError(
            f"TRANSFORM {message.name}: the body has {message.content.size} bytes, expected 48"
        )
    numbers = _TRANSFORM.unpack(message.content.data)
    return _from_columns(message, message.name, numbers)


def decode_position(message: Message) -> PoseSample:
    """One pose as position and quaternion (28 bytes), or without the quaternion's w (24 bytes).

    Raises
    ------
    WireError : for other lengths; 12 bytes are a position without an orientation, which is none
        of a tool.
    """
    content = message.content
    if content.size == _POSITION_SHORT.size:
        x, y, z, *imaginary = _POSITION_SHORT.unpack(content.data)
        real = math.sqrt(max(0.0, 1.0 - math.fsum(q * q for q in imaginary)))
        return _from_quaternion(message, message.name, (x, y, z, *imaginary, real))
    if content.size != _POSITION.size:
        raise WireError(
            f"{message.type} {message.name}: the body has {content.size} bytes, "
            "expected 28 or 24 (position and orientation)"
        )
    return _from_quaternion(message, message.name, _POSITION.unpack(content.data))


def decode_tracking_data(message: Message) -> tuple[PoseSample, ...]:
    """Every tool of a TDATA or QTDATA. PlusServer states each one's status as <name>Status.

    Raises
    ------
    WireError : if the content is not a whole number of entries.
    """
    entry, make = (
        (_TDATA_ENTRY, _from_columns)
        if message.type == TDATA
        else (_QTDATA_ENTRY, _from_quaternion)
    )
    content = message.content
    if content.size % entry.size:
        raise WireError(
            f"{message.type} {message.name}: the body has {content.size} bytes, "
            f"expected a multiple of {entry.size}"
        )
    return tuple(
        make(message, text_of(name), tuple(numbers))
        for name, _, _, *numbers in entry.iter_unpack(content.data)
    )


def _from_columns(message: Message, name: str, numbers: tuple[float, ...]) -> PoseSample:
    x, y, z = numbers[0:3], numbers[3:6], numbers[6:9]
    is_rigid = (
        rotation_deviation(x, y, z) <= RIGID_TOLERANCE
        and is_right_handed(x, y, z)
        and all(abs(t_mm) <= MAX_TRANSLATION_MM for t_mm in numbers[9:12])
    )
    matrix = np.array((*zip(*(numbers[k : k + 3] for k in (0, 3, 6, 9)), strict=True), _BOTTOM))
    matrix.setflags(write=False)
    status = PoseStatus.INVALID
    if is_rigid and _is_marked_valid(message.metadata, name):
        status = PoseStatus.OK
    return PoseSample(name, matrix, status, message.stamps)


def _from_quaternion(message: Message, name: str, numbers: tuple[float, ...]) -> PoseSample:
    """A quaternion that is not of unit length spoils the pose; float32's rounding is removed."""
    position, (x, y, z, w) = numbers[:3], numbers[3:7]
    length = math.sqrt(x * x + y * y + z * z + w * w)
    if not abs(length - 1.0) <= _UNIT_TOLERANCE:
        x = y = z = w = math.nan  # no rotation follows from it
    else:
        x, y, z, w = x / length, y / length, z / length, w / length
    columns = (
        1 - 2 * (y * y + z * z), 2 * (x * y + z * w), 2 * (x * z - y * w),
        2 * (x * y - z * w), 1 - 2 * (x * x + z * z), 2 * (y * z + x * w),
        2 * (x * z + y * w), 2 * (y * z - x * w), 1 - 2 * (x * x + y * y),
    )  # fmt: skip
    return _from_columns(message, name, (*columns, *position))


def _is_marked_valid(metadata: Mapping[str, str], name: str) -> bool:
    """PlusServer writes TransformStatus "OK" or a reason, and TransformValid "1" or "0"; in
    TDATA a status per tool."""
    if not metadata:
        return True
    return (
        metadata.get("TransformStatus", "OK") == "OK"
        and metadata.get("TransformValid", "1").lower() in ("1", "true")
        and metadata.get(f"{name}Status", "OK") == "OK"
    )


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
    metadata = {
        "TransformValid": "1" if status is PoseStatus.OK else "0",
        "TransformStatus": status.value,
    }
    content = (_columns_of(matrix),)
    return pack(TRANSFORM, device, stamp_s, content, metadata=metadata, version=version)


def encode_tracking_data(
    device: str, matrices: Mapping[str, Matrix], stamp_s: float, *, version: int = 2
) -> Parts:
    """A TDATA with all tools of one moment (names up to 20 bytes); invalid ones are left out."""
    other = 1  # kind of instrument: a tracked tool with six degrees of freedom
    content = b"".join(
        struct.pack(">20sBB", name.encode()[:20], other, 0) + _columns_of(matrix)
        for name, matrix in matrices.items()
    )
    return pack(TDATA, device, stamp_s, (content,), version=version)


def encode_start_tracking(period_ms: int, *, kind: str = TDATA, coordinates: str = "") -> Parts:
    """Asks for TDATA or QTDATA, no more often than the period; some servers send none unasked."""
    content = _START_TRACKING.pack(period_ms, coordinates.encode()[:32])
    return pack(f"STT_{kind}", "", 0.0, (content,), version=2)


def encode_stop_tracking(*, kind: str = TDATA) -> Parts:
    """Ends what `encode_start_tracking` has asked for."""
    return pack(f"STP_{kind}", "", 0.0, (), version=2)


def _columns_of(matrix: Matrix) -> bytes:
    return np.asarray(matrix)[:3].T.astype(">f4").tobytes()
