"""How the client waits between attempts and what its counters say."""

from __future__ import annotations

import pytest

from tracking.client import ClientStatistics, StreamStatistics, backoff_s


def test_backoff_grows_to_half_a_second_and_after_a_minute_to_two() -> None:
    assert [backoff_s(n, 5.0) for n in range(5)] == [0.1, 0.2, 0.4, 0.5, 0.5]
    assert backoff_s(1000, 59.9) == 0.5
    assert backoff_s(1000, 60.0) == 2.0


def test_rate_is_unknown_before_the_second_message() -> None:
    assert StreamStatistics("IMAGE", "Image").rate_hz is None
    assert StreamStatistics("IMAGE", "Image", 1, 0, 0, 10.0, 10.0).rate_hz is None
    assert StreamStatistics("IMAGE", "Image", 21, 0, 0, 10.0, 12.0).rate_hz == pytest.approx(10.0)


def test_names_list_only_what_has_come_whole() -> None:
    statistics = ClientStatistics(
        (
            StreamStatistics("IMAGE", "Image", 2, 0, 0, 1.0, 2.0),
            StreamStatistics("IMAGE", "Broken", n_bad_crc=3),
            StreamStatistics("VIDEO", "", 5, 0, 0, 1.0, 2.0),
        ),
        n_bytes=1,
        n_connections=1,
    )
    assert statistics.names("IMAGE") == ["Image"]
    assert statistics.names("TRANSFORM") == []
    assert statistics.n_unused == 5
