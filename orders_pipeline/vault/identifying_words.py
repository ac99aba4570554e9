"""Recognise a buyer's name, street or phone in the text of others, without having them.

When a buyer's details are sealed, keyed hashes of their telling words are stored beside the ciphertext; they go with it
when it is shredded. A text of a warehouse's is masked by hashing its words with the same key and comparing. Nothing is
opened for that, so it is no reading of personal data. The hash of a word is another one for each order: the same name
in two orders can't be recognised as the same.

What is recognised: a whole name of two words or more, however short, in either order; each word of a name (of four
letters or more); a whole line of a street, a company or a gift message, without its number too; parts of it that are
long enough, or have a number; a phone number in any spelling; names and streets written without blanks (Chinese,
Japanese); and, whoever the buyer is, e-mail addresses and phone numbers by their shape. Words are hashed joined:
blanks and dashes between them make no difference.
"""

from __future__ import annotations

import hashlib
import html
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from functools import partial
from urllib.parse import unquote

from orders_pipeline.audit.redaction import MASK, redact
from orders_pipeline.model.untrusted_text import LONGEST_TEXT, REPLACED, bounded_text

# Keyed hash of a word or of words in a row.
Hash = Callable[[str], str]

SHORTEST_NAME = 4
SHORTEST_WORDS = 8
MOST_WORDS = 4
# A whole name or line of fewer letters could be anything; so could a part of a name.
SHORTEST_WHOLE, SHORTEST_PART = 3, 5
# A long gift message must not make a record of thousands of hashes; name, street and phone come first.
MOST_HASHES = 300
PHONE_DIGITS = range(7, 16)
# A name without blanks is looked for at every place of a text; parts of a street of this length as well.
UNBROKEN_PART, SHORTEST_UNBROKEN, LONGEST_UNBROKEN = 6, 3, 16
# A Chinese name, or a Japanese family name.
SHORTEST_UNBROKEN_NAME = 2
# Escapes within escapes.
MOST_DECODINGS = 3

# One word with a digit in it: no name, and no street.
_NUMBER = re.compile(r"(?=\D*\d)[\w.:/-]+")
# A number glued to a word is a word of its own.
_WORD = re.compile(r"[^\W\d_]+|\d+")
_ESCAPE = re.compile(r"%[0-9A-Fa-f]{2}|&#?\w{2,31};")
_UNBROKEN = re.compile(r"[\u3005-\u30ff\u3400-\u9fff\uf900-\ufaff\uac00-\ud7af]+")
_DIGITS = re.compile(r"\+?\d(?:[\s().\-/+]{0,3}\d){6,}")
_PHONE_SHAPE = re.compile(
    r"(?<![\w+])(?:\+[1-9]\d{0,2}[ .\-(]{0,2}\d{2,4}[ .\-)]{0,2}\d{2,4}[ .\-]?\d{2,6}"
    r"|\(\d{3}\) ?\d{3}[ .\-]\d{4}|\d{3}[ .\-]\d{3}[ .\-]\d{4})(?!\w)"
)
# Words of carriers and services: a buyer called Ground keeps no `UPS Ground` from being told to Amazon.
_EVERYDAY = frozenset(
    re.findall(
        r"\w+",
        "amazon canada carrier dhl dpd ems gls tnt ups domestic economy europe evri expedited express fedex first "
        "freight ground "
        "hermes home international japan mail next night ontrac overnight package post posta poste postal "
        "premium prime priority purolator royal same saver second shipping special speed standard surepost "
        "tracked usps worldwide ",
    )
)
# No part of a name, and parts that many share: alone they give nobody away.
_TITLES = frozenset(("mr", "mrs", "ms", "miss", "dr", "prof", "jr", "sr", "herr", "frau", "mme", "sig"))
_PARTICLES = frozenset(
    re.findall(r"\w+", "al bin da de del den der di do dos el la le los ten ter van von zu"),
)
# What follows a street: "Apt 2" is nobody's address.
_UNITS = frozenset(
    re.findall(r"\w+", "apartment apt bldg block box building flat floor lot room rm ste suite unit"),
)


@dataclass(frozen=True, slots=True)
class IdentifyingValues:
    """A buyer's values in clear, for hashing and nothing else."""

    names: tuple[str, ...] = field(default=(), repr=False)
    phones: tuple[str, ...] = field(default=(), repr=False)
    texts: tuple[str, ...] = field(default=(), repr=False)


def hashes_of(values: IdentifyingValues, hashed: Hash) -> list[str]:
    """The keyed hashes of what would give the buyer away; sorted, so that their order tells nothing."""
    identifying = dict.fromkeys(_identifying(values))
    return sorted({hashed(words) for words in list(identifying)[:MOST_HASHES]})


def masked(text: str, held: Set[str], hashed: Hash, *, is_number: bool = False) -> str:
    """The text with all of it masked that is one of the values, or looks like somebody's e-mail address or phone.

    `is_number`: it is a tracking number, which by its shape could be anybody's phone.
    """
    spans = [*_held_spans(text, held, hashed)] if held else []
    text = redact(_cover(text, spans))
    return text if is_number else _PHONE_SHAPE.sub(MASK, text)


def _identifying(values: IdentifyingValues) -> Iterator[str]:
    for name in values.names:
        yield from _of_name(name)
    for phone in values.phones:
        digits = "".join(character for character in phone if character.isdecimal())
        # With or without what is dialled before the number: countries differ in how long the rest is.
        yield from (digits[-length:] for length in PHONE_DIGITS if length <= len(digits))
    # Each line whole before the parts of any: a long gift message must not take their place.
    lines = [(text, _words(text)) for text in values.texts]
    for _, words in lines:
        yield from _of_line(words)
    for text, words in lines:
        yield from _parts(words)
        yield from _unbroken(text, SHORTEST_UNBROKEN)


def _of_name(name: str) -> Iterator[str]:
    words = [word for word in _words(name) if word not in _TITLES]
    yield from (word for word in words if len(word) >= SHORTEST_NAME and word not in _EVERYDAY)
    if len(words) > 1:
        # As it is, family name first, and without what stands between.
        first, last = words[0], words[-1]
        for row in (words, [last, *words[:-1]], [first, last], [last, first]):
            yield from _joined(row, shortest=SHORTEST_WHOLE)
    for row in _rows_of(words):
        if not _PARTICLES.issuperset(row):
            yield from _joined(row, shortest=SHORTEST_PART)
    yield from _unbroken(name, SHORTEST_UNBROKEN_NAME)


def _of_line(words: Sequence[str]) -> Iterator[str]:
    """A line whole, and what of it is left without numbers and units."""
    if 1 < len(words) <= 2 * MOST_WORDS:
        yield from _joined(words, shortest=SHORTEST_WHOLE)
    part: list[str] = []
    for word in (*words, "0"):
        if not word.isdecimal() and word not in _UNITS:
            part.append(word)
            continue
        if len(part) <= MOST_WORDS:
            yield from _joined(part, shortest=SHORTEST_PART if len(part) > 1 else SHORTEST_WORDS)
        part = []


def _parts(words: Sequence[str]) -> Iterator[str]:
    """Two to four words in a row that are long enough to be somebody's, or have a number."""
    for row in _rows_of(words):
        yield from _joined(row, shortest=SHORTEST_WHOLE if _is_numbered(row) else SHORTEST_WORDS)


def _is_numbered(row: Sequence[str]) -> bool:
    """Whether it is a number and a street: three words or more, or one that is long enough."""
    names = [word for word in row if not word.isdecimal()]
    if len(names) == len(row) or _UNITS.union(_EVERYDAY).issuperset(names):
        return False
    return len(row) > 2 or len(names[0]) >= SHORTEST_NAME


def _rows_of(words: Sequence[str]) -> Iterator[Sequence[str]]:
    for size in range(2, MOST_WORDS + 1):
        for start in range(len(words) - size + 1):
            yield words[start : start + size]


def _joined(row: Sequence[str], *, shortest: int) -> Iterator[str]:
    """The words as one, if they are somebody's: not a number alone, nor what a carrier or a service is called."""
    joined = "".join(row)
    everyday = joined in _EVERYDAY or _EVERYDAY.issuperset(row)
    if len(joined) >= shortest and not joined.isdecimal() and not everyday:
        yield joined


def _unbroken(text: str, shortest: int) -> Iterator[str]:
    for found in _UNBROKEN.findall(unicodedata.normalize("NFKC", text)):
        if shortest <= len(found) <= LONGEST_UNBROKEN:
            yield found
        yield from (found[at : at + UNBROKEN_PART] for at in range(len(found) - UNBROKEN_PART + 1))


def _held_spans(text: str, held: Set[str], hashed: Hash) -> Iterator[tuple[int, int]]:
    # What was taken out of a text stood between two words, or within one: both are tried.
    for read in _readings(text):
        for start, end in _spans(read, held, hashed):
            yield (start, end) if read is text else (0, len(text))


def _readings(text: str) -> Iterator[str]:
    """The text, and what else it says: without what was taken out of it, and with the escapes of URLs and HTML read."""
    yield text
    if REPLACED in text:
        yield text.replace(REPLACED, "")
    for _ in range(MOST_DECODINGS):
        if not _ESCAPE.search(text):
            return
        text = html.unescape(unquote(text))
        yield text


def _spans(text: str, held: Set[str], hashed: Hash) -> Iterator[tuple[int, int]]:
    words = [(found.start(), found.end(), _normal(found.group())) for found in _WORD.finditer(text)]
    for at in range(len(words)):
        for size in range(1, MOST_WORDS + 1):
            row = words[at : at + size]
            if len(row) < size:
                break
            # With blanks: as the release before hashed them.
            joined = {separator.join(word for *_, word in row) for separator in ("", " ")}
            if any(hashed(words) in held for words in joined):
                yield row[0][0], row[-1][1]
    for found in _DIGITS.finditer(text):
        digits = "".join(character for character in found.group() if character.isdecimal())
        if any(hashed(digits[-length:]) in held for length in PHONE_DIGITS if length <= len(digits) <= length + 4):
            yield found.span()
    for found in _UNBROKEN.finditer(text):
        for start in range(found.start(), found.end()):
            for end in range(start + SHORTEST_UNBROKEN_NAME, min(found.end(), start + LONGEST_UNBROKEN) + 1):
                if hashed(unicodedata.normalize("NFKC", text[start:end])) in held:
                    yield start, end


def _words(text: str) -> list[str]:
    return [_normal(found) for found in _WORD.findall(text)]


def _normal(word: str) -> str:
    """Without case and accents, so that a warehouse's ASCII spelling is the same word."""
    decomposed = unicodedata.normalize("NFKD", word.casefold())
    return "".join(character for character in decomposed if not unicodedata.combining(character))


def _cover(text: str, spans: Iterable[tuple[int, int]]) -> str:
    covered, at = "", 0
    for start, end in sorted(spans):
        if start >= at:
            covered += text[at:start] + MASK
        at = max(at, end)
    return covered + text[at:]


class BuyerMask:
    """Masks what holds a value of the buyers of some orders. Holds hashes only; made by `Vault.buyer_mask`.

    Without a key (`hashed` is None) nothing can be compared: only numbers and everyday words are left as they are.
    """

    def __init__(self, held: Mapping[str, Set[str]], hashed: Callable[[str, str], str] | None) -> None:
        self._held = held
        self._hashed = hashed

    def text(
        self, order_id: str, text: str | None, *, is_number: bool = False, longest: int = LONGEST_TEXT
    ) -> str | None:
        """The text, masked where it is the buyer's of this order; still bounded, as it was."""
        if text is None:
            return None
        if self._hashed is None:
            harmless = _NUMBER.fullmatch(text) if is_number else _EVERYDAY.issuperset(_words(text))
            return text if harmless else MASK
        hashed = partial(self._hashed, order_id)
        held = self._held.get(order_id, frozenset[str]())
        return bounded_text(masked(text, held, hashed, is_number=is_number), longest)

    def id(self, order_id: str, value: str | None) -> str | None:
        """The id as it is, unless it holds the buyer's data: then a hash of it, so that the same id stays the same."""
        if value is None or self.text(order_id, value, is_number=True) == value:
            return value
        if self._hashed is None:
            return f"id-{hashlib.sha256(value.encode()).hexdigest()[:32]}"
        return f"id-{self._hashed(order_id, value)}"
