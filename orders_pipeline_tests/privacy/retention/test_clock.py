"""The retention clock: as a table, and as laws that hold for any order."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orders_pipeline.privacy.retention.clock import (
    LIMIT,
    LIMIT_MARGIN,
    RETAINED_AT_MOST,
    WINDOW_AT_MOST,
    RetainedDetails,
    due,
)
from orders_pipeline.privacy.rules import SOURCES, WORDS, Rule

DAY = timedelta(days=1)
BOUGHT = datetime(2026, 11, 1, tzinfo=UTC)
STATES = (
    None, "queued", "pushing", "accepted", "refused", "held", "hold_asked", "holding", "release", "cancel_asked",
    "cancelled", "too_late", "shipped", "closed",
)  # fmt: skip
STATUSES = ("PENDING", "UNSHIPPED", "PARTIALLY_SHIPPED", "SHIPPED", "INVOICE_UNCONFIRMED", "CANCELLED", "UNFULFILLABLE")


def facts(**changes: Any) -> RetainedDetails:
    usual: dict[str, Any] = {
        "order_known": True, "status": "UNSHIPPED", "fulfilled_by": "MERCHANT", "retained_since": BOUGHT,
        "purchased_at": BOUGHT, "ship_by": BOUGHT + 2 * DAY, "deliver_by": BOUGHT + 6 * DAY, "queue_state": "queued",
    }  # fmt: skip
    return RetainedDetails(**{**usual, **changes})


def closed(**changes: Any) -> RetainedDetails:
    return facts(**{"status": "SHIPPED", "queue_state": "closed", "left_at": BOUGHT + 1 * DAY, **changes})


@pytest.mark.parametrize(
    ("known", "rule", "days", "warehouse_days"),
    [
        # Cancelled: what we hold at once; the warehouse once it has stopped, or answered for, what it has.
        (facts(status="CANCELLED", queue_state="cancelled", queue_changed_at=BOUGHT + DAY), "cancelled", 1, 1),
        (facts(status="CANCELLED", queue_state=None), "cancelled", 0, 0),
        (facts(status="CANCELLED", queue_state="cancel_asked", queue_changed_at=BOUGHT + DAY), "cancelled", 1, 13),
        (facts(status="CANCELLED", queue_state="pushing", queue_changed_at=BOUGHT + 22 * DAY), "cancelled", 22, 22),
        (facts(status="CANCELLED", queue_state="too_late", queue_changed_at=BOUGHT + DAY), "cancelled", 1, 13),
        # Never to be shipped by us.
        (facts(fulfilled_by="AMAZON", queue_state=None), "not_ours_to_ship", 0, 0),
        (facts(status="UNFULFILLABLE", queue_state=None), "not_ours_to_ship", 0, 0),
        (facts(order_known=False), "order_unknown", 0, 0),
        # Asked for: at once, whatever the warehouse is doing.
        (facts(erasure_requested_at=BOUGHT + 3 * DAY, queue_state="accepted"), "erasure_requested", 3, 3),
        # Shipped and read back: seven days after delivery, known or promised.
        (closed(delivered_at=BOUGHT + 3 * DAY), "verified", 10, 10),
        (closed(), "verified", 13, 13),
        (closed(deliver_by=None), "verified", 1 + 14 + 7, 1 + 14 + 7),
        # … but never past thirty days after the package left, which is before its delivery.
        (closed(deliver_by=BOUGHT + 60 * DAY), "verified", 1 + 28, 1 + 28),
        (facts(status="SHIPPED", queue_state=None), "verified", 13, 13),
        # Shipped, and no package says when (v0, or confirmed by hand): nothing is delivered before it is bought.
        (facts(status="SHIPPED", queue_state=None, deliver_by=BOUGHT + 30 * DAY), "verified", 28, 28),
        (facts(status="SHIPPED", queue_state="accepted", deliver_by=BOUGHT + 10 * DAY), "hard_limit", 28, 28),
        # Something is still open: thirty days after delivery, less the two that a failing run may take.
        (closed(unconfirmed_packages=1, delivered_at=BOUGHT + 3 * DAY), "hard_limit", 3 + 28, 3 + 28),
        (closed(unconfirmed_packages=1), "hard_limit", 1 + 28, 1 + 28),
        (facts(queue_state="accepted"), "hard_limit", 6 + 28, 6 + 28),
        # The first package left, the rest is still to be sent: the order is not delivered before its window ends.
        (
            facts(
                status="PARTIALLY_SHIPPED", queue_state="accepted", left_at=BOUGHT + DAY, deliver_by=BOUGHT + 40 * DAY
            ),
            "hard_limit",
            40 + 28,
            40 + 28,
        ),
        (
            facts(status="PARTIALLY_SHIPPED", queue_state="accepted", left_at=BOUGHT + 9 * DAY),
            "hard_limit",
            9 + 28,
            9 + 28,
        ),
        # Held ones wait until the hard limit; those that nobody took go with their delivery window.
        (facts(queue_state="held"), "held", 6 + 28, 6 + 28),
        (facts(queue_state="holding"), "held", 6 + 28, 6 + 28),
        (facts(queue_state="queued"), "never_pushed", 6, 6),
        (facts(queue_state="refused"), "never_pushed", 6, 6),
        (facts(queue_state=None, deliver_by=None), "never_pushed", 14, 14),
        (facts(queue_state=None, deliver_by=None, ship_by=None, purchased_at=None), "never_pushed", 14, 14),
    ],
)
def test_each_order_goes_when_its_rule_says(known: RetainedDetails, rule: str, days: float, warehouse_days: float):
    decided = due(known, NOW)
    assert (decided.rule, decided.due_at, decided.warehouse_due_at) == (
        rule,
        BOUGHT + days * DAY,
        BOUGHT + warehouse_days * DAY,
    )


NOW = BOUGHT + 91 * DAY
days = st.integers(-5, 90).map(lambda number: BOUGHT + number * DAY)
maybe = st.none() | days
any_facts = st.builds(
    RetainedDetails,
    order_known=st.booleans(),
    status=st.sampled_from(STATUSES),
    fulfilled_by=st.sampled_from(["MERCHANT", "AMAZON", "UNKNOWN"]),
    retained_since=days,
    purchased_at=maybe,
    ship_by=maybe,
    deliver_by=maybe,
    delivered_at=maybe,
    left_at=maybe,
    unconfirmed_packages=st.integers(0, 2),
    queue_state=st.sampled_from(STATES),
    queue_changed_at=maybe,
    erasure_requested_at=maybe,
)


@given(any_facts)
def test_nothing_is_due_after_the_hard_limit_unless_it_was_fetched_after_it(known: RetainedDetails):
    decided = due(known, NOW)
    latest = max(decided.limit - LIMIT_MARGIN, known.retained_since)
    assert decided.due_at <= latest
    assert decided.warehouse_due_at <= latest
    assert decided.due_at <= decided.warehouse_due_at


@given(any_facts.filter(lambda known: known.delivered_at is not None))
def test_the_hard_limit_is_never_later_than_thirty_days_after_a_known_delivery(known: RetainedDetails):
    assert known.delivered_at is not None
    assert due(known, NOW).limit == min(known.delivered_at, known.retained_since + WINDOW_AT_MOST) + LIMIT


def rest_is_to_come(known: RetainedDetails) -> bool:
    return known.status not in ("SHIPPED", "INVOICE_UNCONFIRMED") and known.queue_state in (
        "pushing", "accepted", "hold_asked", "holding", "release", "cancel_asked", "too_late",
    )  # fmt: skip


left_and_nothing_to_come = any_facts.filter(
    lambda known: known.left_at is not None and known.delivered_at is None and not rest_is_to_come(known)
)


@given(left_and_nothing_to_come, st.integers(0, 40))
def test_whenever_a_package_arrives_after_it_left_thirty_days_are_kept(known: RetainedDetails, days_on_the_way: int):
    assert known.left_at is not None
    assert due(known, NOW).limit <= known.left_at + days_on_the_way * DAY + LIMIT


absurd = st.none() | st.datetimes(timezones=st.just(UTC))
absurd_facts = st.builds(
    RetainedDetails,
    order_known=st.booleans(),
    status=st.sampled_from(STATUSES),
    fulfilled_by=st.sampled_from(["MERCHANT", "AMAZON", "UNKNOWN"]),
    retained_since=st.datetimes(timezones=st.just(UTC)),
    first_retained_at=absurd,
    purchased_at=absurd,
    ship_by=absurd,
    deliver_by=absurd,
    delivered_at=absurd,
    left_at=absurd,
    unconfirmed_packages=st.integers(0, 2),
    queue_state=st.sampled_from(STATES),
    queue_changed_at=absurd,
    erasure_requested_at=absurd,
)


@given(absurd_facts)
def test_whatever_times_are_stored_all_is_due_so_many_days_after_it_was_first_kept(known: RetainedDetails):
    decided = due(known, NOW)
    first_kept = min(known.first_retained_at or known.retained_since, NOW)
    # What was stored anew after that is due from then on, and no time that is still to come is believed.
    # (And what lies further back than twenty years is due since then.)
    latest = max(first_kept + RETAINED_AT_MOST, min(known.retained_since, NOW), NOW - 19 * 365 * DAY)
    assert decided.due_at <= decided.warehouse_due_at <= latest


@given(any_facts)
def test_what_was_asked_to_be_forgotten_is_due_at_once_everywhere(known: RetainedDetails):
    if known.erasure_requested_at is None:
        return
    decided = due(known, NOW)
    assert decided.rule is Rule.ERASURE_REQUESTED
    assert decided.due_at == decided.warehouse_due_at <= max(known.erasure_requested_at, known.retained_since)


def test_every_rule_has_words_and_a_source():
    assert set(WORDS) == set(SOURCES) == set(Rule)
