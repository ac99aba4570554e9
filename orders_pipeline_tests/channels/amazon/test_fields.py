"""Reading Amazon's JSON: lenient where an order can do without, strict where it cannot, and never telling a value."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orders_pipeline.channels.amazon.api.orders_v0_wire import read_order as read_v0
from orders_pipeline.channels.amazon.api.orders_v0_wire import read_shipping_details as read_v0_details
from orders_pipeline.channels.amazon.api.orders_v2026_wire import read_order as read_v2026
from orders_pipeline.channels.amazon.api.orders_v2026_wire import read_shipping_details as read_v2026_details
from orders_pipeline.channels.amazon.fields import LONGEST_WORD, MOST_TEXTS, FieldProblem, Fields
from orders_pipeline.model.order import UNKNOWN_FULFILLER, Money
from orders_pipeline.model.untrusted_text import is_bounded

SECRET = "Jane Doe of 12 Secret Street"
LEAST_2026: dict[str, Any] = {"orderId": "1", "lastUpdatedTime": "2026-11-20T10:00:00Z", "orderItems": []}
LEAST_V0: dict[str, Any] = {"AmazonOrderId": "1", "LastUpdateDate": "2026-11-20T10:00:00Z"}
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.just(SECRET) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
NAMES_2026 = (
    *("salesChannel", "fulfillment", "programs", "proceeds", "packages", "recipient", "orderItems"),
    *("createdTime", "buyer"),
)
NAMES_V0 = (
    "OrderStatus", "MarketplaceId", "OrderTotal", "LatestShipDate", "IsPrime", "ShippingAddress", "PurchaseDate",
)  # fmt: skip


@pytest.mark.parametrize(
    ("told", "meant"),
    [
        ("2026-11-20T10:00:00Z", datetime(2026, 11, 20, 10, tzinfo=UTC)),
        ("2026-11-20T10:00:00.123Z", datetime(2026, 11, 20, 10, 0, 0, 123_000, tzinfo=UTC)),
        ("2026-11-20T12:00:00+02:00", datetime(2026, 11, 20, 10, tzinfo=UTC)),
        ("2026-11-20T10:00:00", datetime(2026, 11, 20, 10, tzinfo=UTC)),
        ("yesterday", None),
        ("0001-01-01T00:00:00+14:00", None),
        (None, None),
        (17, None),
        ("1970-01-01T00:00:00Z", datetime(1970, 1, 1, tzinfo=UTC)),
        # Arithmetic with it would fail: no deadline is that far away.
        ("9999-12-31T23:59:59Z", None),
        ("1582-10-15T00:00:00Z", None),
    ],
)
def test_times_with_and_without_milliseconds_are_aware_and_utc(told: object, meant: datetime | None) -> None:
    assert Fields({"t": told}, "x").time("t") == meant


@pytest.mark.parametrize(
    ("told", "meant"), [(True, True), ("true", True), ("TRUE", True), (False, False), ("false", False), (None, False)]
)
def test_booleans_may_be_texts(told: object, meant: bool) -> None:
    assert Fields({"f": told}, "x").flag("f") is meant


@pytest.mark.parametrize(
    ("told", "meant"),
    [
        (3, 3),
        ("3", 3),
        (3.0, 3),
        (True, None),
        ("three", None),
        (1.5, None),
        (float("inf"), None),
        ("9" * 5000, None),
        (2_147_483_647, 2_147_483_647),
        (2_147_483_648, None),
        ("2147483648", None),
        (-2_147_483_649, None),
        (10**4000, None),
        (1e300, None),
    ],
)
def test_whole_numbers_may_be_texts(told: object, meant: int | None) -> None:
    assert Fields({"n": told}, "x").whole("n") == meant


@pytest.mark.parametrize(
    ("told", "meant"),
    [
        ("10.00", Decimal("10.00")),
        ("500", Decimal(500)),
        ("NaN", None),
        ("ten", None),
        (10, Decimal(10)),
        ("1E+999999", None),
        ("1E-999999", None),
        ("0E-999999", None),
        ("0." + "1" * 400, None),
        (1e300, None),
        (10**400, None),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_money_is_decimal(told: object, meant: Decimal | None) -> None:
    money = Fields({"a": told, "c": "USD"}, "x").money("a", "c")
    assert money == (Money(meant, "USD") if meant is not None else None)


def test_an_order_of_nothing_but_what_it_cannot_do_without_is_read() -> None:
    new = read_v2026(Fields(LEAST_2026, "order"), with_packages=True)
    old = read_v0(Fields(LEAST_V0, "order"), [])
    assert new.status == old.status == "UNKNOWN"
    assert new.fulfilled_by == old.fulfilled_by == UNKNOWN_FULFILLER
    assert new.packages == ()
    assert new.purchased_at == new.last_updated_at


def test_values_that_nobody_has_seen_before_are_kept_as_they_are() -> None:
    body = {
        **LEAST_2026,
        "programs": ["AMAZON_MOON"],
        "fulfillment": {
            "fulfillmentStatus": "ON_THE_MOON",
            "fulfilledBy": "MARTIANS",
            "fulfillmentServiceLevel": "LIGHT",
        },
        "packages": [{"packageReferenceId": "UK-PKG-1", "packageStatus": {"status": "ORBITING"}}],
    }
    order = read_v2026(Fields(body, "order"), with_packages=True)
    assert (order.status, order.fulfilled_by, order.service_level) == ("ON_THE_MOON", "MARTIANS", "LIGHT")
    assert order.programs == {"AMAZON_MOON"}
    assert order.packages is not None
    assert order.packages[0].status == "ORBITING"


def test_a_listing_keeps_an_order_of_which_one_item_cannot_be_read() -> None:
    body = {**LEAST_2026, "orderItems": [{"orderItemId": "1", "quantityOrdered": 1}, {"orderItemId": "2"}]}
    with pytest.raises(FieldProblem, match="quantityOrdered"):
        read_v2026(Fields(body, "order"), with_packages=False)
    assert len(read_v2026(Fields(body, "order"), with_packages=False, strict=False).items) == 1


def test_the_price_of_a_v0_line_is_shared_by_its_pieces() -> None:
    def unit(amount: str, quantity: int) -> Money | None:
        line = {
            "OrderItemId": "1",
            "QuantityOrdered": quantity,
            "ItemPrice": {"Amount": amount, "CurrencyCode": "USD"},
        }
        return read_v0(Fields(LEAST_V0, "order"), [Fields(line, "item")]).items[0].unit_price

    assert unit("29.97", 3) == Money(Decimal("9.99"), "USD")
    assert unit("1500", 2) == Money(Decimal(750), "USD")
    assert unit("10.00", 3) == Money(Decimal("3.33"), "USD")
    assert unit("0.00", 0) is None


def test_ship_plus_told_of_an_item_holds_for_the_order() -> None:
    line = {
        "OrderItemId": "1",
        "QuantityOrdered": 1,
        "AmazonPrograms": {"Programs": ["FBM_SHIP_PLUS", "SUBSCRIBE_AND_SAVE"]},
    }
    order = read_v0(Fields(LEAST_V0, "order"), [Fields(line, "item")])
    assert order.programs == {"FBM_SHIP_PLUS"}
    assert order.items[0].programs == {"SUBSCRIBE_AND_SAVE"}


@given(st.dictionaries(st.sampled_from(NAMES_2026), ANYTHING), st.dictionaries(st.sampled_from(NAMES_V0), ANYTHING))
def test_any_answer_is_an_order_or_a_problem_without_its_values(new: dict[str, Any], old: dict[str, Any]) -> None:
    try:
        read_v2026(Fields({**LEAST_2026, **new}, "order"), with_packages=True)
    except FieldProblem as problem:
        assert SECRET not in str(problem)
    details = read_v2026_details(Fields({**LEAST_2026, **new}, "order"))
    assert SECRET not in repr(details)
    read_v0(Fields({**LEAST_V0, **old}, "order"), [])
    read_v0_details(Fields(old, "order").part("ShippingAddress"), [])


@pytest.mark.parametrize(
    ("ordered", "fulfilled", "unfulfilled", "expected_ordered", "expected_cancelled"),
    [
        (3, 0, 0, 3, True),  # wholly cancelled
        (3, 1, 0, 3, True),  # the rest was
        (3, 0, 2, 2, False),  # one of three was: two are still to ship
        (3, 1, 1, 2, False),
    ],
)
def test_of_a_line_that_was_cancelled_in_part_the_rest_is_still_to_ship(
    ordered: int, fulfilled: int, unfulfilled: int, expected_ordered: int, expected_cancelled: bool
) -> None:
    line = {
        "orderItemId": "1",
        "quantityOrdered": ordered,
        "product": {},
        "fulfillment": {"quantityFulfilled": fulfilled, "quantityUnfulfilled": unfulfilled},
        "cancellation": {"cancellationExecution": {"cancelledBy": "BUYER"}},
    }
    body = {**LEAST_2026, "orderItems": [line]}
    read = read_v2026(Fields(body, "order"), with_packages=True).items[0]
    assert (read.quantity_ordered, read.cancelled) == (expected_ordered, expected_cancelled)


def test_stored_text_is_bounded_but_tokens_and_buyers_words_are_exact():
    fields = Fields(
        {"status": "X" * 9_000, "carrier": "U\u202ePS", "nextToken": "t" * 3_000, "gift": "g" * 900}, "order"
    )
    assert fields.text("status") == "X" * 499 + "…"
    assert fields.text("carrier") == "U\ufffdPS"
    assert fields.opaque("nextToken") == "t" * 3_000
    gift = fields.personal("gift")
    assert gift is not None
    assert len(gift.plain()) == 900


def test_a_list_of_texts_is_bounded_in_number_and_each_in_length():
    fields = Fields({"programs": ["PRIME", "\u202e\x1b[31m" + "x" * 100_000, "\x00", 7, None]}, "order")
    assert fields.texts("programs")[0] == "PRIME"
    assert all(is_bounded(one, LONGEST_WORD) for one in fields.texts("programs"))
    assert len(Fields({"programs": [f"P{n}" for n in range(10_000)]}, "order").texts("programs")) == MOST_TEXTS
