"""A display for machines without one: Xvfb, so that the same window is drawn there too.

Imports no Qt, because the environment must be set before Qt is loaded.
"""

from __future__ import annotations

import ctypes
import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from navapp.errors import NavappError

SCREEN = "1600x900x24"
_START_TIMEOUT_S = 10.0
_STOP_TIMEOUT_S = 5.0


class DisplayError(NavappError):
    """There is no display, and none can be made."""


def has_display() -> bool:
    """Whether a window can be opened here.

    A set DISPLAY is tried, because Qt ends the whole process when nothing answers there.
    """
    if sys.platform != "linux" or os.environ.get("WAYLAND_DISPLAY"):
        return True
    if not os.environ.get("DISPLAY"):
        return False
    try:
        x11 = ctypes.CDLL("libX11.so.6")
    except OSError:
        return False
    x11.XOpenDisplay.restype = ctypes.c_void_p
    x11.XCloseDisplay.argtypes = [ctypes.c_void_p]
    display = x11.XOpenDisplay(None)
    if not display:
        return False
    x11.XCloseDisplay(display)
    return True


@contextmanager
def virtual_display() -> Iterator[str]:
    """Run Xvfb and point this process at it; yields the display's name, such as ":99".

    Enter it before Qt is imported and leave it after the QApplication is gone: Qt ends the
    process when its display goes away.

    Raises
    ------
    DisplayError : Xvfb is missing, or does not start.
    """
    if shutil.which("Xvfb") is None:
        raise DisplayError(
            "no display, and Xvfb is not installed: install it (Debian, Ubuntu: "
            "apt-get install xvfb), or run with --headless"
        )
    server, name = _start_server()
    wanted = {
        "DISPLAY": name,
        "QT_QPA_PLATFORM": "xcb",
        # Another vendor's driver would look for its hardware behind this display.
        "LIBGL_ALWAYS_SOFTWARE": "1",
        "__GLX_VENDOR_LIBRARY_NAME": "mesa",
    }
    before = {key: os.environ.get(key) for key in wanted}
    os.environ.update(wanted)
    try:
        yield name
    finally:
        for key, value in before.items():
            if value is None:
                os.environ.pop(key)
            else:
                os.environ[key] = value
        _stop_server(server)


def _start_server() -> tuple[subprocess.Popen[bytes], str]:
    read_end, write_end = os.pipe()
    # Should this process be killed, the server goes too.
    follow_us = ["setpriv", "--pdeathsig", "TERM"] if shutil.which("setpriv") else []
    command = ["Xvfb", "-displayfd", str(write_end), "-screen", "0", SCREEN, "-nolisten", "tcp"]
    try:
        server = subprocess.Popen(
            follow_us + command,
            pass_fds=(write_end,),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            # Ctrl-C is for us alone: without its display Qt would end the process at once.
            start_new_session=True,
        )
    finally:
        os.close(write_end)
    try:
        number = _read_line(read_end)
    finally:
        os.close(read_end)
    if number is None:
        _stop_server(server)
        raise DisplayError("Xvfb did not start; Xvfb :99 says why")
    return server, f":{number}"


def _read_line(read_end: int) -> str | None:
    """What is written up to the line's end; None where that does not come in time.

    Xvfb writes the number and the line end apart, and ends when nobody reads the second.
    """
    deadline_s = time.monotonic() + _START_TIMEOUT_S
    text = b""
    while not text.endswith(b"\n"):
        ready, _, _ = select.select([read_end], [], [], max(0.0, deadline_s - time.monotonic()))
        chunk = os.read(read_end, 64) if ready else b""
        if not chunk:
            return None
        text += chunk
    return text.decode().strip()


def _stop_server(server: subprocess.Popen[bytes]) -> None:
    server.terminate()
    try:
        server.wait(_STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()
