"""Whether an event is worth a call to Amazon: the plan, as a table."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from orders_pipeline.intake.event_decision import Known, Plan, Told, is_news, plan_event

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
    return Told(status, by, change, at, other)


def _known(status: str, *, by: str = "MERCHANT", fetched: bool = True, stopped: bool = False, left: bool = False):
    return Known(status, by, NOON, fetched, stopped, left)


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
        (_told("Shipped"), _known("UNSHIPPED", left=True), Plan.RECORD),
        (_told("SHIPPED"), _known("PARTIALLY_SHIPPED", left=True), Plan.RECORD),
        (_told("Canceled"), _known("PENDING", fetched=False), Plan.RECORD),
        (_told("Shipped"), _known("UNSHIPPED", by="AMAZON"), Plan.RECORD),
        # A message that ends an order that is to ship: stopped, and not believed before Amazon says so.
        (_told("Canceled"), _known("UNSHIPPED"), Plan.STOP),
        (_told("CANCELLED"), _known("UNSHIPPED"), Plan.STOP),
        (_told("Canceled", None), _known("UNSHIPPED"), Plan.STOP),
        (_told("Canceled"), _known("UNSHIPPED", fetched=False), Plan.STOP),
        (_told("Canceled"), _known("UNSHIPPED", stopped=True), Plan.STOP),
        (_told("Canceled"), _known("UNFULFILLABLE"), Plan.STOP),
        (_told("Canceled", None), _known("A_NEW_WORD"), Plan.STOP),
        (_told("Shipped"), _known("UNSHIPPED"), Plan.FETCH),
        (_told("SHIPPED"), _known("PARTIALLY_SHIPPED"), Plan.FETCH),
        (_told("Canceled", by="AMAZON"), _known("UNSHIPPED"), Plan.STOP),
        # Messages that contradict each other; Amazon's answer counts before either.
        (_told("Unshipped"), _known("UNSHIPPED", by="AMAZON", fetched=False), Plan.FETCH),
        (_told("Unshipped", by="AMAZON"), _known("UNSHIPPED", fetched=False), Plan.FETCH),
        (_told("Unshipped", by="AMAZON"), _known("UNSHIPPED"), Plan.FETCH),
        (_told("Unshipped"), _known("UNSHIPPED", by="AMAZON"), Plan.IGNORE),
        # Told to be cancelled, and told to live: whatever the times say.
        (_told("Unshipped", BEFORE), _known("CANCELLED", fetched=False), Plan.FETCH),
        (_told("Shipped"), _known("CANCELLED", stopped=True), Plan.FETCH),
        (_told(None), _known("CANCELLED", stopped=True), Plan.FETCH),
        (_told("Pending"), _known("CANCELLED", stopped=True), Plan.IGNORE),
        # Of a marketplace that is not configured.
        (_told("Unshipped", other=True), None, Plan.RECORD),
        (_told("Canceled", other=True), _known("UNSHIPPED", fetched=False), Plan.RECORD),
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
        (_told("Unshipped"), _known("CANCELLED"), Plan.IGNORE),
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
