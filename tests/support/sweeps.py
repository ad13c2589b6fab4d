"""Sweeps with a fault put into them, to see that a session notices and says so."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from tracking.sequences import Sweep, SweepImage, SweepPose

Event = SweepImage | SweepPose


@dataclass(frozen=True)
class AlteredSweep:
    """Another sweep's events, each passed through `alter`, which gives none, one or several."""

    original: Sweep
    alter: Callable[[Event], Iterable[Event]]

    @property
    def name(self) -> str:
        return f"altered {self.original.name}"

    @property
    def image_name(self) -> str:
        return self.original.image_name

    @property
    def spacing_mm(self) -> tuple[float, float] | None:
        return self.original.spacing_mm

    @property
    def n_images(self) -> int:
        return self.original.n_images

    @property
    def span_s(self) -> tuple[float, float]:
        return self.original.span_s

    def events(self) -> Iterator[Event]:
        for event in self.original.events():
            yield from self.alter(event)
