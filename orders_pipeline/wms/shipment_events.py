"""Read the shipment events of the REST contract, as they come by poll or by webhook.

Whatever text a warehouse writes, the event counts: a package that is not confirmed is worse than a name that was cut.
An entry without an event id, an order or readable lines says nothing that could be acted on; it is None.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime

from orders_pipeline.audit.log import is_order_id
from orders_pipeline.model.untrusted_text import bounded_id, bounded_text
from orders_pipeline.wms.port import ShipmentEvent

# More than any quantity of a contract's; a larger one would not fit into the store.
LARGEST_QUANTITY = 1_000_000
# More than any package holds.
MOST_LINES = 1_000
_DIGITS = re.compile(r"[0-9]{1,20}")


def read_shipment_events(entries: Sequence[object]) -> tuple[tuple[ShipmentEvent, ...], int]:
    """Those that can be read, in their order, and how many cannot."""
    read = [read_shipment_event(entry) for entry in entries]
    events = tuple(event for event in read if event is not None)
    return events, len(read) - len(events)


def read_shipment_event(entry: object) -> ShipmentEvent | None:
    """The event, its texts bounded; None if it cannot be told which event it is, of which order, or of what."""
    if not isinstance(entry, dict):
        return None
    event_id, order_ref, kind = _id(entry.get("event_id")), _id(entry.get("order_ref")), _text(entry.get("kind"))
    package_id, lines = entry.get("package_id"), _lines(entry.get("lines"))
    if event_id is None or order_ref is None or kind is None or lines is None or not is_order_id(order_ref):
        return None
    if package_id not in (None, "") and _id(package_id) is None:
        return None
    return ShipmentEvent(
        event_id=event_id,
        kind=kind,
        order_ref=order_ref,
        package_id=_id(package_id),
        carrier=_text(entry.get("carrier")),
        service=_text(entry.get("service")),
        tracking_number=_text(entry.get("tracking_number")),
        shipped_at=_time(entry.get("shipped_at")),
        lines=lines,
    )


def _lines(given: object) -> tuple[tuple[str, int], ...] | None:
    if given is None:
        return ()
    if not isinstance(given, list) or len(given) > MOST_LINES:
        return None
    lines: list[tuple[str, int]] = []
    for line in given:
        line_ref = _id(line.get("line_ref")) if isinstance(line, dict) else None
        quantity = _quantity(line.get("quantity")) if isinstance(line, dict) else None
        if line_ref is None or quantity is None:
            return None
        lines.append((line_ref, quantity))
    return tuple(lines)


def _id(value: object) -> str | None:
    return bounded_id(value) if isinstance(value, str | int) else None


def _text(value: object) -> str | None:
    return bounded_text(value)


def _quantity(value: object) -> int | None:
    """A number of pieces, also written as text: a package that is not confirmed is worse than a lenient reading."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, str) and _DIGITS.fullmatch(value.strip()):
        value = int(value)
    # Half a piece is no quantity, and neither is `true`.
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if 1 <= value <= LARGEST_QUANTITY else None


def _time(value: object) -> datetime | None:
    if not isinstance(value, str):
        return None
    try:
        parsed = datetime.fromisoformat(value)
        # The contract promises an offset; a naive time would be a guess, and a wrong shipDate is refused by Amazon.
        return parsed.astimezone(UTC) if parsed.tzinfo is not None else None
    except (ValueError, OverflowError):
        return None
