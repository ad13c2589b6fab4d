"""The two connectors between threads. Both are bounded and count what passes and what is lost.

`LatestSlot` holds one item and the newest wins; `BoundedQueue` keeps the order and says at its
creation what happens when it is full. Worker loops read `for item in connector:` and end when
the connector is closed and empty.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Generic, Protocol, TypeVar

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
T_contra = TypeVar("T_contra", contravariant=True)


class FullPolicy(Enum):
    """What a full queue does with a new item."""

    DROP_OLDEST = "drop oldest"
    FAIL = "fail"
    BLOCK = "block"


class ChannelFullError(Exception):
    """A queue with the policy FAIL is full."""


@dataclass(frozen=True, slots=True)
class ChannelCounts:
    """What has passed through a connector: put = taken + dropped + still waiting."""

    put: int
    taken: int
    dropped: int


class Sink(Protocol[T_contra]):
    """The writing end of a connector."""

    def put(self, item: T_contra) -> object:
        """Hand over an item; returns the item lost to make room (or `item` itself when closed)."""

    def close(self) -> None:
        """No more items: readers drain what is left and end."""


class Source(Protocol[T_co]):
    """The reading end of a connector."""

    def take(self, timeout_s: float | None = None) -> T_co | None:
        """The next item; None after `timeout_s` without one, or when closed and empty."""

    def __iter__(self) -> Iterator[T_co]:
        """Items until the connector is closed and empty."""


class BoundedQueue(Generic[T]):
    """First in, first out, at most `capacity` items."""

    def __init__(self, capacity: int, policy: FullPolicy) -> None:
        if capacity < 1:
            raise ValueError(f"capacity is {capacity}, expected at least 1")
        self._capacity = capacity
        self._policy = policy
        self._items: deque[T] = deque()
        self._changed = threading.Condition()
        self._is_closed = False
        self._put = self._taken = self._dropped = 0

    def put(self, item: T) -> T | None:
        """Append `item`; returns the item that was lost by it, None where nothing was.

        Raises
        ------
        ChannelFullError : with the policy FAIL; the item is counted as dropped.
        """
        with self._changed:
            self._put += 1
            while len(self._items) >= self._capacity and not self._is_closed:
                if self._policy is FullPolicy.DROP_OLDEST:
                    self._dropped += 1
                    lost = self._items.popleft()
                    self._append(item)
                    return lost
                if self._policy is FullPolicy.FAIL:
                    self._dropped += 1
                    raise ChannelFullError(f"{self._capacity} items wait already")
                self._changed.wait()
            if self._is_closed:
                self._dropped += 1
                return item
            self._append(item)
            return None

    def take(self, timeout_s: float | None = None) -> T | None:
        """The oldest item; None after `timeout_s` without one, or when closed and empty."""
        with self._changed:
            self._changed.wait_for(lambda: self._items or self._is_closed, timeout_s)
            if not self._items:
                return None
            self._taken += 1
            item = self._items.popleft()
            self._changed.notify_all()
            return item

    def __iter__(self) -> Iterator[T]:
        while (item := self.take()) is not None:
            yield item

    def close(self) -> None:
        """Refuse further items and wake every reader and writer; what waits can still be taken."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    @property
    def counts(self) -> ChannelCounts:
        with self._changed:
            return ChannelCounts(self._put, self._taken, self._dropped)

    def _append(self, item: T) -> None:
        self._items.append(item)
        self._changed.notify_all()


class LatestSlot(BoundedQueue[T]):
    """One item, newest wins: a queue of one that drops its oldest."""

    def __init__(self) -> None:
        super().__init__(1, FullPolicy.DROP_OLDEST)
