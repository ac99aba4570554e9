"""Random lives of orders: whatever happens, the end is what Amazon's and the warehouse's ledgers say."""

from __future__ import annotations

import os
import random
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from sqlalchemy import Engine

from orders_pipeline.channels.amazon.errors import AmazonUnavailable
from orders_pipeline.database.embedded import EmbeddedPostgres
from orders_pipeline.database.engine import Database
from orders_pipeline.fulfillment import push
from orders_pipeline.fulfillment.states import ACTIONABLE
from orders_pipeline.operations.pending_work import pending_work
from orders_pipeline.wms.port import WarehouseUnavailable
from orders_pipeline_tests.conftest import SELLER
from orders_pipeline_tests.copied_database import copied_database
from orders_pipeline_tests.world import World, open_world

TIMED_OUT = WarehouseUnavailable("The warehouse could not be reached (ReadTimeout)")
# Some two seconds each. ORDER_LIVES=500 is for a quiet evening.
LIVES = int(os.environ.get("ORDER_LIVES", "15"))
# Which of the orders that are eligible; Hypothesis draws from what there is.
PICK = st.integers(0, 99)
RESET = AmazonUnavailable("Amazon could not be reached", operation="confirmShipment")


class Died(BaseException):
    """The process is killed here."""


class OrderLives(RuleBasedStateMachine):
    """Orders live at Amazon and at the warehouse; the stages run whenever they like, and may die in any call."""

    open_database: ClassVar[list[Callable[[], Database]]]

    @initialize(seed=st.integers(0, 1 << 30))
    def begin(self, seed: int) -> None:
        self.folder = tempfile.TemporaryDirectory(prefix="lives-")
        self.database = self.open_database[0]()
        self.world: World = open_world(self.database, Path(self.folder.name))
        self.chance = random.Random(seed)
        self.units: dict[str, int] = {}

    # --- at Amazon

    @rule(quantities=st.sampled_from([(1,), (2,), (1, 1), (3, 1)]), paid=st.sampled_from([True, True, True, False]))
    def create(self, quantities: tuple[int, ...], paid: bool) -> None:
        status = "UNSHIPPED" if paid else "PENDING"
        order_id = self.world.order(quantities=quantities, hear=False, status=status)
        self.units[order_id] = sum(quantities)

    @rule(quantities=st.sampled_from([(1,), (2,), (1, 1), (3, 1)]), count=st.integers(1, 3))
    def create_and_push(self, quantities: tuple[int, ...], count: int) -> None:
        for _ in range(count):
            self.create(quantities, paid=True)
        self.run_everything()

    @rule(cancel=st.booleans())
    def push_one_whose_answer_is_lost(self, cancel: bool) -> None:
        self.world.faults.fail("push", TIMED_OUT, after=True)
        self.create_and_push((1,), count=1)
        if cancel:
            self.world.amazon.cancel(list(self.units)[-1])

    @precondition(lambda self: self._where("PENDING"))
    @rule(pick=PICK)
    def pay(self, pick: int) -> None:
        self.world.amazon.change_status(self._one_of(self._where("PENDING"), pick), "UNSHIPPED")

    @precondition(lambda self: self._where("UNSHIPPED"))
    @rule(pick=PICK, withdraw=st.booleans())
    def buyer_asks_to_cancel(self, pick: int, withdraw: bool) -> None:
        amazon = self.world.amazon
        order_id = self._one_of(self._where("UNSHIPPED"), pick)
        (amazon.withdraw_cancellation_request if withdraw else amazon.request_cancellation)(order_id)

    @precondition(lambda self: self._where("UNSHIPPED", "PENDING"))
    @rule(pick=PICK, undecided=st.sampled_from(["", "", "", "pending", "too_late"]))
    def cancel(self, pick: int, undecided: str) -> None:
        order_id = self._one_of(self._where("UNSHIPPED", "PENDING"), pick)
        self.world.amazon.cancel(order_id)
        if undecided and order_id in self.world.warehouse.orders:
            self.world.warehouse.cancel_answers[order_id] = undecided

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

    @precondition(lambda self: self._to_ship())
    @rule(pick=PICK, in_part=st.booleans(), carrier=st.sampled_from(["UPS", "UPS", "Bluefin Couriers"]))
    def ship(self, pick: int, in_part: bool, carrier: str) -> None:
        order_id = self._one_of(self._to_ship(), pick)
        lines: dict[int, int] | None = None
        if in_part:
            line, quantity = next(iter(self.world.warehouse.orders[order_id].open_units().items()))
            lines = {self._places(order_id).index(line): max(1, quantity // 2)}
        self.world.ship(order_id, lines, carrier=carrier)

    @precondition(lambda self: self._on_their_way())
    @rule(pick=PICK, replace=st.booleans())
    def void(self, pick: int, replace: bool) -> None:
        order_id = self._one_of(self._on_their_way(), pick)
        package = next(one for one in self.world.warehouse.orders[order_id].packages if not one.voided)
        self.world.warehouse.void(order_id, package.package_id)
        if replace:
            places = self._places(order_id)
            self.world.ship(order_id, {places.index(line): units for line, units in package.lines.items()})

    @precondition(lambda self: self._to_label_anew())
    @rule(pick=PICK, void_again=st.booleans())
    def label_anew(self, pick: int, void_again: bool) -> None:
        """A voided box travels after all, under a new label; perhaps that one is voided as well, and replaced."""
        boxes = self._to_label_anew()
        order_id, package_id = boxes[pick % len(boxes)]
        warehouse = self.world.warehouse
        for _ in range(2 if void_again else 1):
            warehouse.relabel(order_id, package_id, f"1Z{warehouse.next_number():016d}")
            if void_again:
                warehouse.void(order_id, package_id)
                void_again = False

    @rule()
    def events_come_again(self) -> None:
        for event in self.world.warehouse.events[-3:]:
            self.world.warehouse.repeat_event(event["event_id"])

    @precondition(lambda self: self.world.warehouse.events)
    @rule(picks=st.lists(PICK, min_size=1, max_size=3))
    def webhooks_bring(self, picks: list[int]) -> None:
        """Some of what happened, in any order, whether a poll has brought it or will."""
        events = self.world.warehouse.events
        self.world.webhook([events[pick % len(events)] for pick in picks])

    # --- the stages, in any order, and what befalls them

    @rule(stage=st.sampled_from(["drain", "absorb", "fetch", "decide", "push", "poll", "confirm", "verify"]))
    def run_one_stage(self, stage: str) -> None:
        self._run(stage)

    @rule(job=st.sampled_from(["sync", "confirm_and_verify"]))
    def run_a_job(self, job: str) -> None:
        self._run(job)

    @rule()
    def run_everything(self) -> None:
        self.world.hear()
        for stage in ("sync", "confirm_and_verify", "sync"):
            self._run(stage)

    def _run(self, stage: str) -> None:
        with suppress(Died):
            getattr(self.world, stage)()

    @rule()
    def time_passes(self) -> None:
        self.world.make_due()

    @rule(call=st.sampled_from(["push", "cancel", "hold", "release", "find"]), after=st.booleans(), fatal=st.booleans())
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
            stoppable = self._stoppable()
            self._settle()
            self._compare()
            there = self.world.warehouse.orders
            assert {there[order_id].status for order_id in stoppable} <= {"cancelled"}, "cancelled, and not stopped"
        finally:
            self.database.close()
            self.folder.cleanup()

    def _stoppable(self) -> list[str]:
        """Cancelled orders that the warehouse has, and would not ship if it were asked now."""
        told = {row.order_id for row in self.world.rows("pipeline.fulfillment_orders", "order_id, state")
                if row.state == "too_late"}  # fmt: skip
        orders = self.world.warehouse.orders
        return [
            order_id
            for order_id in self._where("CANCELLED")
            if order_id in orders
            and order_id not in told
            and not orders[order_id].packages
            and order_id not in self.world.warehouse.cancel_answers
        ]

    def _settle(self) -> None:
        """No more faults; the warehouse ships what it may, and what was voided is replaced; the sweep finds losses."""
        world = self.world
        world.faults.clear()
        world.amazon.faults.clear()
        for _ in range(3):
            world.sweep()
            world.run_until_idle(rounds=20)
            for order_id, order in world.warehouse.orders.items():
                if order.status in ("accepted", "partially_shipped") and order.open_units():
                    world.ship(order_id)
        world.sweep()
        world.run_until_idle(rounds=20)

    def _compare(self) -> None:
        world = self.world
        # Packages under `Other` are looked at every hour, and time has just been made to pass.
        world.confirm()
        with self.database.transaction(SELLER) as tx:
            work = pending_work(tx)
        assert (work.for_sync, work.for_confirm) == (False, False), "something is due for ever"
        assert world.vault.audit.verify().ok
        entries = {row.order_id: row for row in world.rows("pipeline.fulfillment_orders", "order_id, state")}
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
        """Every package that is on its way is confirmed, once; those of a cancelled order are blocked and alerted."""
        world = self.world
        rows = world.rows(
            "pipeline.shipment_confirmations",
            "package_id, state, tracking_number, package_reference_id",
            f"order_id = '{order_id}' and state not in ('voided', 'awaits_replacement', 'replaced')",
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
            "pipeline.shipment_confirmations",
            "package_id, state",
            f"order_id = '{order_id}' and state = 'awaits_replacement'",
        )
        assert len(shown) == len(left) + len(voided_and_not_replaced)

    def _where(self, *statuses: str) -> list[str]:
        return [order_id for order_id in self.units if self._at_amazon(order_id) in statuses]

    def _to_ship(self) -> list[str]:
        orders = self.world.warehouse.orders.values()
        return [one.order_ref for one in orders if one.status in ("accepted", "partially_shipped") and one.open_units()]

    def _on_their_way(self) -> list[str]:
        orders = self.world.warehouse.orders.values()
        return [
            one.order_ref
            for one in orders
            if one.status in ("partially_shipped", "shipped") and not all(package.voided for package in one.packages)
        ]

    def _to_label_anew(self) -> list[tuple[str, str]]:
        """Voided boxes whose items have not left otherwise."""
        return [
            (order.order_ref, package.package_id)
            for order in self.world.warehouse.orders.values()
            if order.status == "partially_shipped"
            for package in order.packages
            if package.voided and all(order.open_units().get(line, 0) >= units for line, units in package.lines.items())
        ]

    def _places(self, order_id: str) -> list[str]:
        return [item.item_id for item in self.world.amazon.orders[order_id].items]

    def _one_of(self, order_ids: list[str], pick: int) -> str:
        return order_ids[pick % len(order_ids)]

    def _at_amazon(self, order_id: str) -> str:
        return self.world.amazon.orders[order_id].status

    def _asked_to_cancel(self, order_id: str) -> bool:
        return any(item.cancel_request_reason for item in self.world.amazon.orders[order_id].items)


@pytest.fixture
def databases(postgres: EmbeddedPostgres, postgres_admin: Engine) -> Iterator[Callable[[], Database]]:
    """Opens a fresh database for each life; they are dropped together."""
    with ExitStack() as stack:
        yield lambda: Database(stack.enter_context(copied_database(postgres, postgres_admin, "template")))


@pytest.mark.slow(45)
def test_every_life_ends_as_amazon_and_the_warehouse_say(
    databases: Callable[[], Database], monkeypatch: pytest.MonkeyPatch
):
    # One push at a time: which of several a failure strikes would differ when a life is lived again.
    monkeypatch.setattr(push, "PUSH_WORKERS", 1)

    class Lives(OrderLives):
        open_database: ClassVar = [databases]

    case = Lives.TestCase
    case.settings = settings(
        max_examples=LIVES,
        stateful_step_count=50,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
        print_blob=True,
        # Making a failing life shorter would take minutes; its blob replays it.
        phases=(Phase.explicit, Phase.reuse, Phase.generate),
    )
    case("runTest").runTest()
