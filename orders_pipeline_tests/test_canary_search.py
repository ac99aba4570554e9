"""The search of the canary test finds its word in every encoding; a search that finds nothing shows nothing."""

from __future__ import annotations

import base64
import gzip
import json
import random
import zlib
from urllib.parse import quote

import pytest

from orders_pipeline_tests.canary_search import encodings_in

SENTENCE = "ship to CANARY-7f3 Lane, Canaryville"


def _each(shape: str) -> bytes:
    return "".join(shape.format(ord(letter)) for letter in SENTENCE).encode()


@pytest.mark.parametrize(
    ("encoding", "content"),
    [
        ("plain", SENTENCE.encode()), ("UTF-16 LE", SENTENCE.encode("utf-16-le")),
        ("UTF-16 BE", SENTENCE.encode("utf-16-be")), ("percent", _each("%{:02X}")),
        ("percent, twice", quote(_each("%{:02X}").decode()).encode()), ("quoted-printable", _each("={:02X}")),
        ("hexadecimal", SENTENCE.encode().hex().encode()), ("hex escapes", _each("\\x{:02x}")),
        ("octal escapes", _each("\\{:03o}")), ("JSON escapes", _each("\\u{:04x}")),
        ("decimal entities", _each("&#{};")), ("hexadecimal entities", _each("&#x{:X};")),
        *(("base64", base64.b64encode(b"x" * before + SENTENCE.encode())) for before in range(3)),
        *(("base64", base64.urlsafe_b64encode(b"x" * before + b"my canary")) for before in range(3)),
        ("plain", zlib.compress(SENTENCE.encode())), ("plain", b"head" + gzip.compress(SENTENCE.encode(), mtime=0)),
        ("plain", b"insert ('\\x" + zlib.compress(json.dumps(SENTENCE).encode()).hex().encode() + b"')"),
    ],
)  # fmt: skip
def test_the_word_is_found_in_every_encoding(encoding: str, content: bytes):
    assert encoding in encodings_in(b"before " + content + b" behind", "canary")


def test_nothing_is_found_where_nothing_is():
    chance = random.Random(5).randbytes(1 << 20)
    for content in (chance, base64.b64encode(chance), chance.hex().encode(), b"canadian, can any"):
        assert encodings_in(content, "canary") == set()
