"""Text from outside is short and visible after it entered, says where it was changed, and ids stay distinct."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orders_pipeline.model.untrusted_text import (
    CUT,
    LONGEST_ID,
    LONGEST_TEXT,
    REPLACED,
    bounded_id,
    bounded_text,
    escaped,
    is_bounded,
)

# Half surrogate pairs included: JSON can carry them.
ANY_TEXT = st.text(st.characters(exclude_categories=[]), max_size=400)


@pytest.mark.parametrize(
    ("given_text", "expected"),
    [
        ("UPS Ground", "UPS Ground"),
        ("  UPS\r\n", "UPS"),
        ("Correos España", "Correos España"),
        ("日本郵便", "日本郵便"),
        ("", None),
        (" \n", None),
        (None, None),
        (True, None),
        (["UPS"], None),
        ({"name": "UPS"}, None),
        (17, "17"),
        ("U\x00PS", f"U{REPLACED}PS"),
        ("U\x1b[31mPS", f"U{REPLACED}[31mPS"),
        ("U\x85PS", f"U{REPLACED}PS"),
        ("U\u202ePS\u202c", f"U{REPLACED}PS{REPLACED}"),
        ("U\u2066PS", f"U{REPLACED}PS"),
        ("U\u200b\u200dPS", f"U{REPLACED}PS"),
        ("U\u2028P\u2029S", f"U{REPLACED}P{REPLACED}S"),
        ("U\ud800PS", f"U{REPLACED}PS"),
        ("U\u3164PS", f"U{REPLACED}PS"),
        ("line one\nline two", f"line one{REPLACED}line two"),
        ("x" * 100, "x" * 100),
        ("x" * 101, "x" * 99 + CUT),
        ("x" * 9_000_000, "x" * 99 + CUT),
        ("x" * 80 + " Quillfeather is the name", "x" * 80 + " Quillfeather is" + CUT),
        ("x" * 90 + " Quillfeather", "x" * 90 + CUT),
        (10**5000, None),
    ],
    # Neither a surrogate nor five thousand digits can be a test's name.
    ids=lambda _value: "text",
)
def test_a_text_becomes_one_short_visible_line_with_a_mark_where_it_was_changed(
    given_text: object, expected: str | None
):
    assert bounded_text(given_text) == expected


@given(ANY_TEXT)
def test_whatever_is_written_what_is_kept_is_bounded_and_can_be_stored(text: str):
    kept = bounded_text(text)
    if kept is not None:
        assert is_bounded(kept)
        assert len(kept) <= LONGEST_TEXT
        kept.encode("utf-8")
        assert "\x00" not in kept
        assert bounded_text(kept) == kept, "bounding again changes nothing"
        assert kept == text.strip() or {CUT, REPLACED} & {*kept} or kept == text.strip(" \t\r\n\v\f\u00a0\ufeff")


@given(ANY_TEXT, ANY_TEXT)
def test_ids_are_bounded_stay_the_same_and_never_become_one_anothers(one: str, other: str):
    first, second = bounded_id(one), bounded_id(other)
    assert first == bounded_id(one)
    assert (first == second) == (one == other)
    for kept in (first, second):
        assert kept is None or (is_bounded(kept) and len(kept) <= LONGEST_ID)


def test_two_long_ids_that_begin_alike_stay_two():
    assert bounded_id("x" * 3000 + "1") != bounded_id("x" * 3000 + "2")
    assert bounded_id("P-0001 / box 2") == "P-0001 / box 2"


@given(ANY_TEXT)
def test_what_is_shown_on_a_terminal_controls_nothing(text: str):
    assert is_bounded(escaped(text), longest=len(text) * 10)


def test_an_escape_sequence_is_shown_instead_of_obeyed():
    assert escaped("Ann\x1b[2J\u202e\x07") == "Ann\\x1b[2J\\u202e\\x07"
