"""The last net under the logs: what looks like a secret or an e-mail address is masked before it is written.

Belongs here: a `logging.Filter`, the shapes it knows, and the values that it was told at runtime.
Elsewhere: keeping personal text out of messages in the first place (personal.PersonalText). A name or a street has no
shape: this net does not catch it, and no code may count on it.
"""

from __future__ import annotations

import logging
import re
import traceback
from collections.abc import Iterable
from threading import Lock

MASK = "•••"
# A shorter value would mask ordinary words.
SECRET_CHARACTERS = 6

_SHAPES = (
    # Amazon's access, refresh, grantless and restricted tokens.
    re.compile(r"\b(?:Atza|Atzr|Atc|Atz\.sprdt)\|[A-Za-z0-9_\-+/=.|]+"),
    # Login with Amazon client secrets.
    re.compile(r"\bamzn1\.oa2-cs\.v1\.[0-9a-fA-F]+"),
    re.compile(r"(?<=\bBearer )\s*[A-Za-z0-9_\-+/=.~|]+", re.IGNORECASE),
    re.compile(r"[A-Za-z0-9._%+\-]+@[A-Za-z0-9\-]+(?:\.[A-Za-z0-9\-]+)+"),
)

# At DEBUG these write whole bodies: an SQS message with its postal code, a request with its address.
TALKATIVE = ("boto3", "botocore", "urllib3", "requests", "sqlalchemy.engine")

# Those that other libraries write through without asking the root logger's handlers first.
LOGGERS = ("", "dagster", "urllib3", "botocore", "boto3", "sqlalchemy", "orders_pipeline")

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


class RedactingFilter(logging.Filter):
    """Masks a record's message, arguments, exception and stack. Never drops a record."""

    def filter(self, record: logging.LogRecord) -> bool:
        try:
            message = record.getMessage()
        except (TypeError, ValueError):
            # A message that does not fit its arguments: logging would print both to stderr, unmasked.
            message = f"{record.msg} (arguments left out: they do not fit)"
        # The finished text, not its parts: a secret may be made by joining two of them.
        record.msg, record.args = redact(message), None
        if record.exc_info and record.exc_text is None:
            # exc_text is what every Formatter prints first; made here, masked, it is never made again from exc_info.
            record.exc_text = "".join(traceback.format_exception(*record.exc_info)).rstrip("\n")
        if record.exc_text:
            record.exc_text = redact(record.exc_text)
        if record.stack_info:
            record.stack_info = redact(record.stack_info)
        return True


def install(loggers: Iterable[str] = LOGGERS) -> RedactingFilter:
    """Put the filter on these loggers and on every handler that they have now; safe to call again.

    Libraries that write bodies at DEBUG are kept at WARNING, whatever level the root logger has.
    """
    for name in TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)
    chosen = RedactingFilter()
    for name in loggers:
        logger = logging.getLogger(name)
        # On the handlers as well: a logger's own filter does not see what its children log.
        for target in (logger, *logger.handlers):
            if not any(isinstance(present, RedactingFilter) for present in target.filters):
                target.addFilter(chosen)
    return chosen
