"""PLUS recordings as the tests need them: header fields and pixels of an `.igs.mha` file."""

from __future__ import annotations

import re
import zlib
from pathlib import Path

import numpy as np

_FIELD = re.compile(r"Seq_Frame(\d+)_(\w+)$")


class PlusRecording:
    """Frame fields by name; pixels (N, rows, columns) uint8 and poses (N, 4, 4) in mm."""

    def __init__(self, path: Path) -> None:
        content = path.read_bytes()
        marker = b"ElementDataFile = LOCAL"
        start = content.index(marker)
        self._body = content[content.index(b"\n", start) + 1 :]
        self._header: dict[str, str] = {}
        self._fields: dict[str, list[str]] = {}
        for line in content[:start].decode().splitlines():
            key, _, value = line.partition("=")
            match = _FIELD.match(key.strip())
            if match:
                self._fields.setdefault(match[2], []).append(value.strip())
            else:
                self._header[key.strip()] = value.strip()

    @property
    def pixels(self) -> np.ndarray:
        width, height, n = map(int, self._header["DimSize"].split())
        is_packed = self._header["CompressedData"] == "True"
        body = zlib.decompress(self._body) if is_packed else self._body
        return np.frombuffer(body, np.uint8).reshape(n, height, width)

    @property
    def t_s(self) -> np.ndarray:
        return np.array(self._fields["Timestamp"], dtype=float)

    def poses(self, name: str) -> np.ndarray:
        rows = [np.array(value.split(), dtype=float) for value in self._fields[f"{name}Transform"]]
        return np.array(rows).reshape(-1, 4, 4)

    def relative(self, tool: str) -> np.ndarray:
        """T_reference_tool of every frame."""
        return np.linalg.inv(self.poses("ReferenceToTracker")) @ self.poses(f"{tool}ToTracker")
