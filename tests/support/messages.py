"""Raw messages as they come from a server, without one."""

from __future__ import annotations

import numpy as np

from tracking.messages import PoseStatus
from tracking.wire import (
    Parts,
    RawMessage,
    encode_image,
    encode_status,
    encode_transform,
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
