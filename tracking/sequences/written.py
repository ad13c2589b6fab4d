"""What every writer of sweeps shares: a new file that is whole or not there, and what it tells."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from tracking.errors import SequenceError, WriteError


@dataclass(frozen=True, slots=True)
class Written:
    """What was written; `notes` say in sentences what the format could not hold."""

    n_images: int
    n_poses: int
    notes: tuple[str, ...] = ()


@contextmanager
def new_file(path: Path, *, replaces: bool = False) -> Iterator[BinaryIO]:
    """A file that gets its name when it is complete.

    Raises
    ------
    SequenceError : if it exists already, unless `replaces`.
    WriteError : if it cannot be written.
    """
    if path.exists() and not replaces:
        raise SequenceError(f"{path}: exists already, expected a new name")
    partial = path.with_name(path.name + ".partial")
    try:
        with partial.open("wb") as file:
            yield file
        os.replace(partial, path)
    except OSError as error:
        raise WriteError(f"{path}: cannot be written: {error.strerror}") from None
    finally:
        with suppress(OSError):
            partial.unlink()
