"""What an order's state at Amazon asks of the warehouse: the decision, as a table."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orders_pipeline.fulfillment.eligibility import (
    BUYER_ASKS_TO_CANCEL,
    CANCELLATION_ANNOUNCED,
    LABEL_BOUGHT_AT_AMAZON,
    NO_ADDRESS,
    NO_SKU,
    PICKED_UP_IN_STORE,
    REGULATED,
    TRANSPARENCY_CODES,
    UNKNOWN_FULFILLER,
    UNKNOWN_MARKETPLACE,
    UNKNOWN_STATUS,
    Decision,
    ItemFacts,
    OrderFacts,
    Wanted,
    decide,
)

ITEM = ItemFacts(ordered=2, fulfilled=0, cancelled=False, has_sku=True, programs=frozenset())
ORDER = OrderFacts(
    status="UNSHIPPED",
    fulfilled_by="MERCHANT",
    fetched=True,
    has_address=True,
    cancellation_requested=False,
    programs=frozenset(),
    items=(ITEM,),
)
HELD = Wanted.HOLD


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, Decision(Wanted.SHIP)),
        ({"status": "PARTIALLY_SHIPPED"}, Decision(Wanted.SHIP)),
        ({"programs": frozenset({"PRIME", "AMAZON_BUSINESS"})}, Decision(Wanted.SHIP)),
        # Not ours, or not yet.
        ({"fulfilled_by": "AMAZON"}, Decision(Wanted.NOTHING)),
        ({"fulfilled_by": "AMAZON", "status": "CANCELLED"}, Decision(Wanted.NOTHING)),
        ({"configured": False}, Decision(Wanted.OUTSIDE)),
        ({"configured": False, "has_address": False, "cancellation_requested": True}, Decision(Wanted.OUTSIDE)),
        ({"configured": False, "status": "CANCELLED"}, Decision(Wanted.CANCEL)),
        ({"status": "PENDING"}, Decision(Wanted.NOTHING)),
        ({"status": "PENDING_AVAILABILITY"}, Decision(Wanted.NOTHING)),
        ({"status": "UNFULFILLABLE"}, Decision(Wanted.NOTHING)),
        ({"fetched": False}, Decision(Wanted.NOTHING)),
        # Over. An order need not have been read for that.
        ({"status": "CANCELLED"}, Decision(Wanted.CANCEL)),
        ({"status": "CANCELLED", "fetched": False, "has_address": False}, Decision(Wanted.CANCEL)),
        ({"status": "SHIPPED"}, Decision(Wanted.CLOSE)),
        ({"status": "INVOICE_UNCONFIRMED"}, Decision(Wanted.CLOSE)),
        # Nothing is left of it.
        ({"items": ()}, Decision(Wanted.NOTHING)),
        ({"items": (replace(ITEM, cancelled=True),)}, Decision(Wanted.NOTHING)),
        ({"items": (replace(ITEM, fulfilled=2),)}, Decision(Wanted.NOTHING)),
        ({"items": (replace(ITEM, fulfilled=1),)}, Decision(Wanted.SHIP)),
        # A reason to wait.
        ({"status": "SOMETHING_NEW"}, Decision(HELD, (UNKNOWN_STATUS,))),
        ({"has_address": False}, Decision(HELD, (NO_ADDRESS,))),
        ({"fulfilled_by": "UNKNOWN"}, Decision(HELD, (UNKNOWN_FULFILLER,))),
        ({"fulfilled_by": "A_NEW_WORD"}, Decision(HELD, (UNKNOWN_FULFILLER,))),
        ({"fulfilled_by": "UNKNOWN", "status": "CANCELLED"}, Decision(Wanted.CANCEL)),
        ({"configured": None}, Decision(HELD, (UNKNOWN_MARKETPLACE,))),
        ({"cancellation_announced": True}, Decision(HELD, (CANCELLATION_ANNOUNCED,))),
        (
            {"cancellation_announced": True, "waived": frozenset({CANCELLATION_ANNOUNCED})},
            Decision(HELD, (CANCELLATION_ANNOUNCED,)),
        ),
        ({"cancellation_requested": True}, Decision(HELD, (BUYER_ASKS_TO_CANCEL,))),
        ({"cancellation_requested": True, "has_address": False}, Decision(HELD, (BUYER_ASKS_TO_CANCEL, NO_ADDRESS))),
        ({"programs": frozenset({"FBM_SHIP_PLUS"})}, Decision(HELD, (LABEL_BOUGHT_AT_AMAZON,))),
        ({"programs": frozenset({"AMAZON_EASY_SHIP"})}, Decision(HELD, (LABEL_BOUGHT_AT_AMAZON,))),
        ({"programs": frozenset({"IN_STORE_PICK_UP"})}, Decision(HELD, (PICKED_UP_IN_STORE,))),
        ({"programs": frozenset({"REGULATED"})}, Decision(HELD, (REGULATED,))),
        ({"items": (replace(ITEM, programs=frozenset({"TRANSPARENCY"})),)}, Decision(HELD, (TRANSPARENCY_CODES,))),
        ({"items": (replace(ITEM, has_sku=False),)}, Decision(HELD, (NO_SKU,))),
        # What is cancelled needs neither codes nor a SKU.
        ({"items": (ITEM, replace(ITEM, has_sku=False, cancelled=True))}, Decision(Wanted.SHIP)),
    ],
)
def test_only_unshipped_merchant_orders_with_an_address_and_no_hold_ship(change: dict[str, object], expected: Decision):
    assert decide(replace(ORDER, **change)) == expected  # type: ignore[arg-type]


@given(
    status=st.sampled_from(["PENDING", "UNSHIPPED", "PARTIALLY_SHIPPED", "SHIPPED", "CANCELLED", "UNFULFILLABLE", "X"]),
    fulfilled_by=st.sampled_from(["MERCHANT", "AMAZON", "UNKNOWN"]),
    fetched=st.booleans(),
    has_address=st.booleans(),
    asked=st.booleans(),
    programs=st.frozensets(st.sampled_from(["PRIME", "FBM_SHIP_PLUS", "REGULATED"])),
)
def test_whatever_is_shipped_meets_every_condition_of_promise_4(
    status: str, fulfilled_by: str, fetched: bool, has_address: bool, asked: bool, programs: frozenset[str]
):
    facts = OrderFacts(status, fulfilled_by, fetched, has_address, asked, programs, (ITEM,))
    if decide(facts).wanted is Wanted.SHIP:
        assert (fulfilled_by, fetched, has_address, asked) == ("MERCHANT", True, True, False)
        assert status in ("UNSHIPPED", "PARTIALLY_SHIPPED")
        assert programs <= {"PRIME"}
