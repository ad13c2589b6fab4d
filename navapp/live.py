"""Run a session to its end, with a window or without one."""

from __future__ import annotations

import time
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from navapp.session import Session

# How often a session without a window looks at its clock and at Ctrl-C.
_POLL_S = 0.1


class Ending(Enum):
    """Why a session is over."""

    ENDED = "ended"  # its source ended, its time was up, or the window was closed
    INTERRUPTED = "interrupted"  # Ctrl-C
    WINDOW_FAILED = "window failed"  # an error in the window, which has logged it


@dataclass(frozen=True, slots=True)
class WindowPlan:
    """A window for the session: `closes_itself` when the session ends, for machines without a
    screen; `screenshots` is the folder for pictures of it, None for none."""

    title: str
    closes_itself: bool
    screenshots: Path | None = None


def run_to_end(session: Session, window: WindowPlan | None, seconds: float | None) -> Ending:
    """Start the session, run it until it ends, its time is up, or Ctrl-C; stop it in any case."""
    deadline_s = None
    try:
        session.start()
        if seconds is not None:
            deadline_s = time.monotonic() + seconds
        if window is None:
            _wait(session, deadline_s)
            return Ending.ENDED
        return _show(session, window, deadline_s)
    except KeyboardInterrupt:
        return Ending.INTERRUPTED
    finally:
        session.stop()


def _wait(session: Session, deadline_s: float | None) -> None:
    while not session.wait(_POLL_S):
        if deadline_s is not None and time.monotonic() >= deadline_s:
            return


def _show(session: Session, window: WindowPlan, deadline_s: float | None) -> Ending:
    from navapp.gui import app  # noqa: PLC0415  Qt only where a window is wanted

    def is_over() -> bool:
        is_late = deadline_s is not None and time.monotonic() >= deadline_s
        return is_late or (window.closes_itself and session.finished.is_set())

    code = app.run_window(
        session,
        title=window.title,
        spacing_mm=session.equipment.calibration.spacing_mm,
        close_when=is_over,
        screenshots=window.screenshots,
    )
    if code == app.INTERRUPTED:
        return Ending.INTERRUPTED
    return Ending.ENDED if code == app.DONE else Ending.WINDOW_FAILED
