"""Decide about one event: fetch its order from Amazon, stop it, take over the event's status, or ignore it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from orders_pipeline.model.order import AMAZON, MERCHANT, UNKNOWN_FULFILLER, OrderStatus, canonical_status

# In which direction an order moves. A status told late never takes an order backwards.
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


class EventAction(Enum):
    """What to do about one event."""

    RECORD = "record"  # take over what the event tells; no call
    FETCH = "fetch"  # ask Amazon
    STOP = "stop"  # ship nothing of it from now on, and ask Amazon whether that is right
    IGNORE = "ignore"  # nothing new


@dataclass(frozen=True, slots=True)
class EventFacts:
    """What an event says of its order. `changed_at` is Amazon's time of the change; None where it gave none.

    `other_marketplace`: the order is of a marketplace that is not configured, so nothing is to be asked about it.
    `of_our_making`: it says no more than what we told Amazon and are about to verify.
    """

    status: str | None
    fulfilled_by: str
    change_type: str | None
    changed_at: datetime | None
    other_marketplace: bool = False
    of_our_making: bool = False


@dataclass(frozen=True, slots=True)
class StoredFacts:
    """What the store knows of the order. `fetched` tells whether Amazon was ever asked about it.

    `cancellation_announced`: a message announced the cancellation; no answer of Amazon's has confirmed it.
    `left`: all of it left the warehouse, or it is over.
    """

    status: str
    fulfilled_by: str
    last_updated_at: datetime | None
    fetched: bool
    cancellation_announced: bool = False
    left: bool = False


def decide_event(announced: EventFacts, stored: StoredFacts | None) -> EventAction:
    """Decide about one event. Unknown statuses are looked up: the set of Amazon's words is open.

    Whoever can write to the queue can write anything: a message may delay an order or cost a call, never end it.
    """
    if (
        stored is not None
        and not stored.fetched
        and {announced.fulfilled_by, stored.fulfilled_by} == {AMAZON, MERCHANT}
    ):
        # Two messages that contradict each other about who ships.
        return EventAction.FETCH
    if announced.other_marketplace or _fulfiller(announced, stored) == AMAZON:
        return EventAction.RECORD if is_news(announced, stored) else EventAction.IGNORE
    # The answer that is stored includes this change already.
    if stored is not None and stored.fetched and _covers(stored.last_updated_at, announced.changed_at):
        return EventAction.IGNORE
    status = canonical_status(announced.status) if announced.status else None
    if stored is not None and stored.status == OrderStatus.CANCELLED:
        if stored.fetched and not stored.cancellation_announced:
            # Amazon answered that it is cancelled, which is final. Other events of this order are older.
            return EventAction.IGNORE
        return EventAction.IGNORE if status in NOT_YET or status == OrderStatus.CANCELLED else EventAction.FETCH
    if status in NOT_YET:
        # No address, no price, and often cancelled before it is anything (facts §10): wait for Unshipped.
        return EventAction.RECORD if is_news(announced, stored) else EventAction.IGNORE
    if status == OrderStatus.CANCELLED:
        # It is unpaid or unknown, so nothing has to be stopped. A later event of another status fetches it.
        return EventAction.RECORD if stored is None or stored.status in NOT_YET else EventAction.STOP
    if announced.of_our_making and stored is not None and stored.fetched:
        # The verification of what we told asks Amazon, and its answer is taken over: no call for the echo of our own.
        return EventAction.RECORD if is_news(announced, stored) else EventAction.IGNORE
    if status in FINAL:
        # Fetch once an order that our warehouse has not shipped: for its dates, and to verify the event.
        if stored is None or not (stored.left or stored.status in FINAL):
            return EventAction.FETCH
        return EventAction.RECORD if is_news(announced, stored) else EventAction.IGNORE
    # For Unshipped, PartiallyShipped, a buyer's request or an unknown status, only Amazon's answer decides.
    return EventAction.FETCH


def _fulfiller(announced: EventFacts, stored: StoredFacts | None) -> str:
    """Who ships it: Amazon's answer counts before any message."""
    if stored is None or stored.fulfilled_by == UNKNOWN_FULFILLER:
        return announced.fulfilled_by
    return (
        stored.fulfilled_by if stored.fetched or announced.fulfilled_by == UNKNOWN_FULFILLER else announced.fulfilled_by
    )


def is_news(announced: EventFacts, stored: StoredFacts | None) -> bool:
    """Whether the event's status moves the order forward, or the order is new."""
    if stored is None:
        return True
    if announced.status is None:
        return False
    status = canonical_status(announced.status)
    if stored.status == OrderStatus.CANCELLED:
        return False
    if status == OrderStatus.CANCELLED:
        return True
    announced_rank, stored_rank = _RANK.get(status), _RANK.get(stored.status)
    if announced_rank is None or stored_rank is None:
        return status != stored.status and _is_newer(announced, stored)
    return announced_rank > stored_rank


def _covers(last_updated_at: datetime | None, changed_at: datetime | None) -> bool:
    return last_updated_at is not None and changed_at is not None and last_updated_at >= changed_at


def _is_newer(announced: EventFacts, stored: StoredFacts) -> bool:
    if announced.changed_at is None or stored.last_updated_at is None:
        return stored.last_updated_at is None
    return announced.changed_at > stored.last_updated_at
