"""A poll's cursor: nothing that Tryton shows late is missed, and every reading comes to an end."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from orders_pipeline.wms.tryton.cursors import (
    LONG_OVERLAP,
    LONG_OVERLAP_EVERY,
    OVERLAP,
    OVERLAP_EVERY,
    Cursor,
    Place,
    read_cursor,
)

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
MOMENTS = st.datetimes(datetime(2000, 1, 1), datetime(2099, 1, 1)).map(lambda at: at.replace(tzinfo=UTC))
PLACES = st.builds(Place, MOMENTS, st.integers(0, 2), st.integers(0, 1 << 62))


@given(st.builds(Cursor, MOMENTS, MOMENTS, MOMENTS, st.none() | PLACES))
def test_a_cursor_is_a_bounded_text_that_comes_back_as_it_was(cursor: Cursor):
    text = cursor.written()
    assert read_cursor(text) == cursor
    assert len(text) <= 250
    assert text.isascii()


@given(
    st.text()
    | st.sampled_from(
        ["c12", "1;", "1;x;y", "2;2026-01-01;2026-01-01", "1;2026-01-01;2026-01-01;1;2", "1;2026-01-01;x;y"]
    )
)
def test_another_adapters_cursor_is_none_of_ours(text: str):
    assert read_cursor(text) is None or text.startswith("1;")


def test_the_first_reading_begins_at_the_beginning():
    place, _ = Cursor().begin(NOW)
    assert place.at.year == 1970


def test_between_two_overlaps_only_what_is_new_is_read():
    cursor = Cursor(NOW - timedelta(minutes=1), overlapped_at=NOW, looked_back_at=NOW)
    place, begun = cursor.begin(NOW)
    assert (place.at, begun) == (cursor.read_to, cursor)
    assert place.id > 1 << 60, "behind every change of that moment"
    assert begun.after(None, NOW, is_whole=True) == cursor, "with nothing new, a poll's loop ends"


def test_what_was_shown_late_is_read_again_within_the_overlap():
    read_to = NOW - timedelta(minutes=1)
    place, begun = Cursor(read_to, NOW - OVERLAP_EVERY, looked_back_at=NOW - timedelta(minutes=2)).begin(NOW)
    assert place == Place(read_to - OVERLAP)
    # A reading of several pages counts once it is whole.
    half = begun.after(Place(read_to, 1, 7), NOW, is_whole=False)
    assert half.begin(NOW)[0] == Place(read_to, 1, 7)
    assert half.after(None, NOW, is_whole=True).begin(NOW)[0].at == read_to


def test_a_day_is_read_again_once_an_hour():
    read_to = NOW - timedelta(minutes=1)
    place, begun = Cursor(read_to, NOW, looked_back_at=NOW - LONG_OVERLAP_EVERY).begin(NOW)
    assert place == Place(read_to - LONG_OVERLAP)
    assert begun.begin(NOW)[0].at == read_to


def test_a_reading_of_several_pages_goes_on_where_it_was():
    _, cursor = Cursor(NOW - timedelta(hours=1), looked_back_at=NOW).begin(NOW)
    last = Place(NOW - timedelta(minutes=62), 1, 7)
    half = cursor.after(last, NOW, is_whole=False)
    assert half.begin(NOW + LONG_OVERLAP_EVERY)[0] == last
    assert half.read_to == NOW - timedelta(hours=1), "an older change takes nothing back"
    whole = half.after(Place(NOW, 0, 9), NOW, is_whole=True)
    assert (whole.read_to, whole.place) == (NOW, None)


def test_a_clock_that_was_set_back_hides_nothing():
    wrong = NOW + timedelta(days=3)
    place, cursor = Cursor(wrong, overlapped_at=wrong, looked_back_at=wrong).begin(NOW)
    assert place.at <= NOW - OVERLAP
    assert cursor.read_to <= NOW + timedelta(seconds=2)
    place, _ = Cursor(wrong, overlapped_at=wrong, looked_back_at=NOW).begin(NOW)
    assert place.at <= NOW + timedelta(seconds=2) - OVERLAP
