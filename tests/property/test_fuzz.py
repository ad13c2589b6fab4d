"""200,000 messages with wrong bytes: none crashes, hangs, or takes the next one with it."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import numpy as np
import psutil
import pytest

from tracking import wire
from tracking.errors import WireError
from tracking.framing import HEADER_BYTES

N_DAMAGED = 200_000
_BATCH = 200

EYE = np.eye(4)
POINTS_MM = np.zeros((3, 3))
TEMPLATES = [
    b"".join(parts)
    for version in (1, 2)
    for parts in (
        wire.encode_image("Image", np.ones((3, 4), np.uint8), 1.5, (0.1, 0.2), version=version),
        wire.encode_transform("ProbeToTracker", EYE, 1.5, version=version),
        wire.encode_tracking_data("Tracker", {"A": EYE, "B": EYE}, 1.5, version=version),
        wire.pack("QTDATA", "Tracker", 1.5, (bytes(100),), version=version),
        wire.pack("POSITION", "A", 1.5, (bytes(28),), version=version),
        wire.pack("QTRANS", "A", 1.5, (bytes(24),), version=version),
        wire.encode_status("Scanner", version=version),
        wire.encode_string("Note", "hello", version=version),
        wire.encode_capability("", ["IMAGE", "TDATA"], version=version),
        wire.encode_points("P", POINTS_MM, 1.5, group="bone", version=version),
        wire.pack(
            "IMAGE", "A name of more than twenty", 1.5, (bytes(90),),
            metadata={"FrameNumber": "17", "Ünlü": "ä"}, version=version,
        ),
    )
]  # fmt: skip
_SIZE_FIELD = slice(42, 50)
_CRC_FIELD = slice(50, 58)


def damaged_messages(n: int, seed: int) -> Iterator[bytes]:
    """Messages whose framing is intact: every header field but version and size, every part of
    the body may be wrong; in half of them the checksum is right nevertheless."""
    rng = np.random.default_rng(seed)
    for _ in range(n // _BATCH):
        which = rng.integers(0, len(TEMPLATES), _BATCH)
        places = rng.integers(0, 2**31, (_BATCH, 4))
        values = rng.integers(0, 256, (_BATCH, 4))
        n_changes = rng.integers(1, 5, _BATCH)
        kinds = rng.integers(0, 4, _BATCH)
        for k in range(_BATCH):
            data = bytearray(TEMPLATES[which[k]])
            in_header = kinds[k] == 0
            for place, value in zip(places[k, : n_changes[k]], values[k], strict=False):
                if in_header:
                    data[2 + place % 40] = value  # type, device, stamp
                elif len(data) > HEADER_BYTES:
                    data[HEADER_BYTES + place % (len(data) - HEADER_BYTES)] = value
            if kinds[k] > 1:
                crc = wire.pack("X", "", 0.0, (bytes(data[HEADER_BYTES:]),), version=1)[0][-8:]
                data[_CRC_FIELD] = crc
            yield bytes(data)


def opened(data: bytes) -> list[wire.RawMessage]:
    """What a reader makes of these bytes, in one or more reads, until they are used up."""
    rest = memoryview(data)

    def recv_into(buffer: memoryview) -> int:
        nonlocal rest
        n_bytes = min(len(buffer), len(rest))
        buffer[:n_bytes] = rest[:n_bytes]
        rest = rest[n_bytes:]
        return n_bytes

    reader, messages = wire.MessageReader(recv_into), list[wire.RawMessage]()
    try:
        while True:
            messages += reader.receive()
    except wire.EndOfStreamError:
        return messages


def sentinel(k: int) -> bytes:
    return b"".join(wire.encode_transform("Sentinel", EYE, float(k + 1)))


def used(raw: wire.RawMessage) -> tuple[wire.Record, ...]:
    """The records of a message; only a WireError may keep them back."""
    try:
        return wire.decode(wire.open_message(raw))
    except WireError:
        return ()


@pytest.mark.timeout(300)
def test_damage_inside_a_message_never_costs_the_next_one() -> None:
    process = psutil.Process()
    batch, k, n_records, rss_bytes = list[bytes](), 0, 0, 0
    for data in damaged_messages(N_DAMAGED, seed=7):
        batch += [data, sentinel(k)]
        k += 1
        if k % _BATCH == 0:
            messages = opened(b"".join(batch))
            stamps = [m.stamp >> 32 for m in messages if m.device == "Sentinel"]
            assert stamps == list(range(k - _BATCH + 1, k + 1))
            n_records += sum(len(used(m)) for m in messages if m.device != "Sentinel")
            batch.clear()
        if k == N_DAMAGED // 5:
            rss_bytes = process.memory_info().rss
    assert k == N_DAMAGED
    assert n_records > N_DAMAGED / 20, "some damage must get as far as the decoders' results"
    assert process.memory_info().rss - rss_bytes < 20e6


def test_damaged_version_or_size_ends_the_connection_or_swallows_what_it_announces() -> None:
    """Framing is lost there: the reader must say so or wait for the end, within its limit."""
    rng = np.random.default_rng(11)
    outcomes = {"refused": 0, "ended": 0}
    for _ in range(5000):
        data = bytearray(TEMPLATES[rng.integers(len(TEMPLATES))] * 3)
        place = int(rng.choice([0, 1, *range(42, 50)]))
        data[place] = rng.integers(256)
        try:
            messages = opened(bytes(data))
            outcomes["ended"] += 1
        except WireError:
            messages = []
            outcomes["refused"] += 1
        for message in messages:
            used(message)
    assert min(outcomes.values()) > 500


@pytest.mark.parametrize("size", [2**26 + 1, 2**32, 2**63, 2**64 - 1])
def test_sizes_beyond_the_limit_are_refused(size: int) -> None:
    data = bytearray(TEMPLATES[0])
    data[_SIZE_FIELD] = struct.pack(">Q", size)
    with pytest.raises(WireError, match=f"announces {size} bytes"):
        opened(bytes(data))
