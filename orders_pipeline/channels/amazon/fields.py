"""Read Amazon's JSON: strict about the few fields that an order cannot do without, lenient about all others.

No message holds a value, only the name of a field: a value could be a buyer's.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from orders_pipeline.model.order import Money
from orders_pipeline.model.personal import PersonalText
from orders_pipeline.model.untrusted_text import bounded_text, is_bounded

logger = logging.getLogger(__name__)

# PostgreSQL stores neither: one such character would fail a whole transaction.
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_WHOLE = re.compile(r"-?[0-9]{1,15}")
# No order has more pieces, and no column takes more.
_MOST = 2**31 - 1
# No order costs more, and no currency has more places; beyond, arithmetic or the column would fail instead of reading.
_MOST_DIGITS = 15
# No clock that means an order tells another year; with one that does, arithmetic would fail. v0 has 1970 for "none".
_YEARS = range(1970, 2200)
# Amazon's own limit for a title; every other text of an order is shorter.
LONGEST_WORDS = 500
# One of a list of words (a program), and how many of them count; Amazon's models know a dozen.
LONGEST_WORD, MOST_TEXTS = 64, 50


class FieldProblem(Exception):
    """A field that an order cannot do without is missing or unreadable. Names the field, never holds what was in it."""


class Fields:
    """A JSON object and where it is. What is absent, null, or of the wrong kind reads as None (or as empty)."""

    __slots__ = ("_values", "path")

    def __init__(self, values: object, path: str) -> None:
        self._values: Mapping[str, Any] = values if isinstance(values, Mapping) else {}
        self.path = path

    def __repr__(self) -> str:
        return f"Fields({self.path})"

    def __bool__(self) -> bool:
        return bool(self._values)

    def has(self, name: str) -> bool:
        return self._values.get(name) is not None

    def text(self, name: str) -> str | None:
        """A text that is stored or shown: no longer than a title can be, and without what cannot be seen."""
        text = self.opaque(name)
        return text if text is None or is_bounded(text, LONGEST_WORDS) else bounded_text(text, LONGEST_WORDS)

    def opaque(self, name: str) -> str | None:
        """A text as it came: a token that goes back to Amazon, or a buyer's words, which only the vault keeps."""
        value = self._values.get(name)
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            return None if value is None else self._unreadable(name)
        try:
            text = str(value)
        except ValueError:
            # An integer of more digits than Python turns into text.
            return self._unreadable(name)
        if _UNSTORABLE.search(text):
            return self._unreadable(name)
        return text or None

    def required_text(self, name: str) -> str:
        return self.text(name) or self._missing(name)

    def personal(self, name: str) -> PersonalText | None:
        """A buyer's text, masked from here on; blank counts as absent."""
        value = self._values.get(name)
        # What no database takes is left out of an address, and the rest is kept.
        text = _UNSTORABLE.sub("", value) if isinstance(value, str) else self.text(name)
        return PersonalText(text) if text and text.strip() else None

    def time(self, name: str) -> datetime | None:
        text = self.text(name)
        if text is None:
            return None
        try:
            moment = datetime.fromisoformat(text)
            # Amazon's times are UTC; where the offset is left out, that is what is meant.
            moment = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
        except (ValueError, OverflowError):
            return self._unreadable(name)
        return moment if moment.year in _YEARS else self._unreadable(name)

    def required_time(self, name: str) -> datetime:
        return self.time(name) or self._missing(name)

    def whole(self, name: str) -> int | None:
        value = self._values.get(name)
        if value is None:
            return None
        number: int | None = None
        if isinstance(value, str) and _WHOLE.fullmatch(value.strip()):
            number = int(value)
        elif isinstance(value, int) and not isinstance(value, bool):
            number = value
        elif isinstance(value, float) and value.is_integer():
            number = int(value)
        return self._unreadable(name) if number is None or abs(number) > _MOST else number

    def required_whole(self, name: str) -> int:
        value = self.whole(name)
        return self._missing(name) if value is None else value

    def flag(self, name: str) -> bool:
        """True for true and for "true": v0 writes some booleans as strings (facts §1)."""
        value = self._values.get(name)
        return value is True or (isinstance(value, str) and value.strip().lower() == "true")

    def part(self, name: str) -> Fields:
        return Fields(self._values.get(name), f"{self.path}.{name}")

    def parts(self, name: str) -> list[Fields]:
        values = self._values.get(name)
        if not isinstance(values, list):
            return []
        return [Fields(value, f"{self.path}.{name}[{index}]") for index, value in enumerate(values)]

    def required_parts(self, name: str) -> list[Fields]:
        if not isinstance(self._values.get(name), list):
            self._missing(name)
        return self.parts(name)

    def texts(self, name: str) -> list[str]:
        """The first of a list of words, each bounded as `text` is, only shorter."""
        values = self._values.get(name)
        if not isinstance(values, list):
            return []
        words = (bounded_text(value, LONGEST_WORD) for value in values[:MOST_TEXTS] if isinstance(value, str))
        return [word for word in words if word]

    def money(self, amount: str, currency: str) -> Money | None:
        number, code = self.text(amount), self.text(currency)
        if number is None or code is None:
            return None
        try:
            value = Decimal(number)
        except InvalidOperation:
            return self._unreadable(amount)
        exponent = value.as_tuple().exponent
        if not isinstance(exponent, int) or exponent < -_MOST_DIGITS or value.adjusted() > _MOST_DIGITS:
            return self._unreadable(amount)
        return Money(value, code)

    def _missing(self, name: str) -> Any:
        raise FieldProblem(f"{self.path}.{name} is missing or unreadable")

    def _unreadable(self, name: str) -> None:
        logger.warning("Amazon's %s.%s is not what the model says; it counts as absent.", self.path, name)
