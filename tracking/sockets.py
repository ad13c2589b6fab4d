"""What client and server share about sockets: set-up, sending in parts, connecting with a stop."""

from __future__ import annotations

import contextlib
import errno
import os
import selectors
import socket
import struct
import threading
import time
from collections.abc import Callable

from tracking.framing import READ_AHEAD_BYTES, Parts

# Every wait on a socket ends after this long to look at its stop event.
POLL_S = 0.1

_RECEIVE_BUFFER_BYTES = 4 * 2**20  # five images of 950x811: bridges a stall of the receive thread
# A host that has vanished without a word is noticed after 2 + 3 x 1 s, not after two hours.
_KEEP_ALIVE = {"TCP_KEEPIDLE": 2, "TCP_KEEPINTVL": 1, "TCP_KEEPCNT": 3}


def address_text(host: str, port: int) -> str:
    """host:port, with brackets around an IPv6 address."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def prepare(sock: socket.socket) -> None:
    """Small messages leave at once, a dead peer is noticed, and no call waits beyond POLL_S."""
    # The system's own timeouts, not Python's, which asks before each read whether there is
    # something to read: half as many calls, and MSG_WAITALL works.
    sock.settimeout(None)
    timeval = struct.pack("@ll", int(POLL_S), round(POLL_S % 1.0 * 1e6))
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, timeval)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, timeval)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEP_ALIVE.items():
        if hasattr(socket, name):  # not on every platform
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def receiver(sock: socket.socket) -> Callable[[memoryview], int]:
    """What a `MessageReader` reads with: raises TimeoutError after POLL_S without a byte.

    A large body is waited for in one call, so that this thread wakes once per image and not once
    per packet.
    """

    def recv_into(buffer: memoryview) -> int:
        flags = socket.MSG_WAITALL if len(buffer) > READ_AHEAD_BYTES else 0
        try:
            return sock.recv_into(buffer, 0, flags)
        except BlockingIOError:
            raise TimeoutError from None

    return recv_into


def send_parts(sock: socket.socket, parts: Parts, stall_timeout_s: float) -> None:
    """Write the buffers one after the other, without joining them.

    Raises
    ------
    TimeoutError : where the peer has not taken one byte for `stall_timeout_s`. The message may
        be half sent then, so that the connection is of no more use.
    OSError : where the connection has ended.
    """
    views = [memoryview(part) for part in parts if len(part) > 0]
    deadline_s = time.perf_counter() + stall_timeout_s
    while views:
        try:
            n_bytes = sock.sendmsg(views)
        except BlockingIOError:  # no room for POLL_S
            if time.perf_counter() > deadline_s:
                raise TimeoutError(f"nothing was taken for {stall_timeout_s:g} s") from None
            continue
        deadline_s = time.perf_counter() + stall_timeout_s
        while views and n_bytes >= len(views[0]):
            n_bytes -= len(views.pop(0))
        if n_bytes > 0:
            views[0] = views[0][n_bytes:]


def shut_down(sock: socket.socket) -> None:
    """End both directions, which wakes every thread that waits on the socket."""
    with contextlib.suppress(OSError):  # the peer may have been faster
        sock.shutdown(socket.SHUT_RDWR)


def reason(error: OSError) -> str:
    """The system's words for an error, without its number."""
    return error.strerror or str(error)


def connect(host: str, port: int, timeout_s: float, stop: threading.Event) -> socket.socket | None:
    """A connected socket, IPv4 or IPv6; None where `stop` was set first.

    `socket.create_connection` cannot be stopped while it waits for a host that never answers.
    Each address of the host gets `timeout_s`. Looking up a name may block longer, beyond our reach.

    Raises
    ------
    OSError : the reason of the last address tried; TimeoutError if it never answered.
    """
    failure = OSError(f"{host} has no address")
    try:
        addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError:
        raise OSError(f"{host} is not a host name") from None
    for family, kind, protocol, _, address in addresses:
        try:
            sock = socket.socket(family, kind, protocol)
        except OSError as error:  # a family that this computer does not speak
            failure = error
            continue
        try:
            # Before connecting, for the window that TCP announces depends on it.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER_BYTES)
            _connect_to(sock, address, timeout_s, stop)
        except OSError as error:
            sock.close()
            failure = error
            continue
        if stop.is_set():
            sock.close()
            return None
        prepare(sock)
        return sock
    raise failure


def _connect_to(
    sock: socket.socket, address: tuple[object, ...], timeout_s: float, stop: threading.Event
) -> None:
    """Returns when connected or when `stop` is set."""
    sock.setblocking(False)
    code = sock.connect_ex(address)
    deadline_s = time.perf_counter() + timeout_s
    with selectors.DefaultSelector() as selector:
        selector.register(sock, selectors.EVENT_WRITE)
        while code in (errno.EINPROGRESS, errno.EWOULDBLOCK) and not stop.is_set():
            if selector.select(POLL_S):
                code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            elif time.perf_counter() > deadline_s:
                raise TimeoutError(errno.ETIMEDOUT, f"no answer within {timeout_s:g} s")
    if code != 0 and not stop.is_set():
        raise OSError(code, os.strerror(code))
