"""The recorder: counts what it wrote, and ends alone when the disk does."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

import pytest

from navapp.recorder import Recorder
from tests.support import messages
from tracking.errors import SequenceError
from tracking.sequences.recording import Recording, RecordingWriter


def _run(recorder: Recorder) -> threading.Thread:
    thread = threading.Thread(target=recorder.run, name="record")
    thread.start()
    return thread


def test_everything_is_written_and_proven(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "new" / "a.mcap")
    thread = _run(recorder)
    sent = messages.session(200)
    for message in sent:
        recorder.put(message)
    recorder.end()
    thread.join()
    result = recorder.conclude()
    assert result.problem is None
    assert result.n_received == result.n_messages == len(sent) == 201
    assert result.n_bytes == recorder.path.stat().st_size
    assert Recording(recorder.path).notes == {"n_lost": "0", "problem": ""}


def test_a_pause_brings_what_waits_into_the_file(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "a.mcap")
    thread = _run(recorder)
    recorder.put(messages.pose(0, 1, 1))
    pause = threading.Event()
    for _ in range(200):
        if recorder.path.exists() and recorder.path.stat().st_size > 400:  # more than its head
            break
        pause.wait(0.05)
    else:
        pytest.fail("nothing reached the file while the recorder was idle")
    n_messages = len(Recording(recorder.path).index.offset)
    recorder.end()
    thread.join()
    assert n_messages == 1


def test_a_full_queue_ends_the_recording_and_keeps_what_waited(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The thread is not running yet: as with a disk that does nothing for a while."""
    recorder = Recorder(tmp_path / "a.mcap", capacity=5)
    sent = messages.session()
    with caplog.at_level(logging.ERROR):
        for message in sent:
            recorder.put(message)
    assert recorder.problem == "recording ended: the disk does not keep up, 5 items wait already"
    assert caplog.text.count("recording ended") == 1
    recorder.run()
    result = recorder.conclude()
    assert (result.n_received, result.n_messages) == (len(sent), 5)
    assert result.problem == recorder.problem
    assert Recording(recorder.path).notes["n_lost"] == str(len(sent) - 5)


def test_a_full_disk_ends_the_recording_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fourth flush fails. `put` goes on returning at once, the file holds what came before."""
    flush, calls = RecordingWriter.flush, iter(range(100))

    def fails(writer: RecordingWriter) -> None:
        if next(calls) == 3:
            raise SequenceError(f"{writer.path}: cannot be written: No space left on device")
        flush(writer)

    monkeypatch.setattr(RecordingWriter, "flush", fails)
    recorder = Recorder(tmp_path / "a.mcap")
    sent = messages.session(100)
    for message in sent:
        recorder.put(message)
    recorder.run()
    recorder.put(sent[0])
    result = recorder.conclude()
    assert result.problem is not None
    assert result.problem.endswith("a.mcap: cannot be written: No space left on device")
    assert 0 < result.n_messages < len(sent)
    assert result.n_received == len(sent) + 1
    assert not Recording(recorder.path).is_closed


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    recorder = Recorder(tmp_path / "file" / "a.mcap")
    recorder.put(messages.pose(0, 1, 1))
    recorder.run()
    result = recorder.conclude()
    assert (result.n_received, result.n_messages) == (1, 0)
    assert result.problem is not None
    assert "recording ended" in result.problem


def test_a_message_that_vanished_from_the_file_is_noticed(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "a.mcap")
    for message in messages.session():
        recorder.put(message)
    recorder.end()
    recorder.run()
    recorder.path.write_bytes(recorder.path.read_bytes()[:-4000])
    result = recorder.conclude()
    assert result.problem is not None
    assert f"{result.n_messages} of 21 messages are in the recording" in result.problem


def test_an_existing_file_is_refused_before_anything_starts(tmp_path: Path) -> None:
    (tmp_path / "a.mcap").touch()
    with pytest.raises(SequenceError, match="exists already"):
        Recorder(tmp_path / "a.mcap")
