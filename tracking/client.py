"""The receiving end of an OpenIGTLink connection: reads, decodes, notices trouble, connects again.

The receive thread never waits on anyone: what it hands over goes to callbacks which must return
at once (put into a slot, a queue or a buffer).
"""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum
from typing import TypeVar

from tracking.clock import SenderClock
from tracking.errors import LinkError, WireError
from tracking.messages import (
    ImageFrame,
    PoseSample,
    TimeBase,
)
from tracking.sockets import POLL_S, address_text, connect, reason, receiver, send_parts, shut_down
from tracking.wire import (
    DECODED_TYPES,
    IMAGE,
    POINT,
    POLYDATA,
    TRACKEDFRAME,
    EndOfStreamError,
    MessageReader,
    Parts,
    RawMessage,
    SmallRecord,
    decode,
    encode_get_status,
    encode_start_tracking,
    open_message,
)

_logger = logging.getLogger(__name__)

_BACKOFF_FIRST_S = 0.1
_BACKOFF_MAX_S = 0.5
# A server that has been away for a minute is not about to return: ask less often.
_BACKOFF_PATIENT_AFTER_S = 60.0
_BACKOFF_PATIENT_MAX_S = 2.0
_SEND_STALL_TIMEOUT_S = 3.0
# Real servers send a dozen; a peer that invents names without end must not fill the memory.
_MAX_STREAMS = 256
_OTHER_STREAMS = ("*", "*")  # counts what comes beyond them
# They may be large: not worth decoding in the receive thread where nobody asks for records.
_GEOMETRY_TYPES = frozenset({POINT, POLYDATA})

Timed = TypeVar("Timed", ImageFrame, PoseSample)


class LinkState(Enum):
    """How the connection stands. The text beside it says why, in a sentence."""

    CONNECTING = "CONNECTING"
    UNREACHABLE = "UNREACHABLE"  # refused, no answer, or no such host
    CONNECTED = "CONNECTED"
    SILENT = "SILENT"  # no byte has come for a while: taken for dead where it may reconnect
    CLOSED = "CLOSED"  # the server has closed between two messages
    LOST = "LOST"  # ended inside a message, by an error, or the bytes made no sense


@dataclass(frozen=True, slots=True)
class StreamStatistics:
    """What has come under one message type and name; arrivals are `perf_counter` seconds.

    `n_messages` were complete and usable, `n_malformed` complete but not decodable. Damaged ones
    (`n_bad_crc`) are counted under the header's name, cut to 20 bytes.
    """

    type: str
    name: str
    n_messages: int = 0
    n_malformed: int = 0
    n_bad_crc: int = 0
    t_first_arrival_s: float | None = None
    t_last_arrival_s: float | None = None

    @property
    def rate_hz(self) -> float | None:
        """Mean rate from first to last arrival; None before the second message."""
        if self.t_first_arrival_s is None or self.t_last_arrival_s is None:
            return None
        span_s = self.t_last_arrival_s - self.t_first_arrival_s
        return (self.n_messages - 1) / span_s if span_s > 0.0 else None


@dataclass(frozen=True, slots=True)
class ClientStatistics:
    """All that has come since the client was made, over every reconnection."""

    streams: tuple[StreamStatistics, ...]
    n_bytes: int
    n_connections: int

    def names(self, message_type: str) -> list[str]:
        """Names of the streams of one type, for a message that lists what the server offers."""
        return [s.name for s in self.streams if s.type == message_type and s.n_messages > 0]

    @property
    def n_unused(self) -> int:
        """Messages of types that are not decoded (VIDEO, ...): skipped."""
        return sum(s.n_messages for s in self.streams if s.type not in DECODED_TYPES)


class _Counter:
    """One stream's statistics while they grow; a record per message would cost a third of it."""

    __slots__ = ("n_bad_crc", "n_malformed", "n_messages", "t_first_s", "t_last_s")

    def __init__(self) -> None:
        self.n_messages = self.n_malformed = self.n_bad_crc = 0
        self.t_first_s: float | None = None
        self.t_last_s: float | None = None

    def count(self, t_arrival_s: float) -> None:
        self.n_messages += 1
        self.t_last_s = t_arrival_s
        if self.t_first_s is None:
            self.t_first_s = t_arrival_s

    def snapshot(self, kind: str, name: str) -> StreamStatistics:
        return StreamStatistics(
            kind,
            name,
            self.n_messages,
            self.n_malformed,
            self.n_bad_crc,
            self.t_first_s,
            self.t_last_s,
        )


class Client:
    """One connection to one server, kept up until told to stop.

    Parameters
    ----------
    on_image, on_pose : called in the receive thread with each decoded message, in order.
    on_bad_image : called with stream name and reason for a complete IMAGE of no use to us.
    on_state : called in the receive thread whenever the state or its reason changes, and with
        UNREACHABLE after every attempt that fails, so that the caller can give up.
    on_record : called with every other message that is decoded: STATUS, STRING, COMMAND, ...
    on_raw : called with every message whose CRC was right, whatever its type, before it is
        decoded: what a recording keeps.
    clock, server : the server's clock, learned here, and the name that stamps refer to it by.
        Where the server's stamps cannot be trusted, those of a record say so.
    connect_timeout_s : for each of the host's addresses.
    silence_timeout_s : a server that has sent no byte for so long is dead: SILENT, then the
        connection is made anew. PlusServer and ours say every 0.25 s that they live. None for a
        server that sends on change only; a vanished host is then noticed by TCP's keep-alive (5 s).
    tracking_period_ms : ask for TDATA, which some trackers send only then; None does not ask.
    reconnect : False where a person must approve each connection; `run` then ends with the first,
        and silence is only reported.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        on_image: Callable[[ImageFrame], None],
        on_pose: Callable[[PoseSample], None],
        on_bad_image: Callable[[str, str], None],
        on_state: Callable[[LinkState, str], None],
        on_record: Callable[[SmallRecord], None] | None = None,
        on_raw: Callable[[RawMessage], None] | None = None,
        clock: SenderClock | None = None,
        server: str = "",
        connect_timeout_s: float = 3.0,
        silence_timeout_s: float | None = 2.0,
        tracking_period_ms: int | None = None,
        reconnect: bool = True,
    ) -> None:
        self._host, self._port = host, port
        self._address = address_text(host, port)
        self._on_image, self._on_pose = on_image, on_pose
        self._on_bad_image = on_bad_image
        self._on_state = on_state
        self._on_record, self._on_raw = on_record, on_raw
        self._clock = clock or SenderClock()
        self._server = server
        self._connect_timeout_s = connect_timeout_s
        self._silence_timeout_s = silence_timeout_s
        self._tracking_period_ms = tracking_period_ms
        self._reconnect = reconnect

        self._reported: tuple[LinkState, str] | None = None
        self._t_last_bytes_s = 0.0
        self._send_lock = threading.Lock()
        self._socket: socket.socket | None = None  # set while connected, under `_send_lock`
        self._streams_lock = threading.Lock()
        self._streams: dict[tuple[str, str], _Counter] = {}
        self._n_bytes = 0
        self._n_connections = 0

    @property
    def statistics(self) -> ClientStatistics:
        """A snapshot; may be asked from any thread."""
        with self._streams_lock:
            counters = tuple(self._streams.items())
        streams = tuple(counter.snapshot(*key) for key, counter in counters)
        return ClientStatistics(streams, self._n_bytes, self._n_connections)

    def run(self, stop: threading.Event) -> None:
        """The body of the receive thread. `stop` ends it within 0.2 s, whatever it is doing."""
        n_failures, t_away_s = 0, time.perf_counter()
        self._report(LinkState.CONNECTING, f"connecting to {self._address}")
        while not stop.is_set():
            n_bytes_before = self._n_bytes
            self._connect_and_receive(stop)
            if not self._reconnect:
                return
            if self._n_bytes > n_bytes_before:
                n_failures, t_away_s = 0, time.perf_counter()
            stop.wait(backoff_s(n_failures, time.perf_counter() - t_away_s))
            n_failures += 1

    def send(self, parts: Parts) -> None:
        """Send one encoded message; from any thread, also while messages arrive.

        Raises
        ------
        LinkError : where there is no connection, or it ends or stalls meanwhile.
        """
        with self._send_lock:
            if self._socket is None:
                raise LinkError(f"not connected to {self._address}: nothing was sent")
            try:
                send_parts(self._socket, parts, _SEND_STALL_TIMEOUT_S)
            except OSError as error:
                shut_down(self._socket)  # half a message may be out: nothing can follow it
                raise LinkError(f"sending to {self._address} failed: {reason(error)}") from error

    def _connect_and_receive(self, stop: threading.Event) -> None:
        try:
            sock = connect(self._host, self._port, self._connect_timeout_s, stop)
        except OSError as error:
            self._report(LinkState.UNREACHABLE, f"cannot reach {self._address}: {reason(error)}")
            return
        if sock is None:
            return
        with sock:
            self._attach(sock)
            try:
                self.send(encode_get_status())
                if self._tracking_period_ms is not None:
                    self.send(encode_start_tracking(self._tracking_period_ms))
                self._receive(sock, stop)
            except EndOfStreamError as end:
                if end.is_clean:
                    self._report(LinkState.CLOSED, f"{self._address} closed the connection")
                else:
                    self._report_lost(str(end))
            except (WireError, LinkError) as error:
                self._report_lost(str(error))
            except OSError as error:
                self._report_lost(reason(error))
            finally:
                self._detach(sock)

    def _attach(self, sock: socket.socket) -> None:
        with self._send_lock:
            self._socket = sock
        self._clock.forget()
        self._n_connections += 1
        self._t_last_bytes_s = time.perf_counter()
        self._report(LinkState.CONNECTED, f"connected to {self._address}")

    def _detach(self, sock: socket.socket) -> None:
        shut_down(sock)  # wakes a `send` that waits for room, and so frees the lock
        with self._send_lock:
            self._socket = None

    def _receive(self, sock: socket.socket, stop: threading.Event) -> None:
        recv_into = receiver(sock)

        def counted(buffer: memoryview) -> int:
            n_bytes = recv_into(buffer)
            self._n_bytes += n_bytes
            self._t_last_bytes_s = time.perf_counter()
            return n_bytes

        reader = MessageReader(counted, self._count_bad_crc)
        while not stop.is_set():
            try:
                messages = reader.receive()
            except TimeoutError as error:
                if error.errno is not None:  # TCP's keep-alive gave the host up; a poll has none
                    raise
                if self._is_dead(reader.progress):
                    return
                continue
            if self._is_silent:
                self._report(LinkState.CONNECTED, f"{self._address} sends again")
            for raw in messages:
                self._deliver(raw)

    def _deliver(self, raw: RawMessage) -> None:
        if self._on_raw is not None:
            self._on_raw(raw)
        name = raw.device
        try:
            message = open_message(raw, self._server)
            name = message.name
            records = decode(message) if self._is_wanted(raw.type) else ()
        except WireError as error:
            self._counter(raw.type, name).n_malformed += 1
            if raw.type in (IMAGE, TRACKEDFRAME):
                self._on_bad_image(name, str(error))
            return
        counter = self._counter(raw.type, name)
        counter.count(raw.t_arrival_s)
        if counter is self._streams.get(_OTHER_STREAMS):
            return
        for record in records:
            if isinstance(record, PoseSample):
                self._on_pose(self._timed(raw.type, record))
            elif isinstance(record, ImageFrame):
                self._on_image(self._timed(raw.type, record))
            elif self._on_record is not None:
                self._on_record(record)

    def _is_wanted(self, kind: str) -> bool:
        return self._on_record is not None or kind not in _GEOMETRY_TYPES

    def _timed(self, kind: str, record: Timed) -> Timed:
        """The record as it is, or marked to be matched by its arrival."""
        stamps = record.stamps
        if self._clock.observe(f"{kind} {record.name}", stamps):
            return record
        return replace(record, stamps=replace(stamps, base=TimeBase(self._server, True)))

    def _count_bad_crc(self, kind: str, device: str) -> None:
        self._counter(kind, device).n_bad_crc += 1

    def _counter(self, kind: str, name: str) -> _Counter:
        counter = self._streams.get((kind, name))
        if counter is not None:
            return counter
        key = (kind, name) if len(self._streams) < _MAX_STREAMS else _OTHER_STREAMS
        with self._streams_lock:
            return self._streams.setdefault(key, _Counter())

    @property
    def _is_silent(self) -> bool:
        return self._reported is not None and self._reported[0] is LinkState.SILENT

    def _is_dead(self, progress: str | None) -> bool:
        """Report a silence that has lasted too long; True where the connection is to be ended."""
        limit_s = self._silence_timeout_s
        # The next look is POLL_S away, and would be too late.
        if limit_s is None or time.perf_counter() - self._t_last_bytes_s < limit_s - POLL_S:
            return False
        where = f" after {progress}" if progress else ""
        what_now = ": connecting anew" if self._reconnect else ""
        self._report(
            LinkState.SILENT,
            f"{self._address} is connected but has sent nothing for {limit_s:g} s{where}{what_now}",
        )
        return self._reconnect

    def _report_lost(self, why: str) -> None:
        self._report(LinkState.LOST, f"the connection to {self._address} was lost: {why}")

    def _report(self, state: LinkState, detail: str) -> None:
        is_new = self._reported != (state, detail)
        self._reported = (state, detail)
        if is_new:
            _logger.debug("%s", detail)  # whoever listens tells it
        if is_new or state is LinkState.UNREACHABLE:
            self._on_state(state, detail)


def backoff_s(n_failures: int, t_away_s: float) -> float:
    """How long to wait before connecting again: 0.1 s, doubled up to 0.5 s, after a minute 2 s."""
    longest_s = _BACKOFF_MAX_S if t_away_s < _BACKOFF_PATIENT_AFTER_S else _BACKOFF_PATIENT_MAX_S
    return min(longest_s, _BACKOFF_FIRST_S * 2.0 ** min(n_failures, 10))
