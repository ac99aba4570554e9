"""Undo what encodes a text: escapes, entities, base64, hexadecimal, compression, UTF-16 and what was read wrongly.

Bytes in, texts out: the text as it stands first, then each form that some layers of encoding hid. Cheap patterns find
the candidates, and only those are decoded. Layers and bytes are bounded: a row of a few kilobytes can unpack to
gigabytes.
"""

from __future__ import annotations

import ast
import binascii
import bz2
import html
import io
import lzma
import re
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

MOST_LAYERS = 5
MOST_UNPACKED_BYTES = 16 << 20
# Of a form, before and after what was decoded: more than four words of any name or street.
CONTEXT_BYTES = 160
BLOCK_BYTES = 1 << 18
FEED_BYTES = 1 << 16
# Candidates that hid nothing come again and again: identifiers look like base64.
EMPTY_CANDIDATES_REMEMBERED = 50_000
REMEMBERED_BYTES = 120
# A run of printable bytes this long in a binary value is rarely chance.
SHORTEST_RUN_FOR_SHAPES = 12

_MANY_BYTES = rb"[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}"
_TEXT_RUN = re.compile(rb"(?:[\t\n\r\x20-\x7e]|" + _MANY_BYTES + rb"){6,}")
_LATIN_RUN = re.compile(rb"[\t\n\r\x20-\x7e\xa0-\xff]{6,}")
_WORTH_A_LOOK = re.compile(
    rb"(?:[\t\n\r\x20-\x7e]|" + _MANY_BYTES + rb"){7,}|(?:[\x20-\x7e]{0,3}(?:" + _MANY_BYTES + rb")){2,}"
)
_ESCAPE = re.compile(
    rb"""%(?:25)*(?:u(?P<percent_point>[0-9a-fA-F]{4})|(?P<percent>[0-9a-fA-F]{2}))
    |\\+(?:u(?P<high>[dD][89abAB][0-9a-fA-F]{2})\\+u(?P<low>[dD][c-fC-F][0-9a-fA-F]{2})
        |u\{(?P<braced>[0-9a-fA-F]{1,6})\}|u(?P<point>[0-9a-fA-F]{4})|U(?P<long>[0-9a-fA-F]{8})
        |x(?P<byte>[0-9a-fA-F]{2})|(?P<octal>[0-3][0-7]{2})|(?P<control>[abfnrtv0])|(?P<itself>["'/]))
    |\\(?P<slash>\\)
    |&(?:amp;)*(?P<entity>\#[0-9]{1,7}|\#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,30});
    |(?P<tag></?[A-Za-z][^<>]{0,200}>)""",
    re.VERBOSE,
)
_CONTROLS = {b"a": b"\a", b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v", b"0": b"\0"}
_BYTES_LITERAL = re.compile(
    rb"""\bb(?:'(?:[\x20-\x26\x28-\x5b\x5d-\x7e]|\\[\x20-\x7e]){6,}'"""
    rb"""|"(?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\[\x20-\x7e]){6,}")"""
)
_QUOTED_PRINTABLE = re.compile(
    rb"(?:=[0-9A-Fa-f]{2}){2,}|=(?:[89A-Fa-f][0-9A-Fa-f]|2[0-9A-Fa-f]|3[D-Fd-f])|=[ \t]*\r?\n"
)
_BASE64 = re.compile(rb"[A-Za-z0-9+/_-]{11,}")
_BASE64_WRAP = re.compile(rb"(?<=[A-Za-z0-9+/_-]{20})[ \t]*\r?\n[ \t]*(?=[A-Za-z0-9+/_-])")
_TO_STANDARD = bytes.maketrans(b"-_", b"+/")
_HEXADECIMAL = re.compile(rb"(?:[0-9a-fA-F]{2}){7,}")
_COMPRESSED = re.compile(rb"\x1f\x8b\x08|x[\x01\x5e\x9c\xda]|BZh[1-9]1AY&SY|\xfd7zXZ\x00|PK\x03\x04", re.DOTALL)
# Up to U+06FF: Latin, Greek, Cyrillic, Hebrew, Arabic.
_WIDE = {
    "utf-16-le": re.compile(rb"(?:[\t\n\r\x20-\xff][\x00-\x06]){6,}"),
    "utf-16-be": re.compile(rb"(?:[\x00-\x06][\t\n\r\x20-\xff]){6,}"),
    "utf-32-le": re.compile(rb"(?:[\t\n\r\x20-\xff][\x00-\x06]\x00\x00){6,}"),
    "utf-32-be": re.compile(rb"(?:\x00\x00[\x00-\x06][\t\n\r\x20-\xff]){6,}"),
}
# What one look tells of a short value: most are ids, states and times.
_MAY_BE_ENCODED = re.compile(
    rb"[%\\&<=\0\xff\xfd]|(?=[0-9-]{0,30}[A-Za-z+/_])[A-Za-z0-9+/_-]{11}|[0-9]{14}|\x1f\x8b\x08|x[\x01\x5e\x9c\xda]|BZh|PK\x03|\(\xb5|\x04\x22"
)
SHORT_BYTES = 256
# What cp1252 shows for the bytes 0x80 to 0x9F; latin-1 shows control characters.
_CP1252 = {bytes([byte]).decode("cp1252"): byte for byte in range(0x80, 0xA0) if byte not in b"\x81\x8d\x8f\x90\x9d"}
_MISREAD = re.compile(f"(?:[\u00c2-\u00f4][\u0080-\u00bf{''.join(map(re.escape, _CP1252))}]{{1,3}})+")
# Formats that are recognised by their first bytes, and not opened here.
_NOT_OPENED = {b"\x28\xb5\x2f\xfd": "zstd", b"\x04\x22\x4d\x18": "lz4", b"7z\xbc\xaf\x27\x1c": "7z", b"Rar!": "rar"}

ZIP_IS_ENCRYPTED, ZIP_DEFLATED = 1, 8


@dataclass(frozen=True, slots=True)
class Reading:
    """One form of what was looked at. `binary`: runs of text out of other bytes, with NUL between them."""

    text: str
    binary: bool = False

    def for_shapes(self) -> str:
        """What shapes are looked for in: short runs among random bytes look like anything."""
        if not self.binary:
            return self.text
        return "\0".join(run for run in self.text.split("\0") if len(run) >= SHORTEST_RUN_FOR_SHAPES)


class Unpacker(Protocol):
    """What zlib, bz2 and lzma have in common."""

    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int = ..., /) -> bytes: ...


class Decoder:
    """Reads one piece after another. `unfinished` names what of the last piece was not undone, and why."""

    def __init__(self) -> None:
        self._empty: set[bytes] = set()
        self._left = 0
        self.unfinished: set[str] = set()

    def readings(self, data: bytes) -> Iterator[Reading]:
        """The piece as text, and each form of it that an encoding hid."""
        self.unfinished = set()
        self._left = MOST_UNPACKED_BYTES + 8 * len(data)
        yield from self._read(data, 0)

    def _read(self, data: bytes, layer: int) -> Iterator[Reading]:
        strict = _as_text(data)
        if strict is not None:
            yield Reading(strict)
        else:
            yield from _from_binary(data)
        if layer == MOST_LAYERS:
            return
        if strict is not None and not strict.isascii() and _MISREAD.search(strict):
            yield from self._deeper(_MISREAD.sub(_read_again, strict).encode(errors="replace"), layer)
        for form in self._forms(data):
            yield from self._deeper(form, layer)

    def _deeper(self, form: bytes, layer: int) -> Iterator[Reading]:
        self._left -= len(form)
        if self._left < 0:
            self.unfinished.add(f"it unpacks to more than {MOST_UNPACKED_BYTES >> 10:,} KB")
            return
        yield from self._read(form, layer + 1)

    def _forms(self, data: bytes) -> Iterator[bytes]:
        if len(data) <= SHORT_BYTES and not _MAY_BE_ENCODED.search(data):
            return
        if b"%" in data or b"\\" in data or b"&" in data or b"<" in data:
            yield from _unescaped(data)
        for found in _BYTES_LITERAL.finditer(data):
            yield from _from_literal(found.group())
        if b"=" in data:
            yield from _replaced(data, _QUOTED_PRINTABLE, _unquote)
        yield from self._from_base64(data)
        for found in _HEXADECIMAL.finditer(data):
            yield from self._worth(found.group(), _from_hexadecimal)
        yield from self._uncompressed(data)
        yield from _from_wide(data)

    def _from_base64(self, data: bytes) -> Iterator[bytes]:
        if b"\n" in data:
            data = _BASE64_WRAP.sub(b"", data)
        for found in _BASE64.finditer(data):
            # Order ids, dates and phone numbers are digits and hyphens; base64 of a text never is.
            if found.group().translate(None, b"0123456789-"):
                yield from self._worth(found.group(), _from_base64)

    def _worth(self, candidate: bytes, decode: Callable[[bytes], Iterator[bytes]]) -> Iterator[bytes]:
        """What a candidate hid, if it looks like anything at all: most are identifiers, and hide nothing."""
        if candidate in self._empty:
            return
        empty = True
        for form in decode(candidate):
            if _WORTH_A_LOOK.search(form) or _COMPRESSED.search(form) or _is_wide(form):
                empty = False
                yield form
        if empty and len(candidate) <= REMEMBERED_BYTES and decode is _from_base64:
            if len(self._empty) >= EMPTY_CANDIDATES_REMEMBERED:
                self._empty.clear()
            self._empty.add(candidate)

    def _uncompressed(self, data: bytes) -> Iterator[bytes]:
        for magic, name in _NOT_OPENED.items():
            if data.startswith(magic):
                self.unfinished.add(f"{name} is not opened")
        for found in _COMPRESSED.finditer(data):
            start = found.start()
            unpacker = unpacker_for(found.group())
            if unpacker is None:
                unpacker = zlib.decompressobj(-zlib.MAX_WBITS)
                zipped = _zip_entry(data, start)
                if zipped == start:
                    self.unfinished.add("an encrypted zip is not opened")
                if zipped is None or zipped == start:
                    continue
                start = zipped
            yield from self._unpacked(data, start, unpacker)

    def _unpacked(self, data: bytes, start: int, unpacker: Unpacker) -> Iterator[bytes]:
        """In blocks that overlap, so that what lies across two is in one of them."""
        stream = io.BytesIO(data)
        stream.seek(start)
        carried = b""
        for block in unpack(stream.read, unpacker):
            if self._left < 0:
                return
            yield carried + block
            carried = block[-CONTEXT_BYTES:]


def unpack(read: Callable[[int], bytes], unpacker: Unpacker) -> Iterator[bytes]:
    """What a compressed stream holds, block by block, until its end, its damage or the end of the data."""
    pending = b""
    while not unpacker.eof:
        feed = pending
        if not feed and getattr(unpacker, "needs_input", True):
            feed = read(FEED_BYTES)
        try:
            block = unpacker.decompress(feed, BLOCK_BYTES)
        except (zlib.error, lzma.LZMAError, OSError, ValueError, EOFError):
            # Not compressed after all, or damaged: what came before was looked at.
            return
        pending = getattr(unpacker, "unconsumed_tail", b"")
        if block:
            yield block
        elif not feed:
            return


def unpacker_for(beginning: bytes) -> Unpacker | None:
    """For a stream that begins so: gzip, zlib, bzip2 or xz."""
    found = _COMPRESSED.match(beginning)
    if found is None or beginning.startswith(b"PK"):
        return None
    if beginning.startswith(b"BZh"):
        return bz2.BZ2Decompressor()
    if beginning.startswith(b"\xfd"):
        return lzma.LZMADecompressor(memlimit=128 << 20)
    return zlib.decompressobj(zlib.MAX_WBITS | 32)  # gzip or zlib, by its header


def _zip_entry(data: bytes, start: int) -> int | None:
    """Where the deflated bytes of an entry begin; `start` itself: it is encrypted; None: nothing to unpack."""
    header = data[start : start + 30]
    if len(header) < 30:
        return None
    flags, method = struct.unpack_from("<HH", header, 6)
    name, extra = struct.unpack_from("<HH", header, 26)
    if flags & ZIP_IS_ENCRYPTED:
        return start
    return start + 30 + name + extra if method == ZIP_DEFLATED else None


def _as_text(data: bytes) -> str | None:
    if b"\0" in data:
        return None
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return None


def _from_binary(data: bytes) -> Iterator[Reading]:
    runs = _TEXT_RUN.findall(data)
    if runs:
        yield Reading(b"\0".join(runs).decode("utf-8", "replace"), binary=True)
    # What is no UTF-8 may be latin-1: é is one byte there.
    latin = [run for run in _LATIN_RUN.findall(data) if not run.isascii()]
    if latin:
        yield Reading(b"\0".join(latin).decode("latin-1"), binary=True)


def _replaced(data: bytes, pattern: re.Pattern[bytes], replace: Callable[[re.Match[bytes]], bytes]) -> Iterator[bytes]:
    """The places where the pattern is, with it replaced, and some bytes around them; near ones together."""
    parts: list[bytes] = []
    end = 0
    for found in pattern.finditer(data):
        if parts and found.start() - end > 2 * CONTEXT_BYTES:
            parts.append(data[end : _character_border(data, end + CONTEXT_BYTES)])
            yield b"".join(parts)
            parts = []
        begin = end if parts else _character_border(data, max(end, found.start() - CONTEXT_BYTES))
        parts += [data[begin : found.start()], replace(found)]
        end = found.end()
    if parts:
        parts.append(data[end : _character_border(data, end + CONTEXT_BYTES)])
        yield b"".join(parts)


def _character_border(data: bytes, position: int) -> int:
    """The position, or the next one that is not within a character."""
    while position < len(data) and data[position] & 0xC0 == 0x80:
        position += 1
    return position


def _unescape(found: re.Match[bytes]) -> bytes:
    kind, value = found.lastgroup, found.group(found.lastgroup or 0)
    if kind in ("percent", "byte"):
        return bytes.fromhex(value.decode())
    if kind == "octal":
        return bytes([int(value, 8)])
    if kind in ("percent_point", "point", "long", "braced"):
        return _character(int(value, 16))
    if kind == "low":
        high, low = int(found["high"], 16), int(value, 16)
        return _character(0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00))
    if kind == "entity":
        return html.unescape(f"&{value.decode()};").encode(errors="replace")
    if kind == "control":
        return _CONTROLS[value]
    return value if kind in ("itself", "slash") else b" "


def _unescape_latin(found: re.Match[bytes]) -> bytes:
    """One byte as one letter of latin-1: é is \\xe9, and %E9, there."""
    plain = _unescape(found)
    return plain.decode("latin-1").encode() if found.lastgroup in ("percent", "byte", "octal") else plain


def _unescaped(data: bytes) -> Iterator[bytes]:
    are_texts = True
    for form in _replaced(data, _ESCAPE, _unescape):
        are_texts = are_texts and _as_text(form) is not None
        yield form
    if not are_texts:
        yield from _replaced(data, _ESCAPE, _unescape_latin)


def _from_literal(literal: bytes) -> Iterator[bytes]:
    """Bytes as Python shows them: to the byte, since they may be compressed."""
    try:
        shown = ast.literal_eval(literal.decode("ascii"))
    except (ValueError, SyntaxError):
        return
    yield shown


def _character(point: int) -> bytes:
    return chr(point).encode(errors="replace") if point <= 0x10FFFF else b" "


def _unquote(found: re.Match[bytes]) -> bytes:
    quoted = found.group()
    return b"" if quoted.endswith(b"\n") else bytes.fromhex(quoted.replace(b"=", b"").decode())


def _from_base64(candidate: bytes) -> Iterator[bytes]:
    """At each of the four places at which a group can begin: what stands before it may look like a part of it."""
    standard = candidate.translate(_TO_STANDARD)
    for start in range(4):
        size = len(standard) - start
        size -= size % 4 == 1
        yield binascii.a2b_base64(standard[start : start + size] + b"=" * (-size % 4))


def _from_hexadecimal(candidate: bytes) -> Iterator[bytes]:
    digits = candidate.decode()
    yield bytes.fromhex(digits)
    yield bytes.fromhex(digits[1:-1])


def _is_wide(data: bytes) -> bool:
    return b"\0" in data and any(pattern.search(data) for pattern in _WIDE.values())


def _from_wide(data: bytes) -> Iterator[bytes]:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        yield data.decode("utf-16", "replace").encode(errors="replace")
    if b"\0" not in data:
        return
    for encoding, pattern in _WIDE.items():
        for found in pattern.finditer(data):
            yield found.group().decode(encoding, "replace").encode(errors="replace")


def _read_again(found: re.Match[str]) -> str:
    """UTF-8 that was read as latin-1 or cp1252."""
    misread = bytes(_CP1252.get(character, ord(character)) & 0xFF for character in found.group())
    try:
        return misread.decode("utf-8")
    except UnicodeDecodeError:
        return found.group()
