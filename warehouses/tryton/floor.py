"""The sandbox's floor, with hands that work in a Tryton: the same plans, the same times, the same parcels.

What differs is what Tryton can't do (worker.py): a voided shipment is cancelled and sent again as another one, a new
label goes on the same box without being voided before, and two packages of one shipment leave together. Of the orders
that leave in two parts, some are split into two shipments.
"""

from __future__ import annotations

import sys
import threading
import traceback
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress

from orders_pipeline.sandbox.clock import Clock
from orders_pipeline.sandbox.warehouse.floor import Floor, FloorOptions, ShippingPlan
from orders_pipeline.sandbox.warehouse.state import WarehouseState
from warehouses.tryton.books import TrytonBooks
from warehouses.tryton.rpc import TrytonError, TrytonUnreachable
from warehouses.tryton.worker import OPEN_STATES, SENT_STATES, NotPossible, Parcel, TrytonWorker

# Tryton's one process does one thing at a time; more workers would only wait for each other.
WORKERS = 2
LOOK_SECONDS = 0.5
# After a step that failed: somebody cancelled meanwhile, or the server is away.
AGAIN_SECONDS = 1.0
SPLIT_SHARE = 0.5


class TrytonFloor(Floor):
    """Sees new orders by looking at Tryton, and carries out its plans through the worker."""

    def __init__(
        self,
        state: WarehouseState,
        *,
        clock: Clock,
        options: FloorOptions,
        seed: int,
        worker: TrytonWorker,
        books: TrytonBooks,
    ) -> None:
        super().__init__(state, clock=clock, options=options, seed=seed)
        self._worker, self._books = worker, books
        self._pool = ThreadPoolExecutor(WORKERS, "tryton-worker")
        self._busy = 0
        self._watcher = threading.Thread(target=self._watch, name="tryton-watcher", daemon=True)

    def start(self) -> None:
        super().start()
        self._watcher.start()

    def stop(self) -> None:
        super().stop()
        self._pool.shutdown(cancel_futures=True)
        if self._watcher.is_alive():
            self._watcher.join(timeout=5)

    def idle(self) -> bool:
        with self._condition:
            if self._busy or any(step.action in ("replace", "relabel", "ship_rest") for step in self._steps):
                return False
        return super().idle()

    def _watch(self) -> None:
        while not self._stopping:
            try:
                # It was killed, or is restarted: the next look finds what happened meanwhile.
                with suppress(TrytonUnreachable):
                    self._books.look_at_changes()
            except TrytonError as error:
                print(f"looking: {error}", file=sys.stderr)  # noqa: T201 - the process's log
            with self._condition:
                self._condition.wait_for(lambda: self._stopping, LOOK_SECONDS)

    def _act(self, order_ref: str, action: str) -> None:
        with self._condition:
            self._busy += 1
        self._pool.submit(self._work, order_ref, action).add_done_callback(_report)

    def _work(self, order_ref: str, action: str) -> None:
        try:
            self._carry_out(order_ref, action)
        except (NotPossible, TrytonError) as error:
            # The order was cancelled meanwhile, or the server is away: the step is tried again, and then it is seen.
            print(f"{order_ref}: {action}: {error}", file=sys.stderr)  # noqa: T201 - the process's log; references only
            self._plan(order_ref, action, AGAIN_SECONDS)
        finally:
            with self._condition:
                self._busy -= 1

    def _carry_out(self, order_ref: str, action: str) -> None:
        worker, seconds = self._worker, self.options.second_package_seconds
        story = self.plans.get(order_ref, ShippingPlan()).story
        if action in ("pack", "ship", "ship_rest") and not worker.has(order_ref, OPEN_STATES):
            return
        match action:
            case "pack":
                if later := self._left_for_later(order_ref):
                    worker.split(order_ref, self._by_sku(order_ref, later))
                worker.start_packing(order_ref, self._missing(order_ref, story))
                self._plan(order_ref, "ship", self.options.packing_seconds)
            case "ship":
                # Where the answer of an earlier attempt was lost, it has left already.
                if worker.has(order_ref, SENT_STATES):
                    worker.finish(order_ref)
                else:
                    self._send_first(order_ref)
                if self._left_for_later(order_ref):
                    self._plan(order_ref, "ship_rest", seconds)
                if story == "voided":
                    self._plan(order_ref, "void", seconds * 2)
                if story == "relabelled":
                    self._plan(order_ref, "relabel", seconds * 2)
            case "ship_rest":
                self._send_all(order_ref, "second")
            case "void":
                if worker.has(order_ref, SENT_STATES):
                    worker.void(order_ref)
                self._plan(order_ref, "replace", seconds)
            case "replace":
                if not worker.has(order_ref, SENT_STATES):
                    if not worker.has(order_ref, OPEN_STATES):
                        worker.send_again(order_ref)
                    self._send_all(order_ref, "replacement")
            case _:
                carrier, _, _ = self._label(order_ref, "first")
                tracking = self._tracking(f"{order_ref}:new label", carrier)
                worker.relabel(order_ref, worker.packages(order_ref)[-1], tracking)
                # A new label does not show in the shipment, which is what the watcher looks at.
                self._books.look([order_ref])

    def _send_first(self, order_ref: str) -> None:
        units = self._state.orders[order_ref].lines
        first = self._first_parcel(order_ref, units)
        if first == units or self._left_for_later(order_ref):
            self._send_all(order_ref, "first")
            return
        carrier, service, tracking = self._label(order_ref, "first")
        second = {ref: units[ref] - first.get(ref, 0) for ref in units if units[ref] > first.get(ref, 0)}
        parcels = [
            Parcel(self._by_sku(order_ref, first), tracking),
            Parcel(self._by_sku(order_ref, second), self._tracking(f"{order_ref}:second", carrier)),
        ]
        self._worker.ship(order_ref, parcels, carrier=carrier, service=service)

    def _send_all(self, order_ref: str, parcel: str) -> None:
        carrier, service, tracking = self._label(order_ref, parcel)
        self._worker.ship(order_ref, carrier=carrier, service=service, tracking=tracking)

    def _left_for_later(self, order_ref: str) -> dict[str, int]:
        """Whole lines that leave in a shipment of their own; none where the order leaves at once."""
        units = self._state.orders[order_ref].lines
        first = self._first_parcel(order_ref, units)
        whole_lines = all(first.get(ref, count) == count for ref, count in units.items())
        if first == units or not whole_lines or self._chance(order_ref, "shipments").random() >= SPLIT_SHARE:
            return {}
        return {ref: count for ref, count in units.items() if ref not in first}

    def _missing(self, order_ref: str, story: str) -> dict[str, int]:
        units = self._state.orders[order_ref].lines
        if story != "short" or len(units) < 2:
            return {}
        last = sorted(units)[-1]
        return self._by_sku(order_ref, {last: units[last]})

    def _by_sku(self, order_ref: str, units: dict[str, int]) -> dict[str, int]:
        skus = {line["line_ref"]: line["sku"] for line in self._state.orders[order_ref].content["lines"]}
        return {skus[ref]: count for ref, count in units.items()}


def _report(done: Future[None]) -> None:
    if (error := done.exception()) is not None:
        traceback.print_exception(error)
