"""Where a journal's events lie on the line of a recording."""

from __future__ import annotations

from navapp.desk.journal import Event
from navapp.gui.timeline import content_of


def _played(kind: str, replay_s: float, text: str = "") -> Event:
    return Event(kind, 0.0, text, replay_s=replay_s)


def test_sweeps_end_where_insertion_does_and_the_open_one_where_it_plays() -> None:
    events = (
        _played("sweep", 0.0, "1"),
        _played("freeze", 2.0),
        _played("sweep", 3.0, "2"),
        _played("mark", 4.0),
    )
    content = content_of(8.0, (), events, None, 5.0)
    assert content.sweeps_s == ((0.0, 2.0), (3.0, 5.0))
    assert content.marks_s == (4.0,)


def test_a_sweep_does_not_cover_what_a_seek_left_out() -> None:
    forward = (_played("sweep", 1.0, "1"), _played("seek", 2.0, "6.000"))
    assert content_of(8.0, (), forward, None, 7.0).sweeps_s == ((1.0, 2.0), (6.0, 7.0))
    back = (*forward, _played("seek", 7.0, "3.000"), _played("freeze", 4.0))
    assert content_of(8.0, (), back, None, 5.0).sweeps_s == ((1.0, 2.0), (6.0, 7.0), (3.0, 4.0))


def test_a_seek_while_nothing_is_inserted_begins_no_sweep() -> None:
    events = (_played("sweep", 1.0, "1"), _played("freeze", 2.0), _played("seek", 2.0, "5.000"))
    assert content_of(8.0, (), events, None, 7.0).sweeps_s == ((1.0, 2.0),)


def test_events_of_the_recorded_session_lie_by_their_images() -> None:
    events = (
        Event("sweep", 0.0, "1", t_image_s=101.0),
        Event("seek", 0.0, "9.000", t_image_s=102.0, replay_s=3.0),  # of a replay that was recorded
        Event("freeze", 0.0, "", t_image_s=104.0),
        Event("mark", 0.0, "", t_image_s=None),
    )
    content = content_of(8.0, (), events, 100.0, 8.0)
    assert content.sweeps_s == ((1.0, 4.0),)
    assert content.marks_s == ()
