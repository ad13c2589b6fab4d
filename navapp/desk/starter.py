"""Builds the next session in the background, so that a window goes on while a model is loaded."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from inference.errors import InferenceError
from navapp.config import ServerSettings, Settings
from navapp.desk.replay_server import ReplayServer, visible_spans_s
from navapp.desk.session_folder import SessionFolder
from navapp.equipment import load_equipment, stylus_tip
from navapp.errors import NavappError
from navapp.feeds import LiveFeed
from navapp.session import Session, SessionMode
from recon.errors import ReconError
from tracking.errors import TrackingError
from tracking.sequences import open_sweep
from tracking.transforms import Matrix

_EXPECTED = (NavappError, InferenceError, ReconError, TrackingError, OSError)


@dataclass(frozen=True, slots=True)
class Started:
    """A session that is ready to begin, with what belongs to it; `visible_s` is when the tools of
    the recording were seen."""

    session: Session
    folder: SessionFolder
    replay: ReplayServer | None
    T_stylus_tip: Matrix | None = None
    visible_s: tuple[tuple[float, float], ...] = ()

    def close(self) -> None:
        """It is not wanted any more."""
        if self.replay is not None:
            self.replay.close()


class Starter:
    """One start at a time; `poll` gives what became of it, once.

    Parameters
    ----------
    root : the folder in which each session gets one
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._thread: threading.Thread | None = None
        self._outcome: Started | str | None = None

    @property
    def is_busy(self) -> bool:
        """Whether a session is being built."""
        return self._thread is not None

    def live(self, settings: Settings, check: Callable[[], object] | None = None) -> None:
        """Build a session with the settings' server; `check` comes first, and its error too."""
        self._start(settings, None, check)

    def replay(self, settings: Settings, sweep: Path) -> None:
        """Build a session that receives a recorded sweep from a server of our own."""
        self._start(settings, sweep, None)

    def poll(self) -> Started | str | None:
        """The session, or why there is none; None while it is being built, or nothing is."""
        if self._thread is None or self._thread.is_alive():
            return None
        self._thread.join()
        self._thread = None
        outcome, self._outcome = self._outcome, None
        return outcome

    def close(self) -> None:
        """Wait for what is being built, and let it go."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if isinstance(self._outcome, Started):
            self._outcome.close()

    def _start(
        self, settings: Settings, sweep: Path | None, check: Callable[[], object] | None
    ) -> None:
        if self._thread is not None:
            return
        self._thread = threading.Thread(
            target=self._build, args=(settings, sweep, check), name="start session"
        )
        self._thread.start()

    def _build(
        self, settings: Settings, sweep: Path | None, check: Callable[[], object] | None
    ) -> None:
        try:
            if check is not None:
                check()
            self._outcome = _built(settings, sweep, self.root)
        except _EXPECTED as error:
            self._outcome = str(error)


def next_folder(root: Path) -> Path:
    """A folder of its own for a session that begins now."""
    path = root / datetime.now().strftime("run-%Y%m%d-%H%M%S")
    k = 1
    while path.exists():
        k += 1
        path = path.with_name(f"{path.name.partition('_')[0]}_{k}")
    return path


def _built(settings: Settings, sweep: Path | None, root: Path) -> Started:
    # What is wrong with the sweep itself is told before what it may want beside it.
    opened = None if sweep is None else open_sweep(sweep)
    equipment = load_equipment(settings, sweep)
    folder = SessionFolder(next_folder(root), "" if sweep is None else sweep.name)
    replay = None
    server = settings.server
    if opened is not None:
        replay = ReplayServer(opened)
        server = ServerSettings(port=replay.port)
    feed = LiveFeed(
        server,
        until_closed=False,
        gives_up=False,
        more_servers=settings.more_servers if sweep is None else (),
    )
    session = Session(settings, equipment, feed, SessionMode(is_live=True, has_window=True))
    session.warm_up()
    visible_s = () if opened is None else visible_spans_s(opened)
    return Started(session, folder, replay, stylus_tip(equipment), visible_s)
