"""The folder of one session: what is in it, which one comes next, and which one a crash left."""

from __future__ import annotations

import json
import logging
import os
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from navapp.errors import ConfigError, SessionError
from tracking.whole_files import write_whole

_log = logging.getLogger(__name__)

_STATE_FILE = "session.json"
_OPEN, _CLOSED = "open", "closed"


@dataclass(frozen=True, slots=True)
class SavedSession:
    """What a session's folder tells: its recordings and whether it was closed in order."""

    folder: Path
    title: str
    begun: str
    is_closed: bool
    recordings: tuple[Path, ...]

    @property
    def line(self) -> str:
        """One line for a list."""
        n = len(self.recordings)
        end = "" if self.is_closed else ", not closed"
        return f"{self.folder.name}: {self.begun}, {n} recording{'s' * (n != 1)}{end}"


class SessionFolder:
    """A folder that says, from `begin` to `close`, that a session is under way in it."""

    def __init__(self, path: Path, title: str = "") -> None:
        self.path = path
        self._title = title
        self._begun = datetime.now().isoformat(timespec="seconds")

    def begin(self) -> None:
        """Mark it as open.

        Raises
        ------
        SessionError : where it cannot be written.
        """
        self._write(_OPEN)

    def close(self) -> None:
        """Mark it as closed in order; a disk that is full keeps nobody from ending a session."""
        try:
            self._write(_CLOSED)
        except SessionError as error:
            _log.warning("%s", error)

    def next_name(self, stem: str, suffix: str) -> Path:
        """`stem-001.suffix`, or the first number that no file has yet."""
        taken = [path.stem for path in self.path.glob(f"{stem}-*{suffix}")]
        numbers = [int(s.rpartition("-")[2]) for s in taken if s.rpartition("-")[2].isdecimal()]
        return self.path / f"{stem}-{max(numbers, default=0) + 1:03d}{suffix}"

    def _write(self, state: str) -> None:
        fields = {"title": self._title, "begun": self._begun, "state": state, "pid": os.getpid()}
        try:
            write_whole(self.path / _STATE_FILE, json.dumps(fields, indent=2) + "\n")
        except OSError as error:
            raise SessionError(f"{self.path}: cannot be written: {error.strerror}") from None


def read_session(folder: Path) -> SavedSession:
    """What a session left.

    Raises
    ------
    ConfigError : if the folder holds none.
    """
    fields = _fields(folder)
    if fields is None:
        raise ConfigError(f"{folder}: no session in it, expected {_STATE_FILE}")
    return SavedSession(
        folder,
        str(fields.get("title", "")),
        str(fields.get("begun", "")),
        fields.get("state") == _CLOSED,
        tuple(sorted(folder.glob("*.mcap"))),
    )


def saved_sessions(root: Path) -> tuple[SavedSession, ...]:
    """Every session in the folders of `root`, the newest first."""
    folders = (path.parent for path in root.glob(f"*/{_STATE_FILE}"))
    sessions = [read_session(folder) for folder in folders if _fields(folder) is not None]
    return tuple(sorted(sessions, key=lambda session: session.begun, reverse=True))


def crashed_session(root: Path, running: Path | None = None) -> SavedSession | None:
    """The newest session of `root`, where its process is gone and did not close it; not the one
    that is running."""
    for session in saved_sessions(root):
        if running is not None and session.folder.resolve() == running.resolve():
            continue
        fields = _fields(session.folder)
        if fields is None or session.is_closed or _is_alive(fields.get("pid")):
            continue
        return session
    return None


def set_closed(session: SavedSession) -> None:
    """Mark a crashed session as seen, so that it is not offered again."""
    folder = SessionFolder(session.folder, session.title)
    folder._begun = session.begun
    folder.close()


def _fields(folder: Path) -> dict[str, Any] | None:
    try:
        fields = json.loads((folder / _STATE_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return fields if isinstance(fields, dict) else None


def _is_alive(pid: object) -> bool:
    if not isinstance(pid, int) or pid <= 0 or pid == os.getpid():
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
