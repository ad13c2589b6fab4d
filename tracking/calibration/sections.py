"""Our calibration file: one TOML, one section per result, each with provenance and a hash.

A section holds its numbers, a table `provenance` (date, method, sources with their hashes, number
of samples) and `sha256` over all of that: a number changed by hand is found out on reading.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w

from tracking.errors import CalibrationError
from tracking.whole_files import write_whole

_BLOCK_BYTES = 2**20  # a recording may be larger than memory


def write_section(path: Path, name: str, values: Mapping[str, Any]) -> None:
    """Put a section into a calibration file; its other sections stay, the file changes in one step.

    Entries that are None are left out, because TOML has no null.

    Raises
    ------
    CalibrationError : where the file is there but not TOML, or cannot be written.
    """
    document = read_document(path) if path.exists() else {}
    section = _plain(values)
    section["sha256"] = section_hash(section)
    document[name] = section
    try:
        write_whole(path, tomli_w.dumps(document))
    except OSError as error:
        raise CalibrationError(f"{path}: cannot be written: {error.strerror}") from None


def read_document(path: Path) -> dict[str, Any]:
    """All sections of a calibration file, their hashes checked.

    Raises
    ------
    CalibrationError : where it cannot be read, or a section was changed after it was measured.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CalibrationError(f"{path}: cannot be read: {error.strerror}") from None
    return parse_document(path, content)


def parse_document(path: Path, content: bytes) -> dict[str, Any]:
    """The sections in the content of `path`; see `read_document`."""
    try:
        document = tomllib.loads(content.decode())
    except ValueError as error:
        raise CalibrationError(f"{path}: cannot be read as a calibration: {error}") from None
    for name, section in document.items():
        if isinstance(section, dict) and section.get("sha256") not in (None, section_hash(section)):
            raise CalibrationError(
                f"{path}: section [{name}] does not match its sha256: it was changed after it was "
                "measured (measure again, or remove the line sha256 to take it as it is)"
            )
    return document


def section_hash(section: Mapping[str, Any]) -> str:
    """SHA-256 over everything in a section but its hash."""
    content = {key: value for key, value in section.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def provenance(method: str, sources: Sequence[Path], n_samples: int) -> dict[str, Any]:
    """Where a result comes from: now, how, from which files, from how many samples.

    Raises
    ------
    CalibrationError : where a source cannot be read.
    """
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "method": method,
        "n_samples": n_samples,
        "sources": [
            {"name": source.name, "sha256": _file_hash(source)} for source in dict.fromkeys(sources)
        ],
    }


def _file_hash(path: Path) -> str:
    """Of a file's content; of a record folder's tables, which say what its images are."""
    files = sorted(path.glob("*.csv")) if path.is_dir() else [path]
    digest = hashlib.sha256()
    try:
        for source in files:
            with source.open("rb") as file:
                while block := file.read(_BLOCK_BYTES):
                    digest.update(block)
    except OSError as error:
        raise CalibrationError(f"{path}: cannot be read: {error.strerror}") from None
    return digest.hexdigest()


def _plain(value: Any) -> Any:
    """As TOML knows it: dictionaries, lists and numbers of Python."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items() if item is not None}
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
