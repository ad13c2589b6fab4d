"""Files with random damage: what cannot be read is said in one line, never anything else."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.support import messages
from tests.support.igs import write_mha, write_nrrd
from tracking.errors import SequenceError
from tracking.sequences import SweepImage, open_sweep
from tracking.sequences.recording import RecordingWriter

_N_CASES = 400


def _write_recording(path: Path) -> Path:
    writer = RecordingWriter(path)
    for raw in messages.session(4):
        writer.add(raw)
    writer.close({"by": "test"})
    return path


def _damaged(data: bytes, rng: np.random.Generator) -> bytes:
    """A few bytes changed, a part doubled or gone, the end missing: one or several of these.

    Half of the places are in the first kilobyte, where the headers are."""
    broken = bytearray(data)
    for _ in range(rng.integers(1, 4)):
        reach = min(len(broken), 1000) if rng.random() < 0.5 else len(broken)
        begin = int(rng.integers(0, max(1, reach)))
        end = begin + int(rng.integers(1, 12))
        kind = rng.integers(0, 5)
        if kind <= 1:
            broken[begin:end] = rng.integers(0, 256, len(broken[begin:end]), np.uint8).tobytes()
        elif kind == 2:
            broken[begin:begin] = broken[begin:end]
        elif kind == 3:
            del broken[begin:end]
        else:
            del broken[begin:]
    return bytes(broken)


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("a.igs.mha", write_mha),
        ("b.igs.mha", lambda path: write_mha(path, compress=True)),
        ("a.igs.nrrd", write_nrrd),
        ("a.mcap", _write_recording),
    ],
)
def test_a_damaged_file_is_read_or_refused(
    tmp_path: Path, name: str, write: Callable[[Path], Path], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)
    path = write(tmp_path / name)
    whole = path.read_bytes()
    rng = np.random.default_rng(11)
    n_refused = 0
    for _ in range(_N_CASES):
        path.write_bytes(_damaged(whole, rng))
        try:
            for event in open_sweep(path).events():
                if isinstance(event, SweepImage):
                    event.load()
        except SequenceError as error:
            n_refused += 1
            assert str(tmp_path) in str(error), "names the file, or that of its pixels"
            assert "\n" not in str(error)
    assert _N_CASES // 10 < n_refused < _N_CASES
