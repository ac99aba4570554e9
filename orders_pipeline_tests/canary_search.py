"""Searching bytes for a word in any encoding, by encoding the word: written apart from the leak check, which decodes.

A tester that shares its decoders with what it tests misses what they miss.
"""

from __future__ import annotations

import base64
import re
import zlib
from collections.abc import Iterator

# bytea as pg_dump writes it, and any other hexadecimal.
_HEXADECIMAL = re.compile(rb"[0-9a-f]{24,}")
_STREAM = re.compile(rb"\x1f\x8b\x08|\x78[\x01\x5e\x9c\xda]")
MOST_UNPACKED = 32 << 20


def encodings_in(content: bytes, word: str) -> set[str]:
    """The encodings in which the word is in the content, also within compressed and hexadecimal parts of it."""
    return {name for part in _parts(content) for name, form in _forms(word).items() if form.search(part)}


def _forms(word: str) -> dict[str, re.Pattern[bytes]]:
    spellings = {word.lower(), word.upper(), word.capitalize()}
    forms = {
        "plain": [spelling.encode() for spelling in spellings],
        "UTF-16 LE": [spelling.encode("utf-16-le") for spelling in spellings],
        "UTF-16 BE": [spelling.encode("utf-16-be") for spelling in spellings],
        "percent": [_each(spelling, "%{:02x}") for spelling in spellings],
        "percent, twice": [_each(spelling, "%25{:02x}") for spelling in spellings],
        "quoted-printable": [_each(spelling, "={:02x}") for spelling in spellings],
        "hexadecimal": [spelling.encode().hex().encode() for spelling in spellings],
        "hex escapes": [_each(spelling, r"\x{:02x}") for spelling in spellings],
        "octal escapes": [_each(spelling, r"\{:03o}") for spelling in spellings],
        "JSON escapes": [_each(spelling, r"\u{:04x}") for spelling in spellings],
        "decimal entities": [_each(spelling, "&#{};") for spelling in spellings],
        "hexadecimal entities": [_each(spelling, "&#x{:x};") for spelling in spellings],
    }
    compiled = {
        # Letters of escapes come in both cases; a letter's own case changes its code.
        name: re.compile(b"|".join(_any_case_of_digits(form) for form in spelled))
        for name, spelled in forms.items()
    }
    base64s = {form for spelling in spellings for form in _base64_forms(spelling)}
    return {**compiled, "base64": re.compile(b"|".join(map(re.escape, base64s)))}


def _each(word: str, shape: str) -> bytes:
    return "".join(shape.format(ord(letter)) for letter in word).encode()


def _any_case_of_digits(form: bytes) -> bytes:
    escaped = re.escape(form)
    return b"(?i:" + escaped + b")"


def _base64_forms(word: str) -> Iterator[bytes]:
    """At each of the three places of a group: the characters that what stands before and after cannot change."""
    for before in range(3):
        whole = base64.b64encode(b"\0" * before + word.encode())
        first = (before * 8 + 5) // 6
        last = (before + len(word)) * 8 // 6
        yield whole[first:last]


def _parts(content: bytes) -> Iterator[bytes]:
    yield content
    yield from _unpacked(content)
    for found in _HEXADECIMAL.finditer(content):
        digits = found.group()
        plain = bytes.fromhex(digits[: len(digits) // 2 * 2].decode())
        yield plain
        yield from _unpacked(plain)


def _unpacked(content: bytes) -> Iterator[bytes]:
    for found in _STREAM.finditer(content):
        unpacker = zlib.decompressobj(47)
        try:
            yield unpacker.decompress(content[found.start() :], MOST_UNPACKED)
        except zlib.error:
            continue
