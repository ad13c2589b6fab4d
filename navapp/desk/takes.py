"""Recordings that are begun and ended while a session runs, numbered one after the other."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from pathlib import Path

from navapp.recorder import Recorder, RecordingResult
from tracking.wire import RawMessage

_JOIN_S = 10.0


@dataclass(frozen=True, slots=True)
class TakeState:
    """`number` of the take that runs, or of the last one; `elapsed_s` since it began, 0 if none."""

    is_recording: bool
    number: int
    elapsed_s: float
    problem: str | None


class Takes:
    """`recording-001.mcap`, `recording-002.mcap` ... in one folder; existing ones are kept.

    `put` is called in the receive thread, everything else in one other.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.results: list[RecordingResult] = []
        self._lock = threading.Lock()
        self._recorder: Recorder | None = None
        self._thread: threading.Thread | None = None
        self._t_begin_s = 0.0
        self._problem: str | None = None
        self._number = max(
            (_number_of(path) for path in folder.glob("recording-*.mcap")), default=0
        )

    def put(self, message: RawMessage) -> None:
        """Record a message, where something is being recorded."""
        with self._lock:
            recorder = self._recorder
        if recorder is not None:
            recorder.put(message)

    def start(self) -> Path:
        """Begin the next recording; the one that runs is ended first."""
        self.stop()
        self._number += 1
        recorder = Recorder(self.folder / f"recording-{self._number:03d}.mcap")
        self._thread = threading.Thread(target=recorder.run, name="record")
        self._thread.start()
        self._t_begin_s = time.perf_counter()
        self._problem = None
        with self._lock:
            self._recorder = recorder
        return recorder.path

    def stop(self) -> RecordingResult | None:
        """End the recording and read it back; None where none runs."""
        with self._lock:
            recorder, self._recorder = self._recorder, None
        if recorder is None or self._thread is None:
            return None
        recorder.end()
        self._thread.join(_JOIN_S)
        result = recorder.conclude()
        self._problem = result.problem
        self.results.append(result)
        return result

    @property
    def files(self) -> tuple[Path, ...]:
        """Every recording of the folder, in order."""
        return tuple(sorted(self.folder.glob("recording-*.mcap"), key=_number_of))

    @property
    def state(self) -> TakeState:
        with self._lock:
            recorder = self._recorder
        if recorder is None:
            return TakeState(False, self._number, 0.0, self._problem)
        elapsed_s = time.perf_counter() - self._t_begin_s
        return TakeState(recorder.problem is None, self._number, elapsed_s, recorder.problem)


def _number_of(path: Path) -> int:
    number = path.stem.removeprefix("recording-")
    return int(number) if number.isdecimal() else 0
