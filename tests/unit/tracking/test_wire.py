"""Bytes to records and back, and what is refused."""

from __future__ import annotations

import struct
from collections.abc import Callable

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from tracking import wire
from tracking.errors import WireError
from tracking.messages import PoseStatus, TransformName
from tracking.transforms import from_euler_xyz_deg

STAMP_S = 1_722_470_400.123456  # a date in 2024: float64 is coarser than the wire here
T_TRACKER_PROBE = from_euler_xyz_deg((10.0, -20.0, 1500.0), (30.0, 40.0, -50.0))


def reader_of(data: bytes, **options: object) -> wire.MessageReader:
    rest = memoryview(data)

    def recv_into(buffer: memoryview) -> int:
        nonlocal rest
        n_bytes = min(len(buffer), len(rest))
        buffer[:n_bytes] = rest[:n_bytes]
        rest = rest[n_bytes:]
        return n_bytes

    return wire.MessageReader(recv_into, **options)  # type: ignore[arg-type]


def read_all(data: bytes, **options: object) -> list[wire.RawMessage]:
    reader, messages = reader_of(data, **options), []
    try:
        while True:
            if (message := reader.receive()) is not None:
                messages.append(message)
    except wire.EndOfStreamError as end:
        assert end.is_clean
    return messages


def joined(parts: wire.Parts) -> bytes:
    return b"".join(parts)


def opened(parts: wire.Parts) -> wire.Message:
    (raw,) = read_all(joined(parts))
    return wire.open_message(raw)


def pixels_of(n_rows: int, n_columns: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (n_rows, n_columns), np.uint8)


def image_parts(change: Callable[[list[float]], None] | None = None) -> wire.Parts:
    """An IMAGE of 4 x 3 uint8 whose header fields `change` may spoil."""
    fields: list[float] = [
        1, 1, 3, 2, 1, 4, 3, 1, 0.1, 0, 0, 0, 0.2, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 4, 3, 1,
    ]  # fmt: skip
    if change is not None:
        change(fields)
    content = struct.pack(">HBBBB3H12f6H", *fields), bytes(range(12))
    return wire._pack("IMAGE", "Image", STAMP_S, content, version=1)


@pytest.mark.parametrize("version", [1, 2])
def test_image_comes_back_with_pixels_stamp_and_spacing(version: int) -> None:
    pixels = pixels_of(48, 64)
    frame = wire.decode_image(
        opened(wire.encode_image("Image", pixels, STAMP_S, (0.05, 0.08), version=version))
    )
    assert frame.name == "Image"
    assert_array_equal(frame.pixels, pixels)
    assert frame.stamps.t_sender_s == STAMP_S
    assert frame.spacing_mm == pytest.approx((0.05, 0.08), rel=1e-6)
    assert frame.t_decoded_s >= frame.stamps.t_arrival_s


def test_image_pixels_are_a_read_only_view_of_the_message() -> None:
    (raw,) = read_all(joined(wire.encode_image("Image", pixels_of(8, 9), STAMP_S)))
    frame = wire.decode_image(wire.open_message(raw))
    assert np.shares_memory(frame.pixels, raw.body)
    with pytest.raises(ValueError, match="read-only"):
        frame.pixels[0, 0] = 1


def test_image_goes_out_without_copying_pixels() -> None:
    pixels = pixels_of(8, 9)
    parts = wire.encode_image("Image", pixels, STAMP_S)
    assert any(np.shares_memory(np.asarray(part), pixels) for part in parts[1:])


def test_image_cut_out_of_a_larger_one_is_sent_as_it_looks() -> None:
    pixels = pixels_of(20, 30)[2:12:2, 5:25]
    frame = wire.decode_image(opened(wire.encode_image("Image", pixels, STAMP_S)))
    assert_array_equal(frame.pixels, pixels)


def test_unit_spacing_counts_as_not_stated() -> None:
    frame = wire.decode_image(opened(wire.encode_image("Image", pixels_of(2, 3), STAMP_S)))
    assert frame.spacing_mm is None


def test_spacing_is_that_of_a_turned_matrix() -> None:
    def turn(fields: list[float]) -> None:
        fields[8:11], fields[11:14] = (0.0, 0.06, 0.08), (0.0, -0.16, 0.12)

    frame = wire.decode_image(opened(image_parts(turn)))
    assert frame.spacing_mm == pytest.approx((0.1, 0.2), rel=1e-6)


def test_metadata_travel_in_both_character_sets() -> None:
    metadata = {"Depth": "40", "Patient": "Jürgen"}
    frame = wire.decode_image(
        opened(wire.encode_image("Image", pixels_of(2, 3), STAMP_S, metadata=metadata))
    )
    assert frame.metadata == metadata


def test_long_device_name_is_cut_in_the_header_and_whole_in_the_metadata() -> None:
    name = "StylusTipToReferenceOfThePatient"
    (raw,) = read_all(joined(wire.encode_transform(name, T_TRACKER_PROBE, STAMP_S)))
    assert raw.device == name[:20]
    assert wire.decode_transform(wire.open_message(raw)).name == name


def _set(index: int, value: float) -> Callable[[list[float]], None]:
    def change(fields: list[float]) -> None:
        fields[index] = value

    return change


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (_set(2, 5), r"4x3x1 pixels of 1 x uint16 came, expected one slice of 1 x uint8"),
        (_set(2, 99), r"scalar type 99"),
        (_set(1, 3), r"3 x uint8 came"),
        (_set(7, 2), r"4x3x2 pixels"),
        (_set(5, 5), r"part \(4, 3, 1\) at \(0, 0, 0\) of 5x3x1 pixels came"),
        (_set(20, 1), r"part \(4, 3, 1\) at \(1, 0, 0\)"),
        (
            lambda fields: (_set(6, 4)(fields), _set(24, 4)(fields)),
            r"12 bytes of pixels came, expected 4 x 4",
        ),
    ],
)
def test_image_of_another_kind_is_refused_with_the_reason(
    change: Callable[[list[float]], None], text: str
) -> None:
    with pytest.raises(WireError, match=text):
        wire.decode_image(opened(image_parts(change)))


def test_empty_image_is_refused() -> None:
    with pytest.raises(WireError, match="0 bytes, expected at least 72"):
        wire.decode_image(opened(wire._pack("IMAGE", "Image", STAMP_S, (), version=2)))


@pytest.mark.parametrize("version", [1, 2])
def test_transform_comes_back(version: int) -> None:
    pose = wire.decode_transform(
        opened(wire.encode_transform("ProbeToTracker", T_TRACKER_PROBE, STAMP_S, version=version))
    )
    assert pose.name == "ProbeToTracker"
    assert pose.status is PoseStatus.OK
    assert pose.stamps.t_sender_s == STAMP_S
    np.testing.assert_allclose(pose.matrix, T_TRACKER_PROBE, atol=1e-4)  # float32 of 1500 mm
    assert not pose.matrix.flags.writeable


def test_invalid_pose_comes_back_invalid() -> None:
    parts = wire.encode_transform("ProbeToTracker", np.eye(4), STAMP_S, PoseStatus.INVALID)
    assert wire.decode_transform(opened(parts)).status is PoseStatus.INVALID


@pytest.mark.parametrize("metadata", [{"TransformStatus": "OUT_OF_VIEW"}, {"TransformValid": "0"}])
def test_either_mark_of_plus_makes_a_pose_invalid(metadata: dict[str, str]) -> None:
    content = (np.eye(4)[:3].T.astype(">f4").tobytes(),)
    parts = wire._pack(
        "TRANSFORM", "ProbeToTracker", STAMP_S, content, metadata=metadata, version=2
    )
    assert wire.decode_transform(opened(parts)).status is PoseStatus.INVALID


@pytest.mark.parametrize("scale", [1.01, np.nan])
def test_matrix_that_is_not_rigid_is_invalid(scale: float) -> None:
    parts = wire.encode_transform("ProbeToTracker", scale * np.eye(4), STAMP_S)
    assert wire.decode_transform(opened(parts)).status is PoseStatus.INVALID


def test_version_1_does_not_send_an_invalid_pose_as_a_valid_one() -> None:
    with pytest.raises(ValueError, match="version 1 cannot say"):
        wire.encode_transform("A", np.eye(4), STAMP_S, PoseStatus.INVALID, version=1)


def test_transform_of_wrong_length_is_refused() -> None:
    with pytest.raises(WireError, match="47 bytes, expected 48"):
        wire.decode_transform(opened(wire._pack("TRANSFORM", "A", 0.0, (bytes(47),), version=1)))


def test_other_types_are_no_record() -> None:
    assert wire.decode(opened(wire.encode_status())) is None
    assert opened(wire.encode_get_status()).type == "GET_STATUS"


def test_greeting_is_header_version_2() -> None:
    (raw,) = read_all(joined(wire.encode_get_status()))
    assert raw.version == 2


def test_flipped_bit_in_a_body_costs_that_message_alone() -> None:
    messages = [
        joined(wire.encode_transform(name, T_TRACKER_PROBE, STAMP_S)) for name in ("A", "B", "C")
    ]
    damaged = bytearray(messages[1])
    damaged[70] ^= 0x10
    bad = []
    received = read_all(
        messages[0] + bytes(damaged) + messages[2], on_bad_crc=lambda *what: bad.append(what)
    )
    assert [message.device for message in received] == ["A", "C"]
    assert bad == [("TRANSFORM", "B")]


def test_too_large_a_body_is_refused_before_anything_is_allocated(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    header = struct.pack(">H12s20sQQQ", 1, b"IMAGE", b"Image", 0, 2**62, 0)
    reader = reader_of(header)
    monkeypatch.delattr(np, "empty")
    with pytest.raises(WireError, match=f"IMAGE Image announces {2**62} bytes, expected at most"):
        reader.receive()


@pytest.mark.parametrize("version", [0, 4, 1799])
def test_header_of_unknown_version_means_lost_framing(version: int) -> None:
    header = struct.pack(">H12s20sQQQ", version, b"IMAGE", b"Image", 0, 10, 0)
    with pytest.raises(WireError, match=f"its version is {version}, expected 1 to 3"):
        reader_of(header).receive()


@pytest.mark.parametrize(
    ("n_bytes", "progress"),
    [(20, "20 of 58 bytes of a header"), (58, "0 of 84 bytes of an IMAGE"),
     (100, "42 of 84 bytes of an IMAGE")],
)  # fmt: skip
def test_end_inside_a_message_says_where(n_bytes: int, progress: str) -> None:
    reader = reader_of(joined(image_parts())[:n_bytes])
    with pytest.raises(wire.EndOfStreamError, match=progress) as caught:
        while True:
            reader.receive()
    assert not caught.value.is_clean


@pytest.mark.parametrize("extended", [(12, 2, 900, 0), (11, 2, 0, 0), (400, 2, 0, 0)])
def test_extended_header_that_does_not_fit_is_refused(extended: tuple[int, ...]) -> None:
    body = struct.pack(">HHII", *extended) + bytes(48 + 2)
    raw = wire.RawMessage("TRANSFORM", "A", 2, 0, np.frombuffer(body, np.uint8), 0.0)
    with pytest.raises(WireError, match="TRANSFORM A: broken extended header"):
        wire.open_message(raw)


def test_metadata_longer_than_announced_are_refused() -> None:
    index = struct.pack(">HHHI", 1, 3, 3, 1000)
    body = struct.pack(">HHII", 12, len(index), 3, 0) + index + b"key"
    raw = wire.RawMessage("STRING", "A", 3, 0, np.frombuffer(body, np.uint8), 0.0)
    with pytest.raises(WireError, match="longer than announced"):
        wire.open_message(raw)


def test_crc_is_that_of_the_published_check_value() -> None:
    header = wire._pack("STRING", "A", 0.0, (b"1234", memoryview(b"56789")), version=1)[0]
    assert bytes(header[-8:]) == bytes.fromhex("6c40df5f0b497347")


@pytest.mark.parametrize("t_s", [0.0, 1e-9, 0.3, 162.005, 2.0**21 + 1 / 3, STAMP_S, 2.0**32 - 1.0])
def test_stamp_comes_back_within_a_nanosecond(t_s: float) -> None:
    assert wire.seconds_from_stamp(wire.stamp_from_seconds(t_s)) == pytest.approx(t_s, abs=1e-9)


def test_stamp_of_a_date_comes_back_exactly() -> None:
    for t_s in np.random.default_rng(2).uniform(1.7e9, 1.8e9, 100):
        assert wire.seconds_from_stamp(wire.stamp_from_seconds(t_s)) == t_s


@pytest.mark.parametrize("t_s", [-1.0, 2.0**32, float("nan")])
def test_stamp_outside_the_wire_is_a_wrong_call(t_s: float) -> None:
    with pytest.raises(ValueError, match="expected 0 or more"):
        wire.stamp_from_seconds(t_s)


@pytest.mark.parametrize(
    "pixels", [np.zeros((2, 3)), np.zeros((2, 3, 1), np.uint8), np.zeros((0, 3), np.uint8)]
)
def test_pixels_that_are_no_grey_image_are_a_wrong_call(pixels: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"expected \(rows, columns\) uint8"):
        wire.encode_image("Image", pixels, STAMP_S)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ProbeToTracker", TransformName("Probe", "Tracker")),
        ("StylusTipToReference", TransformName("StylusTip", "Reference")),
        ("ToolToTracker", TransformName("Tool", "Tracker")),
        ("ToTracker", None),
        ("ProbeTo", None),
        ("Probetracker", None),
        ("ProbeTotracker", None),
        ("AToBToC", None),
        ("", None),
    ],
)
def test_transform_names_follow_igsio(name: str, expected: TransformName | None) -> None:
    assert wire.parse_transform_name(name) == expected
