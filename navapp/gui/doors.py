"""The way out for errors inside Qt's callbacks, and for Ctrl-C, which Qt would both keep."""

from __future__ import annotations

import functools
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Concatenate, ParamSpec, TypeVar

ErrorHook = Callable[[type[BaseException], BaseException, TracebackType | None], object]
InterruptHook = Callable[[int, FrameType | None], object]

_P = ParamSpec("_P")
_Self = TypeVar("_Self")
_Method = Callable[Concatenate[_Self, _P], None]


def reports_errors(override: _Method[_Self, _P]) -> _Method[_Self, _P]:
    """Send the errors of a method that Qt calls to `sys.excepthook`.

    PySide6 does so too, except where Python called Qt (`show()`, `grab()`): there version 6.11
    crashes on errors that C code raised.
    """

    def guarded(self: _Self, /, *args: _P.args, **kwargs: _P.kwargs) -> None:
        try:
            override(self, *args, **kwargs)
        except Exception as error:  # noqa: BLE001 - the hook is the door
            sys.excepthook(type(error), error, error.__traceback__)

    return functools.update_wrapper(guarded, override)


@contextmanager
def open_doors(on_error: ErrorHook, on_interrupt: InterruptHook) -> Iterator[None]:
    """Hear of errors in callbacks and of Ctrl-C; in the main thread."""
    hook_before = sys.excepthook
    sys.excepthook = on_error
    handler_before = signal.signal(signal.SIGINT, on_interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler_before)
        sys.excepthook = hook_before
