"""What a leak looks like: shapes that need no knowledge of a buyer, and values that are compared without being kept."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Set

# A name that is one word, or a city, stands in every second product title: only what is longer tells something.
MOST_WORDS = 4
ONE_WORD_CHARACTERS = 12
ONE_WORD_WITH_DIGITS_CHARACTERS = 7
SOME_WORDS_CHARACTERS = 8

SHAPES: dict[str, re.Pattern[str]] = {
    "e-mail": re.compile(r"[A-Za-z0-9._%+\-]{1,64}@(?:[A-Za-z0-9\-]{1,63}\.){1,5}[A-Za-z]{2,24}\b"),
    # With a country code, or as North America writes it: a bare row of digits may be any number.
    "phone": re.compile(
        r"(?<![\w.+/=\-])(?:\+[1-9]\d{0,2}[ .\-(]{0,2}\d{2,4}[ .\-)]{0,2}\d{2,4}[ .\-]?\d{2,6}"
        r"|\(\d{3}\) ?\d{3}[ .\-]\d{4})(?![\w\-])"
    ),
    "amazon token": re.compile(r"\b(?:Atza|Atzr|Atc|Atz\.sprdt)\|[A-Za-z0-9_\-+/=]{6,}"),
    "client secret": re.compile(r"\bamzn1\.oa2-cs\.v1\.[0-9a-fA-F]{8,}"),
    "bearer token": re.compile(r"\bBearer\s+[A-Za-z0-9_\-+/=.~|]{12,}"),
    "aws key": re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"),
    "private key": re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----"),
    # Amazon's and the warehouse's own names of fields that hold a buyer's data, with a value in them: as JSON, as
    # Python shows a dict or an object, as a query string. A value is quoted, or begins with a digit: names in a source
    # text are neither.
    "personal field": re.compile(
        r"\b(?:DestinationPostalCode|postal_?code|address_?line_?[123]|buyer_?(?:email|name)|gift_?message(?:text)?|"
        r"recipient_?name|customiz(?:ed|ation)_?url|phone)\\*[\"']?\s*[:=]\s*(?:\\*[\"'](?!\\*[\"'•])|\+?\d)",
        re.IGNORECASE,
    ),
}
# One of these, in lower case, is in every text that has the shape.
_WORDS_IN_SHAPE: dict[str, tuple[str, ...]] = {
    "e-mail": ("@",),
    "phone": ("+", "("),
    "amazon token": ("|",),
    "client secret": ("amzn1.oa2-cs",),
    "bearer token": ("bearer",),
    "aws key": ("akia", "asia"),
    "private key": ("private key-----",),
    "personal field": ("postal", "address", "buyer", "gift", "recipient", "customiz", "phone"),
}
# Nobody's: Amazon's address for incidents, and what git writes before a host.
_NOT_A_BUYER = re.compile(r"^(?:security@amazon\.com|git@[a-z.]+|[^@]+@example\.(?:com|org|net))$", re.IGNORECASE)

# Colours of a terminal.
_TERMINAL = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_WORD = re.compile(r"[^\W_]+")


def shapes_in(text: str, staff: Set[str] = frozenset()) -> Iterator[str]:
    """The names of the shapes that are in the text, each once. `staff`: e-mail addresses, in lower case, of our own."""
    lowered = text.lower()
    for name, shape in SHAPES.items():
        # A search for a word costs a hundredth of a pattern.
        if not any(word in lowered for word in _WORDS_IN_SHAPE[name]):
            continue
        if any(name != "e-mail" or not _is_nobodys(found.group(), staff) for found in shape.finditer(text)):
            yield name


def _is_nobodys(address: str, staff: Set[str]) -> bool:
    return address.lower() in staff or _NOT_A_BUYER.match(address) is not None


def words_of(text: str) -> list[str]:
    """The words of a text, as they are compared: without case, accents, widths, punctuation or hidden characters."""
    if "\x1b" in text:
        text = _TERMINAL.sub("", text)
    if text.isascii():
        return _WORD.findall(text.lower())
    folded = unicodedata.normalize("NFKD", text).casefold()
    if not folded.isascii():
        folded = folded.translate({ord(one): None for one in set(folded) if _is_invisible(one)})
    return _WORD.findall(unicodedata.normalize("NFKC", folded))


def _is_invisible(character: str) -> bool:
    """An accent, or what only formats: a soft hyphen, a joiner, a mark of direction."""
    return unicodedata.category(character) in ("Mn", "Cf")


def identifying_words(value: str) -> Iterator[str]:
    """The parts of a buyer's value that identify it: the whole value, or each four words of a long one."""
    words = words_of(value)
    if len(words) == 1:
        if is_identifying(words[0]):
            yield words[0]
    elif sum(map(len, words)) >= SOME_WORDS_CHARACTERS:
        if all(word.isdigit() for word in words) and is_identifying(together := "".join(words)):
            # A phone number, written without its blanks.
            yield together
        size = min(len(words), MOST_WORDS)
        for start in range(len(words) - size + 1):
            yield " ".join(words[start : start + size])


def is_identifying(word: str) -> bool:
    """Whether one word alone is rare enough to be somebody's."""
    if len(word) >= ONE_WORD_CHARACTERS:
        return True
    return len(word) >= ONE_WORD_WITH_DIGITS_CHARACTERS and any(character.isdigit() for character in word)
