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

from tracking.errors import LinkError, WireError
from tracking.messages import ImageFrame, PoseSample
from tracking.sockets import address_text, connect, reason, send_parts, shut_down
from tracking.wire import (
    IMAGE,
    TRANSFORM,
    EndOfStreamError,
    MessageReader,
    Parts,
    RawMessage,
    decode,
    encode_get_status,
    open_message,
)

_logger = logging.getLogger(__name__)

_BACKOFF_FIRST_S = 0.1
_BACKOFF_MAX_S = 0.5
# A server that has been away for a minute is not about to return: ask less often.
_BACKOFF_PATIENT_AFTER_S = 60.0
_BACKOFF_PATIENT_MAX_S = 2.0
_SEND_STALL_TIMEOUT_S = 3.0


class LinkState(Enum):
    """How the connection stands. The text beside it says why, in a sentence."""

    CONNECTING = "CONNECTING"
    UNREACHABLE = "UNREACHABLE"  # refused, no answer, or no such host
    CONNECTED = "CONNECTED"
    SILENT = "SILENT"  # connected, but no byte has come for a while
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
        """Messages of types that are not decoded (STATUS, STRING, ...): skipped."""
        return sum(s.n_messages for s in self.streams if s.type not in (IMAGE, TRANSFORM))


class Client:
    """One connection to one server, kept up until told to stop.

    Parameters
    ----------
    on_image, on_pose : called in the receive thread with each decoded message, in order.
    on_bad_image : called with stream name and reason for a complete IMAGE of no use to us.
    on_raw : called with every complete message, of whatever type, before it is decoded.
    on_state : called in the receive thread whenever the state or its reason changes, and with
        UNREACHABLE after every attempt that fails, so that the caller can give up.
    connect_timeout_s : for each of the host's addresses.
    silence_timeout_s : no byte for so long is reported as SILENT. The connection stays: a server
        may send only on change, and a vanished host is noticed by TCP's keep-alive (about 5 s).
    reconnect : False where a person must approve each connection; `run` then ends with the first.
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
        on_raw: Callable[[RawMessage], None] | None = None,
        connect_timeout_s: float = 3.0,
        silence_timeout_s: float = 2.0,
        reconnect: bool = True,
    ) -> None:
        self._host, self._port = host, port
        self._address = address_text(host, port)
        self._on_image, self._on_pose = on_image, on_pose
        self._on_bad_image = on_bad_image
        self._on_state = on_state
        self._on_raw = on_raw
        self._connect_timeout_s = connect_timeout_s
        self._silence_timeout_s = silence_timeout_s
        self._reconnect = reconnect

        self._reported: tuple[LinkState, str] | None = None
        self._t_last_bytes_s = 0.0
        self._send_lock = threading.Lock()
        self._socket: socket.socket | None = None  # set while connected, under `_send_lock`
        self._streams_lock = threading.Lock()
        self._streams: dict[tuple[str, str], StreamStatistics] = {}
        self._n_bytes = 0
        self._n_connections = 0

    @property
    def statistics(self) -> ClientStatistics:
        """A snapshot; may be asked from any thread."""
        with self._streams_lock:
            streams = tuple(self._streams.values())
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
        self._n_connections += 1
        self._t_last_bytes_s = time.perf_counter()
        self._report(LinkState.CONNECTED, f"connected to {self._address}")

    def _detach(self, sock: socket.socket) -> None:
        shut_down(sock)  # wakes a `send` that waits for room, and so frees the lock
        with self._send_lock:
            self._socket = None

    def _receive(self, sock: socket.socket, stop: threading.Event) -> None:
        def recv_into(buffer: memoryview) -> int:
            n_bytes = sock.recv_into(buffer)
            self._n_bytes += n_bytes
            self._t_last_bytes_s = time.perf_counter()
            return n_bytes

        reader = MessageReader(recv_into, self._count_bad_crc)
        while not stop.is_set():
            try:
                raw = reader.receive()
            except TimeoutError as error:
                if error.errno is not None:  # TCP's keep-alive gave the host up; a poll has none
                    raise
                self._watch_silence(reader.progress)
                continue
            if self._is_silent:
                self._report(LinkState.CONNECTED, f"{self._address} sends again")
            if raw is not None:
                self._deliver(raw)

    def _deliver(self, raw: RawMessage) -> None:
        if self._on_raw is not None:
            self._on_raw(raw)
        name = raw.device
        try:
            message = open_message(raw)
            name = message.name
            record = decode(message)
        except WireError as error:
            stream = self._stream(raw.type, name)
            self._keep(replace(stream, n_malformed=stream.n_malformed + 1))
            if raw.type == IMAGE:
                self._on_bad_image(name, str(error))
            return
        self._count_message(raw.type, name, raw.t_arrival_s)
        if isinstance(record, ImageFrame):
            self._on_image(record)
        elif isinstance(record, PoseSample):
            self._on_pose(record)

    def _count_message(self, kind: str, name: str, t_arrival_s: float) -> None:
        stream = self._stream(kind, name)
        t_first_s = stream.t_first_arrival_s
        self._keep(
            replace(
                stream,
                n_messages=stream.n_messages + 1,
                t_first_arrival_s=t_arrival_s if t_first_s is None else t_first_s,
                t_last_arrival_s=t_arrival_s,
            )
        )

    def _count_bad_crc(self, kind: str, device: str) -> None:
        stream = self._stream(kind, device)
        self._keep(replace(stream, n_bad_crc=stream.n_bad_crc + 1))

    def _stream(self, kind: str, name: str) -> StreamStatistics:
        return self._streams.get((kind, name)) or StreamStatistics(kind, name)

    def _keep(self, stream: StreamStatistics) -> None:
        with self._streams_lock:
            self._streams[stream.type, stream.name] = stream

    @property
    def _is_silent(self) -> bool:
        return self._reported is not None and self._reported[0] is LinkState.SILENT

    def _watch_silence(self, progress: str | None) -> None:
        if time.perf_counter() - self._t_last_bytes_s < self._silence_timeout_s:
            return
        where = f" after {progress}" if progress else ""
        self._report(
            LinkState.SILENT,
            f"{self._address} is connected but has sent nothing for "
            f"{self._silence_timeout_s:g} s{where}",
        )

    def _report_lost(self, why: str) -> None:
        self._report(LinkState.LOST, f"the connection to {self._address} was lost: {why}")

    def _report(self, state: LinkState, detail: str) -> None:
        is_new = self._reported != (state, detail)
        self._reported = (state, detail)
        if is_new:
            _logger.info("%s", detail)
        if is_new or state is LinkState.UNREACHABLE:
            self._on_state(state, detail)


def backoff_s(n_failures: int, t_away_s: float) -> float:
    """How long to wait before connecting again: 0.1 s, doubled up to 0.5 s, after a minute 2 s."""
    longest_s = _BACKOFF_MAX_S if t_away_s < _BACKOFF_PATIENT_AFTER_S else _BACKOFF_PATIENT_MAX_S
    return min(longest_s, _BACKOFF_FIRST_S * 2.0 ** min(n_failures, 10))
