"""Bytes to records and back, and what is refused."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from scipy.spatial.transform import Rotation

from tracking import wire
from tracking.errors import WireError
from tracking.messages import (
    Capability,
    PoseSample,
    PoseStatus,
    StatusReport,
    TextMessage,
    TransformName,
)
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
            messages += reader.receive()
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
    return wire.pack("IMAGE", "Image", STAMP_S, content, version=1)


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
        (_set(2, 99), r"1 components of scalar type 99 came, expected 1, 3 or 4 components"),
        (_set(2, 13), r"scalar type 13 came"),
        (_set(1, 2), r"2 components of scalar type 3 came"),
        (_set(3, 0), r"byte order 0 came, expected 1 or 2"),
        (_set(7, 2), r"1 of 2 slices of 4x3 pixels came"),
        (_set(20, 1), r"part \(4, 3, 1\) at \(1, 0, 0\) of \(4, 3, 1\) pixels came"),
        (_set(23, 0), r"part \(0, 3, 1\)"),
        (
            lambda fields: (_set(6, 4)(fields), _set(24, 4)(fields)),
            r"12 bytes of pixels came, expected 4 x 4 x 1 of 1",
        ),
    ],
)
def test_image_of_another_kind_is_refused_with_the_reason(
    change: Callable[[list[float]], None], text: str
) -> None:
    with pytest.raises(WireError, match=text):
        wire.decode_image(opened(image_parts(change)))


@pytest.mark.parametrize("version", [1, 2])
def test_empty_image_is_refused(version: int) -> None:
    with pytest.raises(WireError, match="0 bytes, expected at least 72"):
        wire.decode_image(opened(wire.pack("IMAGE", "Image", STAMP_S, (), version=version)))


def test_body_of_no_bytes_at_all_is_an_empty_message_in_every_version() -> None:
    """Some servers announce version 2 and send not even the extended header."""
    for version in (1, 2, 3):
        header = struct.pack(">H12s20sQQQ", version, b"IMAGE", b"Image", 0, 0, 0)
        (raw,) = read_all(header)
        with pytest.raises(WireError, match="0 bytes, expected at least 72"):
            wire.decode(wire.open_message(raw))


SCALAR_TYPES = {2: "i1", 3: "u1", 4: "i2", 5: "u2", 6: "i4", 7: "u4", 10: "f4", 11: "f8"}


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("scalar_type", SCALAR_TYPES)
@pytest.mark.parametrize("n_components", [1, 3, 4])
def test_every_number_type_byte_order_and_colour_becomes_grey(
    scalar_type: int, order: int, n_components: int
) -> None:
    highest = 127 if scalar_type == 2 else 255
    grey = np.random.default_rng(scalar_type).integers(0, highest + 1, (3, 4))
    values = np.repeat(grey[..., None], n_components, axis=2)
    if n_components == 4:
        values[..., 3] = 99  # alpha
    data = values.astype((">" if order == 1 else "<") + SCALAR_TYPES[scalar_type]).tobytes()
    frame = wire.decode_image(opened(odd_image(data, 1, n_components, scalar_type, order)))
    assert frame.pixels.dtype == np.uint8
    assert_array_equal(frame.pixels, grey)
    assert not frame.pixels.flags.writeable


def odd_image(data: bytes, *kind: int, part: tuple[int, ...] = (0, 0, 0, 4, 3, 1)) -> wire.Parts:
    """An IMAGE of 4 x 3 pixels; `kind` is version, components, scalar type and byte order."""
    fields = (*kind, 1, 4, 3, 1, 0.1, 0, 0, 0, 0.2, 0, 0, 0, 1, 0, 0, 0, *part)
    content = struct.pack(">HBBBB3H12f6H", *fields), data
    return wire.pack("IMAGE", "Image", STAMP_S, content, version=1)


def test_colour_becomes_its_luminance() -> None:
    colours = np.zeros((3, 4, 3), np.uint8)
    colours[0], colours[1], colours[2] = (255, 0, 0), (0, 255, 0), (0, 0, 255)
    frame = wire.decode_image(opened(odd_image(colours.tobytes(), 1, 3, 3, 2)))
    assert frame.pixels[:, 0].tolist() == [77, 149, 29]  # 0.299, 0.587, 0.114 of 255, within 1


@pytest.mark.parametrize(
    ("values", "text"),
    [
        (np.full(12, 256, "<u2"), "values from 256 to 256 came, expected 0 to 255"),
        (np.arange(-1, 11, dtype="<i2"), "values from -1 to 10 came"),
    ],
)
def test_values_beyond_grey_are_refused_not_squeezed(values: np.ndarray, text: str) -> None:
    scalar_type = {"<u2": 5, "<i2": 4}[values.dtype.str]
    with pytest.raises(WireError, match=text):
        wire.decode_image(opened(odd_image(values.tobytes(), 1, 1, scalar_type, 2)))


def test_image_with_a_value_that_is_no_number_is_refused() -> None:
    values = np.full(12, np.nan, "<f4")
    with pytest.raises(WireError, match="values from nan"):
        wire.decode_image(opened(odd_image(values.tobytes(), 1, 1, 10, 2)))


def test_part_of_an_image_lies_in_its_place() -> None:
    parts = odd_image(bytes([1, 2, 3, 4]), 1, 1, 3, 2, part=(1, 1, 0, 2, 2, 1))
    frame = wire.decode_image(opened(parts))
    assert frame.pixels.tolist() == [[0, 0, 0, 0], [0, 1, 2, 0], [0, 3, 4, 0]]


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
    parts = wire.pack("TRANSFORM", "ProbeToTracker", STAMP_S, content, metadata=metadata, version=2)
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
        wire.decode_transform(opened(wire.pack("TRANSFORM", "A", 0.0, (bytes(47),), version=1)))


QUATERNION_XYZW = Rotation.from_matrix(T_TRACKER_PROBE[:3, :3]).as_quat()


@pytest.mark.parametrize("kind", ["POSITION", "QTRANS"])
@pytest.mark.parametrize("n_numbers", [7, 6])
def test_position_is_that_of_the_specification(kind: str, n_numbers: int) -> None:
    quat_xyzw = QUATERNION_XYZW * np.sign(QUATERNION_XYZW[3])
    numbers = (*T_TRACKER_PROBE[:3, 3], *quat_xyzw)[:n_numbers]
    content = (struct.pack(f">{n_numbers}f", *numbers),)
    (pose,) = wire.decode(opened(wire.pack(kind, "ProbeToTracker", STAMP_S, content, version=1)))
    assert isinstance(pose, PoseSample)
    assert pose.status is PoseStatus.OK
    np.testing.assert_allclose(pose.matrix, T_TRACKER_PROBE, atol=1e-4)


def test_position_without_orientation_is_no_pose() -> None:
    with pytest.raises(WireError, match="12 bytes, expected 28 or 24"):
        wire.decode(opened(wire.pack("POSITION", "A", STAMP_S, (bytes(12),), version=1)))


@pytest.mark.parametrize("quat_xyzw", [(0, 0, 0, 0), (0, 0, 0, 1.01), (np.nan, 0, 0, 1)])
def test_quaternion_that_is_none_makes_the_pose_invalid(quat_xyzw: tuple[float, ...]) -> None:
    content = (struct.pack(">7f", 1.0, 2.0, 3.0, *quat_xyzw),)
    (pose,) = wire.decode(opened(wire.pack("QTRANS", "A", STAMP_S, content, version=1)))
    assert isinstance(pose, PoseSample)
    assert pose.status is PoseStatus.INVALID


def test_tracking_data_give_every_tool_with_its_own_status() -> None:
    tools = {"Probe": T_TRACKER_PROBE, "Reference": np.eye(4)}
    parts = wire.encode_tracking_data("Tracker", tools, STAMP_S)
    raw = opened(parts)
    marked = replace(raw, metadata={"ReferenceStatus": "OUT_OF_VIEW"})
    probe, reference = wire.decode(marked)
    assert isinstance(probe, PoseSample)
    assert isinstance(reference, PoseSample)
    assert (probe.name, probe.status) == ("Probe", PoseStatus.OK)
    assert (reference.name, reference.status) == ("Reference", PoseStatus.INVALID)
    assert probe.stamps.t_sender_s == reference.stamps.t_sender_s == STAMP_S
    np.testing.assert_allclose(probe.matrix, T_TRACKER_PROBE, atol=1e-4)


def test_tracking_data_in_quaternions() -> None:
    entry = struct.pack(">20sBB7f", b"Probe", 1, 0, *T_TRACKER_PROBE[:3, 3], *QUATERNION_XYZW)
    parts = wire.pack("QTDATA", "Tracker", STAMP_S, (entry, entry), version=1)
    samples = wire.decode(opened(parts))
    assert len(samples) == 2
    assert isinstance(samples[1], PoseSample)
    np.testing.assert_allclose(samples[1].matrix, T_TRACKER_PROBE, atol=1e-4)


@pytest.mark.parametrize(("kind", "size"), [("TDATA", 70), ("QTDATA", 50)])
def test_tracking_data_of_a_broken_length_are_refused(kind: str, size: int) -> None:
    with pytest.raises(WireError, match=f"{size + 1} bytes, expected a multiple of {size}"):
        wire.decode(opened(wire.pack(kind, "T", STAMP_S, (bytes(size + 1),), version=1)))


def test_asking_for_tracking_data_is_as_specified() -> None:
    message = opened(wire.encode_start_tracking(20, coordinates="Patient"))
    assert message.type == "STT_TDATA"
    assert struct.unpack(">i32s", message.content.tobytes()) == (20, b"Patient".ljust(32, b"\0"))
    assert opened(wire.encode_stop_tracking()).type == "STP_TDATA"


def test_small_messages_come_back() -> None:
    assert wire.decode(opened(wire.encode_status("Scanner"))) == (
        StatusReport("Scanner", 1, 0, "", ""),
    )
    assert wire.decode(opened(wire.encode_string("Note", "Grüße"))) == (
        TextMessage("Note", "Grüße"),
    )
    assert wire.decode(opened(wire.encode_capability("", ["IMAGE", "TRANSFORM"]))) == (
        Capability(("IMAGE", "TRANSFORM")),
    )


def test_status_says_what_went_wrong() -> None:
    content = struct.pack(">Hq20s", 13, -7, b"No probe"), b"Plug it in\0"
    message = opened(wire.pack("STATUS", "Scanner", STAMP_S, content, version=2))
    assert wire.decode(message) == (StatusReport("Scanner", 13, -7, "No probe", "Plug it in"),)


@pytest.mark.parametrize(
    ("kind", "content", "text"),
    [
        ("STATUS", bytes(29), "29 bytes, expected at least 30"),
        ("STRING", bytes(3), "3 bytes, expected at least 4"),
        ("STRING", b"\0\3\0\5abc", "3 bytes came, 5 were announced"),
        ("CAPABILITY", bytes(13), "13 bytes came, expected a multiple of 12"),
    ],
)
def test_small_messages_that_are_too_short_are_refused(
    kind: str, content: bytes, text: str
) -> None:
    with pytest.raises(WireError, match=text):
        wire.decode(opened(wire.pack(kind, "A", STAMP_S, (content,), version=1)))


def test_too_long_a_string_is_a_wrong_call() -> None:
    with pytest.raises(ValueError, match="65536 bytes, expected at most 65535"):
        wire.encode_string("Note", "x" * 65536)


def test_other_types_are_no_record() -> None:
    assert wire.decode(opened(wire.encode_get_status())) == ()
    assert wire.decode(opened(wire.pack("VIDEO", "", 0.0, (bytes(99),), version=2))) == ()


def test_message_for_a_version_1_peer_has_the_same_content() -> None:
    whole = wire.encode_transform("ProbeToTracker", T_TRACKER_PROBE, STAMP_S)
    (raw,) = read_all(joined(wire.as_version_1(whole)))
    assert (raw.version, raw.body.size) == (1, 48)
    assert joined(wire.as_version_1(whole)) == joined(
        wire.encode_transform("ProbeToTracker", T_TRACKER_PROBE, STAMP_S, version=1)
    )
    first = wire.as_version_1(whole)
    assert wire.as_version_1(first) is first


def test_a_burst_comes_in_one_read_and_what_precedes_lost_framing_is_delivered() -> None:
    burst = [joined(wire.encode_transform("A", T_TRACKER_PROBE, k + 1.0)) for k in range(20)]
    reader = reader_of(b"".join(burst) + b"HTTP" * 20)
    assert [wire.seconds_from_stamp(raw.stamp) for raw in reader.receive()] == [
        k + 1.0 for k in range(20)
    ]
    with pytest.raises(WireError, match="not an OpenIGTLink header"):
        reader.receive()


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
    header = wire.pack("STRING", "A", 0.0, (b"1234", memoryview(b"56789")), version=1)[0]
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
