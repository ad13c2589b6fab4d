"""Open a recorded sweep of whatever format."""

from __future__ import annotations

from pathlib import Path

from tracking.errors import SequenceError
from tracking.sequences.igs import IgsSweep
from tracking.sequences.igs_mha import read_mha_header
from tracking.sequences.igs_nrrd import read_nrrd_header
from tracking.sequences.mcap_sweep import McapSweep
from tracking.sequences.recording import Recording
from tracking.sequences.sweep import Sweep
from tracking.sequences.ultrabones import UltraBonesRecord

_ORIGINAL = "original"
_HEADER_READERS = {
    ".mha": read_mha_header,
    ".mhd": read_mha_header,
    ".nrrd": read_nrrd_header,
    ".nhdr": read_nrrd_header,
}


def open_sweep(path: Path, *, poses: str = _ORIGINAL) -> Sweep:
    """The sweep at `path`: `.mcap`, `.igs.mha`, `.igs.nrrd`, or an UltraBones100k record folder.

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
    if poses != _ORIGINAL:
        raise SequenceError(f"{path}: has no {poses} poses, only a record folder can have them")
    if path.suffix.lower() == ".mcap":
        return McapSweep(Recording(path))
    read_header = _HEADER_READERS.get(path.suffix.lower())
    if read_header is not None:
        return IgsSweep(path, read_header(path))
    raise SequenceError(
        f"{path}: not a known sweep, expected .mcap, .igs.mha, .igs.nrrd, or a folder with "
        "tracking.csv and UltrasoundImages"
    )
