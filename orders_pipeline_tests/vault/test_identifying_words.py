"""A buyer's name, street or phone in the text of others is recognised by keyed hashes, in any usual spelling."""

from __future__ import annotations

import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orders_pipeline.vault.identifying_words import MOST_HASHES, BuyerMask, IdentifyingValues, hashes_of, masked

BUYER = IdentifyingValues(
    names=("Zoë Quillfeather",),
    phones=("+1 (218) 555-0134",),
    texts=("7 Nightingale Row", "Löwen & Söhne GmbH", "Happy birthday from all your friends in the old town"),
)
JAPANESE = IdentifyingValues(names=("山田太郎",), phones=("03-1234-5678",), texts=("東京都千代田区丸の内一丁目",))


def _hashed(words: str) -> str:
    return hmac.new(b"key", words.encode(), hashlib.sha256).hexdigest()


def _masked(text: str, buyer: IdentifyingValues = BUYER, *, is_number: bool = False) -> str:
    return masked(text, frozenset(hashes_of(buyer, _hashed)), _hashed, is_number=is_number)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("UPS Ground", "UPS Ground"),
        ("1Z999AA10123456784", "1Z999AA10123456784"),
        ("left with Quillfeather", "left with •••"),
        ("QUILLFEATHER, ZOE", "•••"),
        ("Zoe Quillfeather's van", "•••'s van"),
        ("7 nightingale row", "•••"),
        ("Nightingale Row, rear door", "•••, rear door"),
        ("Lowen & Sohne", "•••"),
        ("birthday from all your", "•••"),
        ("call 218-555-0134 first", "call ••• first"),
        ("call +12185550134", "call •••"),
        ("call 001 218 5550134", "call •••"),
        ("call 555-0134", "call •••"),
        ("Zoë\ufffdQuillfeather", "•••"),
        ("Quill\ufffdfeather", "•••"),
        ("write to someone@example.net", "write to •••"),
        ("or call (206) 555-0199", "or call •••"),
    ],
)
def test_what_is_the_buyers_is_masked_and_the_rest_stays(text: str, expected: str):
    assert _masked(text) == expected


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("Bob Lee", "left with bob lee", "left with •••"),
        ("Ian Fox", "FOX, IAN", "•••"),
        ("Li Wei", "Liwei's van", "•••'s van"),
        ("Kim Oh", "kim_oh", "•••"),
        ("Mr. Li Wu", "Li Wu took it", "••• took it"),
        ("Bob Q. Lee", "Bob Lee, porch", "•••, porch"),
        ("Bob Lee", "Bob%20Lee", "•••"),
        ("Bob Lee", "Bob%2520Lee", "•••"),
        ("Bob Lee", "Bob&nbsp;Lee", "•••"),
        ("Bob Lee", "BobLee2", "•••2"),
        ("Jane Doering", "JaneDoering", "•••"),
        ("Jane Doering", "Doering/Jane", "•••"),
        ("Jane Doering", "Jane%20Doering", "•••"),
        ("Jane Doering", "1ZJane7", "1ZJane7"),
        ("Jane Doering", "ref 7Doering", "ref 7•••"),
        ("王伟", "收件人王伟", "收件人•••"),
        ("山田 太郎", "山田太郎様", "•••様"),
        # Too short, or too common, to be anybody's.
        ("Li", "Li took it", "Li took it"),
        ("A B", "ab A B", "ab A B"),
        ("Juan de la Cruz", "detras de la casa", "detras de la casa"),
        ("U. Ps", "UPS Ground", "UPS Ground"),
        ("Fed Ex", "FedEx 2Day", "FedEx 2Day"),
    ],
)
def test_a_whole_name_is_masked_however_short_it_is(name: str, text: str, expected: str):
    assert _masked(text, IdentifyingValues(names=(name,))) == expected


@pytest.mark.parametrize(
    ("line", "text", "expected"),
    [
        ("5 Oak Rd", "5 oak rd", "•••"),
        ("5 Oak Rd", "on Oak Rd, rear", "on •••, rear"),
        ("5 Oak Rd Apt 2", "5 Oak Rd", "•••"),
        ("12 Elm St", "12ElmSt", "•••"),
        ("12 Elm St", "12%20Elm%20St", "•••"),
        ("12 Baker Street", "12BakerStreet", "•••"),
        ("12 Baker Street", "BakerStreet 12", "••• 12"),
        ("12 Baker Street", "12 Baker St.", "••• St."),
        ("Weg 5", "Weg 5", "•••"),
        ("Hauptstraße 5", "Hauptstrasse", "•••"),
        # A unit, a number or a service is nobody's street.
        ("2 Day St", "FedEx 2Day", "FedEx 2Day"),
        ("5 Oak Rd Apt 2", "Apt 2", "Apt 2"),
        ("12 Elm St Floor 3", "floor 3", "floor 3"),
        ("12 34 567 Row", "1234567", "1234567"),
        ("1 First Class", "1 first", "1 first"),
    ],
)
def test_a_short_street_is_masked_as_a_whole_line_and_without_its_number(line: str, text: str, expected: str):
    assert _masked(text, IdentifyingValues(texts=(line,))) == expected


def test_what_the_release_before_sealed_is_recognised_as_before():
    held = {_hashed("zoe quillfeather"), _hashed("7 nightingale row")}
    assert masked("Zoe Quillfeather, 7 Nightingale Row", held, _hashed) == "•••, •••"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("山田太郎様宛", "•••様宛"),
        ("置き配 千代田区丸の内 玄関", "置き配 ••• 玄関"),
        ("日本郵便", "日本郵便"),
        ("0312345678", "•••"),
    ],
)
def test_names_and_streets_without_blanks_are_masked_too(text: str, expected: str):
    assert _masked(text, JAPANESE) == expected


def test_a_tracking_number_that_looks_like_a_phone_stays_unless_it_is_the_buyers():
    assert _masked("206-555-0199", is_number=True) == "206-555-0199"
    assert _masked("218-555-0134", is_number=True) == "•••"


def test_a_buyer_with_an_everyday_name_keeps_no_carrier_from_being_told():
    buyer = IdentifyingValues(names=("Royal Mail", "Express Ground"), texts=("Priority Mail",))
    for text in ("Royal Mail", "UPS Ground", "Priority Mail Express"):
        assert _masked(text, buyer) == text


def test_hashes_tell_nothing_by_their_order_and_are_never_without_end():
    endless = IdentifyingValues(names=("Zoë Quillfeather",), texts=(" ".join(f"word{n}" for n in range(5_000)),))
    hashes = hashes_of(endless, _hashed)
    assert len(hashes) == MOST_HASHES
    assert hashes == sorted(hashes)
    assert _hashed("quillfeather") in hashes


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=100))
def test_masking_any_text_succeeds_and_is_idempotent(text: str):
    once = _masked(text)
    assert _masked(once) == once


def test_without_a_key_only_numbers_and_everyday_words_are_left():
    mask = BuyerMask({}, None)
    assert [mask.text("1", text) for text in ("UPS Ground", "Van of Zoë", None)] == ["UPS Ground", "•••", None]
    assert mask.text("1", "1Z999AA10123456784", is_number=True) == "1Z999AA10123456784"
    assert mask.text("1", "Zoe Quillfeather", is_number=True) == "•••"
    assert mask.id("1", "E0000001") == "E0000001"
    assert mask.id("1", "Zoe") == mask.id("1", "Zoe") != mask.id("1", "Ann")
