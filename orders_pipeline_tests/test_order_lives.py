"""Random lives of orders: whatever happens, in whatever order, the end is what Amazon's and the warehouse's ledgers say.

Belongs here: the whole road (promises 1 to 5) under duplicates, losses, disorder, lost answers and crashes at any point,
on a real PostgreSQL. Elsewhere: each stage's own cases (its tests), real processes that are killed (chaos).
"""

from __future__ import annotations

import random
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, precondition, rule
from sqlalchemy import Engine, text

from orders_pipeline.amazon.errors import AmazonUnavailable
from orders_pipeline.fulfillment.states import ACTIONABLE
from orders_pipeline.store.database import Database
from orders_pipeline.store.embedded import EmbeddedPostgres
from orders_pipeline.store.pending import pending_work
from orders_pipeline.wms.warehouse import WarehouseUnavailable
from orders_pipeline_tests.conftest import SELLER
from orders_pipeline_tests.world import World, open_world

TIMED_OUT = WarehouseUnavailable("The warehouse could not be reached (ReadTimeout)")
RESET = AmazonUnavailable("Amazon could not be reached", operation="confirmShipment")


class Died(BaseException):
    """The process is killed here."""


class OrderLives(RuleBasedStateMachine):
    """Orders live at Amazon and at the warehouse; the stages run whenever they like, and may die in any call."""

    open_database: ClassVar[Callable[[], Database]]
    orders: Bundle[str] = Bundle("orders")

    @initialize(seed=st.integers(0, 1 << 30))
    def begin(self, seed: int) -> None:
        self.folder = tempfile.TemporaryDirectory(prefix="lives-")
        self.database = type(self).open_database()
        self.world: World = open_world(self.database, Path(self.folder.name))
        self.chance = random.Random(seed)
        self.units: dict[str, int] = {}

    # --- at Amazon

    @rule(target=orders, quantities=st.sampled_from([(1,), (2,), (1, 1), (3, 1)]), paid=st.booleans())
    def create(self, quantities: tuple[int, ...], paid: bool) -> str:
        status = "UNSHIPPED" if paid else "PENDING"
        order_id = self.world.order(quantities=quantities, hear=False, status=status)
        self.units[order_id] = sum(quantities)
        return order_id

    @rule(order_id=orders)
    def pay(self, order_id: str) -> None:
        if self._at_amazon(order_id) == "PENDING":
            self.world.amazon.change_status(order_id, "UNSHIPPED")

    @rule(order_id=orders, withdraw=st.booleans())
    def buyer_asks_to_cancel(self, order_id: str, withdraw: bool) -> None:
        if self._at_amazon(order_id) == "UNSHIPPED":
            amazon = self.world.amazon
            (amazon.withdraw_cancellation_request if withdraw else amazon.request_cancellation)(order_id)

    @rule(order_id=orders)
    def cancel(self, order_id: str) -> None:
        if self._at_amazon(order_id) in ("PENDING", "UNSHIPPED"):
            self.world.amazon.cancel(order_id)

    # --- on the way

    @rule()
    def deliver(self) -> None:
        self.chance.shuffle(self.world.notified)
        self.world.hear()

    @rule()
    def deliver_twice(self) -> None:
        self.world.notified += self.world.notified
        self.deliver()

    @rule()
    def lose_notifications(self) -> None:
        self.world.notified.clear()

    @rule()
    def sweep(self) -> None:
        self.world.sweep()

    # --- at the warehouse

    @rule(order_id=orders, in_part=st.booleans(), carrier=st.sampled_from(["UPS", "Bluefin Couriers"]))
    def ship(self, order_id: str, in_part: bool, carrier: str) -> None:
        order = self.world.warehouse.orders.get(order_id)
        if order is not None and order.status in ("accepted", "partially_shipped") and order.open_units():
            line, quantity = next(iter(order.open_units().items()))
            places = [item.item_id for item in self.world.amazon.orders[order_id].items]
            lines = {places.index(line): 1 if quantity > 1 else quantity} if in_part else None
            self.world.ship(order_id, lines, carrier=carrier)

    @rule(order_id=orders, replace=st.booleans())
    def void(self, order_id: str, replace: bool) -> None:
        order = self.world.warehouse.orders.get(order_id)
        packages = [] if order is None else [package for package in order.packages if not package.voided]
        if order is not None and packages and order.status != "cancelled":
            self.world.warehouse.void(order_id, packages[-1].package_id)
            if replace:
                items = [item.item_id for item in self.world.amazon.orders[order_id].items]
                self.world.ship(order_id, {items.index(line): units for line, units in packages[-1].lines.items()})

    @rule()
    def events_come_again(self) -> None:
        for event in self.world.warehouse.events[-3:]:
            self.world.warehouse.repeat_event(event["event_id"])

    # --- the stages, in any order, and what befalls them

    @rule(stage=st.sampled_from(["drain", "absorb", "fetch", "derive", "act", "poll", "confirm", "read_back", "sync"]))
    def run(self, stage: str) -> None:
        with suppress(Died):
            getattr(self.world, stage)()

    @rule()
    def time_passes(self) -> None:
        self.world.make_due()

    @rule(
        call=st.sampled_from(["push", "cancel", "hold", "release", "find"]), after=st.booleans(), fatal=st.booleans()
    )
    def the_warehouse_fails(self, call: str, after: bool, fatal: bool) -> None:
        self.world.faults.fail(call, Died() if fatal else TIMED_OUT, after=after)  # type: ignore[arg-type]

    @rule(call=st.sampled_from(["confirm", "get_order"]), after=st.booleans(), fatal=st.booleans())
    def amazon_fails(self, call: str, after: bool, fatal: bool) -> None:
        self.world.faults.fail(call, Died() if fatal else RESET, after=after)  # type: ignore[arg-type]

    @precondition(lambda self: bool(self.units))
    @rule()
    def a_confirmation_is_dropped(self) -> None:
        self.world.amazon.faults.add("dropped", "confirmShipment")

    # --- the end

    def teardown(self) -> None:
        if not hasattr(self, "world"):
            return
        try:
            self._settle()
            self._compare()
        finally:
            self.database.close()
            self.folder.cleanup()

    def _settle(self) -> None:
        """No more faults; the warehouse ships what it may, and what was voided is replaced; the sweep finds losses."""
        world = self.world
        world.faults.clear()
        world.amazon.faults.clear()
        for _ in range(3):
            world.sweep()
            world.settle(rounds=20)
            for order_id, order in world.warehouse.orders.items():
                if order.status in ("accepted", "partially_shipped") and order.open_units():
                    world.ship(order_id)
        world.sweep()
        world.settle(rounds=20)

    def _compare(self) -> None:
        world = self.world
        with self.database.transaction() as connection:
            work = pending_work(connection, SELLER)
        assert (work.for_sync, work.for_confirm) == (0, 0), "something is due for ever"
        assert world.vault.audit.verify().ok
        entries = {row.order_id: row for row in world.rows("pipeline.fulfillment_queue", "order_id, state")}
        rows = {row.order_id: row for row in world.rows("pipeline.orders", "order_id, status")}
        assert rows.keys() == self.units.keys(), "an order is lost"
        for order_id in self.units:
            assert rows[order_id].status == self._at_amazon(order_id)
            self._compare_one(order_id, entries[order_id].state if order_id in entries else None)

    def _compare_one(self, order_id: str, state: str | None) -> None:
        world, status = self.world, self._at_amazon(order_id)
        there = world.warehouse.orders.get(order_id)
        left = [] if there is None else [package for package in there.packages if not package.voided]
        pushes = world.warehouse.pushes_of(order_id)
        assert len({push.content_sha256 for push in pushes}) <= 1, "pushed with two contents"
        assert sum(push.outcome == "created" for push in pushes) <= 1
        assert state not in {str(actionable) for actionable in ACTIONABLE}, f"left in {state}"
        if status == "CANCELLED":
            # Whatever left of it, or could not be stopped, a person was told of.
            assert state in (None, "cancelled", "too_late")
            assert not left or state == "too_late"
            assert there is None or state == "too_late" or there.status == "cancelled"
            assert self._alerted(f"order.too_late:{order_id}") == (state == "too_late")
        elif status == "PENDING":
            assert there is None
        elif self._asked_to_cancel(order_id):
            assert state in ("held", "holding", "too_late", "accepted", "shipped", "closed"), state
            assert there is None or not there.open_units() or there.status == "held"
        else:
            assert there is not None, f"never pushed, and {state}"
            assert (status, state) == ("SHIPPED", "closed")
        self._compare_packages(order_id, {package.tracking_number for package in left})

    def _compare_packages(self, order_id: str, left: set[str]) -> None:
        """Every parcel that is on its way is confirmed, once; those of a cancelled order are blocked and alerted."""
        world = self.world
        rows = world.rows(
            "pipeline.shipment_confirmations",
            "package_id, state, tracking_number, package_reference_id",
            f"order_id = '{order_id}' and state not in ('voided', 'replaced')",
        )
        assert {row.tracking_number for row in rows} == left
        shown = list(world.shown(order_id).values())
        assert len(shown) == len(set(shown))
        if self._at_amazon(order_id) == "CANCELLED":
            assert {row.state for row in rows} <= {"blocked"}
            assert shown == []
            return
        assert {row.state for row in rows} <= {"confirmed"}, [(row.state, row.tracking_number) for row in rows]
        assert left <= set(shown)
        voided_and_not_replaced = world.rows(
            "pipeline.shipment_confirmations", "package_id, sends", f"order_id = '{order_id}' and state = 'voided'"
        )
        assert len(shown) == len(left) + sum(1 for row in voided_and_not_replaced if row.sends)

    def _at_amazon(self, order_id: str) -> str:
        return self.world.amazon.orders[order_id].status

    def _asked_to_cancel(self, order_id: str) -> bool:
        return any(item.cancel_request_reason for item in self.world.amazon.orders[order_id].items)

    def _alerted(self, key: str) -> bool:
        return bool(self.world.rows("pipeline.alerts", "key, message", f"key = '{key}' and closed_at is null"))


@pytest.fixture
def databases(postgres: EmbeddedPostgres, postgres_admin: Engine) -> Iterator[Callable[[], Database]]:
    """Opens a fresh database for each life; they are dropped together."""
    names: list[str] = []

    def open_one() -> Database:
        names.append(f"lives_{uuid.uuid4().hex[:12]}")
        with postgres_admin.connect() as connection:
            connection.execute(text(f"create database {names[-1]} template template"))
        return Database(postgres.url(names[-1]))

    yield open_one
    with postgres_admin.connect() as connection:
        for name in names:
            connection.execute(text(f"drop database {name} with (force)"))


def test_every_life_ends_as_amazon_and_the_warehouse_say(databases: Callable[[], Database]):
    class Lives(OrderLives):
        open_database = staticmethod(databases)

    case = Lives.TestCase
    case.settings = settings(
        max_examples=int(__import__("os").environ.get("LIVES","25")),
        stateful_step_count=50,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        print_blob=True,
    )
    case("runTest").runTest()


