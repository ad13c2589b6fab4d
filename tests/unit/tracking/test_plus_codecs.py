"""PLUS's own messages from hand-made bytes."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from tests.support.messages import FIELDS, arrived, tracked_frame
from tracking import wire
from tracking.errors import WireError
from tracking.messages import ClientInfo, ImageFrame, PoseSample, PoseStatus

_OF_THE_INFO = (
    b'<ClientInfo TDATARequested="FALSE"><MessageTypes><Message Type="IMAGE"/>'
    b'<Message Type="TRACKEDFRAME"/></MessageTypes>'
    b'<TransformNames><Transform Name="ProbeToTracker"/></TransformNames>'
    b'<ImageNames><Image Name="Image" EmbeddedTransformToFrame="Reference"/></ImageNames>'
    b"</ClientInfo>"
)
_INFO = ClientInfo(("IMAGE", "TRACKEDFRAME"), ("ProbeToTracker",), (("Image", "Reference"),))


def decoded(parts: wire.Parts) -> tuple[wire.Record, ...]:
    return wire.decode(wire.open_message(arrived(parts, 3.0)))


@pytest.mark.parametrize("version", [1, 2])
def test_a_tracked_frame_is_its_poses_and_its_image(version: int) -> None:
    probe, stylus, image = decoded(tracked_frame(version=version))
    assert isinstance(probe, PoseSample)
    assert isinstance(stylus, PoseSample)
    assert isinstance(image, ImageFrame)
    assert (probe.name, probe.status) == ("ProbeToTracker", PoseStatus.OK)
    np.testing.assert_array_equal(
        probe.matrix, [[0, -1, 0, 10], [1, 0, 0, 20], [0, 0, 1, 30], [0, 0, 0, 1]]
    )
    assert (stylus.name, stylus.status) == ("StylusToTracker", PoseStatus.INVALID)
    assert {r.stamps.t_sender_s for r in (probe, stylus, image)} == {12.5}
    np.testing.assert_array_equal(image.pixels, np.arange(12).reshape(3, 4))
    assert image.spacing_mm == pytest.approx((0.1, 0.2), rel=1e-6)
    assert image.metadata == {"FrameNumber": "17"}
    assert not image.pixels.flags.writeable


def test_a_tracked_frame_without_an_image_is_its_poses() -> None:
    records = decoded(tracked_frame(pixels=b"", size=(0, 0, 0)))
    assert [type(record) for record in records] == [PoseSample, PoseSample]
    invalid = FIELDS.replace('ImageDataValid="true"', 'ImageDataValid="false"')
    assert len(decoded(tracked_frame(invalid))) == 2


def test_a_pose_that_is_not_rigid_is_invalid() -> None:
    probe, *_ = decoded(tracked_frame(FIELDS.replace("0 -1 0 10", "0 -2 0 10")))
    assert isinstance(probe, PoseSample)
    assert probe.status is PoseStatus.INVALID


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        (tracked_frame(orientation=1), "4x3x1 in orientation 1 came, expected one slice"),
        (tracked_frame(size=(2, 3, 2)), "2x3x2 in orientation 5 came"),
        (tracked_frame(size=(4, 4, 1)), "12 bytes of pixels came, expected 4 x 4 x 1 of 1"),
        (tracked_frame("<TrackedFrame"), "its XML cannot be read"),
        (
            tracked_frame(FIELDS.replace("10 1 0 0 20", "10 1 0 x 20")),
            "ProbeToTrackerTransform is .*, expected 16 numbers",
        ),
        (wire.pack("TRACKEDFRAME", "A", 0.0, (bytes(85),), version=1), "85 bytes, expected"),
        (
            wire.pack("TRACKEDFRAME", "A", 0.0, (struct.pack(">6H2IH", *[9] * 9), bytes(64)),
                      version=1),
            "86 bytes came, 104 were announced",
        ),
    ],
)  # fmt: skip
def test_a_tracked_frame_of_another_kind_is_refused_with_the_reason(
    parts: wire.Parts, text: str
) -> None:
    with pytest.raises(WireError, match=text):
        decoded(parts)


def test_client_info_is_read_as_plus_writes_it() -> None:
    content = struct.pack(">HH", 3, len(_OF_THE_INFO)), _OF_THE_INFO
    assert decoded(wire.pack("CLIENTINFO", "", 0.0, content, version=2)) == (_INFO,)


def test_client_info_asks_for_streams() -> None:
    raw = arrived(wire.encode_client_info(_INFO), 0.0)
    assert (raw.type, raw.version) == ("CLIENTINFO", 2)
    assert b'<Transform Name="ProbeToTracker" />' in raw.body.tobytes()
    assert decoded(wire.encode_client_info(_INFO)) == (_INFO,)


def test_client_info_that_is_no_xml_is_refused() -> None:
    content = struct.pack(">HH", 3, 3), b"IMG"
    with pytest.raises(WireError, match="CLIENTINFO A: its XML cannot be read"):
        decoded(wire.pack("CLIENTINFO", "A", 0.0, content, version=2))
