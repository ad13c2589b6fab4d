"""Whether points go into the cloud: several may hold insertion, and each release begins a sweep."""

from __future__ import annotations

import threading
from enum import Enum


class Hold(Enum):
    """Who holds insertion; the values are words for a person."""

    FROZEN = "frozen"
    SWITCHED_OFF = "insertion is off"
    UNSAFE = "the picture is not safe"


class InsertionGate:
    """Open while nobody holds it. A sweep is the time from open to held, numbered from 1.

    Any thread holds, releases and asks.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._holds: dict[Hold, None] = {}
        self._sweep = 1

    def hold(self, who: Hold) -> bool:
        """Stop insertion; True where it was open before."""
        with self._lock:
            was_open = not self._holds
            self._holds[who] = None
            return was_open

    def release(self, who: Hold) -> bool:
        """Take a hold back; True where insertion goes on with it, as a new sweep."""
        with self._lock:
            was_held = bool(self._holds)
            self._holds.pop(who, None)
            is_released = was_held and not self._holds
            self._sweep += is_released
            return is_released

    def begin_sweep(self) -> int:
        """Close the sweep and begin another at once; returns its number."""
        with self._lock:
            self._sweep += 1
            return self._sweep

    @property
    def sweep(self) -> int:
        """Number of the sweep that points belong to now."""
        with self._lock:
            return self._sweep

    @property
    def holds(self) -> tuple[Hold, ...]:
        """Who holds insertion, in order; empty while points go in."""
        with self._lock:
            return tuple(self._holds)
