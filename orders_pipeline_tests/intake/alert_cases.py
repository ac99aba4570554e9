"""What opens and closes each alert of `orders_pipeline/intake/alerts.py`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from orders_pipeline.intake.alerts import (
    EVENTS_PARKED,
    GIVEN_UP,
    MESSAGE_PARKED,
    NO_ADDRESS,
    NO_ADDRESS_ROLE,
    NO_FULFILLER,
    NO_MARKETPLACE,
    NOT_CONFIGURED,
)
from orders_pipeline.intake.rechecks import RECHECK_DELAYS
from orders_pipeline.intake.search_windows import give_up_search, open_search
from orders_pipeline.orders.event_rows import park_events, replay_events
from orders_pipeline_tests.alerts.case import Case
from orders_pipeline_tests.announced import announce
from orders_pipeline_tests.conftest import MARKETPLACE, SELLER
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


CASES = (
    Case(EVENTS_PARKED, begin=_park_events, end=_replay_events),
    Case(MESSAGE_PARKED, begin=_set_a_message_aside, end=_days_pass),
    Case(GIVEN_UP, begin=_give_up, end=_search_again),
    Case(NOT_CONFIGURED, begin=_order_elsewhere, end=_configure),
    Case(NO_MARKETPLACE, begin=_lose_the_marketplace, end=_name_the_marketplace),
    Case(NO_FULFILLER, begin=_nobody_ships, end=_somebody_ships),
    Case(NO_ADDRESS, begin=lambda world: _withhold(world, 1), end=_addresses_come),
    Case(NO_ADDRESS_ROLE, begin=lambda world: _withhold(world, 3), end=_addresses_come),
)
