"""Reading the warehouse's events takes a bounded time, and a warehouse that is away is told once."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from orders_pipeline.database.engine import Database
from orders_pipeline.settings import SettingsError
from orders_pipeline.shipments.poll import poll_shipments, poll_warehouse
from orders_pipeline.wms.port import (
    Capability,
    ShipmentEvent,
    ShipmentPage,
    WarehouseError,
    WarehousePort,
    WarehouseUnauthorized,
    WarehouseUnavailable,
)
from orders_pipeline.wms.shipment_events import read_shipment_events
from orders_pipeline.work.tally import Tally
from orders_pipeline_tests.conftest import SELLER
from orders_pipeline_tests.ports import UnaskedWarehouse
from orders_pipeline_tests.world import World


class SlowClock:
    """A clock on which each page takes as long as the warehouse may take for one."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class EndlessWarehouse(UnaskedWarehouse):
    """There is always another page."""

    def __init__(self, clock: SlowClock, *, page_takes: float) -> None:
        self.pages = 0
        self._clock = clock
        self._page_takes = page_takes

    def poll(self, cursor: str | None, limit: int) -> ShipmentPage:
        self.pages += 1
        self._clock.now += self._page_takes
        event = ShipmentEvent(
            f"E{self.pages}", "shipped", f"111-0000000-{self.pages:07d}", "P", None, None, None, None, (("1", 1),)
        )
        return ShipmentPage((event,), str(self.pages))


@pytest.mark.parametrize(
    ("page_takes", "budget", "pages"), [(25.0, 18.0, 1), (10.0, 18.0, 2), (1.0, 18.0, 18), (25.0, 0.0, 1)]
)
def test_the_last_page_is_begun_within_the_budget(
    world: World, database: Database, page_takes: float, budget: float, pages: int
):
    clock = SlowClock()
    warehouse = EndlessWarehouse(clock, page_takes=page_takes)
    totals = poll_warehouse(
        lambda: warehouse,
        database,
        lambda: world.vault,
        account_id=SELLER,
        budget_seconds=budget,
        clock=clock,
    )
    assert (totals.outcomes["pages"], totals.outcomes["new"], totals.errors) == (pages, pages, {})


class RepeatingWarehouse(UnaskedWarehouse):
    """Its pages have these next cursors, in turn and for ever, and one event that is always the same."""

    def __init__(self, *cursors: str | None) -> None:
        self.asked: list[str | None] = []
        self._cursors = cursors

    def poll(self, cursor: str | None, limit: int) -> ShipmentPage:
        self.asked.append(cursor)
        event = ShipmentEvent("E", "shipped", "111-0000000-0000001", "P", None, None, None, None, (("1", 1),))
        return ShipmentPage((event,), self._cursors[(len(self.asked) - 1) % len(self._cursors)])


@pytest.mark.parametrize(
    ("cursors", "asked"),
    [
        # No next cursor: the page is the last one, and is read again the next time.
        ((None,), [None]),
        (("a",), [None, "a"]),
        (("a", None), [None, "a"]),
        # They go round: what a poll has read is not read again within it.
        (("a", "b", "c"), [None, "a", "b", "c"]),
    ],
)
def test_pages_that_repeat_end_the_poll_and_their_events_are_kept_once(
    world: World, database: Database, cursors: tuple[str | None, ...], asked: list[str | None]
):
    warehouse = RepeatingWarehouse(*cursors)
    totals = poll_warehouse(lambda: warehouse, database, lambda: world.vault, account_id=SELLER)
    assert warehouse.asked == asked
    assert (totals.outcomes["events"], totals.outcomes["new"]) == (len(asked), 1)


def _poll(world: World, open_warehouse: Callable[[], WarehousePort] | None = None) -> Tally:
    return poll_warehouse(open_warehouse or (lambda: world.wms), world.database, lambda: world.vault, account_id=SELLER)


def _settings_are_missing() -> WarehousePort:
    raise SettingsError(("missing WMS_TOKEN",))


@pytest.mark.parametrize(
    ("trouble", "tries"), [(WarehouseUnavailable("The warehouse answered 503."), 2), (WarehouseUnauthorized("401"), 1)]
)
def test_a_warehouse_that_is_away_is_one_alert_until_it_is_read_again(
    world: World, trouble: WarehouseError, tries: int
):
    order_id = world.accepted()
    world.ship(order_id)
    world.faults.fail("poll", trouble, times=3 * tries)
    for _ in range(3):
        assert _poll(world).errors == {type(trouble).__name__: 1}
        assert str(trouble) in world.alerts()["warehouse.shipments_unread"].message
    assert len(world.rows("pipeline.alerts", "key, severity")) == 1
    assert _poll(world).outcomes["new"] == 1
    assert world.alerts() == {}


def test_a_connection_that_broke_once_wakes_nobody(world: World):
    world.faults.fail("poll", WarehouseUnavailable("The connection broke."))
    assert _poll(world).errors == {}
    assert world.rows("pipeline.alerts") == []


def test_settings_that_are_missing_are_told_the_same_way(world: World):
    assert _poll(world, _settings_are_missing).errors == {"SettingsError": 1}
    assert "WMS_TOKEN" in world.alerts()["warehouse.shipments_unread"].message


def test_a_warehouse_that_hangs_is_not_asked_twice(world: World, database: Database):
    clock = SlowClock()
    asked: Iterator[int] = iter(range(10))

    class Hanging(UnaskedWarehouse):
        def poll(self, cursor: str | None, limit: int) -> ShipmentPage:
            next(asked)
            clock.now += 25
            raise WarehouseUnavailable("not whole within 25 s")

    poll_warehouse(Hanging, database, lambda: world.vault, account_id=SELLER, budget_seconds=18, clock=clock)  # type: ignore[arg-type]
    assert next(asked) == 1


def _acknowledging(world: World) -> None:
    world.wms.capabilities |= {Capability.ACKNOWLEDGE}


def test_events_are_acknowledged_after_they_are_committed(world: World):
    _acknowledging(world)
    world.ship(world.accepted())
    seen: list[int] = []
    taken = world.wms.acknowledge
    world.wms.acknowledge = lambda ids: (seen.append(len(world.rows("pipeline.wms_shipments"))), taken(ids))[1]  # type: ignore[method-assign]
    assert _poll(world).outcomes["new"] == 1
    assert (seen, world.wms.acknowledged) == ([1], [world.warehouse.events[0]["event_id"]])


@pytest.mark.parametrize("after", [False, True])
def test_an_acknowledgement_that_fails_loses_and_doubles_nothing(world: World, after: bool):
    _acknowledging(world)
    first, second = world.accepted(), world.accepted()
    world.ship(first)
    world.faults.fail("acknowledge", WarehouseUnavailable("The connection broke."), after=after)
    tally = _poll(world)
    assert (tally.outcomes["new"], tally.outcomes["not_acknowledged"], tally.errors) == (1, 1, {})
    world.ship(second)
    # A warehouse that was not told delivers the event again.
    world.warehouse.events.append(world.warehouse.events[0])
    assert _poll(world).outcomes["new"] == 1
    assert {event["event_id"] for event in world.warehouse.events} <= set(world.wms.acknowledged)
    assert len(world.rows("pipeline.wms_shipments", "event_id, order_id")) == 2


def test_an_event_of_an_order_that_is_not_known_is_left_until_every_account_has_it(world: World, database: Database):
    _acknowledging(world)
    world.ship(world.accepted())
    world.warehouse.events[0]["order_ref"] = "111-9999999-9999999"
    world.sql("insert into pipeline.wms_cursors (account_id) values ('ANOTHER')")
    assert _poll(world).outcomes["new"] == 1
    assert world.wms.acknowledged == []
    poll_shipments(world.wms, database, world.vault, account_id="ANOTHER")
    assert world.wms.acknowledged == [world.warehouse.events[0]["event_id"]]


def test_events_of_unknown_orders_hide_no_others_where_the_oldest_are_delivered_until_they_are_acknowledged(
    world: World, monkeypatch: pytest.MonkeyPatch
):
    _acknowledging(world)
    monkeypatch.setattr("orders_pipeline.shipments.poll.EVENTS_A_PAGE", 2)
    for _ in range(3):
        world.ship(world.accepted())
    for number, event in enumerate(world.warehouse.events[:2]):
        event["order_ref"] = f"111-9999999-999999{number}"

    def oldest(cursor: str | None, limit: int) -> ShipmentPage:
        left = [event for event in world.warehouse.events if event["event_id"] not in world.wms.acknowledged]
        events, unreadable = read_shipment_events(left[:limit])
        return ShipmentPage(events, None, unreadable)

    world.wms.poll = oldest  # type: ignore[method-assign]
    assert [_poll(world).outcomes["new"] for _ in range(2)] == [2, 1]


def test_a_warehouse_that_wants_no_acknowledgements_gets_none(world: World):
    world.ship(world.accepted())
    assert _poll(world).outcomes["new"] == 1
    assert world.wms.acknowledged == []
