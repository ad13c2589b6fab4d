"""The sending end: any number of clients, none of which can hold up the others.

One thread listens, accepts and reads (with a selector), one thread per client writes from that
client's bounded outbox. As PlusServer does, it speaks header version 1 to a client until that
client has spoken version 2; so that a client of version 2 misses no metadata, the first messages
wait a moment for its greeting.
"""

from __future__ import annotations

import logging
import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from types import TracebackType

from tracking.errors import LinkError, WireError
from tracking.sockets import POLL_S, address_text, prepare, reason, receiver, send_parts, shut_down
from tracking.wire import (
    DEFAULT_PORT,
    GET_STATUS,
    Message,
    MessageReader,
    Parts,
    encode_status,
    for_version,
    open_message,
)

_logger = logging.getLogger(__name__)

# What a client may be behind: about 0.7 s of 950x811 images at 60 Hz. More would only grow old.
_OUTBOX_MESSAGES = 512
_OUTBOX_BYTES = 32 * 2**20
# How long a client's greeting is waited for; our own client greets within a millisecond.
_GREETING_WAIT_S = 0.25
# As PlusServer: a STATUS where there is nothing else, so that silence means trouble.
_KEEP_ALIVE_S = 0.25
# A client that takes not one byte for so long is cut off: it has hung or vanished.
_STALL_TIMEOUT_S = 10.0
# On closing, the message that is just being written may still be finished.
_GRACE_S = 0.5
_JOIN_TIMEOUT_S = 2.0


class Server:
    """An OpenIGTLink server; listens from construction until `close`.

    Parameters
    ----------
    host : the address to listen on; 127.0.0.1 is this computer only, 0.0.0.0 or :: everywhere.
    port : 0 lets the system choose; `port` then tells.

    `on_message` may be set to what is called, in the listening thread, with each message that a
    client sends; it must return at once.

    Raises
    ------
    LinkError : if it cannot listen there.
    """

    def __init__(self, host: str = "127.0.0.1", port: int = DEFAULT_PORT) -> None:
        self._listener = _listen(host, port)
        self.on_message: Callable[[Message], None] | None = None
        self.host = host
        self.port: int = self._listener.getsockname()[1]
        self._clients: list[_Outlet] = []
        self._clients_changed = threading.Condition()
        self._n_dropped_before = 0  # by clients that have left
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._serve, name=f"igtl-listen-{self.port}")
        self._thread.start()

    def __enter__(self) -> Server:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def n_clients(self) -> int:
        with self._clients_changed:
            return len(self._clients)

    @property
    def n_dropped(self) -> int:
        """Messages that a client did not get because it was too far behind, over all clients."""
        with self._clients_changed:
            return self._n_dropped_before + sum(client.n_dropped for client in self._clients)

    def wait_for_client(self, timeout_s: float) -> bool:
        """True as soon as at least one client is connected."""
        with self._clients_changed:
            return self._clients_changed.wait_for(lambda: bool(self._clients), timeout_s)

    def send(self, parts: Parts, *, wait: bool = False) -> None:
        """Hand one message to every client's outbox; the buffers must not change afterwards.

        Where an outbox is full, `wait=False` drops the message for that client and counts it;
        `wait=True` waits for room (at most until the client is cut off as stalled).
        """
        for client in self._present_clients():
            client.put(parts, wait=wait)

    def drain(self, timeout_s: float) -> bool:
        """Wait until all that was handed over is written; False if that takes longer."""
        deadline_s = time.perf_counter() + timeout_s
        return all(client.wait_empty(deadline_s) for client in self._present_clients())

    def close(self) -> None:
        """Stop listening, close every connection, join every thread. What waits is dropped."""
        self._closing.set()
        self._thread.join(_JOIN_TIMEOUT_S)
        if self._thread.is_alive():
            _logger.error("thread %s did not end within %g s", self._thread.name, _JOIN_TIMEOUT_S)

    def _present_clients(self) -> list[_Outlet]:
        with self._clients_changed:
            return list(self._clients)

    def _serve(self) -> None:
        with selectors.DefaultSelector() as selector, self._listener:
            selector.register(self._listener, selectors.EVENT_READ)
            while not self._closing.is_set():
                for key, _ in selector.select(POLL_S):
                    if key.data is None:
                        self._accept(selector)
                    elif not self._read(key.data):
                        selector.unregister(key.fileobj)
                        self._remove(key.data)
            clients = self._present_clients()
            for client in clients:
                client.finish()
            deadline_s = time.perf_counter() + _GRACE_S
            for client in clients:
                client.close(deadline_s)

    def _accept(self, selector: selectors.BaseSelector) -> None:
        try:
            sock, address = self._listener.accept()
            prepare(sock)
        except OSError as error:  # it has gone again before we came to it
            _logger.info("a client could not be accepted: %s", reason(error))
            return
        client = _Outlet(sock, address_text(*address[:2]))
        selector.register(sock, selectors.EVENT_READ, client)
        with self._clients_changed:
            self._clients.append(client)
            self._clients_changed.notify_all()
        _logger.info("client %s connected", client.address)

    def _read(self, client: _Outlet) -> bool:
        """Take what a client has sent; False when it has gone."""
        try:
            for message in client.read():
                if self.on_message is not None:
                    self.on_message(message)
        except TimeoutError:
            return True
        except (WireError, OSError) as error:
            _logger.debug("client %s: %s", client.address, error)
            return False
        return True

    def _remove(self, client: _Outlet) -> None:
        with self._clients_changed:
            self._clients.remove(client)
            self._n_dropped_before += client.n_dropped
            self._clients_changed.notify_all()
        client.close(time.perf_counter())
        _logger.info("client %s disconnected", client.address)


class _Outlet:
    """One client, seen from the server: its socket, its outbox and the thread that empties it."""

    def __init__(self, sock: socket.socket, address: str) -> None:
        self.address = address
        self.n_dropped = 0
        self._socket = sock
        self._reader = MessageReader(receiver(sock))
        self._outbox: deque[Parts] = deque()  # the first is being written
        self._n_bytes = 0
        self._is_finished = False
        self._version: int | None = None  # unknown until the client speaks
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._write, name=f"igtl-write-{address}")
        self._thread.start()

    def put(self, parts: Parts, *, wait: bool) -> None:
        size = _size(parts)
        with self._changed:
            if wait:
                self._changed.wait_for(lambda: self._has_room(size) or self._is_finished)
            if self._is_finished:
                return
            if not self._has_room(size):
                if self.n_dropped == 0:
                    _logger.warning("client %s is too slow: it misses messages", self.address)
                self.n_dropped += 1
                return
            self._append(parts)

    def _append(self, parts: Parts) -> None:
        self._outbox.append(parts)
        self._n_bytes += _size(parts)
        self._changed.notify_all()

    def _has_room(self, size: int) -> bool:
        """A message larger than the whole outbox still goes when nothing else waits."""
        return not self._outbox or (
            len(self._outbox) < _OUTBOX_MESSAGES and self._n_bytes + size <= _OUTBOX_BYTES
        )

    def wait_empty(self, deadline_s: float) -> bool:
        with self._changed:
            return self._changed.wait_for(
                lambda: not self._outbox or self._is_finished,
                max(0.0, deadline_s - time.perf_counter()),
            )

    def read(self) -> list[Message]:
        """What the client has sent since; its version is learned, its GET_STATUS answered.

        Raises
        ------
        WireError, OSError : the client has gone, or makes no sense.
        """
        messages = []
        for raw in self._reader.receive():
            with self._changed:
                self._version = max(self._version or 1, min(raw.version, 2))
                self._changed.notify_all()
            if raw.type == GET_STATUS:
                self.put(encode_status(), wait=False)
            messages.append(open_message(raw))
        return messages

    def finish(self) -> None:
        """Begin to end: nothing is taken any more, the message being written is the last."""
        with self._changed:
            self._is_finished = True
            self._changed.notify_all()

    def close(self, deadline_s: float) -> None:
        """End now; the message being written may be finished until the deadline."""
        self.finish()
        self._thread.join(max(0.0, deadline_s - time.perf_counter()))
        shut_down(self._socket)
        self._thread.join(_JOIN_TIMEOUT_S)
        self._socket.close()

    def _write(self) -> None:
        self._wait_for_greeting()
        while (parts := self._next()) is not None:
            spoken = for_version(parts, self._version or 1)
            try:
                if spoken is not None:
                    send_parts(self._socket, spoken, _STALL_TIMEOUT_S)
            except OSError as error:
                _logger.info("client %s cannot be written to: %s", self.address, reason(error))
                self.finish()
                shut_down(self._socket)  # the listening thread sees it and removes the client
                return
            with self._changed:
                self._outbox.popleft()
                self._n_bytes -= _size(parts)
                self._changed.notify_all()

    def _wait_for_greeting(self) -> None:
        with self._changed:
            self._changed.wait_for(
                lambda: self._version is not None or self._is_finished, _GREETING_WAIT_S
            )

    def _next(self) -> Parts | None:
        with self._changed:
            if not self._changed.wait_for(lambda: self._outbox or self._is_finished, _KEEP_ALIVE_S):
                self._append(encode_status())
            return None if self._is_finished else self._outbox[0]


def _size(parts: Parts) -> int:
    return sum(len(part) for part in parts)


def _listen(host: str, port: int) -> socket.socket:
    where = address_text(host, port)
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.create_server(address, family=family)
    except UnicodeError:
        raise LinkError(f"cannot listen on {where}: {host} is not a host name") from None
    except OSError as error:
        raise LinkError(
            f"cannot listen on {where}: {reason(error)}; "
            "stop the program that uses it, or choose another port or host"
        ) from error
    listener.setblocking(False)
    return listener
