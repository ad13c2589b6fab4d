"""Small files that are there whole, or as they were before."""

from __future__ import annotations

from pathlib import Path


def write_whole(path: Path, content: str | bytes) -> None:
    """Give a file its new content in one step, in a folder that is made where it is missing.

    Whoever is killed or finds no space on the way leaves the old file. Text is written as UTF-8.

    Raises
    ------
    OSError : it cannot be written; its `filename` is that of `path`.
    """
    partial = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(content.encode() if isinstance(content, str) else content)
        partial.replace(path)
    except OSError as error:
        error.filename = str(path)  # the name that a person knows
        raise
    finally:
        partial.unlink(missing_ok=True)
