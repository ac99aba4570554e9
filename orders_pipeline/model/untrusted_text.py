"""Bound text from outside: in length, and to characters that a person can see.

A warehouse, a queue and Amazon write what they like into a field. Text without an end fills indexes and alerts; control
characters, direction overrides and invisible characters deceive whoever reads a terminal, a log or a message. So every
such text passes through here where it enters. What is changed is marked, never dropped: the event that carries it
still counts.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata

LONGEST_TEXT = 100
LONGEST_ID = 100
# Why something failed: a few sentences of ours, with words of others in them.
LONGEST_ERROR = 1_000
# Stands at the end of a text that was cut.
CUT = "…"
# Stands for characters that were taken out (Unicode's own REPLACEMENT CHARACTER).
REPLACED = "\ufffd"
# A cut goes back to the last blank within these characters: half a name is still a name, and would not be recognised.
_BLANK_WITHIN = 40
_ID_DIGEST_CHARACTERS = 24

# Control (C0, C1), format (direction, zero width, tags), half a surrogate pair, line and paragraph separators.
_FORBIDDEN_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
# Letters by their category, and invisible all the same.
_INVISIBLE_LETTERS = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u3164\uffa0")
_PRINTABLE_ASCII = re.compile(r"[ -~]*")
# What programs leave at the ends of a text without meaning anything by it.
_BLANKS = " \t\r\n\v\f\u00a0\ufeff"


def is_forbidden(character: str) -> bool:
    """Whether a character controls, reorders or hides instead of showing something."""
    return unicodedata.category(character) in _FORBIDDEN_CATEGORIES or character in _INVISIBLE_LETTERS


def bounded_text(value: object, longest: int = LONGEST_TEXT) -> str | None:
    """One line of at most `longest` visible characters; None for nothing. What was taken out or cut is marked.

    A number is read as text; any other kind of value counts as nothing.
    """
    text = _as_text(value)
    if text is None:
        return None
    # Far more than is kept, and far less than a body can hold: the rest is not even looked at.
    start = text.strip(_BLANKS)[: longest * 8]
    visible = start if _PRINTABLE_ASCII.fullmatch(start) else _marked(start)
    if len(text.strip(_BLANKS)) > len(start) or len(visible) > longest:
        visible = _cut(visible, longest)
    return visible or None


def bounded_id(value: object, longest: int = LONGEST_ID) -> str | None:
    """An id as it is, if it is short and visible; else a readable beginning and a digest: the same id stays the same.

    Two ids that differ never become one, as cutting alone would make them.
    """
    text = _as_text(value)
    if text is None or (len(text) <= longest and text == bounded_text(text, longest)):
        return text
    digest = hashlib.sha256(text.encode("utf-8", errors="surrogatepass")).hexdigest()[:_ID_DIGEST_CHARACTERS]
    beginning = "".join(character for character in text[:longest] if not is_forbidden(character)).strip()
    return f"{beginning[: longest - _ID_DIGEST_CHARACTERS - len(CUT)]}{CUT}{digest}"


def is_bounded(text: str, longest: int = LONGEST_TEXT) -> bool:
    """Whether a text is short enough and holds visible characters only."""
    return len(text) <= longest and not any(is_forbidden(character) for character in text)


def escaped(text: str) -> str:
    """Text for a terminal: what would move the cursor, colour, hide or reorder is shown as an escape instead."""
    return "".join(_escape(character) if is_forbidden(character) else character for character in text)


def _as_text(value: object) -> str | None:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        return str(value) or None
    except ValueError:
        # An integer of more digits than Python turns into text.
        return None


def _marked(text: str) -> str:
    written: list[str] = []
    for character in text:
        if not is_forbidden(character):
            written.append(character)
        elif not written or written[-1] != REPLACED:
            written.append(REPLACED)
    return "".join(written)


def _cut(text: str, longest: int) -> str:
    text = text[: longest - len(CUT)]
    blank = text.rfind(" ", len(text) - _BLANK_WITHIN)
    return (text if blank <= 0 else text[:blank]).rstrip() + CUT


def _escape(character: str) -> str:
    code = ord(character)
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"
