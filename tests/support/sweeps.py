"""Sweeps with a fault put into them, to see that a session notices and says so."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from tracking.sequences import Sweep, SweepImage, SweepPose

Event = SweepImage | SweepPose


@dataclass(frozen=True)
class AlteredSweep:
    """Another sweep whose events pass through `alter`, all at once and in order."""

    original: Sweep
    alter: Callable[[Iterator[Event]], Iterable[Event]]

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
        yield from self.alter(self.original.events())


def each(alter: Callable[[Event], Event | None]) -> Callable[[Iterator[Event]], Iterator[Event]]:
    """Alter every event by itself; None leaves it out."""

    def alter_all(events: Iterator[Event]) -> Iterator[Event]:
        return (new for event in events if (new := alter(event)) is not None)

    return alter_all
