"""Recognise a buyer's name, street or phone in the text of others, without having them.

When a buyer's details are sealed, keyed hashes of their telling words are stored beside the ciphertext; they go with it
when it is shredded. A text of a warehouse's is masked by hashing its words with the same key and comparing. Nothing is
opened for that, so it is no reading of personal data. The hash of a word is another one for each order: the same name
in two orders can't be recognised as the same.

What is recognised: each word of a name (of four letters or more), two words of a street or a company in a row, a phone
number in any spelling, names and streets written without blanks (Chinese, Japanese), and, whoever the buyer is, e-mail
addresses and phone numbers by their shape.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from functools import partial

from orders_pipeline.audit.redaction import MASK, redact
from orders_pipeline.model.untrusted_text import LONGEST_TEXT, REPLACED, bounded_text

# Keyed hash of a word or of words in a row.
Hash = Callable[[str], str]

SHORTEST_NAME = 4
SHORTEST_WORDS = 8
MOST_WORDS = 4
# A long gift message must not make a record of thousands of hashes; name, street and phone come first.
MOST_HASHES = 300
PHONE_DIGITS = range(7, 16)
# A name without blanks is looked for at every place of a text; parts of a street of this length as well.
UNBROKEN_PART, SHORTEST_UNBROKEN, LONGEST_UNBROKEN = 6, 3, 16

# One word with a digit in it: no name, and no street.
_NUMBER = re.compile(r"(?=\D*\d)[\w.:/-]+")
_WORD = re.compile(r"[^\W_]+")
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
        "hermes home international japan mail next night ontrac overnight parcel post posta poste postal "
        "premium prime priority purolator royal same saver second shipping special speed standard surepost "
        "tracked usps worldwide ",
    )
)


@dataclass(frozen=True, slots=True)
class HeldValues:
    """A buyer's values in clear, for hashing and nothing else."""

    names: tuple[str, ...] = field(default=(), repr=False)
    phones: tuple[str, ...] = field(default=(), repr=False)
    texts: tuple[str, ...] = field(default=(), repr=False)


def hashes_of(values: HeldValues, hashed: Hash) -> list[str]:
    """The keyed hashes of what would give the buyer away; sorted, so that their order tells nothing."""
    telling = dict.fromkeys(_telling(values))
    return sorted({hashed(words) for words in list(telling)[:MOST_HASHES]})


def masked(text: str, held: Set[str], hashed: Hash, *, is_number: bool = False) -> str:
    """The text with all of it masked that is one of the values, or looks like somebody's e-mail address or phone.

    `is_number`: it is a tracking number, which by its shape could be anybody's phone.
    """
    spans = [*_held_spans(text, held, hashed)] if held else []
    text = redact(_cover(text, spans))
    return text if is_number else _PHONE_SHAPE.sub(MASK, text)


def _telling(values: HeldValues) -> Iterator[str]:
    for name in values.names:
        words = _words(name)
        yield from (word for word in words if len(word) >= SHORTEST_NAME and word not in _EVERYDAY)
        yield from _rows(words)
        yield from _unbroken(name)
    for phone in values.phones:
        digits = "".join(character for character in phone if character.isdecimal())
        # With or without what is dialled before the number: countries differ in how long the rest is.
        yield from (digits[-length:] for length in PHONE_DIGITS if length <= len(digits))
    for text in values.texts:
        yield from _rows(_words(text))
        yield from _unbroken(text)


def _rows(words: Sequence[str]) -> Iterator[str]:
    """Two to four words in a row that are long enough to be somebody's; one alone if it is all there is."""
    if len(words) == 1 and len(words[0]) >= SHORTEST_WORDS and words[0] not in _EVERYDAY:
        yield words[0]
    for size in range(2, MOST_WORDS + 1):
        for start in range(len(words) - size + 1):
            row = words[start : start + size]
            if sum(map(len, row)) >= SHORTEST_WORDS and not _EVERYDAY.issuperset(row):
                yield " ".join(row)


def _unbroken(text: str) -> Iterator[str]:
    for found in _UNBROKEN.findall(unicodedata.normalize("NFKC", text)):
        if SHORTEST_UNBROKEN <= len(found) <= LONGEST_UNBROKEN:
            yield found
        yield from (found[at : at + UNBROKEN_PART] for at in range(len(found) - UNBROKEN_PART + 1))


def _held_spans(text: str, held: Set[str], hashed: Hash) -> Iterator[tuple[int, int]]:
    # What was taken out of a text stood between two words, or within one: both are tried.
    for joined in (text, *((text.replace(REPLACED, ""),) if REPLACED in text else ())):
        for start, end in _spans(joined, held, hashed):
            yield (start, end) if joined is text else (0, len(text))


def _spans(text: str, held: Set[str], hashed: Hash) -> Iterator[tuple[int, int]]:
    words = [(found.start(), found.end(), _normal(found.group())) for found in _WORD.finditer(text)]
    for at in range(len(words)):
        for size in range(1, MOST_WORDS + 1):
            row = words[at : at + size]
            if len(row) == size and hashed(" ".join(word for *_, word in row)) in held:
                yield row[0][0], row[-1][1]
    for found in _DIGITS.finditer(text):
        digits = "".join(character for character in found.group() if character.isdecimal())
        if any(hashed(digits[-length:]) in held for length in PHONE_DIGITS if length <= len(digits) <= length + 4):
            yield found.span()
    for found in _UNBROKEN.finditer(text):
        for start in range(found.start(), found.end()):
            for end in range(start + SHORTEST_UNBROKEN, min(found.end(), start + LONGEST_UNBROKEN) + 1):
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


class HeldMask:
    """Masks what holds a value of the buyers of some orders. Holds hashes only; made by `Vault.held_mask`.

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
