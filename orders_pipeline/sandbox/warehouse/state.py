"""The warehouse's orders, what it did with them, and its ledger."""

from __future__ import annotations

import hashlib
import json
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from orders_pipeline.sandbox.clock import Clock, iso
from orders_pipeline.sandbox.faults import Faults

ACCEPTED = "accepted"
HELD = "held"
PACKING = "packing"
PARTIALLY_SHIPPED = "partially_shipped"
SHIPPED = "shipped"
CANCELLED = "cancelled"


@dataclass
class WarehousePackage:
    package_id: str
    order_ref: str
    carrier: str
    service: str | None
    tracking_number: str
    shipped_at: datetime
    lines: dict[str, int]
    voided: bool = False


@dataclass
class WarehouseOrder:
    order_ref: str
    wms_id: str
    content: dict[str, Any]
    content_sha256: str
    accepted_at: datetime
    status: str = ACCEPTED
    packages: list[WarehousePackage] = field(default_factory=list[WarehousePackage])
    short: Counter[str] = field(default_factory=Counter[str])
    cancelled_units: Counter[str] = field(default_factory=Counter[str])
    erased: bool = False
    ever_held: bool = False

    @property
    def ship_to(self) -> dict[str, Any]:
        return self.content["ship_to"]

    @property
    def lines(self) -> dict[str, int]:
        return {line["line_ref"]: line["quantity"] for line in self.content["lines"]}

    def shipped_units(self, line_ref: str) -> int:
        return sum(package.lines.get(line_ref, 0) for package in self.packages if not package.voided)

    def open_units(self) -> dict[str, int]:
        units: dict[str, int] = {}
        for ref, ordered in self.lines.items():
            left = ordered - self.shipped_units(ref) - self.short[ref] - self.cancelled_units[ref]
            if left > 0:
                units[ref] = left
        return units


@dataclass(frozen=True)
class LedgerEntry:
    """One call. The content is here as a hash only: the ledger may be shown to anyone."""

    at: datetime
    call: str
    order_ref: str | None
    outcome: str
    content_sha256: str | None = None


def content_hash(content: dict[str, Any]) -> str:
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


class WarehouseState:
    def __init__(self, *, clock: Clock, token: str, seed: int) -> None:
        self.clock = clock
        self.token = token
        self.lock = threading.RLock()
        self.faults = Faults(seed)
        self.orders: dict[str, WarehouseOrder] = {}
        self.events: list[dict[str, Any]] = []
        self.ledger: list[LedgerEntry] = []
        self._pushes: dict[str, list[LedgerEntry]] = {}
        self.unknown_skus: set[str] = set()
        # order_ref → what the next cancel is answered with, whatever the order's state: a decision made on demand.
        self.cancel_answers: dict[str, str] = {}
        self.on_accepted: list[Callable[[str], None]] = []
        self.on_event: list[Callable[[dict[str, Any]], None]] = []
        self._numbers = 0

    def record(self, call: str, order_ref: str | None, outcome: str, content_sha256: str | None = None) -> None:
        with self.lock:
            entry = LedgerEntry(self.clock.now(), call, order_ref, outcome, content_sha256)
            self.ledger.append(entry)
            if call == "put_order" and order_ref is not None:
                self._pushes.setdefault(order_ref, []).append(entry)

    def accept(self, order_ref: str, content: dict[str, Any]) -> tuple[str, WarehouseOrder]:
        """`created`, `same`, or the code of the conflict; and the order that is there."""
        sha256 = content_hash(content)
        with self.lock:
            known = self.orders.get(order_ref)
            if known is not None:
                if known.status == CANCELLED:
                    return "order_cancelled", known
                if known.content_sha256 == sha256:
                    return "same", known
                return ("order_shipped" if known.status == SHIPPED else "order_conflict"), known
            order = WarehouseOrder(order_ref, f"W{self.next_number():07d}", content, sha256, self.clock.now())
            self.orders[order_ref] = order
        for listener in self.on_accepted:
            listener(order_ref)
        return "created", order

    def hold(self, order_ref: str) -> str | None:
        """The new status, or None: too late."""
        with self.lock:
            order = self.orders[order_ref]
            if order.status not in (ACCEPTED, HELD, PARTIALLY_SHIPPED):
                return None
            order.status, order.ever_held = HELD, True
            return HELD

    def release(self, order_ref: str) -> str | None:
        with self.lock:
            order = self.orders[order_ref]
            if order.status in (SHIPPED, CANCELLED):
                return None
            if order.status == HELD:
                order.status = PARTIALLY_SHIPPED if order.packages else ACCEPTED
            return order.status

    def cancel(self, order_ref: str) -> str | None:
        """`cancelled`, `partial`, `pending` (decided later, by `stop` or by shipping), or None: too late."""
        with self.lock:
            order = self.orders[order_ref]
            wanted = self.cancel_answers.pop(order_ref, None)
            if wanted == "too_late":
                return None
            if wanted == "pending":
                return "pending"
            if order.status == CANCELLED:
                return "cancelled"
            if order.status in (SHIPPED, PACKING):
                return None
            return self.stop(order_ref)

    def stop(self, order_ref: str) -> str:
        """Cancel what has not left."""
        with self.lock:
            order = self.orders[order_ref]
            stopped = order.open_units()
            order.cancelled_units.update(stopped)
            partly = any(not package.voided for package in order.packages)
            order.status = SHIPPED if partly else CANCELLED
            if stopped:
                self.add_event("cancelled", order_ref, stopped)
            return "partial" if partly else "cancelled"

    def ship(
        self,
        order_ref: str,
        lines: dict[str, int],
        carrier: str,
        service: str | None,
        tracking: str,
        *,
        box: str | None = None,
    ) -> str:
        """A parcel leaves; returns the package id. `box`: the id of a box that holds other orders too."""
        with self.lock:
            order = self.orders[order_ref]
            package_id = box or f"P{self.next_number():07d}"
            package = WarehousePackage(package_id, order_ref, carrier, service, tracking, self.clock.now(), dict(lines))
            order.packages.append(package)
            order.status = PARTIALLY_SHIPPED if order.open_units() else SHIPPED
            self.add_event("shipped", order_ref, lines, package)
            return package.package_id

    def void(self, order_ref: str, package_id: str) -> None:
        """The parcel will not travel; its items are open again until a replacement leaves."""
        with self.lock:
            order = self.orders[order_ref]
            package = next(package for package in order.packages if package.package_id == package_id)
            package.voided = True
            order.status = PARTIALLY_SHIPPED
            self.add_event("voided", order_ref, package.lines, package)

    def relabel(
        self, order_ref: str, package_id: str, tracking: str, carrier: str | None = None, service: str | None = None
    ) -> None:
        """The voided parcel travels after all: the same box and items, under a new label."""
        with self.lock:
            order = self.orders[order_ref]
            package = next(package for package in order.packages if package.package_id == package_id)
            if carrier is not None:
                package.carrier, package.service = carrier, service
            package.voided, package.tracking_number, package.shipped_at = False, tracking, self.clock.now()
            order.status = PARTIALLY_SHIPPED if order.open_units() else SHIPPED
            self.add_event("shipped", order_ref, package.lines, package)

    def run_short(self, order_ref: str, lines: dict[str, int]) -> None:
        with self.lock:
            order = self.orders[order_ref]
            order.short.update(lines)
            if not order.open_units():
                order.status = SHIPPED
            self.add_event("short", order_ref, lines)

    def add_event(
        self, kind: str, order_ref: str, lines: dict[str, int], package: WarehousePackage | None = None
    ) -> None:
        event = {
            "event_id": f"E{self.next_number():08d}",
            "kind": kind,
            "order_ref": order_ref,
            "package_id": package.package_id if package else None,
            "carrier": package.carrier if package else None,
            "service": package.service if package else None,
            "tracking_number": package.tracking_number if package else None,
            "shipped_at": iso(package.shipped_at if package else self.clock.now()),
            "lines": [{"line_ref": ref, "quantity": quantity} for ref, quantity in lines.items()],
        }
        self._tell(event)

    def repeat_event(self, event_id: str) -> None:
        """The same event, delivered again."""
        self._tell(next(event for event in self.events if event["event_id"] == event_id))

    def _tell(self, event: dict[str, Any]) -> None:
        with self.lock:
            self.events.append(event)
        for listener in self.on_event:
            listener(event)

    def erase(self, order_ref: str) -> bool:
        with self.lock:
            order = self.orders.get(order_ref)
            if order is None:
                return False
            order.content = {
                **order.content,
                "ship_to": dict.fromkeys(order.content["ship_to"]),
                "lines": [{**line, "gift_message": None, "customization_url": None} for line in order.content["lines"]],
            }
            order.erased = True
            return True

    def next_number(self) -> int:
        with self.lock:
            self._numbers += 1
            return self._numbers

    def pushes_of(self, order_ref: str) -> list[LedgerEntry]:
        """Every PUT of this order, whatever the answer."""
        with self.lock:
            return list(self._pushes.get(order_ref, []))

    def as_json(self) -> dict[str, Any]:
        with self.lock:
            outcomes: dict[str, Counter[str]] = {}
            for entry in self.ledger:
                outcomes.setdefault(entry.call, Counter())[entry.outcome] += 1
            contents = {ref: {push.content_sha256 for push in pushes} for ref, pushes in self._pushes.items()}
            return {
                "calls": {call: dict(counts) for call, counts in outcomes.items()},
                "orders": dict(Counter(order.status for order in self.orders.values())),
                "packages": sum(len(order.packages) for order in self.orders.values()),
                "events": len(self.events),
                "erased": sum(order.erased for order in self.orders.values()),
                "pushed_with_two_contents": sorted(ref for ref, hashes in contents.items() if len(hashes) > 1),
            }
