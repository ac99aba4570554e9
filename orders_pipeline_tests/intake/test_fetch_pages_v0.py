"""A crowd under the Orders API v0 is listed by ids, over HTTP; items are asked for where they may have changed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from orders_pipeline.database.engine import AnyRow, Database
from orders_pipeline.intake.fetch_one import WITH_DETAILS
from orders_pipeline.privacy.checks.checks import every_reading_is_audited
from orders_pipeline.work.jobs import Queue
from orders_pipeline_tests.conftest import SELLER
from orders_pipeline_tests.served_crowd import LISTED, UNLISTED, Crowd, served_crowd

COLUMNS = "order_id, status, fulfilled_by, ship_by, deliver_by, total_amount, programs, service_level, last_updated_at"
ITEM_COLUMNS = "order_id, position, sku, quantity_ordered, quantity_fulfilled, unit_price, title, cancelled, programs"


@pytest.fixture
def crowd(database: Database, tmp_path: Path) -> Iterator[Crowd]:
    with served_crowd(database, tmp_path, "v0") as crowd:
        # A shop whose plan lets a test of two hundred items end in seconds; the calls are the same.
        crowd.sandbox.amazon.plans.set_plan("v0.getOrderItems", 40, 30)
        yield crowd


def over(crowd: Crowd, order_ids: list[str], status: str) -> None:
    """So long ago that it is listed, Amazon moved them; somebody wants them read."""
    for order_id in order_ids:
        crowd.sandbox.amazon.change_status(order_id, status, notify=False)
        crowd.sandbox.amazon.orders[order_id].last_updated -= LISTED / 2
        crowd.world.request_fetch(order_id)


def spent(crowd: Crowd, before: dict[str, int]) -> dict[str, int]:
    """The reads since."""
    return {
        name.removeprefix("v0."): count - before.get(name, 0)
        for name, count in crowd.calls.items()
        if name.startswith("v0.") and count > before.get(name, 0)
    }


def test_a_hundred_new_orders_cost_two_lists_one_restricted_token_and_their_items(crowd: Crowd):
    crowd.orders(100)
    tally = crowd.fetch()
    assert tally.outcomes == {WITH_DETAILS: 100}
    assert crowd.statuses() == {("UNSHIPPED", True)}
    assert spent(crowd, {}) == {"getOrders": 2, "getOrderItems": 100}
    assert crowd.calls["createRestrictedDataToken"] == 1
    assert crowd.sandbox.amazon.ledger.throttled == {}
    assert (tally.notes["plan"], tally.notes["pages_read"]) == ("100 by pages, 0 one by one", 2)
    assert tally.notes["calls_saved"] == 100 - 2
    assert every_reading_is_audited(crowd.world.database, account_id=SELLER).passed
    assert crowd.world.jobs(Queue.FETCH) == []


def test_orders_that_are_over_cost_a_list_for_fifty_and_no_items(crowd: Crowd):
    orders = crowd.orders(100)
    crowd.fetch()
    before = crowd.calls
    shipped, cancelled = orders[::2], orders[1::2]
    over(crowd, shipped, "SHIPPED")
    over(crowd, cancelled, "CANCELLED")
    tally = crowd.fetch()
    assert {crowd.world.status(order_id) for order_id in shipped} == {"SHIPPED"}
    assert {crowd.world.status(order_id) for order_id in cancelled} == {"CANCELLED"}
    assert spent(crowd, before) == {"getOrders": 2}
    assert tally.notes["calls_saved"] == 100 + 100 - 2
    assert crowd.sandbox.amazon.ledger.throttled == {}

    def stored() -> tuple[list[AnyRow], list[AnyRow]]:
        return crowd.world.rows("pipeline.orders", COLUMNS), crowd.world.rows("pipeline.order_items", ITEM_COLUMNS)

    listed = stored()
    # A call tells no quantity and no price of a cancelled one any more; what is stored stays.
    items = {(item.cancelled, item.quantity_ordered) for item in listed[1] if item.order_id in cancelled}
    assert items == {(True, 1)}
    for order_id in shipped[:15]:
        crowd.world.request_fetch(order_id)
    before = crowd.calls
    crowd.fetch()
    assert spent(crowd, before) == {"getOrder": 15, "getOrderItems": 15}
    assert stored() == listed, "a list says the same as calls"


def test_items_that_may_have_changed_are_asked_for(crowd: Crowd):
    """A line became smaller before the rest was shipped: Amazon counts other pieces than those that are stored."""
    orders = crowd.orders(40)
    smaller = orders[0]
    crowd.sandbox.amazon.orders[smaller].items[0].quantity = 3
    crowd.fetch()
    crowd.sandbox.amazon.orders[smaller].items[0].quantity = 2
    before = crowd.calls
    over(crowd, orders, "SHIPPED")
    crowd.fetch()
    assert spent(crowd, before) == {"getOrders": 1, "getOrderItems": 1}
    of_it = f"order_id = '{smaller}'"
    (item,) = crowd.world.rows("pipeline.order_items", "quantity_ordered, quantity_fulfilled", of_it)
    assert (item.quantity_ordered, item.quantity_fulfilled) == (2, 2)


def test_one_poisoned_entry_and_one_that_is_not_listed_are_asked_by_their_ids_and_harm_nobody(crowd: Crowd):
    hidden, broken, *_ = crowd.orders(60)
    crowd.sandbox.amazon.orders[hidden].unlisted = True
    crowd.sandbox.amazon.faults.add("unreadable_entry", "v0.getOrders", order_id=broken, times=None)
    crowd.fetch()
    # The second list would be for ten orders.
    assert spent(crowd, {}) == {"getOrders": 1, "getOrder": 12, "getOrderItems": 60}
    assert crowd.statuses() == {("UNSHIPPED", True)}
    assert crowd.world.jobs(Queue.FETCH) == []


def test_items_that_cannot_be_read_are_that_orders_failure(crowd: Crowd):
    broken, *_ = crowd.orders(40)
    crowd.sandbox.amazon.faults.add("error_503", "v0.getOrderItems", order_id=broken, times=None)
    tally = crowd.fetch()
    assert tally.outcomes[WITH_DETAILS] == 39
    assert sum(tally.errors.values()) == 1
    (left,) = crowd.world.jobs(Queue.FETCH)
    assert left.order_id == broken


def test_the_lag_of_the_list_is_respected(crowd: Crowd):
    """What changed a moment ago is not asked of it; what it shows as it was before a message told is not believed."""
    listed, fresh = crowd.orders(50), crowd.orders(5, ago=UNLISTED)
    cancelled = listed[0]
    crowd.sandbox.amazon.cancel(cancelled, notify=False)
    crowd.world.sql(
        "update pipeline.orders set told_at = clock_timestamp() - interval '8 minutes' where order_id = :id",
        id=cancelled,
    )
    crowd.fetch()
    assert spent(crowd, {}) == {"getOrders": 1, "getOrder": 6, "getOrderItems": 55}
    assert crowd.world.status(cancelled) == "CANCELLED"
    assert {crowd.world.status(order_id) for order_id in fresh} == {"UNSHIPPED"}


def test_a_spent_quota_of_items_ends_the_pages_and_loses_nothing(crowd: Crowd):
    # The next token comes later than any call of this run waits for it.
    crowd.sandbox.amazon.plans.set_plan("v0.getOrderItems", 0.005, 30)
    crowd.orders(120)
    tally = crowd.fetch(seconds=20)
    assert spent(crowd, {})["getOrders"] == 1
    assert crowd.sandbox.amazon.ledger.throttled == {}
    assert tally.errors == {}
    left = crowd.world.jobs(Queue.FETCH)
    assert len(left) == 120 - tally.outcomes[WITH_DETAILS]
    assert all(job.leased_until is None and job.attempts == 0 for job in left)
