"""Save a sweep in any format that `open_sweep` reads."""

from __future__ import annotations

from pathlib import Path

from tracking.errors import SequenceError
from tracking.sequences.igs_writer import write_igs
from tracking.sequences.mcap_sweep import write_mcap
from tracking.sequences.sweep import Sweep
from tracking.sequences.ultrabones_writer import write_record
from tracking.sequences.written import Written


def save_sweep(
    sweep: Sweep, path: Path, *, is_compressed: bool = True, image_lag_s: float = 0.0
) -> Written:
    """Write a new file or folder, in the format that its name asks for.

    Parameters
    ----------
    path : `.mcap`, `.igs.mha`, `.igs.nrrd`, or without a suffix for an UltraBones100k record.
    is_compressed : pixels of `.igs.mha` and `.igs.nrrd`; uncompressed ones are found by seeking.
    image_lag_s : for a record alone, whose poses are those at the moment an image shows.

    Raises
    ------
    SequenceError : one line with the path and what was expected.
    """
    name = path.name.lower()
    if name.endswith((".igs.mha", ".igs.nrrd")):
        return write_igs(path, sweep, is_compressed=is_compressed)
    if name.endswith(".mcap"):
        return write_mcap(path, sweep)
    if not path.suffix:
        return write_record(path, sweep, image_lag_s=image_lag_s)
    raise SequenceError(
        f"{path}: not a format that can be written, expected .mcap, .igs.mha, .igs.nrrd, or a "
        "folder's name without a suffix"
    )
