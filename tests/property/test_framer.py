"""However the network cuts a stream and whenever it pauses, the same messages come out."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tracking import wire
from tracking.messages import PoseStatus

MESSAGES = [
    b"".join(parts)
    for parts in (
        wire.encode_image("Image", np.arange(60, dtype=np.uint8).reshape(6, 10), 1.5, (0.1, 0.2)),
        wire.encode_transform("ProbeToTracker", np.eye(4), 1.5),
        wire.encode_status(version=1),
        wire.encode_transform("AToB", np.eye(4), 2.0, PoseStatus.INVALID),
        wire.pack("GET_CAPABIL", "", 0.0, (), version=1),  # no body at all
        wire.encode_image("A name of more than twenty", np.ones((1, 1), np.uint8), 2.0),
        wire.pack("UNKNOWN", "X", 3.0, (bytes(range(256)),), version=2),
    )
]


class Chopper:
    """A socket that gives what the chunk lengths say; 0 stands for a timeout."""

    def __init__(self, data: bytes, chunks: Iterable[int]) -> None:
        self._rest = memoryview(data)
        self._chunks = iter(chunks)

    def recv_into(self, buffer: memoryview) -> int:
        chunk = next(self._chunks, len(buffer))
        if chunk == 0:
            raise TimeoutError
        n_bytes = min(chunk, len(buffer), len(self._rest))
        buffer[:n_bytes] = self._rest[:n_bytes]
        self._rest = self._rest[n_bytes:]
        return n_bytes


def read_all(data: bytes, chunks: Iterable[int]) -> tuple[list[wire.RawMessage], bool]:
    """The messages, and whether the stream ended between two of them."""
    reader = wire.MessageReader(Chopper(data, chunks).recv_into)
    messages: list[wire.RawMessage] = []
    while True:
        try:
            messages += reader.receive()
        except TimeoutError:
            continue
        except wire.EndOfStreamError as end:
            return messages, end.is_clean


def contents(messages: list[wire.RawMessage]) -> list[tuple[object, ...]]:
    return [(m.type, m.device, m.version, m.stamp, m.body.tobytes()) for m in messages]


WHOLE = contents([read_all(message, ())[0][0] for message in MESSAGES])


@settings(deadline=None)
@given(
    order=st.lists(st.integers(0, len(MESSAGES) - 1), max_size=8),
    chunks=st.lists(st.integers(0, 90), max_size=200),
)
def test_any_cut_with_any_pause_gives_every_message(order: list[int], chunks: list[int]) -> None:
    received, is_clean = read_all(b"".join(MESSAGES[k] for k in order), chunks)
    assert is_clean
    assert contents(received) == [WHOLE[k] for k in order]


def test_byte_by_byte_with_a_pause_after_each() -> None:
    data = b"".join(MESSAGES)
    received, is_clean = read_all(data, (k % 2 for k in range(2 * len(data))))
    assert is_clean
    assert contents(received) == WHOLE


def test_end_at_every_byte_is_clean_only_between_messages() -> None:
    data = b"".join(MESSAGES)
    borders = set(np.cumsum([0] + [len(message) for message in MESSAGES]).tolist())
    for n_bytes in range(len(data) + 1):
        received, is_clean = read_all(data[:n_bytes], ())
        assert is_clean == (n_bytes in borders)
        assert contents(received) == WHOLE[: len(received)]
