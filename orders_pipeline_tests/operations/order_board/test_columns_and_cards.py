"""What an order's facts mean for a person: a table of cases, and a word for every state that there is."""

from __future__ import annotations

from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta

import pytest

from orders_pipeline.fulfillment import eligibility
from orders_pipeline.model.order import OrderStatus
from orders_pipeline.model.states import NEEDS_A_PERSON, FulfillmentState
from orders_pipeline.operations.order_board.attention import NEEDS_WORDS
from orders_pipeline.operations.order_board.cards import Card, Tone
from orders_pipeline.operations.order_board.columns import COLUMNS, STATUS_COLUMNS, Column, column_of
from orders_pipeline.operations.order_board.filters import HOLD_WORDS
from orders_pipeline.orders.ownership import PURCHASED_BEFORE_START
from orders_pipeline.web.board.openapi import STATUS_WORDS
from orders_pipeline.web.board.rendering import age, time_left

NOW = datetime(2026, 12, 1, 12, tzinfo=UTC)
CARD = Card(
    account_id="A1", order_id="111-1", key="infinity", marketplace_id="ATVPDKIKX0DER", status="UNSHIPPED",
    fulfilled_by="MERCHANT", programs=(), purchased_at=NOW, first_seen_at=NOW, last_updated_at=NOW, ship_by=NOW,
    deliver_by=None, delivered_at=None, other_marketplace=False, state="accepted", hold_reasons=(), items=(),
    item_count=0, quantity=0, packages=0, unconfirmed=0, problems=(), needs=(), is_parked=False, claimed_by=None,
    claimed_at=None, is_overdue=False,
)  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "tone", "word", "attention"),
    [
        ({}, Tone.ACTION, "To ship", ()),
        ({"is_overdue": True}, Tone.LATE, "Late", ("its ship-by time is over",)),
        ({"state": "shipped"}, Tone.QUIET, "Left", ()),
        # Amazon counts it as late until it is shown its package.
        ({"is_overdue": True, "state": "shipped"}, Tone.LATE, "Late", ("its ship-by time is over",)),
        ({"state": "too_late", "needs": ("too_late",)}, Tone.QUIET, "Left", (NEEDS_WORDS["too_late"],)),
        ({"status": "CANCELLED", "state": "too_late"}, Tone.QUIET, "Canceled", ()),
        ({"state": "held", "hold_reasons": ("no_address",)}, Tone.ACTION, "On hold", ("no address yet",)),
        ({"state": "refused"}, Tone.ACTION, "Refused", ("the warehouse refused it",)),
        ({"problems": ("dropped",), "state": "shipped"}, Tone.QUIET, "Left", ("Amazon never showed a package",)),
        ({"is_parked": True}, Tone.ACTION, "To ship", ("its work was set aside",)),
        ({"fulfilled_by": "AMAZON", "is_overdue": True, "state": None}, Tone.AFN, "Amazon ships", ()),
        ({"status": "SHIPPED", "is_overdue": True, "state": "closed"}, Tone.SHIPPED, "Shipped", ()),
        ({"status": "SHIPPED", "delivered_at": NOW, "state": "closed"}, Tone.SHIPPED, "Delivered", ()),
        ({"status": "PENDING", "is_overdue": True, "state": None}, Tone.QUIET, "Pending", ()),
        ({"status": "CANCELLED", "state": "cancelled"}, Tone.QUIET, "Canceled", ()),
        ({"status": "QUARANTINED", "state": None}, Tone.QUIET, "Unknown state", ()),
        ({"other_marketplace": True, "is_overdue": True, "state": None}, Tone.QUIET, "Unshipped", ()),
    ],
)
def test_a_card_says_what_an_order_needs(changed: dict[str, object], tone: Tone, word: str, attention: tuple[str, ...]):
    card = replace(CARD, **changed)  # pyright: ignore[reportArgumentType]
    assert (card.tone, card.tone_word, card.attention) == (tone, word, attention)


@pytest.mark.parametrize(
    ("changed", "tone", "whereabouts"),
    [
        ({}, Tone.ACTION, "at the warehouse"),
        ({"state": None}, Tone.ACTION, "with Amazon"),
        ({"state": "shipped", "unconfirmed": 1}, Tone.QUIET, "left; Amazon is being told"),
        ({"state": "shipped"}, Tone.QUIET, "left; Amazon was told"),
        *(
            ({"state": "shipped", "unconfirmed": 1, "problems": (problem,)}, Tone.QUIET,
             "left; Amazon does not know of all of it")
            for problem in ("needs_correction", "refused", "dropped")
        ),
        ({"state": "too_late"}, Tone.QUIET, "left, although it should not"),
        ({"status": "SHIPPED", "state": "closed"}, Tone.SHIPPED, "on its way"),
        ({"status": "SHIPPED", "state": "closed", "delivered_at": NOW}, Tone.SHIPPED, "arrived"),
        ({"fulfilled_by": "AMAZON", "state": None}, Tone.AFN, "in Amazon's warehouse"),
        ({"fulfilled_by": "AMAZON", "state": None, "status": "SHIPPED"}, Tone.SHIPPED, "shipped by Amazon"),
        ({"fulfilled_by": "AMAZON", "state": None, "status": "CANCELLED"}, Tone.QUIET, "not shipped"),
    ],
)  # fmt: skip
def test_a_card_says_where_an_order_is(changed: dict[str, object], tone: Tone, whereabouts: str):
    card = replace(CARD, **changed)  # pyright: ignore[reportArgumentType]
    assert (card.tone, card.whereabouts) == (tone, whereabouts)


def test_every_status_has_its_column_and_every_other_is_shown():
    statuses = {value for name, value in vars(OrderStatus).items() if name.isupper()}
    assert {column_of(status, delivered=False) for status in statuses} == {
        Column.PENDING, Column.UNSHIPPED, Column.SHIPPED, Column.CANCELED,
    }  # fmt: skip
    assert column_of("SHIPPED", delivered=True) is Column.DELIVERED
    assert column_of("TELEPORTED", delivered=False) is Column.OTHER
    # The SQL of a column names every status once.
    for status in statuses:
        naming = [one for one in STATUS_COLUMNS if f"'{status}'" in COLUMNS[one].condition and one is not Column.OTHER]
        assert set(naming) <= {column_of(status, delivered=False), column_of(status, delivered=True)}, status
        assert naming, status
        assert f"'{status}'" in COLUMNS[Column.OTHER].condition


def test_every_state_reason_and_problem_has_words():
    for state in FulfillmentState:
        assert replace(CARD, state=str(state)).whereabouts != replace(CARD, state="what is this").whereabouts, state
    reasons = {value for name, value in vars(eligibility).items() if name.isupper() and isinstance(value, str)}
    others = {eligibility.MERCHANT, eligibility.AMAZON, eligibility.IN_STORE_PICK_UP, eligibility.REGULATED_PROGRAM}
    assert set(HOLD_WORDS) == reasons - others - {eligibility.APPROVED} | {PURCHASED_BEFORE_START}
    for problem in NEEDS_A_PERSON:
        assert replace(CARD, problems=(str(problem),)).attention, problem
    assert set(STATUS_WORDS) == set(STATUS_COLUMNS)


def test_a_card_holds_nothing_of_a_buyer():
    assert not {"name", "address", "phone", "email", "buyer"} & {
        part for one in fields(Card) for part in one.name.split("_")
    }


@pytest.mark.parametrize(
    ("due_in", "expected"),
    [
        (timedelta(days=2, hours=3, minutes=9), "2 d 3 h left"),
        (timedelta(hours=2, minutes=5), "2 h 5 min left"),
        (timedelta(seconds=59), "0 min left"),
        (-timedelta(minutes=45), "-45 min"),
        (-timedelta(days=1), "-1 d"),
    ],
)
def test_time_left_is_negative_when_late(due_in: timedelta, expected: str):
    assert time_left(NOW + due_in, NOW) == expected
    assert age(NOW - timedelta(hours=1), NOW) == "1 h old"
