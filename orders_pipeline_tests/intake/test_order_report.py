"""A row of the report of all orders is read as a search shows its order, and set aside where it cannot be."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from orders_pipeline.database.engine import Database
from orders_pipeline.intake.order_report import orders_of_rows, record_report_orders, unreadable_entry
from orders_pipeline.model.order import Order
from orders_pipeline_tests.conftest import MARKETPLACE, SELLER

UPDATED = datetime(2022, 7, 29, 8, 19, 16, tzinfo=UTC)
ROW = {
    "amazon-order-id": "111-0000002-0000002",
    "purchase-date": "2022-07-18T18:52:47+00:00",
    "last-updated-date": "2022-07-29T08:19:16+00:00",
    "order-status": "Cancelled",
    "fulfillment-channel": "Merchant",
    "sales-channel": "Amazon.com",
}


def order(**changes: str) -> Order:
    [found], unreadable = orders_of_rows([{**ROW, **changes}])
    assert unreadable == []
    return found


def test_a_row_as_amazon_writes_it_is_an_order_without_items() -> None:
    assert order() == Order(
        order_id="111-0000002-0000002",
        marketplace_id=MARKETPLACE,
        status="CANCELLED",
        fulfilled_by="MERCHANT",
        purchased_at=datetime(2022, 7, 18, 18, 52, 47, tzinfo=UTC),
        last_updated_at=UPDATED,
        items=(),
    )


@pytest.mark.parametrize(
    ("column", "written", "field", "expected"),
    [
        ("order-status", "Shipped - Delivered to Buyer", "status", "SHIPPED"),
        ("order-status", "PartiallyShipped", "status", "PARTIALLY_SHIPPED"),
        ("order-status", "Something New", "status", "Something New"),
        ("fulfillment-channel", "Amazon", "fulfilled_by", "AMAZON"),
        ("sales-channel", "Amazon.co.uk", "marketplace_id", "A1F83G8C2ARO7P"),
        ("sales-channel", "amazon.com.mx", "marketplace_id", "A1AM78C64UM0Y8"),
        ("sales-channel", "Non-Amazon US", "marketplace_id", None),
        ("sales-channel", "", "marketplace_id", None),
        ("last-updated-date", "2022-07-29T10:19:16+02:00", "last_updated_at", UPDATED),
        ("purchase-date", "", "purchased_at", UPDATED),
    ],
)  # fmt: skip
def test_amazons_words_are_those_of_the_search(column: str, written: str, field: str, expected: object) -> None:
    assert getattr(order(**{column: written}), field) == expected


@pytest.mark.parametrize(
    ("changes", "order_id"),
    [
        ({"last-updated-date": "yesterday"}, "111-0000002-0000002"),
        ({"last-updated-date": ""}, "111-0000002-0000002"),
        ({"order-status": ""}, "111-0000002-0000002"),
        ({"amazon-order-id": "Jane Doe"}, None),
        ({"amazon-order-id": ""}, None),
    ],
)
def test_what_cannot_be_read_is_set_aside_without_being_repeated(changes: dict[str, str], order_id: str | None) -> None:
    orders, [entry] = orders_of_rows([{**ROW, **changes}, {**ROW, **changes}])
    assert (orders, entry.order_id) == ([], order_id)
    assert "Jane" not in entry.problem
    assert "yesterday" not in entry.problem


def test_the_rows_of_an_order_are_one_order_and_its_newest_version_counts() -> None:
    later = {**ROW, "order-status": "Shipped", "last-updated-date": "2022-07-30T00:00:00+00:00"}
    [found], _ = orders_of_rows([ROW, later, ROW])
    assert found.status == "SHIPPED"


def test_an_entry_that_cannot_be_read_has_its_order_fetched(database: Database) -> None:
    entries = [unreadable_entry("111-0000002-0000002", "it has 32 fields instead of 31"), unreadable_entry("x", "it")]
    with database.transaction(SELLER) as tx:
        recorded = record_report_orders(tx, "backfill", [order()], entries, (MARKETPLACE,))
    assert (recorded.events_new, recorded.unreadable) == (2, 2)
    with database.transaction(SELLER) as tx:
        again = record_report_orders(tx, "backfill", [order()], entries, (MARKETPLACE,))
    assert again.events_new == 0
