"""The small JSON file that says how a bone line is read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from inference.contract import LineSpec
from offline_tools.errors import InputError


def read_line(path: Path) -> LineSpec:
    """How the bone line is read: the fields of `LineSpec` that are not its defaults.

    Raises
    ------
    InputError : it cannot be read, is no JSON object, or has a field unknown or out of range.
    """
    values: dict[str, Any] = {
        k: tuple(v) if isinstance(v, list) else v for k, v in _read_object(path).items()
    }
    try:
        return LineSpec(**values)
    except (TypeError, ValueError) as error:
        raise InputError(f"{path}: {error}") from None


def _read_object(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    except ValueError as error:
        raise InputError(f"{path}: not JSON ({error})") from None
    if not isinstance(found, dict):
        raise InputError(f"{path}: holds {type(found).__name__}, expected a JSON object")
    return found
