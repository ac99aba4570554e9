"""What the warehouse reports is recorded once, whether a poll or a webhook brings it, and in whatever order."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from itertools import permutations

import pytest
from sqlalchemy import text

from orders_pipeline.database.engine import AccountTransaction
from orders_pipeline.orders.ownership import note_start
from orders_pipeline.shipments.event_rows import insert_shipment_events
from orders_pipeline_tests.conftest import SELLER
from orders_pipeline_tests.world import World


def test_an_event_that_comes_by_a_webhook_and_by_a_poll_is_one(world: World):
    order_id = world.accepted()
    package_id = world.ship(order_id)
    assert world.webhook() == 1
    assert world.webhook() == 0
    world.confirm_and_verify()
    assert world.package(package_id).state == "confirmed"
    assert len(world.rows("pipeline.wms_shipments")) == len(world.ports.told) == 1


def test_a_webhook_moves_no_cursor_and_hides_no_outage_of_the_poll(world: World):
    order_id = world.accepted()
    world.poll()
    world.sql("update pipeline.wms_cursors set failing_since = clock_timestamp(), failure = 'it is away'")
    (before,) = world.rows("pipeline.wms_cursors", "cursor, polled_at, failure")
    world.ship(order_id)
    world.webhook()
    assert world.rows("pipeline.wms_cursors", "cursor, polled_at, failure") == [before]


def test_a_webhooks_unreadable_entries_are_told_as_a_polls(world: World):
    assert world.webhook([{"event_id": "E1"}, 7]) == 0
    assert "2 shipment events" in world.alerts()["warehouse.unreadable_event"].message


def test_an_order_that_is_not_known_yet_has_its_package_confirmed_once_it_is(world: World):
    order_id = world.order(hear=False)
    event = {
        "event_id": "E1", "kind": "shipped", "order_ref": order_id, "package_id": "P1", "carrier": "UPS",
        "tracking_number": "1Z0000000000000001", "shipped_at": datetime.now(UTC).isoformat(),
        "lines": [{"line_ref": world.amazon.orders[order_id].items[0].item_id, "quantity": 1}],
    }  # fmt: skip
    assert world.webhook([event]) == 1
    world.poll()
    assert "package.unknown_order" in world.alerts()
    world.hear()
    world.sync()
    world.confirm_and_verify()
    assert world.package("P1").state == "confirmed"


def test_buyer_data_in_a_webhook_is_masked_before_it_is_stored(world: World):
    order_id = world.accepted()
    name = str(world.amazon.orders[order_id].address.name)
    world.ship(order_id, carrier=f"Van for {name}")
    world.webhook()
    assert name.casefold() not in world.everything_stored().casefold()


def test_each_account_keeps_what_is_not_anothers(world: World):
    order_id = world.accepted()
    world.ship(order_id)
    with world.database.transaction(SELLER) as tx:
        note_start(tx, None)
    assert world.webhook(account_id="ANOTHER") == 0
    assert world.webhook() == 1
    assert {row.account_id for row in world.rows("pipeline.wms_shipments")} == {SELLER}


def test_two_that_bring_the_same_events_in_two_orders_do_not_wait_for_each_other(world: World):
    """A poll and a webhook at once: each would hold one event's place and wait for the other's."""
    first, second = _row("E1"), _row("E2")

    def bring_reversed() -> int:
        with world.database.transaction(SELLER) as tx:
            return insert_shipment_events(tx, [second, first])

    with ThreadPoolExecutor(1) as pool:
        with world.database.transaction(SELLER) as tx:
            assert insert_shipment_events(tx, [first]) == 1
            other = pool.submit(bring_reversed)
            _await_one_that_waits(tx)
            assert insert_shipment_events(tx, [second]) == 1
        assert other.result() == 0


def _row(event_id: str) -> dict[str, object]:
    return {
        "account_id": SELLER,
        "event_id": event_id,
        "kind": "shipped",
        "order_id": "111-0000000-0000001",
        "lines": [],
    }


def _await_one_that_waits(tx: AccountTransaction) -> None:
    waiting = text("select count(*) from pg_locks where not granted")
    while not tx.execute(waiting).scalar_one():
        pass


@pytest.mark.parametrize("arrival", list(permutations(range(3))), ids=lambda order: "".join(map(str, order)))
def test_a_new_label_on_a_box_ends_at_amazon_in_whatever_order_its_webhooks_come(
    world: World, arrival: tuple[int, ...]
):
    order_id = world.accepted()
    package_id = world.ship(order_id, tracking="1ZOLD")
    world.warehouse.void(order_id, package_id)
    world.warehouse.relabel(order_id, package_id, "1ZNEW")
    for place in arrival:
        world.webhook([world.warehouse.events[place]])
        world.confirm_and_verify()
    world.run_until_idle()
    assert list(world.shown(order_id).values()) == ["1ZNEW"]
    assert world.package(package_id).state == "confirmed"
    assert world.alerts() == {}
