"""The last net under the logs: what looks like a secret or an e-mail address is masked before it is written.

A name or a street has no shape: this net does not catch it, and no code may count on it.
"""

from __future__ import annotations

import logging
import re
import traceback
from collections.abc import Callable
from threading import Lock
from typing import Any

MASK = "•••"
# A shorter value would mask ordinary words.
SECRET_CHARACTERS = 6

_SHAPES = (
    # Amazon's access, refresh, grantless and restricted tokens.
    re.compile(r"\b(?:Atza|Atzr|Atc|Atz\.sprdt)\|[A-Za-z0-9_\-+/=.|]+"),
    # Login with Amazon client secrets.
    re.compile(r"\bamzn1\.oa2-cs\.v1\.[0-9a-fA-F]+"),
    re.compile(r"(?<=\bBearer )\s*[A-Za-z0-9_\-+/=.~|]+", re.IGNORECASE),
    # No longer than an address can be (RFC 5321), or a megabyte of base64 in a traceback would hold up the work.
    re.compile(r"[A-Za-z0-9._%+\-]{1,64}@[A-Za-z0-9\-]{1,63}(?:\.[A-Za-z0-9\-]{1,63})+"),
)

# At DEBUG these write whole bodies: an SQS message with its postal code, a request with its address.
TALKATIVE = ("boto3", "botocore", "urllib3", "requests", "sqlalchemy.engine")

_registered: set[str] = set()
_registered_pattern: re.Pattern[str] | None = None
_guard = Lock()


def register_secret(value: str) -> None:
    """From now on this exact value is masked wherever it would be logged."""
    global _registered_pattern
    if len(value) < SECRET_CHARACTERS:
        return
    with _guard:
        _registered.add(value)
        # Longest first, so that a value within another never leaves the other's rest in clear.
        longest_first = sorted(_registered, key=len, reverse=True)
        _registered_pattern = re.compile("|".join(re.escape(secret) for secret in longest_first))


def redact(text: str) -> str:
    """The text with everything masked that has a known shape or was registered."""
    registered = _registered_pattern
    if registered is not None:
        text = registered.sub(MASK, text)
    for shape in _SHAPES:
        text = shape.sub(MASK, text)
    return text


def redact_record(record: logging.LogRecord) -> logging.LogRecord:
    """The record with its message, exception and stack masked. Never raises, and never drops anything else."""
    try:
        message = record.getMessage()
    except Exception:  # noqa: BLE001 - whatever an argument's own text raises: a log call must not end the work
        # A message that does not fit its arguments: logging would print both to stderr, unmasked.
        message = f"{record.msg} (arguments left out: they do not fit)"
        record.args = None
    # The finished text, not its parts: a secret may be made by joining two of them.
    masked = redact(message)
    if record.args is None or masked != message:
        record.msg, record.args = masked, None
    if record.exc_info and record.exc_text is None:
        # exc_text is what every Formatter prints first; made here, masked, it is never made again from exc_info.
        record.exc_text = "".join(traceback.format_exception(*record.exc_info)).rstrip("\n")
    if record.exc_text:
        record.exc_text = redact(record.exc_text)
    if record.stack_info:
        record.stack_info = redact(record.stack_info)
    return record


def install() -> None:
    """Mask every record where it is made: whatever logger, handler or library writes it. Safe to call again.

    Libraries that write bodies at DEBUG are kept at WARNING, whatever level the root logger has.
    """
    for name in TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)
    make = logging.getLogRecordFactory()
    if not isinstance(make, _RedactingFactory):
        logging.setLogRecordFactory(_RedactingFactory(make))


class _RedactingFactory:
    """A maker of log records that lets another make them, and masks what comes out."""

    def __init__(self, make: Callable[..., logging.LogRecord]) -> None:
        self.make = make

    def __call__(self, *arguments: Any, **named: Any) -> logging.LogRecord:
        return redact_record(self.make(*arguments, **named))
