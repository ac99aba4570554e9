"""What an event means for an order: is there anything to ask Amazon, and if not, what is known now?

Belongs here: the decision, as a pure function of the event and of what is known; a call not made is quota for an order
that needs it. Elsewhere: reading and writing what is known (absorb), the call itself (fetch).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from orders_pipeline.amazon.order import AMAZON, OrderStatus, canonical_status

# In which direction an order moves. A status told late never takes an order backwards (promise 3).
_RANK = {
    OrderStatus.PENDING_AVAILABILITY: 0,
    OrderStatus.PENDING: 1,
    OrderStatus.UNSHIPPED: 2,
    OrderStatus.PARTIALLY_SHIPPED: 3,
    OrderStatus.SHIPPED: 4,
    OrderStatus.INVOICE_UNCONFIRMED: 4,
    OrderStatus.UNFULFILLABLE: 5,
    # Final: nothing comes after it, and it comes after everything.
    OrderStatus.CANCELLED: 6,
}
FINAL = frozenset({OrderStatus.SHIPPED, OrderStatus.CANCELLED, OrderStatus.INVOICE_UNCONFIRMED})
NOT_YET = frozenset({OrderStatus.PENDING, OrderStatus.PENDING_AVAILABILITY})


class Plan(Enum):
    """What to do about one event."""

    RECORD = "record"  # take over what the event tells; no call
    FETCH = "fetch"  # ask Amazon
    IGNORE = "ignore"  # nothing new


@dataclass(frozen=True, slots=True)
class Told:
    """What an event says of its order. `changed_at` is Amazon's time of the change; None where it gave none."""

    status: str | None
    fulfilled_by: str
    change_type: str | None
    changed_at: datetime | None


@dataclass(frozen=True, slots=True)
class Known:
    """What the store knows of the order. `fetched` tells whether Amazon was ever asked about it."""

    status: str
    fulfilled_by: str
    last_updated_at: datetime | None
    fetched: bool


def plan_event(told: Told, known: Known | None) -> Plan:
    """Decide about one event. Unknown statuses are looked up: the set of Amazon's words is open."""
    if told.fulfilled_by == AMAZON or (known is not None and known.fulfilled_by == AMAZON):
        return Plan.RECORD if is_news(told, known) else Plan.IGNORE
    # The answer that is stored includes this change already.
    if known is not None and known.fetched and _covers(known.last_updated_at, told.changed_at):
        return Plan.IGNORE
    if known is not None and known.status == OrderStatus.CANCELLED:
        # Final: whatever else is told of it was so before.
        return Plan.IGNORE
    status = canonical_status(told.status) if told.status else None
    if status in NOT_YET:
        # No address, no price, and often cancelled before it is anything (facts §10): wait for Unshipped.
        return Plan.RECORD if is_news(told, known) else Plan.IGNORE
    if status in FINAL:
        if known is None:
            # Cancelled before we heard of it: nothing to ask. Shipped before we heard of it: look once, for its dates.
            return Plan.RECORD if status == OrderStatus.CANCELLED else Plan.FETCH
        if known.status not in _RANK and status != OrderStatus.CANCELLED:
            # Which of the two is further on cannot be told: Amazon can.
            return Plan.FETCH
        return Plan.RECORD if is_news(told, known) else Plan.IGNORE
    # Unshipped, PartiallyShipped, a buyer's request, a word that we do not know: only Amazon can say what it means.
    return Plan.FETCH


def is_news(told: Told, known: Known | None) -> bool:
    """Whether taking over the told status moves the order forward, or tells of an order that is not known yet."""
    if known is None:
        return True
    if told.status is None:
        return False
    status = canonical_status(told.status)
    if known.status == OrderStatus.CANCELLED:
        return False
    if status == OrderStatus.CANCELLED:
        return True
    told_rank, known_rank = _RANK.get(status), _RANK.get(known.status)
    if told_rank is None or known_rank is None:
        return status != known.status and _is_newer(told, known)
    return told_rank > known_rank


def _covers(last_updated_at: datetime | None, changed_at: datetime | None) -> bool:
    return last_updated_at is not None and changed_at is not None and last_updated_at >= changed_at


def _is_newer(told: Told, known: Known) -> bool:
    if told.changed_at is None or known.last_updated_at is None:
        return known.last_updated_at is None
    return told.changed_at > known.last_updated_at
