"""Open a recorded sweep of whatever format."""

from __future__ import annotations

from pathlib import Path

from tracking.errors import SequenceError
from tracking.sequences.sweep import Sweep
from tracking.sequences.ultrabones import UltraBonesRecord


def open_sweep(path: Path, *, poses: str = "original") -> Sweep:
    """The sweep at `path`; now: an UltraBones100k record folder.

    `poses` chooses between the recorded poses ("original") and those refined to the echo
    ("optimized", where the record has them).

    Raises
    ------
    SequenceError : one line with the path and what was expected there.
    """
    if not path.exists():
        raise SequenceError(f"{path}: no such sweep")
    if path.is_dir():
        return UltraBonesRecord(path, poses=poses)
    raise SequenceError(
        f"{path}: not a known sweep, expected a folder with tracking.csv and UltrasoundImages"
    )
