"""What opens and closes each alert of `orders_pipeline/intake/alerts.py`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from orders_pipeline.channels.amazon.errors import AmazonRoleMissing
from orders_pipeline.intake.alerts import (
    ANSWER_OLDER,
    EVENTS_PARKED,
    FBA_LATE,
    GIVEN_UP,
    MESSAGE_PARKED,
    NO_ADDRESS,
    NO_ADDRESS_ROLE,
    NO_FULFILLER,
    NO_MARKETPLACE,
    NO_VERIFICATION_ROLE,
    NOT_CONFIGURED,
    QUEUE_UNAVAILABLE,
    UNREADABLE_ENTRIES,
    VERIFICATION,
)
from orders_pipeline.intake.queue import QueueUnavailable
from orders_pipeline.intake.rechecks import RECHECK_DELAYS
from orders_pipeline.intake.search_windows import give_up_search, open_search
from orders_pipeline.intake.sweep import sweep_orders
from orders_pipeline.intake.unreadable_entries import park_entries
from orders_pipeline.model.order import UnreadableEntry
from orders_pipeline.orders.event_rows import park_events, replay_events
from orders_pipeline_tests.alerts.case import Case
from orders_pipeline_tests.announced import announce
from orders_pipeline_tests.conftest import MARKETPLACE, SELLER
from orders_pipeline_tests.ports import MemoryQueue
from orders_pipeline_tests.world import World

ELSEWHERE = "A2EUQ1WTGCTBG2"


def _park_events(world: World) -> None:
    world.order()
    world.drain()
    with world.database.transaction(SELLER) as tx:
        events = world.rows("pipeline.order_events", "event_id, order_id")
        park_events(tx, [event.event_id for event in events], "a defect of this program: ValueError at x.py:1")


def _replay_events(world: World) -> None:
    with world.database.transaction(SELLER) as tx:
        for order_id in world.amazon.orders:
            assert replay_events(tx, order_id) == 1


def _amazon_is_late(world: World) -> None:
    world.order(fulfilled_by="AFN")
    world.sync()
    world.sql("update pipeline.orders set deliver_by = clock_timestamp() - interval '3 hours'")


def _amazon_ships(world: World) -> None:
    (order_id,) = world.amazon.orders
    world.amazon.change_status(order_id, "SHIPPED")
    world.hear()
    world.sync()


def _set_a_message_aside(world: World) -> None:
    world.queue.send("not JSON")
    world.drain()


def _days_pass(world: World) -> None:
    world.sql("update pipeline.parked_messages set parked_at = parked_at - interval '4 days'")


def _give_up(world: World) -> None:
    now = datetime.now(UTC)
    with world.database.transaction(SELLER) as tx:
        search = open_search(tx, "sweep", now - timedelta(days=2), now - timedelta(days=1), {})
        give_up_search(tx.connection, search.window_id)


def _search_again(world: World) -> None:
    world.sql("update pipeline.search_windows set finished_at = clock_timestamp()")


def _order_elsewhere(world: World) -> None:
    world.marketplace_ids = (ELSEWHERE,)
    world.order()
    world.sync()


def _configure(world: World) -> None:
    world.marketplace_ids = (MARKETPLACE,)
    world.sync()


def _lose_the_marketplace(world: World) -> None:
    world.ports.alter = lambda body: body["salesChannel"].pop("marketplaceId", None)
    announce(world, world.order(hear=False), "Unshipped")
    world.sync()


def _name_the_marketplace(world: World) -> None:
    world.ports.alter = None
    for order_id in world.amazon.orders:
        world.request_fetch(order_id)
    world.sync()


def _nobody_ships(world: World) -> None:
    world.ports.alter = lambda body: body["fulfillment"].pop("fulfilledBy")
    world.order()
    for _ in range(len(RECHECK_DELAYS) + 2):
        world.sync()
        world.make_due()


def _somebody_ships(world: World) -> None:
    world.ports.alter = None
    for order_id in world.amazon.orders:
        world.request_fetch(order_id)
    world.sync()


def _withhold(world: World, orders: int) -> None:
    for _ in range(orders):
        order_id = world.order(hear=False, ship_by=datetime.now(UTC) + timedelta(hours=3))
        world.amazon.withhold_address(order_id, 3600)
    world.hear()
    world.sync()


def _addresses_come(world: World) -> None:
    world.clock.advance(timedelta(hours=2))
    world.make_due()
    world.sync()


class _AwayQueue(MemoryQueue):
    def receive(self, *, wait_seconds: int) -> Any:
        raise QueueUnavailable("ExpiredToken", "Renew the AWS credentials.")


def _lose_the_queue(world: World) -> None:
    world.queue = _AwayQueue()
    world.drain()


def _queue_is_back(world: World) -> None:
    world.queue = MemoryQueue()
    world.drain()


def _sweep(world: World) -> None:
    sweep_orders(world.ports, world.database, account_id=SELLER, marketplace_ids=(MARKETPLACE,))


def _list_unreadably(world: World) -> None:
    with world.database.transaction(SELLER) as tx:
        park_entries(tx, "sweep", [UnreadableEntry(None, "orderId is absent")])


def _announce_what_never_shows(world: World) -> None:
    announce(world, world.order(hear=False), "Unshipped", datetime.now(UTC) + timedelta(seconds=90))
    for _ in range(len(RECHECK_DELAYS) + 2):
        world.sync()
        world.make_due()


def _show_a_change(world: World) -> None:
    world.clock.advance(timedelta(minutes=5))
    for order_id in world.amazon.orders:
        world.amazon.change_status(order_id, "UNSHIPPED")
    world.hear()
    world.sync()


def _reject_the_verification(world: World) -> None:
    world.regulated_skus = ("SKU-0",)
    world.order(verification="Rejected")
    world.sync()


def _refuse_verifications(world: World) -> None:
    refused = AmazonRoleMissing("answered 403", operation="getOrderRegulatedInfo", status=403)
    world.faults.fail("get_verification", refused)
    world.regulated_skus = ("SKU-0",)
    world.order(verification="Pending")
    world.sync()


def _look_again(world: World) -> None:
    for order in world.amazon.orders.values():
        order.verification = "Approved"
    world.make_due()
    world.sync()


CASES = (
    Case(EVENTS_PARKED, begin=_park_events, end=_replay_events),
    Case(MESSAGE_PARKED, begin=_set_a_message_aside, end=_days_pass),
    Case(GIVEN_UP, begin=_give_up, end=_search_again),
    Case(NOT_CONFIGURED, begin=_order_elsewhere, end=_configure),
    Case(FBA_LATE, begin=_amazon_is_late, end=_amazon_ships),
    Case(NO_MARKETPLACE, begin=_lose_the_marketplace, end=_name_the_marketplace),
    Case(NO_FULFILLER, begin=_nobody_ships, end=_somebody_ships),
    Case(QUEUE_UNAVAILABLE, begin=_lose_the_queue, end=_queue_is_back),
    Case(UNREADABLE_ENTRIES, begin=_list_unreadably, end=_sweep),
    Case(ANSWER_OLDER, begin=_announce_what_never_shows, end=_show_a_change),
    Case(VERIFICATION, begin=_reject_the_verification, end=_look_again),
    Case(NO_VERIFICATION_ROLE, begin=_refuse_verifications, end=_look_again),
    Case(NO_ADDRESS, begin=lambda world: _withhold(world, 1), end=_addresses_come),
    Case(NO_ADDRESS_ROLE, begin=lambda world: _withhold(world, 3), end=_addresses_come),
)
