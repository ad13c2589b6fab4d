"""Run a session to its end, with a window or without one."""

from __future__ import annotations

import signal
import threading
import time
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from navapp.desk.desk import Desk
from navapp.desk.replay_server import ReplayServer
from navapp.desk.session_folder import SessionFolder
from navapp.equipment import stylus_tip
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
    screen; `folder` is the session's, `screenshots` that for pictures of the window, None for none;
    `replay` is the recording that it receives, where it is ours."""

    title: str
    closes_itself: bool
    folder: Path
    screenshots: Path | None = None
    replay: ReplayServer | None = None


class Interrupts:
    """Ctrl-C as a question that can be asked, instead of an exception that may come anywhere.

    While it is entered, nothing is torn apart: neither by the first Ctrl-C nor by a second one
    while results are being saved.
    """

    def __init__(self) -> None:
        self.stop = threading.Event()  # set by Ctrl-C

    def __enter__(self) -> Interrupts:
        self._before = signal.signal(signal.SIGINT, lambda number, frame: self.stop.set())
        return self

    def __exit__(self, *error: object) -> None:
        # After a Ctrl-C the command only has to end: a further one must not tear that apart.
        signal.signal(signal.SIGINT, signal.SIG_IGN if self.seen else self._before)

    @property
    def seen(self) -> bool:
        return self.stop.is_set()


@dataclass(frozen=True, slots=True)
class Ran:
    """How a run ended: why, with which session (a window may have begun others), and the folder of
    that one, None without a window."""

    ending: Ending
    session: Session
    folder: Path | None


def run_to_end(
    session: Session, window: WindowPlan | None, seconds: float | None, interrupts: Interrupts
) -> Ending:
    """As `run`, for one who has no window."""
    return run(session, window, seconds, interrupts).ending


def run(
    session: Session, window: WindowPlan | None, seconds: float | None, interrupts: Interrupts
) -> Ran:
    """Start the session, run it until it ends, its time is up, or Ctrl-C; stop it in any case."""
    desk = None
    try:
        session.warm_up()
        deadline_s = float("inf") if seconds is None else time.monotonic() + seconds
        if window is None:
            session.start()
            return Ran(_wait(session, deadline_s, interrupts), session, None)
        desk = Desk(
            session,
            SessionFolder(window.folder),
            replay=window.replay,
            T_stylus_tip=stylus_tip(session.equipment),
        )
        ending = _show(desk, session, window, deadline_s)
        last = desk.session
        return Ran(ending, last if isinstance(last, Session) else session, desk.folder.path)
    finally:
        if desk is not None:
            if isinstance(desk.session, Session):
                desk.session.stop()
            desk.close()
        session.stop()


def _wait(session: Session, deadline_s: float, interrupts: Interrupts) -> Ending:
    while not session.wait(_POLL_S) and time.monotonic() < deadline_s:
        session.check_streams()
        if interrupts.seen:
            return Ending.INTERRUPTED
    return Ending.ENDED


def _show(desk: Desk, session: Session, window: WindowPlan, deadline_s: float) -> Ending:
    from navapp.gui import app  # noqa: PLC0415  Qt only where a window is wanted

    def is_over() -> bool:
        is_the_first = desk.session is session
        has_ended = window.closes_itself and is_the_first and session.finished.is_set()
        return has_ended or time.monotonic() >= deadline_s

    code = app.run_window(
        desk,
        title=window.title,
        on_open=session.start,  # not before: no image is lost to a window that is being built
        close_when=is_over,
        screenshots=window.screenshots,
    )
    if code == app.INTERRUPTED:
        return Ending.INTERRUPTED
    return Ending.ENDED if code == app.DONE else Ending.WINDOW_FAILED
