"""COMMAND, POINT and POLYDATA from hand-made bytes, and from pyigtl where it can write them."""

from __future__ import annotations

import struct

import numpy as np
import pyigtl
import pytest

from tests.support.messages import arrived, polydata_content
from tracking import wire
from tracking.errors import WireError
from tracking.messages import Command, PointList, PolyData

_XML = b'<Command Name="RequestChannelIds" />'


def decoded(kind: str, content: bytes, metadata: dict[str, str] | None = None) -> wire.Record:
    parts = wire.pack(kind, "Plus", 1.5, (content,), metadata=metadata, version=2)
    (record,) = wire.decode(wire.open_message(arrived(parts, 3.0)))
    return record


@pytest.mark.parametrize(("kind", "is_reply"), [("COMMAND", False), ("RTS_COMMAND", True)])
def test_a_command_and_its_reply(kind: str, is_reply: bool) -> None:
    content = struct.pack(">I128sHI", 17, b"RequestChannelIds", 3, len(_XML)) + _XML
    expected = Command(
        "Plus", 17, "RequestChannelIds", _XML.decode(), is_reply, {"Status": "SUCCESS"}
    )
    assert decoded(kind, content, {"Status": "SUCCESS"}) == expected
    raw = arrived(wire.encode_command(expected), 0.0)
    assert (raw.type, raw.version) == (kind, 2)
    assert wire.decode(wire.open_message(raw)) == (expected,)


def test_a_command_with_too_long_a_name_is_a_wrong_call() -> None:
    with pytest.raises(ValueError, match="129 bytes, expected at most 128"):
        wire.encode_command(Command("Plus", 1, "x" * 129, ""))


def test_points_of_pyigtl_are_read() -> None:
    message = pyigtl.PointMessage(
        [[1.0, 2.0, 3.0], [4.0, 5.0, 6.5]], names=["left", "right"], device_name="Landmarks"
    )
    (points,) = wire.decode(wire.open_message(arrived((message.pack(),), 3.0)))
    assert isinstance(points, PointList)
    assert (points.name, points.labels) == ("Landmarks", ("left", "right"))
    np.testing.assert_array_equal(points.points_mm, [[1.0, 2.0, 3.0], [4.0, 5.0, 6.5]])


def test_polydata_is_points_and_cells() -> None:
    surface = decoded("POLYDATA", polydata_content())
    assert isinstance(surface, PolyData)
    np.testing.assert_array_equal(surface.points_mm, np.arange(12.0).reshape(4, 3))
    cells = (surface.vertices, surface.lines, surface.polygons, surface.triangle_strips)
    assert [[cell.tolist() for cell in group] for group in cells] == [
        [[0]], [[0, 1]], [[0, 1, 2], [0, 2, 3]], [],
    ]  # fmt: skip


def test_polydata_of_pyigtl_is_read() -> None:
    triangles = np.array([3, 0, 1, 2])
    message = pyigtl.PolyDataMessage(points=np.eye(3), polygons=triangles, device_name="Bone")
    (surface,) = wire.decode(wire.open_message(arrived((message.pack(),), 3.0)))
    assert isinstance(surface, PolyData)
    np.testing.assert_array_equal(surface.points_mm, np.eye(3))
    assert [cell.tolist() for cell in surface.polygons] == [[0, 1, 2]]


def _changed(place: int, number: int) -> bytes:
    content = bytearray(polydata_content())
    content[4 * place : 4 * place + 4] = struct.pack(">I", number)
    return bytes(content)


@pytest.mark.parametrize(
    ("kind", "content", "text"),
    [
        ("COMMAND", bytes(137), "137 bytes, expected at least 138"),
        ("COMMAND", struct.pack(">I128sHI", 1, b"", 3, 9) + b"abc", "3 bytes came, 9 were"),
        ("POINT", bytes(135), "135 bytes, expected a multiple of 136"),
        ("POLYDATA", bytes(39), "39 bytes, expected at least 40"),
        ("POLYDATA", _changed(0, 2**31), "were announced"),
        ("POLYDATA", _changed(6, 6), "were announced"),
        ("POLYDATA", _changed(5, 3), "2 cells came, 3 were announced"),
        ("POLYDATA", _changed(23, 4), "cell 0 is not made of its 4 points"),
        ("POLYDATA", _changed(27, 9), "cell 0 is not made of its 4 points"),
    ],
)
def test_what_does_not_fit_is_refused(kind: str, content: bytes, text: str) -> None:
    with pytest.raises(WireError, match=text):
        decoded(kind, content)
