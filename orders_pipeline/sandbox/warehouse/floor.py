"""The warehouse floor: as time passes it packs what was accepted and ships it, in one parcel or two.

Everything is drawn from the seed and the order's number, so the same day ships the same way.
"""

from __future__ import annotations

import heapq
import random
import threading
from dataclasses import dataclass, field

from orders_pipeline.sandbox.clock import Clock
from orders_pipeline.sandbox.warehouse.state import ACCEPTED, CANCELLED, HELD, PACKING, SHIPPED, WarehouseState

# What a warehouse writes, and the service it names: mostly known to everyone, in whatever case.
CARRIERS = (
    *(("UPS", "Ground"), ("ups", "Ground"), ("USPS", "Priority Mail"), ("usps", "Ground Advantage")),
    *(("FedEx", "Home Delivery"), ("FEDEX", "2Day"), ("Fedex", None), ("OnTrac", "Ground"), ("dhl ecommerce", None)),
)
UNKNOWN_CARRIER = ("Bluefin Couriers", "Same City")


@dataclass
class FloorOptions:
    min_seconds: float = 2.0
    max_seconds: float = 6.0
    packing_seconds: float = 0.3  # once packing has begun, a cancellation is too late
    second_package_seconds: float = 1.5
    two_packages_share: float = 0.25
    repeated_event_share: float = 0.05
    unknown_carrier_share: float = 0.0
    automatic: bool = True  # False: nothing ships unless a test says so


@dataclass
class ShippingPlan:
    """What will happen to one order. `story` is one of: ships, voided, relabelled, short, waits."""

    story: str = "ships"
    carrier: tuple[str, str | None] | None = None
    delay_seconds: float | None = None


@dataclass(order=True)
class _Step:
    at: float
    sequence: int
    order_ref: str = field(compare=False)
    action: str = field(compare=False)


class Floor:
    def __init__(self, state: WarehouseState, *, clock: Clock, options: FloorOptions, seed: int) -> None:
        self._state = state
        self._clock = clock
        self.options = options
        self._seed = seed
        self.plans: dict[str, ShippingPlan] = {}
        self._condition = threading.Condition()
        self._steps: list[_Step] = []
        self._sequence = 0
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="sandbox-warehouse-floor", daemon=True)
        state.on_accepted.append(self._accepted)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        with self._condition:
            self._stopping = True
            self._condition.notify_all()
        if self._thread.is_alive():
            self._thread.join(timeout=5)

    def idle(self) -> bool:
        """Nothing is left to pack: what still waits in the plan was cancelled, or has left already."""
        with self._condition:
            steps = list(self._steps)
        return not any(step.action == "void" or not self._is_over(step.order_ref) for step in steps)

    def ship_now(
        self, order_ref: str, lines: dict[str, int] | None = None, *, carrier: str = "UPS", tracking: str | None = None
    ) -> str:
        """Ship these lines (or all that is open) at once; returns the package id."""
        with self._state.lock:
            units = lines or self._state.orders[order_ref].open_units()
            return self._state.ship(order_ref, units, carrier, None, tracking or self._tracking(order_ref, carrier))

    def _accepted(self, order_ref: str) -> None:
        if not self.options.automatic:
            return
        plan = self.plans.get(order_ref, ShippingPlan())
        if plan.story == "waits":
            return
        delay = plan.delay_seconds
        if delay is None:
            delay = self._chance(order_ref, "delay").uniform(self.options.min_seconds, self.options.max_seconds)
        self._plan(order_ref, "pack", delay)

    def _plan(self, order_ref: str, action: str, delay: float) -> None:
        with self._condition:
            self._sequence += 1
            heapq.heappush(self._steps, _Step(self._clock.monotonic() + delay, self._sequence, order_ref, action))
            self._condition.notify()

    def _run(self) -> None:
        while True:
            with self._condition:
                while not self._stopping:
                    wait = self._steps[0].at - self._clock.monotonic() if self._steps else None
                    if wait is not None and wait <= 0:
                        break
                    # Held orders are looked at again; a clock that a test moved is noticed within a second.
                    self._condition.wait(1.0 if wait is None else min(1.0, wait))
                if self._stopping:
                    return
                step = heapq.heappop(self._steps)
            self._act(step.order_ref, step.action)

    def _act(self, order_ref: str, action: str) -> None:
        state, options = self._state, self.options
        with state.lock:
            order = state.orders[order_ref]
            if action != "void" and self._is_over(order_ref):
                return
            if order.status == HELD:
                self._plan(order_ref, action, 0.5)
                return
            if action == "pack":
                if order.status == ACCEPTED:
                    order.status = PACKING
                self._plan(order_ref, "ship", options.packing_seconds)
            elif action == "ship":
                self._ship(order_ref)
            elif action == "ship_rest":
                if order.open_units():
                    self._send(order_ref, order.open_units(), parcel="second")
            elif action == "void":
                package = order.packages[-1]
                state.void(order_ref, package.package_id)
                relabelled = self.plans.get(order_ref, ShippingPlan()).story == "relabelled"
                self._plan(order_ref, "relabel" if relabelled else "replace", options.second_package_seconds)
            elif action == "relabel":
                package = order.packages[-1]
                tracking = self._tracking(f"{order_ref}:new label", package.carrier)
                state.relabel(order_ref, package.package_id, tracking)
            elif action == "replace":
                self._send(order_ref, order.open_units(), parcel="replacement")

    def _is_over(self, order_ref: str) -> bool:
        return self._state.orders[order_ref].status in (CANCELLED, SHIPPED)

    def _ship(self, order_ref: str) -> None:
        order = self._state.orders[order_ref]
        open_units = order.open_units()
        story = self.plans.get(order_ref, ShippingPlan()).story
        if story == "short" and len(open_units) > 1:
            missing = sorted(open_units)[-1]
            quantity = open_units.pop(missing)
            self._send(order_ref, open_units, parcel="first")
            self._state.run_short(order_ref, {missing: quantity})
            return
        first = self._first_parcel(order_ref, open_units)
        self._send(order_ref, first, parcel="first")
        if order.open_units():
            self._plan(order_ref, "ship_rest", self.options.second_package_seconds)
        if story in ("voided", "relabelled"):
            self._plan(order_ref, "void", self.options.second_package_seconds * 2)

    def _send(self, order_ref: str, lines: dict[str, int], *, parcel: str) -> None:
        carrier, service, tracking = self._label(order_ref, parcel)
        self._state.ship(order_ref, lines, carrier, service, tracking)
        if self._chance(order_ref, f"{parcel}:repeated").random() < self.options.repeated_event_share:
            self._state.repeat_event(self._state.events[-1]["event_id"])

    def _first_parcel(self, order_ref: str, open_units: dict[str, int]) -> dict[str, int]:
        """What leaves first: all, or a part where the order leaves in two parcels."""
        chance = self._chance(order_ref, "split")
        ships = self.plans.get(order_ref, ShippingPlan()).story == "ships"
        if ships and sum(open_units.values()) > 1 and chance.random() < self.options.two_packages_share:
            return _half(open_units, chance)
        return open_units

    def _label(self, order_ref: str, parcel: str) -> tuple[str, str | None, str]:
        """Carrier, service and tracking number of a parcel, each parcel of an order under a name of its own."""
        plan = self.plans.get(order_ref, ShippingPlan())
        chance = self._chance(order_ref, parcel)
        carrier, service = plan.carrier or chance.choice(CARRIERS)
        if plan.carrier is None and chance.random() < self.options.unknown_carrier_share:
            carrier, service = UNKNOWN_CARRIER
        return carrier, service, self._tracking(f"{order_ref}:{parcel}", carrier)

    def _chance(self, order_ref: str, purpose: str) -> random.Random:
        return random.Random(f"{self._seed}:{order_ref}:{purpose}")

    def _tracking(self, purpose: str, carrier: str) -> str:
        chance = self._chance(purpose, "tracking")
        name = carrier.lower()
        if name == "ups":
            return "1Z" + "".join(chance.choice("0123456789ABCDEFGHJKLMNPRSTVWXYZ") for _ in range(16))
        if name == "usps":
            return "94" + "".join(chance.choice("0123456789") for _ in range(20))
        if name == "fedex":
            return "".join(chance.choice("0123456789") for _ in range(12))
        return "T" + "".join(chance.choice("0123456789") for _ in range(14))


def _half(units: dict[str, int], chance: random.Random) -> dict[str, int]:
    """Part of the units: whole lines where there are several, else some units of the one line."""
    if len(units) > 1:
        refs = sorted(units)
        return {ref: units[ref] for ref in refs[: chance.randint(1, len(refs) - 1)]}
    ((ref, quantity),) = units.items()
    return {ref: chance.randint(1, quantity - 1)}
