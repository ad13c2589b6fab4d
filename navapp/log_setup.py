"""The only logging configuration: one line per event on stderr, in colour where it is a screen."""

from __future__ import annotations

import logging

from rich.console import Console
from rich.logging import RichHandler


def configure_logging(*, is_verbose: bool) -> None:
    """Warnings and errors; everything down to DEBUG where asked for."""
    console = Console(stderr=True)
    # Rich wraps lines at 80 columns where nobody looks: a file gets one line per event.
    handler: logging.Handler = (
        RichHandler(console=console, show_path=False, log_time_format="%X")
        if console.is_terminal
        else logging.StreamHandler()
    )
    handler.setLevel(logging.DEBUG if is_verbose else logging.WARNING)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=[handler])
    level = logging.DEBUG if is_verbose else logging.INFO  # the window's log shows more
    for package in ("navapp", "tracking", "inference", "recon"):
        logging.getLogger(package).setLevel(level)
