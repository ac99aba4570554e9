"""When the details of one order must go, and why: a pure function of what is known of the order.

| what is known | vault | rule |
| --- | --- | --- |
| an erasure was asked for | at once | erasure_requested |
| no such order here | at once | order_unknown |
| cancelled | at once | cancelled |
| Amazon ships it, or nobody can | at once | not_ours_to_ship |
| shipped, nothing left to confirm or to read back | 7 days after delivery | verified |
| held | 30 days after the delivery window, less two days | held |
| nothing was taken by the warehouse | the end of the delivery window | never_pushed |
| anything else | 30 days after delivery, less two days | hard_limit |

Amazon never says when a package arrived, and a delivery window ends after most of its packages have. So what is not
known
is taken to be early: `delivered_at` is the last moment at which the package was still on its way, and where not even
that is known, the thirty days count from when the first package left the warehouse: nothing is delivered before. Is the
order shipped and no package known (version v0, or confirmed by hand in Seller Central), they count from its purchase.
While the rest of an order is still to be sent, the order is not delivered before its window ends.

Stored times may be wrong: a clock was ahead, or somebody changed a row. None that is later than now is believed, and
none moves the end past RETAINED_AT_MOST after the details were first kept.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from orders_pipeline.model.order import AMAZON, OrderStatus
from orders_pipeline.model.states import AT_THE_WAREHOUSE, FulfillmentState
from orders_pipeline.privacy.rules import Rule

LIMIT = timedelta(days=30)
# A nightly run that fails, and fails again, is still in time.
LIMIT_MARGIN = timedelta(days=2)
# A package that got lost, or came to the wrong door, is sent again within days, or not at all.
AFTER_DELIVERY = timedelta(days=7)
# Where Amazon named no delivery window.
ASSUMED_DELIVERY = timedelta(days=14)

# The longest delivery window that is believed, from when the details were first kept: handling takes 30 days at most
# (Seller Central, "Production time"), the slowest transit some eight weeks. Later windows are an error, or a forgery.
WINDOW_AT_MOST = timedelta(days=90)
RETAINED_AT_MOST = WINDOW_AT_MOST + LIMIT - LIMIT_MARGIN
# PostgreSQL and a forger know times that no arithmetic survives.
_BELIEVED_FOR = timedelta(days=20 * 365)

_SHIPPED = frozenset({OrderStatus.SHIPPED, OrderStatus.INVOICE_UNCONFIRMED})
S = FulfillmentState
_HELD = frozenset({S.HELD, S.HOLD_ASKED, S.HOLDING})
_NOT_TAKEN = frozenset({None, S.QUEUED, S.REFUSED})
# The warehouse has the order and is still to ship it, stop it, or answer for it.
_IN_WORK = AT_THE_WAREHOUSE | {S.CANCEL_ASKED, S.TOO_LATE}


@dataclass(frozen=True, slots=True)
class RetainedDetails:
    """What is known of an order whose details are kept, here or at the warehouse. Times aware, UTC."""

    order_known: bool
    status: str
    fulfilled_by: str
    retained_since: datetime  # of the newest content
    first_retained_at: datetime | None = None  # of the first; None: as retained_since
    purchased_at: datetime | None = None
    ship_by: datetime | None = None
    deliver_by: datetime | None = None
    delivered_at: datetime | None = None
    left_at: datetime | None = None  # when the first package left the warehouse
    unconfirmed_packages: int = 0  # Amazon is still to hear of them, or to be seen to have heard
    queue_state: str | None = None
    queue_changed_at: datetime | None = None
    erasure_requested_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Due:
    """When what we hold must go, when the warehouse must erase it, and by when at the latest."""

    rule: Rule
    due_at: datetime
    warehouse_due_at: datetime
    limit: datetime


def due(facts: RetainedDetails, now: datetime) -> Due:
    """Decide from the facts alone, as far as they can be believed now."""
    facts = _believed(facts, now)
    limit = _earliest_delivery(facts) + LIMIT
    latest = limit - LIMIT_MARGIN
    after_delivery = min(_assumed_delivery(facts) + AFTER_DELIVERY, latest)

    def decided(rule: Rule, due_at: datetime, warehouse_due_at: datetime | None = None) -> Due:
        # What was fetched anew after its time is due from then on, not since before it was there.
        ours = max(due_at, facts.retained_since)
        return Due(rule, ours, ours if warehouse_due_at is None else max(warehouse_due_at, facts.retained_since), limit)

    at_once = _at_once(facts)
    if at_once is not None:
        rule, since = at_once
        waits = facts.queue_state in _IN_WORK and rule is not Rule.ERASURE_REQUESTED
        # What is on its way, or still to be stopped, needs its label; what we hold does not.
        ours = min(since, latest)
        return decided(rule, ours, max(ours, after_delivery) if waits else None)
    if facts.status in _SHIPPED and facts.queue_state in (None, S.CLOSED) and facts.unconfirmed_packages == 0:
        return decided(Rule.VERIFIED, after_delivery)
    if facts.queue_state in _HELD:
        return decided(Rule.HELD, latest)
    if facts.queue_state in _NOT_TAKEN and facts.left_at is None:
        return decided(Rule.NEVER_PUSHED, min(_assumed_delivery(facts), latest))
    return decided(Rule.HARD_LIMIT, latest)


def _believed(facts: RetainedDetails, now: datetime) -> RetainedDetails:
    """The facts without what is still to come, and without what lies too long after the details were first kept."""
    long_ago = now - _BELIEVED_FOR

    def past(moment: datetime) -> datetime:
        return max(min(moment, now), long_ago)

    first_retained_at = past(facts.first_retained_at or facts.retained_since)
    latest = first_retained_at + WINDOW_AT_MOST

    def known(moment: datetime | None) -> datetime | None:
        return None if moment is None or moment > now else min(past(moment), latest)

    def window(end: datetime | None) -> datetime | None:
        return None if end is None else min(max(end, long_ago), latest)

    # A package that left at a time that is not believed left after its details were here.
    left_at = None if facts.left_at is None else known(facts.left_at) or first_retained_at
    return replace(
        facts,
        retained_since=past(facts.retained_since),
        first_retained_at=first_retained_at,
        purchased_at=known(facts.purchased_at),
        ship_by=window(facts.ship_by),
        deliver_by=window(facts.deliver_by),
        delivered_at=known(facts.delivered_at),
        left_at=left_at,
        queue_changed_at=None if facts.queue_changed_at is None else past(facts.queue_changed_at),
        erasure_requested_at=None if facts.erasure_requested_at is None else past(facts.erasure_requested_at),
    )


def _first_known(facts: RetainedDetails) -> datetime:
    """The order was not bought before, or its details not kept before."""
    return facts.purchased_at or facts.first_retained_at or facts.retained_since


def _at_once(facts: RetainedDetails) -> tuple[Rule, datetime] | None:
    """The rule, and since when it has applied."""
    if facts.erasure_requested_at is not None:
        return Rule.ERASURE_REQUESTED, max(facts.erasure_requested_at, facts.retained_since)
    since = max(facts.retained_since, facts.queue_changed_at or facts.retained_since)
    if not facts.order_known:
        return Rule.ORDER_UNKNOWN, facts.retained_since
    if facts.status == OrderStatus.CANCELLED or facts.queue_state == "cancelled":
        return Rule.CANCELLED, since
    if facts.fulfilled_by == AMAZON or facts.status == OrderStatus.UNFULFILLABLE:
        return Rule.NOT_OURS_TO_SHIP, since
    return None


def _earliest_delivery(facts: RetainedDetails) -> datetime:
    """No package of this order was delivered before."""
    if facts.delivered_at is not None:
        return facts.delivered_at
    if facts.left_at is not None:
        # The first package of several: the order is not delivered before the last one, which is still to be sent.
        rest_to_come = facts.status not in _SHIPPED and facts.queue_state in _IN_WORK
        return max(facts.left_at, facts.deliver_by or facts.left_at) if rest_to_come else facts.left_at
    if facts.status in _SHIPPED:
        return _first_known(facts)
    return facts.deliver_by or facts.ship_by or _first_known(facts)


def _assumed_delivery(facts: RetainedDetails) -> datetime:
    known = facts.delivered_at or facts.deliver_by
    if known is not None:
        return known
    begun = facts.left_at or _first_known(facts)
    return max(begun + ASSUMED_DELIVERY, facts.ship_by or begun)
