"""Our recordings: raw OpenIGTLink messages with their arrival times, in an MCAP file.

Each message is stored as it came over the wire. `log_time` is its arrival and `publish_time` the
sender's stamp (0: none), both in ns. There is a channel for each type and device name, and a
metadata record that says how arrival, in the file wall time, is brought back to `perf_counter`.

Messages are written in chunks that are complete in the file within half a second, so a process
that is killed loses no more. The reader therefore does not rely on the summary at the end: it
walks from record to record, touching only their heads, and stops where the file was cut.

Source: MCAP specification (https://mcap.dev/spec).
"""

from __future__ import annotations

import io
import struct
import time
from array import array
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from mcap.data_stream import ReadDataStream
from mcap.exceptions import McapError
from mcap.opcode import Opcode
from mcap.records import Channel, Metadata
from mcap.writer import MCAP0_MAGIC, CompressionType, Writer
from numpy.typing import NDArray

from tracking.errors import SequenceError, WireError, WriteError
from tracking.wire import RawMessage, encode_raw, parse_raw, seconds_from_stamp

StreamKey = tuple[str, str]  # type and device name, as in the message's header

# What one message that has not been written yet may cost when the process is killed.
FLUSH_AFTER_S = 0.4
# A chunk costs about 100 bytes and an entry in the summary; larger ones save nothing more.
_CHUNK_BYTES = 4 * 2**20

_ENCODING = "openigtlink"
_BEGIN, _END = "navapp.recording", "navapp.recording.end"
_ORIGIN = "arrival_origin_ns"  # metadata: wall time minus perf_counter
_NS = 1_000_000_000

_RECORD = struct.Struct("<BQ")  # opcode, length
_CHUNK = struct.Struct("<QQQII")  # times, size, checksum; length of the compression's name
_LENGTH = struct.Struct("<Q")
_MESSAGE = struct.Struct("<HIQQ")  # channel, sequence, log time, publish time


class RecordingWriter:
    """Writes one recording; not thread-safe.

    Each write to disk fails at once, not when the file is closed: nothing is buffered but the
    chunk in the making.

    Parameters
    ----------
    path : must not exist yet; recordings are never overwritten.
    arrival_origin_ns : wall time minus `perf_counter`; the present one where None.

    Raises
    ------
    SequenceError : the file exists already.
    WriteError : from every method, when the file cannot be written; `abandon` it then.
    """

    def __init__(self, path: Path, *, arrival_origin_ns: int | None = None) -> None:
        self.path = path
        self.counts: Counter[StreamKey] = Counter()
        if arrival_origin_ns is None:
            arrival_origin_ns = time.time_ns() - time.perf_counter_ns()
        self._origin_ns = arrival_origin_ns
        self._file = _UnbufferedFile(path)
        self._channels: dict[StreamKey, int] = {}
        self._t_unflushed_s: float | None = None
        self._writer = Writer(
            self._file,  # type: ignore[arg-type]  # it needs no more than write, tell and flush
            chunk_size=_CHUNK_BYTES,
            compression=CompressionType.NONE,  # an image in time is worth more than half its size
        )
        self._writer.start(profile=_ENCODING)
        self._writer.add_metadata(_BEGIN, {_ORIGIN: str(arrival_origin_ns)})

    @property
    def n_bytes(self) -> int:
        """Length of the file so far."""
        return self._file.tell()

    def add(self, raw: RawMessage) -> None:
        """Append a message; what is older than `FLUSH_AFTER_S` by then reaches the file."""
        key = raw.type, raw.device
        channel = self._channels.get(key)
        if channel is None:
            channel = self._channels[key] = self._writer.register_channel(
                f"{raw.type}/{raw.device}",
                _ENCODING,
                schema_id=0,
                metadata={"type": raw.type, "device": raw.device},
            )
        self._writer.add_message(
            channel,
            log_time=round(raw.t_arrival_s * _NS) + self._origin_ns,
            data=b"".join(encode_raw(raw)),
            publish_time=round(seconds_from_stamp(raw.stamp) * _NS),
            sequence=self.counts[key],
        )
        self.counts[key] += 1
        if self._t_unflushed_s is None:
            self._t_unflushed_s = raw.t_arrival_s
        elif raw.t_arrival_s - self._t_unflushed_s >= FLUSH_AFTER_S:
            self.flush()

    def flush(self) -> None:
        """Everything so far is in the file, and stays there if the process is killed."""
        self._t_unflushed_s = None
        self._writer.flush()  # type: ignore[no-untyped-call]

    def close(self, notes: Mapping[str, str]) -> None:
        """Write what is left, the notes as metadata, and the summary."""
        self.flush()
        self._writer.add_metadata(_END, dict(notes))
        self._writer.finish()  # type: ignore[no-untyped-call]
        self._file.close()

    def abandon(self) -> None:
        """Give the file back as it is, after an error."""
        self._file.close()


class _UnbufferedFile:
    """The part of a file that the MCAP library needs; whole writes, no buffer."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._file = path.open("xb", buffering=0)
        except FileExistsError:
            raise SequenceError(f"{path}: exists already, expected a new name") from None
        except OSError as error:
            raise self._error(error) from None
        self._position = 0

    def write(self, data: bytes) -> int:
        waiting = memoryview(data)
        try:
            while waiting:
                n_bytes = self._file.write(waiting)
                self._position += n_bytes
                waiting = waiting[n_bytes:]
        except OSError as error:
            raise self._error(error) from None
        return len(data)

    def tell(self) -> int:
        return self._position

    def flush(self) -> None:
        """Nothing waits here."""

    def close(self) -> None:
        self._file.close()

    def _error(self, error: OSError) -> WriteError:
        return WriteError(f"{self._path}: cannot be written: {error.strerror}")


@dataclass(frozen=True, slots=True)
class Index:
    """Where every message lies, in the order of the file; five arrays of the same length."""

    offset: NDArray[np.int64]
    length: NDArray[np.int64]
    channel: NDArray[np.uint16]
    arrival_ns: NDArray[np.int64]  # wall time
    stamp_ns: NDArray[np.int64]  # 0: the sender gave none


class Recording:
    """A recording, whole or cut; `index` is held (34 bytes a message), messages are read singly.

    Raises
    ------
    SequenceError : with the file and what was expected.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.is_closed = False  # whether its writer came to the end
        self.notes: dict[str, str] = {}  # what the writer said of it at the end
        self.streams: dict[int, StreamKey] = {}  # by the channel's number
        self._origin_ns = 0
        self._columns = array("q"), array("q"), array("H"), array("q"), array("q")
        try:
            n_bytes = path.stat().st_size
            with path.open("rb") as file:
                if file.read(len(MCAP0_MAGIC)) != MCAP0_MAGIC:
                    raise SequenceError(f"{path}: not an MCAP file")
                self._walk(file, file.tell(), n_bytes, n_bytes)
        except OSError as error:
            raise SequenceError(f"{path}: cannot be read: {error.strerror}") from None
        except (McapError, struct.error, ValueError, OverflowError) as error:
            raise SequenceError(f"{path}: broken MCAP record ({error})") from None
        self.index = Index(*(np.array(column) for column in self._columns))
        del self._columns

    @property
    def counts(self) -> Counter[StreamKey]:
        """Messages by type and device name."""
        channels, counts = np.unique(self.index.channel, return_counts=True)
        found: Counter[StreamKey] = Counter()
        for channel, count in zip(channels, counts, strict=True):
            found[self.streams[int(channel)]] += int(count)
        return found

    def channels(self, *types: str) -> dict[int, str]:
        """Device names of the streams of some types, by the channel's number."""
        return {n: device for n, (kind, device) in self.streams.items() if kind in types}

    def messages(self) -> Iterator[RawMessage]:
        """All messages as they arrived.

        Raises
        ------
        SequenceError : at a message that is damaged.
        """
        with self.path.open("rb") as file:
            for k in range(len(self.index.offset)):
                yield self.read(file, k)

    def read(self, file: BinaryIO, k: int) -> RawMessage:
        """Message `k` of the index, from the opened recording; its checksum is verified again."""
        file.seek(int(self.index.offset[k]))
        data = file.read(int(self.index.length[k]))
        t_arrival_s = (int(self.index.arrival_ns[k]) - self._origin_ns) / _NS
        try:
            return parse_raw(data, t_arrival_s)
        except WireError as error:
            raise SequenceError(f"{self.path}: message {k}: {error}") from None

    def _walk(self, file: BinaryIO, begin: int, end: int, n_bytes: int) -> None:
        """Index the records between two offsets; a cut file ends inside one, at `n_bytes`."""
        while begin + _RECORD.size <= min(end, n_bytes):
            file.seek(begin)
            opcode, length = _RECORD.unpack(file.read(_RECORD.size))
            content, begin = file.tell(), file.tell() + length
            if opcode == Opcode.CHUNK:
                self._walk_chunk(file, n_bytes)
            elif opcode not in _KNOWN or begin > n_bytes:
                return
            elif opcode == Opcode.MESSAGE and length >= _MESSAGE.size:
                self._add(content, length, *_MESSAGE.unpack(file.read(_MESSAGE.size)))
            elif opcode == Opcode.CHANNEL:
                self._add_channel(Channel.read(_stream(file, length)))
            elif opcode == Opcode.METADATA:
                self._add_metadata(Metadata.read(_stream(file, length)))
            elif opcode == Opcode.FOOTER:
                file.seek(begin)
                self.is_closed = file.read() == MCAP0_MAGIC

    def _walk_chunk(self, file: BinaryIO, n_bytes: int) -> None:
        head = file.read(_CHUNK.size)
        if len(head) < _CHUNK.size:
            return
        *_, name_bytes = _CHUNK.unpack(head)
        compression = file.read(name_bytes).decode()
        if compression:
            raise SequenceError(
                f"{self.path}: its chunks are compressed ({compression!r}), expected none: "
                "`mcap decompress` makes it readable"
            )
        size = file.read(_LENGTH.size)
        if len(size) == _LENGTH.size:
            self._walk(file, file.tell(), file.tell() + _LENGTH.unpack(size)[0], n_bytes)

    def _add(
        self, content: int, length: int, channel: int, _: int, log_time: int, publish_time: int
    ) -> None:
        if channel not in self.streams:
            raise SequenceError(f"{self.path}: a message of channel {channel}, which is unknown")
        row = content + _MESSAGE.size, length - _MESSAGE.size, channel, log_time, publish_time
        for column, value in zip(self._columns, row, strict=True):
            column.append(value)

    def _add_channel(self, channel: Channel) -> None:
        if channel.message_encoding != _ENCODING:
            raise SequenceError(
                f"{self.path}: messages of {channel.topic!r} are {channel.message_encoding!r}, "
                f"expected {_ENCODING}"
            )
        kind, _, device = channel.topic.partition("/")
        self.streams[channel.id] = kind, device

    def _add_metadata(self, record: Metadata) -> None:
        if record.name == _BEGIN:
            self._origin_ns = int(record.metadata.get(_ORIGIN, "0"))
        elif record.name == _END:
            self.notes = record.metadata


_KNOWN = {int(opcode) for opcode in Opcode}


def _stream(file: BinaryIO, length: int) -> ReadDataStream:
    return ReadDataStream(io.BytesIO(file.read(length)))
