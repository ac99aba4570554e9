"""Whether an event is worth a call to Amazon: the plan, as a table."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from orders_pipeline.intake.event_decision import EventAction, EventFacts, StoredFacts, decide_event, is_news

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
BEFORE, AFTER = NOON - timedelta(minutes=1), NOON + timedelta(minutes=1)


def _told(
    status: str | None,
    at: datetime | None = AFTER,
    *,
    by: str = "MERCHANT",
    change: str = "OrderStatusChange",
    other: bool = False,
):
    return EventFacts(status, by, change, at, other)


def _known(status: str, *, by: str = "MERCHANT", fetched: bool = True, stopped: bool = False, left: bool = False):
    return StoredFacts(status, by, NOON, fetched, stopped, left)


@pytest.mark.parametrize(
    ("told", "known", "expected"),
    [
        # An order that we hear of for the first time.
        (_told("Unshipped"), None, EventAction.FETCH),
        (_told("PartiallyShipped"), None, EventAction.FETCH),
        (_told("Shipped"), None, EventAction.FETCH),
        (_told("SomethingNew"), None, EventAction.FETCH),
        (_told(None), None, EventAction.FETCH),
        (_told("Pending"), None, EventAction.RECORD),
        (_told("Canceled"), None, EventAction.RECORD),
        (_told("Unshipped", by="AMAZON"), None, EventAction.RECORD),
        (_told("Shipped", by="AMAZON"), None, EventAction.RECORD),
        # One that we know: what the notification tells in full costs no call.
        (_told("Shipped"), _known("UNSHIPPED", left=True), EventAction.RECORD),
        (_told("SHIPPED"), _known("PARTIALLY_SHIPPED", left=True), EventAction.RECORD),
        (_told("Canceled"), _known("PENDING", fetched=False), EventAction.RECORD),
        (_told("Shipped"), _known("UNSHIPPED", by="AMAZON"), EventAction.RECORD),
        # A message that ends an order that is to ship: stopped, and not believed before Amazon says so.
        (_told("Canceled"), _known("UNSHIPPED"), EventAction.STOP),
        (_told("CANCELLED"), _known("UNSHIPPED"), EventAction.STOP),
        (_told("Canceled", None), _known("UNSHIPPED"), EventAction.STOP),
        (_told("Canceled"), _known("UNSHIPPED", fetched=False), EventAction.STOP),
        (_told("Canceled"), _known("UNSHIPPED", stopped=True), EventAction.STOP),
        (_told("Canceled"), _known("UNFULFILLABLE"), EventAction.STOP),
        (_told("Canceled", None), _known("A_NEW_WORD"), EventAction.STOP),
        (_told("Shipped"), _known("UNSHIPPED"), EventAction.FETCH),
        (_told("SHIPPED"), _known("PARTIALLY_SHIPPED"), EventAction.FETCH),
        (_told("Canceled", by="AMAZON"), _known("UNSHIPPED"), EventAction.STOP),
        # Messages that contradict each other; Amazon's answer counts before either.
        (_told("Unshipped"), _known("UNSHIPPED", by="AMAZON", fetched=False), EventAction.FETCH),
        (_told("Unshipped", by="AMAZON"), _known("UNSHIPPED", fetched=False), EventAction.FETCH),
        (_told("Unshipped", by="AMAZON"), _known("UNSHIPPED"), EventAction.FETCH),
        (_told("Unshipped"), _known("UNSHIPPED", by="AMAZON"), EventAction.IGNORE),
        # Told to be cancelled, and told to live: whatever the times say.
        (_told("Unshipped", BEFORE), _known("CANCELLED", fetched=False), EventAction.FETCH),
        (_told("Shipped"), _known("CANCELLED", stopped=True), EventAction.FETCH),
        (_told(None), _known("CANCELLED", stopped=True), EventAction.FETCH),
        (_told("Pending"), _known("CANCELLED", stopped=True), EventAction.IGNORE),
        # Of a marketplace that is not configured.
        (_told("Unshipped", other=True), None, EventAction.RECORD),
        (_told("Canceled", other=True), _known("UNSHIPPED", fetched=False), EventAction.RECORD),
        # What only Amazon can say.
        (_told("Unshipped"), _known("PENDING", fetched=False), EventAction.FETCH),
        (_told("PartiallyShipped"), _known("UNSHIPPED"), EventAction.FETCH),
        (_told("Unshipped", change="BuyerRequestedChange"), _known("UNSHIPPED"), EventAction.FETCH),
        (_told("Unshipped", None), _known("UNSHIPPED"), EventAction.FETCH),
        (_told("Shipped", None), _known("A_NEW_WORD"), EventAction.FETCH),
        # What we know already, or better.
        (_told("Unshipped", BEFORE), _known("UNSHIPPED"), EventAction.IGNORE),
        (_told("Unshipped", BEFORE, change="BuyerRequestedChange"), _known("UNSHIPPED"), EventAction.IGNORE),
        (_told("Pending", BEFORE), _known("UNSHIPPED"), EventAction.IGNORE),
        (_told("Pending"), _known("SHIPPED"), EventAction.IGNORE),
        (_told("Pending"), _known("PENDING", fetched=False), EventAction.IGNORE),
        (_told("Shipped"), _known("SHIPPED"), EventAction.IGNORE),
        (_told("Shipped"), _known("CANCELLED"), EventAction.IGNORE),
        (_told("Unshipped"), _known("CANCELLED"), EventAction.IGNORE),
        (_told("Canceled"), _known("CANCELLED"), EventAction.IGNORE),
        (_told("Pending"), _known("SHIPPED", by="AMAZON"), EventAction.IGNORE),
        # A buyer's request for an order that is not paid yet: it will be read when it is.
        (_told("Pending", change="BuyerRequestedChange"), _known("PENDING", fetched=False), EventAction.IGNORE),
    ],
)
def test_an_event_costs_a_call_only_where_it_leaves_a_question(
    told: EventFacts, known: StoredFacts | None, expected: EventAction
):
    assert decide_event(told, known) is expected


def test_nothing_is_news_after_a_cancellation():
    assert not any(is_news(_told(status), _known("CANCELLED")) for status in ("Shipped", "Unshipped", "Canceled"))
