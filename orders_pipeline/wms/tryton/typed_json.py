"""Tryton's JSON: values that JSON has no form for are objects with `__class__`, in both directions.

https://docs.tryton.org/latest/server/ref/protocols/jsonrpc.html. Times are UTC without an offset on the wire; here they
are aware. What is of a form that is not known stays as it came: whoever reads it says that it cannot be read.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any


def to_wire(value: Any) -> Any:
    """The value as Tryton's JSON has it. `datetime`s must be aware."""
    if isinstance(value, datetime):
        moment = value.astimezone(UTC)
        parts = {name: getattr(moment, name) for name in (*_DATE_PARTS, *_TIME_PARTS)}
        return {"__class__": "datetime", **parts}
    if isinstance(value, date):
        return {"__class__": "date", **{name: getattr(value, name) for name in _DATE_PARTS}}
    if isinstance(value, Decimal):
        return {"__class__": "Decimal", "decimal": str(value)}
    if isinstance(value, Mapping):
        return {key: to_wire(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_wire(one) for one in value]
    return value


def from_wire(value: Any) -> Any:
    """What Tryton's JSON means."""
    if isinstance(value, list):
        return [from_wire(one) for one in value]
    if not isinstance(value, dict):
        return value
    kind = value.get("__class__")
    try:
        if kind == "datetime":
            return datetime(*(value[name] for name in _DATE_PARTS), *(value.get(n, 0) for n in _TIME_PARTS), tzinfo=UTC)
        if kind == "date":
            return date(*(value[name] for name in _DATE_PARTS))
        if kind == "Decimal":
            return Decimal(value["decimal"])
    except (KeyError, TypeError, ValueError, OverflowError, InvalidOperation):
        return value
    return {key: from_wire(one) for key, one in value.items()}


_DATE_PARTS = ("year", "month", "day")
_TIME_PARTS = ("hour", "minute", "second", "microsecond")
