"""What `navapp record` and `navapp inspect` do; `cli.py` prints it."""

from __future__ import annotations

import logging
import math
import textwrap
import threading
import time
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import asdict
from pathlib import Path
from typing import Any

from inference.contract import read_contract
from navapp.config import ServerSettings
from navapp.errors import ConfigError, SessionError
from navapp.feeds import LiveFeed
from navapp.live import Ending, Interrupts
from navapp.recorder import Recorder, RecordingResult
from tracking.calibration import load_calibration
from tracking.calibration.sections import read_document
from tracking.clock import Clocks
from tracking.messages import ImageFrame, PoseSample, PoseStatus
from tracking.sequences import Sweep, SweepPose, open_sweep
from tracking.sequences.igs import IgsSweep
from tracking.sequences.mcap_sweep import McapSweep
from tracking.sequences.recording import Recording
from tracking.wire import RawMessage

logger = logging.getLogger(__name__)

# How often it looks at the clock and at Ctrl-C.
_POLL_S = 0.1

# Where values begin in a line of `inspect`, and how wide a list of them may be.
_VALUES_AT, _VALUES_WIDTH = 25, 75

_CALIBRATIONS = (".toml", ".xml", ".json")


def record_server(
    server: ServerSettings, out: Path, seconds: float | None, until_closed: bool
) -> tuple[RecordingResult, Ending]:
    """Record until the time is up, the server closes (with `until_closed`) or Ctrl-C.

    Raises
    ------
    ConfigError, SequenceError : the file's name is none for a recording, or it exists already.
    SessionError : no server answers, or it ended inside a message with `until_closed`; what was
        received until then is in the file, and where nothing was there is none.
    """
    if out.suffix.lower() != ".mcap":
        raise ConfigError(f"--out is {out}, expected a file that ends in .mcap")
    recorder = Recorder(out)
    feed = LiveFeed(server, until_closed=until_closed, gives_up=True)
    stop = threading.Event()
    deadline_s = time.monotonic() + (math.inf if seconds is None else seconds)
    with Interrupts() as interrupts, ThreadPoolExecutor(2, "record") as pool:
        writing = pool.submit(recorder.run)
        receiving = pool.submit(feed.run, _RecordInlet(recorder, stop), stop)
        while not (receiving.done() or interrupts.seen or time.monotonic() >= deadline_s):
            wait([receiving], _POLL_S)
        stop.set()
        wait([receiving])
        recorder.end()
    try:
        receiving.result()
    except SessionError:
        recorder.discard_empty()
        raise
    writing.result()
    return recorder.conclude(), Ending.INTERRUPTED if interrupts.seen else Ending.ENDED


class _RecordInlet:
    """Takes raw messages alone; a recording that ended early ends the receiving too."""

    def __init__(self, recorder: Recorder, stop: threading.Event) -> None:
        self._recorder, self._stop = recorder, stop
        self.clocks = Clocks()

    def raw(self, message: RawMessage) -> None:
        self._recorder.put(message)
        if self._recorder.problem is not None:
            self._stop.set()

    def image(self, frame: ImageFrame) -> None: ...

    def bad_image(self, name: str, reason: str) -> None: ...

    def pose(self, sample: PoseSample) -> None: ...

    def damaged_poses(self, n: int) -> None:
        if n:
            logger.warning("%d poses came damaged and are not recorded", n)

    def link(self, server: str, sentence: str, *, is_up: bool) -> None:
        logger.info("%s", sentence)


def describe(path: Path) -> dict[str, Any]:
    """What a file or record folder holds, ready for JSON.

    Raises
    ------
    TrackingError, InferenceError : one line with the file and what is wrong.
    """
    suffix = path.suffix.lower()
    if suffix == ".onnx":
        return {"kind": "model", "file": str(path), **asdict(read_contract(path))}
    if suffix in _CALIBRATIONS:
        return _describe_calibration(path)
    if suffix == ".mcap":
        return _describe_recording(Recording(path))
    return {"kind": "sweep", "file": str(path), **_describe_sweep(open_sweep(path))}


def as_text(facts: Mapping[str, Any], indent: str = "") -> str:
    """Nested facts as indented lines for a person."""
    lines = []
    for key, value in facts.items():
        if isinstance(value, Mapping):
            lines.append(f"{indent}{key}")
            lines += [as_text(value, indent + "  ")] if value else []
        else:
            first, *more = _in_rows(value)
            lines.append(f"{f'{indent}{key}':<{_VALUES_AT - 1}} {first}")
            lines += [" " * _VALUES_AT + row for row in more]
    return "\n".join(lines)


def _in_rows(value: Any) -> list[str]:
    """A matrix row by row, a long list in several lines, anything else in one."""
    if not isinstance(value, (list, tuple)):
        return [_word(value)]
    if value and isinstance(value[0], (list, tuple)):
        return [" ".join(f"{_word(item, 6):>12}" for item in row) for row in value]
    text = ", ".join(_word(item, 6) for item in value)
    return textwrap.wrap(text, _VALUES_WIDTH, break_on_hyphens=False) or ["none"]


def _word(value: Any, n_digits: int = 9) -> str:
    if isinstance(value, float):
        return f"{value:.{n_digits}g}"
    return "unknown" if value is None else str(value)


def _describe_calibration(path: Path) -> dict[str, Any]:
    document = read_document(path) if path.suffix.lower() == ".toml" else {}
    verdicts = {
        name: section.get("verdict", "no verdict")
        for name, section in document.items()
        if isinstance(section, dict)
    }
    if verdicts and "probe" not in verdicts:
        return {"kind": "calibration", "file": str(path), "sections": verdicts}
    calibration = load_calibration(path)
    facts = {
        "kind": "calibration",
        "file": str(path),
        "A_probe_pixel": calibration.A_probe_pixel.tolist(),
        "spacing_mm": calibration.spacing_mm,
        "image_size_px": calibration.image_size_px,
        "roi_px": calibration.roi_px,
        "image_lag_s": calibration.image_lag_s,
        "sha256": calibration.sha256,
        "provenance": calibration.provenance,
    }
    return facts | {"sections": verdicts} if verdicts else facts


def _describe_recording(recording: Recording) -> dict[str, Any]:
    index = recording.index
    span_s = (index.arrival_ns.max() - index.arrival_ns.min()) * 1e-9 if index.offset.size else 0.0
    facts = {
        "kind": "recording",
        "file": str(recording.path),
        "n_messages": len(index.offset),
        "is_closed": recording.is_closed,
        "notes": recording.notes,
        "seconds": float(span_s),
        "streams": {
            f"{kind} {device}".strip(): n for (kind, device), n in recording.counts.items()
        },
    }
    has_sweep = any(kind in ("IMAGE", "TRANSFORM") for kind, _ in recording.counts)
    return {**facts, "sweep": _describe_sweep(McapSweep(recording)) if has_sweep else None}


def _describe_sweep(sweep: Sweep) -> dict[str, Any]:
    """One pass over the events; of the images only the first is read."""
    size_px: tuple[int, int] | None = None
    poses: dict[str, Counter[PoseStatus]] = {}
    fields: Counter[str] = Counter()
    for event in sweep.events():
        fields.update(event.fields.keys())
        if isinstance(event, SweepPose):
            poses.setdefault(event.name, Counter())[event.status] += 1
        elif size_px is None:
            n_rows, n_columns = event.load().shape
            size_px = n_columns, n_rows
    begin_s, end_s = sweep.span_s
    facts = {
        "name": sweep.name,
        "n_images": sweep.n_images,
        "image_name": sweep.image_name,
        "image_size_px": size_px,
        "spacing_mm": sweep.spacing_mm,
        "begin_s": begin_s,
        "seconds": end_s - begin_s,
        "poses": {
            name: {status.value: n for status, n in counts.items()}
            for name, counts in poses.items()
        },
        "fields": sorted(fields),
    }
    if isinstance(sweep, IgsSweep):
        facts["header"] = dict(sweep.fields)
        facts["poses_without_status"] = sweep.poses_without_status
    if isinstance(sweep, McapSweep):
        facts["clock"] = sweep.clock
        facts["other_images"] = sweep.other_images
    return facts
