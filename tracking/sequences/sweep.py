"""What every recorded sweep offers, whatever its format: images and poses in order of time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tracking.messages import PoseStatus
from tracking.transforms import Matrix


@dataclass(frozen=True, slots=True)
class SweepImage:
    """One image of a sweep; `load` reads its pixels, (rows, columns) uint8, when they are needed.

    `t_s` is the stamp in the recording, s; it includes the image lag where there is one.
    `load` raises SequenceError with the file's name where it cannot be read. `fields` is whatever
    else the recording says of this moment (UnfilteredTimestamp, FrameNumber, ...), verbatim.
    """

    index: int
    t_s: float
    load: Callable[[], NDArray[np.uint8]]
    fields: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SweepPose:
    """One pose of a sweep under its IGSIO name, such as ProbeToTracker (T_tracker_probe), mm.

    `fields` as for an image; what was recorded as one frame shares them.
    """

    name: str
    t_s: float
    matrix: Matrix
    status: PoseStatus = PoseStatus.OK
    fields: Mapping[str, str] = field(default_factory=dict)


class Sweep(Protocol):
    """A recorded (or simulated) sweep, read as a stream: a long one never enters memory."""

    @property
    def name(self) -> str:
        """For people: the folder or file name."""

    @property
    def image_name(self) -> str:
        """Stream name of the images on the wire."""

    @property
    def spacing_mm(self) -> tuple[float, float] | None:
        """(column, row) pixel spacing that the recording states, None where it states none."""

    @property
    def n_images(self) -> int:
        """How many images the sweep holds; 0 for a recording of poses alone."""

    @property
    def span_s(self) -> tuple[float, float]:
        """First and last stamp, s."""

    def events(self) -> Iterator[SweepImage | SweepPose]:
        """Images and poses by ascending stamp; at equal stamps the image comes first, as
        PlusServer sends them."""
