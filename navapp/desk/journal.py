"""What happened in a session and when: one line of JSON per event, on disk at once."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from navapp.errors import SessionError
from tracking.transforms import Matrix, apply

FILE = "events.jsonl"


@dataclass(frozen=True, slots=True)
class Event:
    """`kind` is a word such as "mark" or "sweep"; `t_s` counts from the session's begin.

    `t_image_s` is the stamp of the image on the screen, which places the event on the timeline of
    a recording; `replay_s` is the position of a recording that was being played; `place_mm` where
    the image's centre was, in `frame`, that of the cloud at that time.
    """

    kind: str
    t_s: float
    text: str = ""
    t_image_s: float | None = None
    place_mm: tuple[float, float, float] | None = None
    replay_s: float | None = None
    day_time: str = ""
    frame: str = ""


class Journal:
    """The events of one session, in memory and, where a folder is given, in `events.jsonl`."""

    def __init__(self, folder: Path | None = None) -> None:
        self._path = None if folder is None else folder / FILE
        self._lock = threading.Lock()
        self._begin_s = time.perf_counter()
        self._events: list[Event] = []

    def note(
        self,
        kind: str,
        text: str = "",
        *,
        t_image_s: float | None = None,
        place_mm: tuple[float, float, float] | None = None,
        replay_s: float | None = None,
        frame: str = "",
    ) -> Event:
        """Write an event down.

        Raises
        ------
        SessionError : if the file cannot be written.
        """
        t_s = time.perf_counter() - self._begin_s
        day_time = datetime.now(UTC).isoformat(timespec="milliseconds")
        event = Event(kind, round(t_s, 3), text, t_image_s, place_mm, replay_s, day_time, frame)
        with self._lock:
            self._events.append(event)
            if self._path is not None:
                self._append(event, self._path)
        return event

    def move(self, T_new_old: Matrix, frame: str) -> None:
        """The scene went to another frame: so do the places, but for those in the file, whose
        lines name the frame of their time."""
        with self._lock:
            self._events = [_moved(event, T_new_old, frame) for event in self._events]

    @property
    def events(self) -> tuple[Event, ...]:
        with self._lock:
            return tuple(self._events)

    def of_kind(self, kind: str) -> tuple[Event, ...]:
        """The events of one kind, in order."""
        return tuple(event for event in self.events if event.kind == kind)

    @staticmethod
    def _append(event: Event, path: Path) -> None:
        try:
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(asdict(event)) + "\n")
        except OSError as error:
            raise SessionError(f"{path}: cannot be written: {error.strerror}") from None


def _moved(event: Event, T_new_old: Matrix, frame: str) -> Event:
    if event.place_mm is None:
        return event
    x, y, z = apply(T_new_old, np.array((event.place_mm,)))[0]
    place_mm = round(float(x), 3), round(float(y), 3), round(float(z), 3)
    return replace(event, place_mm=place_mm, frame=frame)


def read_events(folder: Path) -> tuple[Event, ...]:
    """The events of a session's folder; a line that a crash tore is left out."""
    try:
        lines = (folder / FILE).read_text(encoding="utf-8").splitlines()
    except OSError:
        return ()
    events = []
    for line in lines:
        try:
            fields = json.loads(line)
            place_mm = fields.pop("place_mm")
            events.append(Event(**fields, place_mm=None if place_mm is None else tuple(place_mm)))
        except (ValueError, TypeError, KeyError):
            continue
    return tuple(events)
