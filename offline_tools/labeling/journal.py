"""The journal of a labelling run: one line per finished frame, so that nothing is done twice.

A line is appended when its frame is finished and counts when it is whole: a run that was killed
continues from the last whole line. A later line of a frame replaces an earlier one.
"""

from __future__ import annotations

import base64
import json
import zlib
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from offline_tools.errors import InputError
from offline_tools.labeling.frame import FrameLabel, Reason, Status
from offline_tools.labeling.refine import Refinement


class Journal:
    """Append-only file of finished frames; a context manager that keeps it open.

    Raises
    ------
    InputError : where the file was made from other inputs or settings (`fingerprint`).
    """

    def __init__(self, path: Path, fingerprint: str) -> None:
        self._path = path
        self.labels: dict[int, FrameLabel] = {}
        self.seconds: dict[int, float] = {}
        self.repairs_tried: set[int] = set()
        self._file: TextIO | None = None
        self._n_bytes = self._read(fingerprint) if path.exists() else 0
        self._fingerprint = fingerprint

    def __enter__(self) -> Journal:
        self._file = self._path.open("a")
        self._file.truncate(self._n_bytes)  # what is left of a line that was being written
        if not self._n_bytes:
            self._write({"fingerprint": self._fingerprint})
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def add(self, timestamp_ms: int, label: FrameLabel, seconds: float, *, is_repair: bool) -> None:
        """Keep a frame's fate; it is on its way to disk when this returns."""
        self._take(timestamp_ms, label, seconds, is_repair)
        self._write({**_to_record(timestamp_ms, label, seconds), "is_repair": is_repair})

    def _take(self, timestamp_ms: int, label: FrameLabel, seconds: float, is_repair: bool) -> None:
        self.labels[timestamp_ms] = label
        if is_repair:
            self.repairs_tried.add(timestamp_ms)
        self.seconds[timestamp_ms] = self.seconds.get(timestamp_ms, 0.0) + seconds

    def _write(self, record: dict[str, Any]) -> None:
        if self._file is None:
            raise ValueError("the journal is not open")
        self._file.write(json.dumps(record) + "\n")
        self._file.flush()

    def _read(self, fingerprint: str) -> int:
        """Take over the whole lines; how many bytes they have."""
        n_bytes = 0
        for line in self._path.read_bytes().splitlines(keepends=True):
            if not line.endswith(b"\n"):
                break
            record = json.loads(line)
            if n_bytes == 0 and record["fingerprint"] != fingerprint:
                raise InputError(
                    f"{self._path.parent}: begun with another record, surface, calibration or "
                    "settings; choose another --out"
                )
            if n_bytes:
                self._take(*_from_record(record), record["is_repair"])
            n_bytes += len(line)
        return n_bytes


def _to_record(timestamp_ms: int, label: FrameLabel, seconds: float) -> dict[str, Any]:
    record = {
        "timestamp": timestamp_ms,
        "seconds": seconds,
        "status": label.status,
        "reason": label.reason,
        "repaired": label.repaired,
        "seeds_disagree_mm": label.seeds_disagree_mm,
        "echo_offset_start_mm": label.echo_offset_start_mm,
        "echo_offset_mm": label.echo_offset_mm,
        "contour": base64.b64encode(zlib.compress(label.contour.tobytes(), 1)).decode(),
    }
    if label.refinement is not None and label.T_ct_probe is not None:
        record["refinement"] = {
            **asdict(label.refinement), "correction": label.refinement.correction.tolist()
        }  # fmt: skip
        record["T_ct_probe"] = label.T_ct_probe.tolist()
    return record


def _from_record(record: dict[str, Any]) -> tuple[int, FrameLabel, float]:
    contour = np.frombuffer(zlib.decompress(base64.b64decode(record["contour"])), np.float32)
    refinement = T_ct_probe = None
    if "refinement" in record:
        fields = record["refinement"]
        refinement = Refinement(
            **{
                **fields,
                "correction": np.array(fields["correction"]),
                "at_bound": tuple(fields["at_bound"]),
            }
        )
        T_ct_probe = np.array(record["T_ct_probe"])
    label = FrameLabel(
        status=Status(record["status"]),
        reason=None if record["reason"] is None else Reason(record["reason"]),
        refinement=refinement,
        T_ct_probe=T_ct_probe,
        seeds_disagree_mm=record["seeds_disagree_mm"],
        echo_offset_start_mm=record["echo_offset_start_mm"],
        echo_offset_mm=record["echo_offset_mm"],
        contour=contour.reshape(-1, 4),
        repaired=None if record["repaired"] is None else Reason(record["repaired"]),
    )
    return record["timestamp"], label, record["seconds"]
