"""What travels between the threads: frozen records of images and poses."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tracking.transforms import Matrix


class PoseStatus(Enum):
    """What the tracker says of a pose."""

    OK = "OK"
    INVALID = "INVALID"  # sent, but marked unusable by the tracker (or not a rigid transform)


class TimeBase(NamedTuple):
    """Which clock a time belongs to: a server's own, or the host's because of the arrival."""

    server: str = ""
    is_arrival: bool = False


_ONLY_SERVER = TimeBase()


@dataclass(frozen=True, slots=True)
class Stamps:
    """When a thing was measured and when it reached us, each on the clock its name says.

    `t_sender_s` is the sender's wall clock (0 where the sender gave none), `t_arrival_s` the
    host's `time.perf_counter()` at the last byte of the body. The two are never subtracted
    outside `clock.py`. `base` says which of them is the one to match by.
    """

    t_sender_s: float
    t_arrival_s: float
    base: TimeBase = _ONLY_SERVER

    @property
    def t_match_s(self) -> float:
        """The sender's stamp, or the arrival where that cannot be trusted."""
        return self.t_arrival_s if self.base.is_arrival else self.t_sender_s


@dataclass(frozen=True, slots=True)
class ImageFrame:
    """One ultrasound image as it arrived, grey.

    `pixels` is (rows, columns) uint8 with row 0 at the transducer (PLUS orientation MF), read-only.
    `spacing_mm` is the sender's own (column, row) spacing, None where it says nothing.
    `t_decoded_s` is `perf_counter()` when decoding was done: its latency is receive's.
    """

    name: str
    pixels: NDArray[np.uint8]
    stamps: Stamps
    t_decoded_s: float
    spacing_mm: tuple[float, float] | None = None
    metadata: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PoseSample:
    """One pose of one stream: `name` is the wire's, such as ProbeToTracker (T_tracker_probe).

    `matrix` is (4, 4) float64, mm, checked rigid where `status` is OK; else its content is
    whatever the sender put there and must not be used.
    """

    name: str
    matrix: Matrix
    status: PoseStatus
    stamps: Stamps


@dataclass(frozen=True, slots=True)
class StatusReport:
    """A device's STATUS. `code` 1 is OK; the others and `error` are the specification's."""

    name: str
    code: int
    sub_code: int
    error: str
    text: str


@dataclass(frozen=True, slots=True)
class TextMessage:
    """A STRING."""

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class Capability:
    """The message types that a peer says it knows."""

    types: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TransformName:
    """An IGSIO name such as ProbeToTracker: `source` Probe, `target` Tracker, T_tracker_probe."""

    source: str
    target: str

    def __str__(self) -> str:
        return f"{self.source}To{self.target}"
