"""What Amazon ships itself: told by messages and searches, kept as told, and never a reason to ship or not to ship."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from itertools import count, permutations
from typing import Any

import pytest

from orders_pipeline.intake.fba_shipments import fba_orders, shipments_by_status
from orders_pipeline.intake.sweep import sweep_orders
from orders_pipeline.privacy.retention.purge import BY_AGE, purge_by_age, purge_orders
from orders_pipeline_tests.conftest import MARKETPLACE, SELLER
from orders_pipeline_tests.world import World

_numbers = count(1)
ORDER = "701-0000001-0000001"


def told(order_id: str, status: str, at: datetime, *, shipment: str = "DrLqQwqvb", **envelope: Any) -> str:
    return json.dumps(
        {
            "NotificationVersion": "1.0",
            "NotificationType": "FBA_OUTBOUND_SHIPMENT_STATUS",
            "PayloadVersion": "1.0",
            "EventTime": at.isoformat(),
            "Payload": {
                "FBAOutboundShipmentStatusNotification": {
                    "SellerId": SELLER,
                    "AmazonOrderId": order_id,
                    "AmazonShipmentId": shipment,
                    "ShipmentStatus": status,
                }
            },
            "NotificationMetadata": {
                "ApplicationId": "app",
                "SubscriptionId": "subscription",
                "PublishTime": at.isoformat(),
                "NotificationId": f"fba-{next(_numbers)}",
            },
            **envelope,
        }
    )


def hear(world: World, *messages: str) -> None:
    world.queue.send(*messages)
    world.sync()


def shipments(world: World) -> dict[str, str]:
    return {row.shipment_id: row.status for row in world.rows("pipeline.fba_shipments", "shipment_id, status")}


def orders(world: World, **how: Any) -> dict[str, Any]:
    with world.database.transaction(SELLER) as tx:
        return {row.order_id: row for row in fba_orders(tx, limit=10, **how)}


@pytest.fixture
def noon(world: World) -> datetime:
    return world.database.now() - timedelta(hours=1)


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_the_newest_word_stays_in_whatever_order_and_however_often_messages_come(
    world: World, noon: datetime, order: tuple[int, ...]
):
    later = [noon + timedelta(minutes=minutes) for minutes in range(3)]
    messages = [told(ORDER, status, at) for status, at in zip(("Created", "Delayed", "Cancelled"), later, strict=True)]
    for number in order:
        hear(world, messages[number], messages[number])
    assert shipments(world) == {"DrLqQwqvb": "Cancelled"}
    assert len(world.rows("pipeline.order_events", "event_id, order_id")) == 3
    assert world.rows("pipeline.parked_messages", "parked_id, reason") == []


def test_of_two_words_of_one_moment_the_cancellation_stays(world: World, noon: datetime):
    hear(world, told(ORDER, "Cancelled", noon))
    hear(world, told(ORDER, "Created", noon))
    assert shipments(world) == {"DrLqQwqvb": "Cancelled"}
    hear(world, told(ORDER, "Created", noon, shipment="second"), told(ORDER, "Cancelled", noon, shipment="second"))
    assert shipments(world) == {"DrLqQwqvb": "Cancelled", "second": "Cancelled"}


def test_a_time_that_is_still_to_come_outranks_nothing_that_follows(world: World):
    now = world.database.now()
    hear(world, told(ORDER, "Created", now + timedelta(days=400)))
    hear(world, told(ORDER, "Cancelled", world.database.now()))
    assert shipments(world) == {"DrLqQwqvb": "Cancelled"}


def test_it_makes_no_order_known_stops_none_and_makes_none_ours(world: World, noon: datetime):
    ours = world.accepted()
    asked = len(world.ports.asked)
    hear(world, told(ours, "Created", noon), told(ORDER, "Created", noon), told(ours, "Cancelled", noon))
    world.make_due()
    world.sync()
    assert [row.order_id for row in world.rows("pipeline.orders", "order_id, status")] == [ours]
    assert world.state(ours) == "accepted"
    assert len(world.ports.asked) == asked, "no call for what is not ours to ship"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("AmazonShipmentId", None),
        ("ShipmentStatus", "x" * 65),
        ("AmazonOrderId", "no id; drop table"),
        ("SellerId", ""),
    ],
)
def test_what_cannot_be_read_is_set_aside_as_any_message(world: World, noon: datetime, field: str, value: Any):
    body = json.loads(told(ORDER, "Created", noon))
    body["Payload"]["FBAOutboundShipmentStatusNotification"][field] = value
    hear(world, json.dumps(body))
    (parked,) = world.rows("pipeline.parked_messages", "notification_type, reason")
    assert parked.notification_type == "FBA_OUTBOUND_SHIPMENT_STATUS"
    assert field in parked.reason
    assert shipments(world) == {}


def test_another_sellers_is_not_taken_for_ours(world: World, noon: datetime):
    body = json.loads(told(ORDER, "Created", noon))
    body["Payload"]["FBAOutboundShipmentStatusNotification"]["SellerId"] = "A9OTHER"
    hear(world, json.dumps(body))
    assert shipments(world) == {}
    assert [row.reason for row in world.rows("pipeline.parked_messages", "reason, parked_id")] == ["another seller's"]


def test_a_search_tells_dates_and_items_of_what_amazon_ships_at_no_call(
    world: World, noon: datetime, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("orders_pipeline.intake.sweep.SEARCH_HOLDBACK", timedelta(seconds=-5))
    heard, unheard = world.order(fulfilled_by="AFN"), world.order(fulfilled_by="AFN", hear=False)
    world.notified.clear()
    world.sync()
    assert orders(world)[heard].ship_by is None, "its messages hold no date"
    sweep_orders(world.ports, world.database, account_id=SELLER, marketplace_ids=(MARKETPLACE,))
    world.sync()
    hear(world, told(heard, "Created", noon))
    found = orders(world)
    assert {heard, unheard} == found.keys()
    assert found[heard].ship_by == world.amazon.orders[heard].ship_by[1]
    assert (found[heard].shipments, found[unheard].shipments) == ("DrLqQwqvb Created", None)
    assert len(world.rows("pipeline.order_items", "order_id, order_item_id")) == 2
    assert world.ports.asked == [], "no call for one order"
    assert world.rows("vault.records", "subject_id, kind", "kind = 'shipping_details'") == [], (
        "nothing of a buyer is kept of them"
    )
    assert world.jobs() == []
    # What a message tells later counts, and a search that lags behind takes nothing back.
    world.amazon.change_status(heard, "SHIPPED")
    world.hear()
    world.sync()
    assert heard not in orders(world)
    assert orders(world, statuses=["SHIPPED"]).keys() == {heard}


def test_it_goes_with_its_order_and_by_its_own_age(world: World, noon: datetime):
    known = world.order(fulfilled_by="AFN")
    hear(world, told(known, "Created", noon), told(ORDER, "Created", noon))
    world.sql("update pipeline.orders set first_seen_at = first_seen_at - interval '600 days'")
    world.sql("update pipeline.fba_shipments set received_at = received_at - interval '600 days'")
    cutoff = world.database.now() - timedelta(days=548)
    with world.database.transaction(SELLER) as tx:
        assert purge_orders(tx, cutoff, 10)["fba_shipments"] == 1
        assert [row.status for row in shipments_by_status(tx)] == ["Created"]
        assert BY_AGE["fba_shipments"] == "received_at"
        assert purge_by_age(tx, "fba_shipments", cutoff, 10) == 1
