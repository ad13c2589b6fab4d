"""The two connectors: bounded, counted, and never a way to hang."""

from __future__ import annotations

import threading

import pytest

from navapp.channels import BoundedQueue, ChannelFullError, FullPolicy, LatestSlot


def _counts(channel: BoundedQueue[int]) -> tuple[int, int, int]:
    counts = channel.counts
    return counts.put, counts.taken, counts.dropped


def test_the_newest_wins_and_the_loser_is_handed_back() -> None:
    slot: LatestSlot[int] = LatestSlot()
    assert [slot.put(k) for k in (1, 2, 3)] == [None, 1, 2]
    assert slot.take() == 3
    assert slot.take(timeout_s=0.0) is None
    assert _counts(slot) == (3, 1, 2)


def test_a_queue_keeps_the_order_and_drops_its_oldest() -> None:
    queue: BoundedQueue[int] = BoundedQueue(2, FullPolicy.DROP_OLDEST)
    assert [queue.put(k) for k in (1, 2, 3)] == [None, None, 1]
    queue.close()
    assert list(queue) == [2, 3]
    assert _counts(queue) == (3, 2, 1)


def test_a_full_queue_may_fail() -> None:
    queue: BoundedQueue[int] = BoundedQueue(1, FullPolicy.FAIL)
    queue.put(1)
    with pytest.raises(ChannelFullError):
        queue.put(2)
    assert _counts(queue) == (2, 0, 1)


def test_a_blocking_queue_loses_nothing() -> None:
    queue: BoundedQueue[int] = BoundedQueue(1, FullPolicy.BLOCK)

    def produce() -> None:
        for k in range(200):
            queue.put(k)
        queue.close()

    producer = threading.Thread(target=produce)
    producer.start()
    assert list(queue) == list(range(200))
    producer.join()
    assert _counts(queue) == (200, 200, 0)


def test_closing_wakes_a_reader_and_a_writer() -> None:
    empty: BoundedQueue[int] = BoundedQueue(1, FullPolicy.BLOCK)
    full: BoundedQueue[int] = BoundedQueue(1, FullPolicy.BLOCK)
    full.put(1)
    ended: list[object] = []
    threads = [
        threading.Thread(target=lambda: ended.append(empty.take())),
        threading.Thread(target=lambda: ended.append(full.put(2))),
    ]
    for thread in threads:
        thread.start()
    empty.close()
    full.close()
    for thread in threads:
        thread.join(10.0)
    assert sorted(ended, key=str) == [2, None]
    assert list(full) == [1], "what waited before the closing is still there"


def test_an_item_put_after_closing_is_counted_as_lost() -> None:
    slot: LatestSlot[int] = LatestSlot()
    slot.close()
    assert slot.put(1) == 1
    assert _counts(slot) == (1, 0, 1)
