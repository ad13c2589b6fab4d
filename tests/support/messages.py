"""Raw messages as they come from a server, without one."""

from __future__ import annotations

import struct

import numpy as np

from tracking.messages import PoseStatus
from tracking.wire import (
    Parts,
    RawMessage,
    encode_image,
    encode_status,
    encode_transform,
    pack,
    parse_raw,
)


def arrived(parts: Parts, t_arrival_s: float) -> RawMessage:
    return parse_raw(b"".join(parts), t_arrival_s)


def image(grey: int, stamp_s: float, t_arrival_s: float, device: str = "Image") -> RawMessage:
    pixels = np.full((30, 40), grey, np.uint8)
    metadata = {"FrameNumber": str(grey)}
    return arrived(encode_image(device, pixels, stamp_s, (0.1, 0.2), metadata), t_arrival_s)


def pose(
    x_mm: float, stamp_s: float, t_arrival_s: float, status: PoseStatus = PoseStatus.OK
) -> RawMessage:
    matrix = np.eye(4)
    matrix[0, 3] = x_mm
    return arrived(encode_transform("ProbeToTracker", matrix, stamp_s, status), t_arrival_s)


def status(t_arrival_s: float) -> RawMessage:
    return arrived(encode_status("Server"), t_arrival_s)


def session(n: int = 20, t_begin_s: float = 500.0, stamp_s: float = 1000.0) -> list[RawMessage]:
    """Half images, half poses at 10 Hz each, and a STATUS at the beginning; images come 40 ms
    after their stamp, poses 3 ms, so that the order of arrival is not that of the stamps."""
    messages = [status(t_begin_s)]
    for k in range(n // 2):
        stamp, arrival = stamp_s + 0.1 * k, t_begin_s + 0.1 * k
        messages += [image(k, stamp, arrival + 0.040), pose(k, stamp + 0.01, arrival + 0.013)]
    return sorted(messages, key=lambda message: message.t_arrival_s)


FIELDS = """<TrackedFrame Timestamp="12.5" ImageDataValid="true" FrameSize="4 3 1">
  <FrameField Name="FrameNumber" Value="17" />
  <FrameField Name="ProbeToTrackerTransform" Value="0 -1 0 10 1 0 0 20 0 0 1 30 0 0 0 1 " />
  <FrameField Name="ProbeToTrackerTransformStatus" Value="OK" />
  <FrameField Name="StylusToTrackerTransform" Value="1 0 0 0 0 1 0 0 0 0 1 0 0 0 0 1" />
  <FrameField Name="StylusToTrackerTransformStatus" Value="OUT_OF_VIEW" />
</TrackedFrame>"""


def tracked_frame(
    xml: str = FIELDS,
    pixels: bytes = bytes(range(12)),
    size: tuple[int, int, int] = (4, 3, 1),
    orientation: int = 5,
    version: int = 2,
) -> Parts:
    """A TRACKEDFRAME byte by byte as PlusServer packs it: uint8 in orientation MF, 0.1 x 0.2 mm."""
    text = xml.encode()
    header = struct.pack(">3H3H2IH", 3, 1, 1, *size, len(pixels), len(text), orientation)
    embedded = struct.pack("<16f", 0.1, 0, 0, 5, 0, 0.2, 0, 6, 0, 0, 1, 7, 0, 0, 0, 1)
    return pack("TRACKEDFRAME", "Tracked", 12.5, (header, embedded, text, pixels), version=version)


def polydata_content() -> bytes:
    """Four points, a vertex, a line, two triangles, no strip, one attribute that is not read."""
    cells = ((1, 0), (2, 0, 1), (3, 0, 1, 2, 3, 0, 2, 3), ())
    counts = (1, 1, 2, 0)
    sizes = [n for k in range(4) for n in (counts[k], 4 * len(cells[k]))]
    header = struct.pack(">10I", 4, *sizes, 1)
    points = np.arange(12, dtype=">f4").tobytes()
    return header + points + b"".join(struct.pack(f">{len(c)}I", *c) for c in cells) + bytes(10)
