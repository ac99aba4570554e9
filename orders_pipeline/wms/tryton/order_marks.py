"""What we keep in Tryton of an order: marks, which are identifiers of the party that stands for its buyer.

Tryton has no field for an order item's id, and none for what was pushed. Each order has a party of its own, whose code
is the order's: Tryton takes a code only once, in one transaction with the marks, so that of two pushes of one order
exactly one is believed (pushes). The marks name no buyer; the fingerprint, which is made of an address, is erased with
it. They name their order: where somebody merges two parties in Tryton, one party has the marks of both.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

# What a party's code begins with, for an order of Amazon's.
CODE_PREFIX = "amazon:"
# Of the party that stands for all buyers until an order has its own.
NOBODY_CODE = "amazon-orders"
_ORDER, _CONTENT = "orders-pipeline order ", "orders-pipeline content "


@dataclass(frozen=True, slots=True)
class MarkedLine:
    """One order item: the move by which it was to leave, and what was asked for."""

    line_ref: str
    move_id: int
    product_id: int
    quantity: int


@dataclass(frozen=True, slots=True)
class OrderMarks:
    """`shipment_id`: the shipment that was pushed. `fingerprint` is None once the buyer's data are erased."""

    order_ref: str
    shipment_id: int
    lines: tuple[MarkedLine, ...]
    fingerprint: str | None = None


def party_code(order_ref: str) -> str:
    return f"{CODE_PREFIX}{order_ref}"


def order_of_code(code: object) -> str | None:
    """The order whose party has this code."""
    return code.removeprefix(CODE_PREFIX) if isinstance(code, str) and code.startswith(CODE_PREFIX) else None


def fingerprint_of(content: bytes) -> str:
    """Tells later whether the same was pushed. Salted: equal addresses are not to be seen to be equal."""
    salt = secrets.token_hex(8)
    return f"{salt}:{_digest(salt, content)}"


def is_same(fingerprint: str, content: bytes) -> bool:
    salt, _, digest = fingerprint.partition(":")
    return secrets.compare_digest(digest, _digest(salt, content))


def written(marks: OrderMarks) -> list[str]:
    """The codes of the identifiers that hold these marks."""
    lines = [[line.line_ref, line.move_id, line.product_id, line.quantity] for line in marks.lines]
    found = {"order": marks.order_ref, "shipment": marks.shipment_id, "lines": lines}
    order = json.dumps(found, separators=(",", ":"))
    content = [] if marks.fingerprint is None else [f"{_CONTENT}{marks.order_ref} {marks.fingerprint}"]
    return [f"{_ORDER}{order}", *content]


def read(codes: Iterable[object]) -> dict[str, OrderMarks]:
    """The marks among a party's identifiers, by their order; those that somebody took away or changed are missing."""
    texts = [code for code in codes if isinstance(code, str)]
    contents = [text.removeprefix(_CONTENT).partition(" ") for text in texts if is_fingerprint(text)]
    fingerprints = {order_ref: fingerprint for order_ref, _, fingerprint in contents}
    marks: dict[str, OrderMarks] = {}
    for text in texts:
        if not text.startswith(_ORDER):
            continue
        with suppress(ValueError, TypeError, KeyError, RecursionError):
            found = json.loads(text.removeprefix(_ORDER))
            lines = tuple(_line(one) for one in found["lines"])
            order_ref = str(found["order"])
            marks[order_ref] = OrderMarks(order_ref, int(found["shipment"]), lines, fingerprints.get(order_ref))
    return marks


def is_fingerprint(code: object) -> bool:
    return isinstance(code, str) and code.startswith(_CONTENT)


def _line(found: Sequence[Any]) -> MarkedLine:
    line_ref, move_id, product_id, quantity = found
    return MarkedLine(str(line_ref), int(move_id), int(product_id), int(quantity))


def _digest(salt: str, content: bytes) -> str:
    return hashlib.sha256(salt.encode() + content).hexdigest()
