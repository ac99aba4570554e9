"""Whether an event is worth a call to Amazon: the plan, as a table."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from orders_pipeline.orders.plan import Known, Plan, Told, is_news, plan_event

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
BEFORE, AFTER = NOON - timedelta(minutes=1), NOON + timedelta(minutes=1)


def _told(status: str | None, at: datetime | None = AFTER, *, by: str = "MERCHANT", change: str = "OrderStatusChange"):
    return Told(status, by, change, at)


def _known(status: str, *, by: str = "MERCHANT", at: datetime | None = NOON, fetched: bool = True):
    return Known(status, by, at, fetched)


@pytest.mark.parametrize(
    ("told", "known", "expected"),
    [
        # An order that we hear of for the first time.
        (_told("Unshipped"), None, Plan.FETCH),
        (_told("PartiallyShipped"), None, Plan.FETCH),
        (_told("Shipped"), None, Plan.FETCH),
        (_told("SomethingNew"), None, Plan.FETCH),
        (_told(None), None, Plan.FETCH),
        (_told("Pending"), None, Plan.RECORD),
        (_told("Canceled"), None, Plan.RECORD),
        (_told("Unshipped", by="AMAZON"), None, Plan.RECORD),
        (_told("Shipped", by="AMAZON"), None, Plan.RECORD),
        # One that we know: what the notification tells in full costs no call.
        (_told("Shipped"), _known("UNSHIPPED"), Plan.RECORD),
        (_told("SHIPPED"), _known("PARTIALLY_SHIPPED"), Plan.RECORD),
        (_told("Canceled"), _known("UNSHIPPED"), Plan.RECORD),
        (_told("CANCELLED"), _known("UNSHIPPED"), Plan.RECORD),
        (_told("Canceled", None), _known("UNSHIPPED"), Plan.RECORD),
        (_told("Canceled"), _known("UNFULFILLABLE"), Plan.RECORD),
        (_told("Canceled", None), _known("A_NEW_WORD"), Plan.RECORD),
        (_told("Canceled"), _known("PENDING", fetched=False), Plan.RECORD),
        (_told("Shipped"), _known("UNSHIPPED", by="AMAZON"), Plan.RECORD),
        # What only Amazon can say.
        (_told("Unshipped"), _known("PENDING", fetched=False), Plan.FETCH),
        (_told("PartiallyShipped"), _known("UNSHIPPED"), Plan.FETCH),
        (_told("Unshipped", change="BuyerRequestedChange"), _known("UNSHIPPED"), Plan.FETCH),
        (_told("Unshipped", None), _known("UNSHIPPED"), Plan.FETCH),
        (_told("Shipped", None), _known("A_NEW_WORD"), Plan.FETCH),
        # What we know already, or better.
        (_told("Unshipped", BEFORE), _known("UNSHIPPED"), Plan.IGNORE),
        (_told("Unshipped", BEFORE, change="BuyerRequestedChange"), _known("UNSHIPPED"), Plan.IGNORE),
        (_told("Pending", BEFORE), _known("UNSHIPPED"), Plan.IGNORE),
        (_told("Pending"), _known("SHIPPED"), Plan.IGNORE),
        (_told("Pending"), _known("PENDING", fetched=False), Plan.IGNORE),
        (_told("Shipped"), _known("SHIPPED"), Plan.IGNORE),
        (_told("Shipped"), _known("CANCELLED"), Plan.IGNORE),
        (_told("Unshipped"), _known("CANCELLED", fetched=False), Plan.IGNORE),
        (_told("Canceled"), _known("CANCELLED"), Plan.IGNORE),
        (_told("Pending"), _known("SHIPPED", by="AMAZON"), Plan.IGNORE),
        # A buyer's request for an order that is not paid yet: it will be read when it is.
        (_told("Pending", change="BuyerRequestedChange"), _known("PENDING", fetched=False), Plan.IGNORE),
    ],
)
def test_an_event_costs_a_call_only_where_it_leaves_a_question(told: Told, known: Known | None, expected: Plan):
    assert plan_event(told, known) is expected


def test_nothing_is_news_after_a_cancellation():
    assert not any(is_news(_told(status), _known("CANCELLED")) for status in ("Shipped", "Unshipped", "Canceled"))
