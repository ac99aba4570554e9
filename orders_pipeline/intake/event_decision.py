"""What an event means for an order: is there anything to ask Amazon, and if not, what is known now?"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from orders_pipeline.model.order import AMAZON, MERCHANT, UNKNOWN_FULFILLER, OrderStatus, canonical_status

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
    STOP = "stop"  # ship nothing of it from now on, and ask Amazon whether that is right
    IGNORE = "ignore"  # nothing new


@dataclass(frozen=True, slots=True)
class Told:
    """What an event says of its order. `changed_at` is Amazon's time of the change; None where it gave none.

    `other_marketplace`: the order is of a marketplace that is not configured, so nothing is to be asked about it.
    """

    status: str | None
    fulfilled_by: str
    change_type: str | None
    changed_at: datetime | None
    other_marketplace: bool = False


@dataclass(frozen=True, slots=True)
class Known:
    """What the store knows of the order. `fetched` tells whether Amazon was ever asked about it.

    `cancellation_told`: that it is cancelled was told by a message, and Amazon was not seen to say so.
    `left`: all of it left the warehouse, or it is over.
    """

    status: str
    fulfilled_by: str
    last_updated_at: datetime | None
    fetched: bool
    cancellation_told: bool = False
    left: bool = False


def plan_event(told: Told, known: Known | None) -> Plan:
    """Decide about one event. Unknown statuses are looked up: the set of Amazon's words is open.

    Whoever can write to the queue can write anything: a message may delay an order or cost a call, never end it.
    """
    if known is not None and not known.fetched and {told.fulfilled_by, known.fulfilled_by} == {AMAZON, MERCHANT}:
        # Two messages that contradict each other about who ships.
        return Plan.FETCH
    if told.other_marketplace or _fulfiller(told, known) == AMAZON:
        return Plan.RECORD if is_news(told, known) else Plan.IGNORE
    # The answer that is stored includes this change already.
    if known is not None and known.fetched and _covers(known.last_updated_at, told.changed_at):
        return Plan.IGNORE
    status = canonical_status(told.status) if told.status else None
    if known is not None and known.status == OrderStatus.CANCELLED:
        if known.fetched and not known.cancellation_told:
            # Amazon's own word, and final: whatever else is told of it was so before.
            return Plan.IGNORE
        return Plan.IGNORE if status in NOT_YET or status == OrderStatus.CANCELLED else Plan.FETCH
    if status in NOT_YET:
        # No address, no price, and often cancelled before it is anything (facts §10): wait for Unshipped.
        return Plan.RECORD if is_news(told, known) else Plan.IGNORE
    if status == OrderStatus.CANCELLED:
        # Not paid yet, or never heard of: nothing is to be stopped. Should it be told to live after all, it is fetched.
        return Plan.RECORD if known is None or known.status in NOT_YET else Plan.STOP
    if status in FINAL:
        # A shipment that our warehouse does not know of is looked at once: for its dates, and for whether it is true.
        if known is None or not (known.left or known.status in FINAL):
            return Plan.FETCH
        return Plan.RECORD if is_news(told, known) else Plan.IGNORE
    # Unshipped, PartiallyShipped, a buyer's request, a word that we do not know: only Amazon can say what it means.
    return Plan.FETCH


def _fulfiller(told: Told, known: Known | None) -> str:
    """Who ships it: Amazon's answer counts before any message."""
    if known is None or known.fulfilled_by == UNKNOWN_FULFILLER:
        return told.fulfilled_by
    return known.fulfilled_by if known.fetched or told.fulfilled_by == UNKNOWN_FULFILLER else told.fulfilled_by


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
