"""Did each order end where it should? Judged by Amazon's and the warehouse's books alone.

It never looks at the pipeline, its store or its logs.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

from orders_pipeline.sandbox.amazon.carriers import OTHER
from orders_pipeline.sandbox.amazon.order import CANCELLED, TRANSPARENCY, Address, Order, Package
from orders_pipeline.sandbox.amazon.state import AmazonState
from orders_pipeline.sandbox.day.scenarios import CONFIRMED, HELD, NOT_OURS, STAYS_PENDING, STOPPED, PlannedOrder
from orders_pipeline.sandbox.warehouse.state import WarehouseOrder, WarehousePackage, WarehouseState

EFFECTIVE = ("created", "edited", "repeated")


@dataclass(frozen=True)
class Verdict:
    order_id: str
    scenario: str
    expectation: str
    actual: str
    ok: bool
    why: str
    seller_id: str


class Judge:
    # Between the warehouse's time of shipping and Amazon's.
    ship_date_tolerance_seconds = 1.0

    def __init__(self, amazon: AmazonState, warehouse: WarehouseState) -> None:
        self._amazon = amazon
        self._warehouse = warehouse

    def verdicts(self, planned: dict[str, PlannedOrder]) -> list[Verdict]:
        with self._amazon.lock, self._warehouse.lock:
            return [self._judge(one) for one in list(planned.values())]

    def report(self, planned: dict[str, PlannedOrder]) -> dict[str, Any]:
        verdicts = self.verdicts(planned)
        return {
            "verdicts": [asdict(verdict) for verdict in verdicts],
            "totals": {
                "orders": len(verdicts),
                "ok": sum(verdict.ok for verdict in verdicts),
                "not_ok": sum(not verdict.ok for verdict in verdicts),
                "by_expectation": dict(Counter(verdict.expectation for verdict in verdicts)),
                "by_actual": dict(Counter(verdict.actual for verdict in verdicts)),
            },
        }

    def _judge(self, planned: PlannedOrder) -> Verdict:
        order, scenario = planned.order, planned.scenario
        actual = self._actual(order)
        if order.order_id not in self._amazon.orders:
            wrong = ["has not been played yet"]
        elif scenario.expectation == CONFIRMED:
            wrong = self._not_confirmed(order)
        elif scenario.expectation == STOPPED:
            wrong = self._not_stopped(order)
        elif scenario.expectation == NOT_OURS:
            wrong = self._not_left_alone(order)
        else:
            wrong = self._pushed(order)
        return Verdict(
            order.order_id, scenario.name, scenario.expectation, actual, not wrong, "; ".join(wrong), order.seller_id
        )

    def _actual(self, order: Order) -> str:
        """One word for where the order is: the expectation's word when it is there."""
        at_warehouse = self._warehouse.orders.get(order.order_id)
        if order.order_id not in self._amazon.orders:
            return "not_played"
        if not order.merchant_fulfilled:
            return NOT_OURS if at_warehouse is None else "pushed"
        shipped = at_warehouse is not None and any(not package.voided for package in at_warehouse.packages)
        if order.status == CANCELLED:
            if shipped:
                return "cancelled_but_shipped"
            if at_warehouse is not None and at_warehouse.status != "cancelled":
                return "cancelled_but_at_warehouse"
            return STOPPED
        if at_warehouse is None:
            if order.status in ("PENDING", "PENDING_AVAILABILITY"):
                return STAYS_PENDING
            needs_a_person = any(item.cancel_request_reason or TRANSPARENCY in item.programs for item in order.items)
            return HELD if needs_a_person else "not_pushed"
        if not shipped:
            return "at_warehouse"
        return CONFIRMED if not self._not_confirmed(order) else "shipped_not_confirmed"

    def _pushed(self, order: Order) -> list[str]:
        pushes = self._warehouse.pushes_of(order.order_id)
        return [f"pushed {len(pushes)} times"] if pushes else []

    def _not_left_alone(self, order: Order) -> list[str]:
        wrong = self._pushed(order)
        reads = self._amazon.ledger.order_reads(order.order_id).by_operation
        calls = {operation: count for operation, count in reads.items() if operation != "confirmShipment"}
        if calls:
            wrong.append(f"calls spent on it: {calls}")
        return wrong

    def _not_stopped(self, order: Order) -> list[str]:
        wrong: list[str] = []
        if order.status != CANCELLED:
            wrong.append(f"Amazon still has it as {order.status}")
        at_warehouse = self._warehouse.orders.get(order.order_id)
        if at_warehouse is not None:
            if at_warehouse.packages:
                wrong.append("a parcel left")
            if at_warehouse.status != "cancelled":
                wrong.append(f"the warehouse has it as {at_warehouse.status}")
        if any(c.outcome in EFFECTIVE for c in self._amazon.ledger.confirmations_of(order.order_id)):
            wrong.append("a shipment was confirmed")
        return wrong

    def _not_confirmed(self, order: Order) -> list[str]:
        at_warehouse = self._warehouse.orders.get(order.order_id)
        if at_warehouse is None:
            return ["not at the warehouse"]
        wrong = [*self._wrong_push(order, at_warehouse), *_open_units(order, at_warehouse)]
        left = [package for package in at_warehouse.packages if not package.voided]
        wrong += _packages_differ(left, list(order.packages.values()), self.ship_date_tolerance_seconds)
        wrong += self._read_back(order)
        return wrong

    def _wrong_push(self, order: Order, at_warehouse: WarehouseOrder) -> list[str]:
        wrong: list[str] = []
        pushes = self._warehouse.pushes_of(order.order_id)
        if sum(push.outcome == "created" for push in pushes) != 1:
            wrong.append("not accepted exactly once")
        if len({push.content_sha256 for push in pushes}) > 1:
            wrong.append("pushed with two contents")
        if not at_warehouse.erased:
            wrong += _wrong_address(order.address, at_warehouse.ship_to)
            wrong += _wrong_lines(order, at_warehouse)
        return wrong

    def _read_back(self, order: Order) -> list[str]:
        confirmations = self._amazon.ledger.confirmations_of(order.order_id)
        last = max((c.at for c in confirmations if c.outcome in EFFECTIVE), default=None)
        if last is None:
            return ["never confirmed"]
        shown = self._amazon.ledger.order_reads(order.order_id).shipments_shown_at
        if shown is None or shown < last:
            return ["not read back after the last confirmation"]
        return []


def _open_units(order: Order, at_warehouse: WarehouseOrder) -> list[str]:
    left = at_warehouse.open_units()
    return [f"not shipped yet: {sum(left.values())} units"] if left else []


def _packages_differ(left: list[WarehousePackage], told: list[Package], tolerance_seconds: float) -> list[str]:
    wrong: list[str] = []
    by_tracking: dict[str, list[Package]] = {}
    for package in told:
        by_tracking.setdefault(package.tracking_number, []).append(package)
    for parcel in left:
        matches = by_tracking.pop(parcel.tracking_number, [])
        if len(matches) != 1:
            wrong.append(f"parcel {parcel.package_id} is at Amazon {len(matches)} times")
            continue
        package = matches[0]
        if package.items != parcel.lines:
            wrong.append(f"parcel {parcel.package_id}: other items at Amazon")
        if not _same_carrier(parcel.carrier, package):
            wrong.append(f"parcel {parcel.package_id}: {parcel.carrier} became {package.carrier_code}")
        if abs((package.ship_date - parcel.shipped_at).total_seconds()) > tolerance_seconds:
            wrong.append(f"parcel {parcel.package_id}: another ship date at Amazon")
    if by_tracking:
        wrong.append(f"{len(by_tracking)} packages at Amazon that the warehouse never sent, or voided")
    return wrong


def _same_carrier(free_text: str, package: Package) -> bool:
    if package.carrier_code == OTHER:
        return _letters(package.carrier_name or "") == _letters(free_text)
    return _letters(package.carrier_code) == _letters(free_text)


def _letters(text: str) -> str:
    return re.sub(r"[^a-z0-9]", "", text.lower())


def address_fields(address: Address) -> dict[str, str | None]:
    """An address by the names that the warehouse has for its fields."""
    return {
        "name": address.name,
        "company": address.company_name,
        "address_line1": address.address_line1,
        "address_line2": address.address_line2,
        "address_line3": address.address_line3,
        "city": address.city,
        "district": address.district_or_county,
        "state_or_region": address.state_or_region,
        "postal_code": address.postal_code,
        "country_code": address.country_code,
        "phone": address.phone,
    }


def _wrong_address(address: Address, ship_to: dict[str, Any]) -> list[str]:
    expected = address_fields(address)
    # Names of fields only: a verdict may be printed.
    different = [name for name, value in expected.items() if (ship_to.get(name) or None) != value]
    return [f"another address at the warehouse: {', '.join(different)}"] if different else []


def _wrong_lines(order: Order, at_warehouse: WarehouseOrder) -> list[str]:
    expected = {
        item.item_id: (item.sku, item.quantity, item.gift_message, item.customization_url) for item in order.items
    }
    received = {
        line["line_ref"]: (line["sku"], line["quantity"], line["gift_message"], line["customization_url"])
        for line in at_warehouse.content["lines"]
    }
    return ["other lines at the warehouse"] if expected != received else []
