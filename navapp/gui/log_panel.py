"""The program's log in the window: what is also on stderr, and more of it."""

from __future__ import annotations

import logging
from collections import deque

from PySide6.QtWidgets import QPlainTextEdit

_MAX_LINES = 2000
_PACKAGES = ("navapp", "tracking", "inference", "recon")


class LogPanel(QPlainTextEdit):
    """Lines of all packages from INFO on; records come from any thread, `refresh` shows them."""

    def __init__(self) -> None:
        super().__init__()
        self.setReadOnly(True)
        self.setMaximumBlockCount(_MAX_LINES)
        self.setMinimumHeight(80)
        self.setMaximumHeight(180)
        self._handler = _Keeper()
        for package in _PACKAGES:
            logging.getLogger(package).addHandler(self._handler)

    def refresh(self) -> None:
        """Show what has come since the last time; in the window's thread."""
        while self._handler.lines:
            self.appendPlainText(self._handler.lines.popleft())

    def detach(self) -> None:
        """Listen no longer."""
        for package in _PACKAGES:
            logging.getLogger(package).removeHandler(self._handler)


class _Keeper(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.lines: deque[str] = deque(maxlen=_MAX_LINES)
        self.setFormatter(logging.Formatter("%(asctime)s  %(levelname)-8s %(message)s", "%H:%M:%S"))

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))
