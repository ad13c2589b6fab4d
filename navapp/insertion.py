"""Whether points go into the cloud: several may hold insertion; it goes on when nobody does."""

from __future__ import annotations

import threading
from enum import Enum

from navapp.scene import Scene


class Hold(Enum):
    """Who holds insertion; the values are words for a person."""

    FROZEN = "frozen"
    SWITCHED_OFF = "insertion is off"


class InsertionGate:
    """Ends the scene's sweep with the first hold, and starts the next with the last release.

    Any thread holds, releases and asks.
    """

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._lock = threading.Lock()
        self._holds: dict[Hold, None] = {}

    def hold(self, who: Hold) -> None:
        """Stop insertion."""
        with self._lock:
            self._holds[who] = None
            self._scene.stop_sweep()

    def release(self, who: Hold) -> bool:
        """Take a hold back; True where insertion goes on with it, as a new sweep."""
        with self._lock:
            was_held = bool(self._holds)
            self._holds.pop(who, None)
            is_released = was_held and not self._holds
            if is_released:
                self._scene.start_sweep()
            return is_released

    @property
    def sweep(self) -> int:
        """Number of the sweep that points belong to now, or that ran last."""
        return self._scene.sweep

    @property
    def holds(self) -> tuple[Hold, ...]:
        """Who holds insertion, in order; empty while points go in."""
        with self._lock:
            return tuple(self._holds)
