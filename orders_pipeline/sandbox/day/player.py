"""Plays the day: at its time, each thing that happens to an order.

It watches the sandbox's own warehouse for what depends on a push, and never asks the pipeline anything.
"""

from __future__ import annotations

import heapq
import itertools
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from orders_pipeline.sandbox.amazon.order import MERCHANT, SHIPPED, UNSHIPPED
from orders_pipeline.sandbox.amazon.state import AmazonState
from orders_pipeline.sandbox.clock import Clock
from orders_pipeline.sandbox.day.people import People
from orders_pipeline.sandbox.day.scenarios import (
    LATE_ADDRESS,
    TRANSPARENCY_ITEM,
    DayPlan,
    PlannedOrder,
    Scenario,
)
from orders_pipeline.sandbox.warehouse.floor import UNKNOWN_CARRIER, Floor, ShippingPlan
from orders_pipeline.sandbox.warehouse.state import WarehouseState

# New orders arrive in the first part of the day, so that its last ones have time to live.
ARRIVALS_SHARE = 0.7
# A cancellation after the push has this long to reach the warehouse before the parcel leaves: long enough for a client
# that is killed meanwhile. Where it does reach it, nobody waits for this.
SLOW_SHIPPING_SECONDS = 240.0


@dataclass
class DayOptions:
    orders: int = 160
    duration_seconds: float = 60.0
    endless: bool = False
    endless_pause_seconds: float = 8.0
    late_addresses: bool = False
    late_address_seconds: float = 4.0
    transparency: bool = False


@dataclass(order=True)
class _Event:
    at: float
    sequence: int
    action: Callable[[], None] = field(compare=False)


class Day:
    def __init__(
        self,
        *,
        amazon: AmazonState,
        warehouse: WarehouseState,
        floor: Floor,
        clock: Clock,
        people: People,
        options: DayOptions,
        seller_id: str,
        marketplace_id: str,
        seed: int,
    ) -> None:
        self._amazon = amazon
        self._warehouse = warehouse
        self._floor = floor
        self._clock = clock
        self._seed = seed
        self.options = options
        self.people = people
        extra: tuple[Scenario, ...] = (
            *((LATE_ADDRESS,) if options.late_addresses else ()),
            *((TRANSPARENCY_ITEM,) if options.transparency else ()),
        )
        self._plan = DayPlan(seed=seed, people=people, seller_id=seller_id, marketplace_id=marketplace_id, extra=extra)
        self.planned: dict[str, PlannedOrder] = {}
        self.state = "idle"
        self.played = 0
        self._condition = threading.Condition()
        self._events: list[_Event] = []
        self._sequence = itertools.count()
        self._waiting_for_push: dict[str, Callable[[], None]] = {}
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="sandbox-day", daemon=True)
        warehouse.on_accepted.append(self._accepted)

    def start(self) -> None:
        if self.state != "idle":
            return
        self.state = "playing"
        if self.options.endless:
            self._schedule(0.0, self._endless_order)
        else:
            self._schedule_day()
        self._thread.start()

    def stop(self) -> None:
        with self._condition:
            self._stopping = True
            self._condition.notify_all()
        if self._thread.is_alive():
            self._thread.join(timeout=5)

    def finished(self) -> bool:
        """Everything that was to happen has happened, on Amazon's side and on the warehouse's floor."""
        with self._condition:
            over = self.state == "played" and not self._events
        return over and self._floor.idle()

    def as_json(self) -> dict[str, Any]:
        total = len(self.planned) if self.options.endless else self.options.orders
        return {"state": self.state, "orders_total": total, "played": self.played, "finished": self.finished()}

    def play(self, planned: PlannedOrder) -> None:
        """This order, from now on, whatever else the day does."""
        self.planned[planned.order.order_id] = planned
        self._begin(planned)
        if not self._thread.is_alive() and self.state == "idle":
            self.state = "playing"
            self._thread.start()

    def _schedule_day(self) -> None:
        chance = random.Random(f"{self._seed}:arrivals")
        for planned in self._plan.orders(self.options.orders, self._clock.now()):
            self.planned[planned.order.order_id] = planned
            arrival = chance.uniform(0.0, self.options.duration_seconds * ARRIVALS_SHARE)
            self._schedule(arrival, lambda planned=planned: self._begin(planned))

    def _endless_order(self) -> None:
        index = len(self.planned)
        planned = self._plan.draw(index, self._plan.any_scenario(index), self._clock.now())
        self.planned[planned.order.order_id] = planned
        self._begin(planned)
        pause = random.Random(f"{self._seed}:pause:{index}").uniform(0.5, 1.5) * self.options.endless_pause_seconds
        self._schedule(pause, self._endless_order)

    def _begin(self, planned: PlannedOrder) -> None:
        order, amazon, name = planned.order, self._amazon, planned.scenario.name
        chance = random.Random(f"{self._seed}:{order.order_id}:life")
        order.last_updated = max(order.last_updated, self._clock.now() - timedelta(milliseconds=1))
        self.played += 1
        amazon.add_order(order)
        # Time pending, and the pause before whatever comes next: a few seconds of a one-minute day.
        pace = min(5.0, self.options.duration_seconds / 12)
        paid, later = chance.uniform(0.1, 0.5) * pace, chance.uniform(0.4, 1.0) * pace
        order_id = order.order_id
        if name == "stays_pending":
            return
        if name == "cancelled_while_pending":
            self._schedule(paid, lambda: amazon.cancel(order_id, by="BUYER"))
        elif name == "cancelled_at_once":
            self._schedule(paid, lambda: self._pay_and_cancel(order_id))
        elif name in ("request_stands", "request_granted"):
            self._schedule(paid, lambda: self._pay_with_request(order_id))
            if name == "request_granted":
                self._schedule(paid + later, lambda: amazon.cancel(order_id, by="MERCHANT"))
        else:
            self._schedule(paid, lambda: amazon.change_status(order_id, UNSHIPPED, reason="Payment authorized"))
        if order.fulfilled_by != MERCHANT:
            self._schedule(paid + later, lambda: amazon.change_status(order_id, SHIPPED, reason="Shipped by Amazon"))
        self._prepare_warehouse(planned)

    def _prepare_warehouse(self, planned: PlannedOrder) -> None:
        order_id, name, plans = planned.order.order_id, planned.scenario.name, self._floor.plans
        if name == "cancelled_after_push":
            plans[order_id] = ShippingPlan(delay_seconds=SLOW_SHIPPING_SECONDS)
            self._waiting_for_push[order_id] = lambda: self._amazon.cancel(order_id, by="BUYER")
        elif name == "request_after_push":
            plans[order_id] = ShippingPlan(delay_seconds=SLOW_SHIPPING_SECONDS)
            self._waiting_for_push[order_id] = lambda: self._request_then_cancel(order_id)
        elif name == "unknown_carrier":
            plans[order_id] = ShippingPlan(carrier=UNKNOWN_CARRIER)
        elif name == "voided_package":
            plans[order_id] = ShippingPlan(story="voided")
        elif name == "relabelled_package":
            plans[order_id] = ShippingPlan(story="relabelled")
        elif name == "runs_short":
            plans[order_id] = ShippingPlan(story="short")
        elif name == "late_address":
            self._amazon.withhold_address(order_id, self.options.late_address_seconds)

    def _pay_and_cancel(self, order_id: str) -> None:
        # Under one lock: nobody can see the order between the two, and both messages are on the queue.
        with self._amazon.lock:
            self._amazon.change_status(order_id, UNSHIPPED, reason="Payment authorized")
            self._amazon.cancel(order_id, by="BUYER")

    def _pay_with_request(self, order_id: str) -> None:
        with self._amazon.lock:
            self._amazon.change_status(order_id, UNSHIPPED, reason="Payment authorized")
            self._amazon.request_cancellation(order_id)

    def _request_then_cancel(self, order_id: str) -> None:
        self._amazon.request_cancellation(order_id)
        self._schedule(3.0, lambda: self._amazon.cancel(order_id, by="MERCHANT"))

    def _accepted(self, order_ref: str) -> None:
        action = self._waiting_for_push.pop(order_ref, None)
        if action is not None:
            self._schedule(1.0, action)

    def _schedule(self, delay: float, action: Callable[[], None]) -> None:
        with self._condition:
            heapq.heappush(self._events, _Event(self._clock.monotonic() + delay, next(self._sequence), action))
            self._condition.notify()

    def _run(self) -> None:
        while True:
            with self._condition:
                while not self._stopping:
                    wait = self._events[0].at - self._clock.monotonic() if self._events else None
                    if wait is None:
                        self.state = "played"
                    elif wait <= 0:
                        break
                    self._condition.wait(1.0 if wait is None else min(1.0, wait))
                if self._stopping:
                    return
                event = heapq.heappop(self._events)
                self.state = "playing"
            event.action()
