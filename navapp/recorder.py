"""Records every raw message in a thread of its own, and proves afterwards that all are there."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from pathlib import Path

from navapp.channels import BoundedQueue, ChannelFullError, FullPolicy
from tracking.errors import SequenceError
from tracking.sequences.recording import Recording, RecordingWriter
from tracking.wire import RawMessage

logger = logging.getLogger(__name__)

# Four seconds at 60 images and 200 poses per second, with 950x811 images about 180 MB: what a
# disk that is busy with something else may cost before the recording is given up.
_CAPACITY = 1024
# A pause in the stream is used to bring what is waiting into the file.
_IDLE_FLUSH_S = 0.25


@dataclass(frozen=True, slots=True)
class RecordingResult:
    """What a recording holds: `n_received` messages were to be recorded, `n_messages` were found
    when the file was read back. `problem` says why it is not complete, None where it is."""

    file: str
    n_received: int
    n_messages: int
    n_bytes: int
    problem: str | None


class Recorder:
    """One recording. A full disk, or one that cannot keep up, ends it and nothing else.

    `put` is called in the receive thread, `run` is the body of the record thread, `end` says that
    nothing more will come, `conclude` is for when `run` is over.

    Raises
    ------
    SequenceError : if the file exists already; recordings are never overwritten.
    """

    def __init__(self, path: Path, capacity: int = _CAPACITY) -> None:
        if path.exists():
            raise SequenceError(f"{path}: exists already, expected a new name")
        self.path = path
        self.problem: str | None = None  # why the recording ended early, in a sentence
        self._queue = BoundedQueue[RawMessage](capacity, FullPolicy.FAIL)
        self._ended = threading.Event()

    def put(self, message: RawMessage) -> None:
        """Record a message; returns at once, also when the recording has ended early."""
        try:
            self._queue.put(message)
        except ChannelFullError as error:
            self._give_up(f"the disk does not keep up, {error}")

    def end(self) -> None:
        """Nothing more will come: `run` writes what waits, and returns."""
        self._ended.set()
        self._queue.close()

    def run(self) -> None:
        """Write until told to end; never raises what a disk can do."""
        writer = None
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            writer = RecordingWriter(self.path)
            self._write(writer)
        except (SequenceError, OSError) as error:
            self._give_up(str(error))
            for _ in self._queue:  # what waits is lost: do not keep it
                pass
        finally:
            if writer is not None:
                writer.abandon()  # closes the file, whatever came before

    def conclude(self) -> RecordingResult:
        """Read the file back and count."""
        n_received = self._queue.counts.put
        try:
            recording = Recording(self.path)
        except SequenceError as error:
            return RecordingResult(str(self.path), n_received, 0, 0, self.problem or str(error))
        n_messages = len(recording.index.offset)
        problem = self.problem
        if problem is None and not (recording.is_closed and n_messages == n_received):
            problem = f"{self.path}: {n_messages} of {n_received} messages are in the recording"
        return RecordingResult(
            str(self.path), n_received, n_messages, self.path.stat().st_size, problem
        )

    def discard_empty(self) -> None:
        """Remove a file that no message went into: it would only stand in the way of a retry."""
        if self._queue.counts.taken == 0:
            self.path.unlink(missing_ok=True)

    def _write(self, writer: RecordingWriter) -> None:
        while True:
            is_last = self._ended.is_set()  # before taking: what was put by then is still taken
            message = self._queue.take(_IDLE_FLUSH_S)
            if message is not None:
                writer.add(message)
            elif is_last:
                break
            else:
                writer.flush()
        n_lost = self._queue.counts.dropped
        writer.close({"n_lost": str(n_lost), "problem": self.problem or ""})

    def _give_up(self, why: str) -> None:
        if self.problem is None:
            self.problem = f"recording ended: {why}"
            logger.error("%s", self.problem)
        self.end()
