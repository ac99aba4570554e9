"""What Tryton's database says of each order, in the form in which the sandbox's day and its judge look at a warehouse.

Everything comes from Tryton. Remembered is only what an order looked like when it was first seen, and since when its
packages have been on their way: Tryton writes the day.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any

from orders_pipeline.sandbox.warehouse.state import (
    ACCEPTED,
    CANCELLED,
    PACKING,
    PARTIALLY_SHIPPED,
    SHIPPED,
    WarehouseOrder,
    WarehousePackage,
    WarehouseState,
    content_hash,
)
from warehouses.tryton.master_data import PIPELINE
from warehouses.tryton.rpc import Record, TrytonRpc
from warehouses.tryton.worker import SENT_STATES, SHIPMENT

FIELDS = (
    *("reference", "state", "create_uid.login", "delivery_address", "customer"),
    *("carrier.party.name", "carrier.carrier_product.name"),
)
ADDRESS_FIELDS = (
    *("party_name", "attn", "street", "building_name", "postal_code", "city", "country.code", "subdivision.code"),
    *("party.name", "party.contact_mechanisms"),
)


class TrytonBooks:
    """Keeps a WarehouseState in step with Tryton. `line_refs`: order_ref → SKU → Amazon's order item id."""

    def __init__(self, rpc: TrytonRpc, state: WarehouseState, line_refs: Callable[[str], dict[str, str]]) -> None:
        self._rpc, self._state, self._line_refs = rpc, state, line_refs
        self._looking = threading.Lock()
        self._pushed: set[int] = set()
        self._sent_at: dict[int, datetime] = {}
        self._known: dict[str, list[Record]] = {}

    def look_at_changes(self) -> None:
        """Read what was made or changed since this was last done."""
        fields = ["reference", "state", "write_date"]
        now: dict[str, list[Record]] = {}
        for shipment in self._rpc.search(SHIPMENT, [("reference", "!=", None)], fields, order=[("id", "ASC")]):
            now.setdefault(shipment["reference"], []).append(shipment)
        changed = [reference for reference, shipments in now.items() if shipments != self._known.get(reference)]
        if changed:
            self.look(changed)
        self._known = now

    def look(self, order_refs: Sequence[str] | None = None) -> None:
        """Read these orders, or all, from Tryton, and tell the day of those that are there for the first time."""
        domain = [("reference", "!=", None)] if order_refs is None else [("reference", "in", list(order_refs))]
        new: list[str] = []
        # One after the other: what was read earlier never takes the place of what was read later.
        with self._looking:
            found = self._rpc.search(SHIPMENT, domain, FIELDS, order=[("id", "ASC")])
            moves, packages, labels = self._moves(found), self._packages(found), self._labels(found)
            by_reference: dict[str, list[Record]] = {}
            for shipment in found:
                by_reference.setdefault(shipment["reference"], []).append(shipment)
            with self._state.lock:
                for reference, shipments in by_reference.items():
                    new += self._note_pushes(reference, shipments, moves, labels)
                    if (order := self._state.orders.get(reference)) is not None:
                        self._bring_up_to_date(order, shipments, moves, packages)
        for order_ref in new:
            for listener in self._state.on_accepted:
                listener(order_ref)

    def _note_pushes(
        self, reference: str, shipments: list[Record], moves: dict[int, list[Record]], labels: dict[int, list[str]]
    ) -> list[str]:
        """A shipment that the pipeline's user made is a push, once it is no draft any more, which nobody picks.

        One that the worker made is a part or a replacement.
        """
        new: list[str] = []
        for shipment in shipments:
            if shipment["id"] in self._pushed or shipment["create_uid."]["login"] != PIPELINE.name:
                continue
            if shipment["state"] in ("draft", "cancelled"):
                continue
            self._pushed.add(shipment["id"])
            lines = [
                {"line_ref": ref, "sku": sku, "quantity": units}
                for ref, sku, units in self._lines(reference, moves[shipment["id"]])
            ]
            content: dict[str, Any] = {"lines": lines, "ship_to": {}, "label": labels[shipment["id"]]}
            sha256 = content_hash({"lines": lines, "label": sorted(content["label"])})
            self._state.record("put_order", reference, "created", sha256)
            if reference not in self._state.orders:
                self._state.orders[reference] = WarehouseOrder(
                    reference, str(shipment["id"]), content, sha256, self._state.clock.now()
                )
                new.append(reference)
        return new

    def _bring_up_to_date(
        self,
        order: WarehouseOrder,
        shipments: list[Record],
        moves: dict[int, list[Record]],
        packages: dict[int, list[Record]],
    ) -> None:
        order.packages = [
            self._package(order.order_ref, shipment, package, moves[shipment["id"]])
            for shipment in shipments
            for package in packages.get(shipment["id"], [])
            if shipment["state"] in SENT_STATES or shipment["id"] in self._sent_at
        ]
        # A draft that the pipeline left is one that another push of it has overtaken.
        living = [one for one in shipments if one["state"] != "cancelled" and not _is_stray(one)]
        underway = Counter(shipment["state"] for shipment in living)
        sent = sum(underway[state] for state in SENT_STATES)
        # What is no longer to be sent: picked short. Tryton's moves shrink, and nothing else says so.
        wanted: Counter[str] = Counter()
        for shipment in living:
            for ref, _, units in self._lines(order.order_ref, moves[shipment["id"]]):
                wanted[ref] += units
        order.short = Counter(
            {ref: units - wanted[ref] for ref, units in order.lines.items() if living and units > wanted[ref]}
        )
        if not living:
            order.status = CANCELLED
        elif sent == len(living):
            order.status = SHIPPED
        elif sent:
            order.status = PARTIALLY_SHIPPED
        else:
            order.status = PACKING if underway["picked"] or underway["packed"] else ACCEPTED

    def _package(self, order_ref: str, shipment: Record, package: Record, moves: list[Record]) -> WarehousePackage:
        sent_at = self._sent_at.setdefault(shipment["id"], self._state.clock.now())
        inside = [move for move in moves if move["package"] == package["id"]]
        carrier: Record = shipment["carrier."] or {"party.": {"name": ""}, "carrier_product.": {"name": None}}
        lines: Counter[str] = Counter()
        for ref, _, units in self._lines(order_ref, inside):
            lines[ref] += units
        return WarehousePackage(
            package_id=package["number"],
            order_ref=order_ref,
            carrier=carrier["party."]["name"],
            service=carrier["carrier_product."]["name"],
            tracking_number=package["shipping_reference"] or "",
            shipped_at=sent_at,
            lines=dict(lines),
            voided=shipment["state"] == "cancelled",
        )

    def _lines(self, order_ref: str, moves: Iterable[Record]) -> list[tuple[str, str, int]]:
        """(Amazon's item id, SKU, units) of outgoing moves; a SKU that the order has not stands for itself."""
        refs = self._line_refs(order_ref)
        summed: Counter[str] = Counter()
        for move in moves:
            if move["state"] == "cancelled":
                continue
            summed[move["product."]["code"]] += int(move["quantity"])
        return [(refs.get(sku, sku), sku, units) for sku, units in sorted(summed.items()) if units]

    def _moves(self, shipments: list[Record]) -> dict[int, list[Record]]:
        domain = [
            ("shipment", "in", [f"{SHIPMENT},{one['id']}" for one in shipments]),
            ("to_location.type", "=", "customer"),
        ]
        fields = ["shipment", "product.code", "quantity", "package", "state"]
        grouped: dict[int, list[Record]] = {one["id"]: [] for one in shipments}
        for move in self._rpc.search("stock.move", domain, fields) if shipments else []:
            grouped[int(move["shipment"].rpartition(",")[2])].append(move)
        return grouped

    def _packages(self, shipments: list[Record]) -> dict[int, list[Record]]:
        domain = [("shipment", "in", [f"{SHIPMENT},{one['id']}" for one in shipments])]
        grouped: dict[int, list[Record]] = {}
        fields = ["shipment", "number", "shipping_reference"]
        for package in self._rpc.search("stock.package", domain, fields) if shipments else []:
            grouped.setdefault(int(package["shipment"].rpartition(",")[2]), []).append(package)
        return grouped

    def _labels(self, shipments: list[Record]) -> dict[int, list[str]]:
        """By shipment: every text that would stand on its label, or help to reach the buyer."""
        ids = sorted({shipment["delivery_address"] for shipment in shipments})
        addresses = {one["id"]: one for one in self._rpc.read("party.address", ids, ADDRESS_FIELDS)}
        contacts = [
            contact for address in addresses.values() for contact in (address["party."]["contact_mechanisms"] or ())
        ]
        numbers = {one["id"]: one["value"] for one in self._rpc.read("party.contact_mechanism", contacts, ["value"])}
        labels: dict[int, list[str]] = {}
        for shipment in shipments:
            address = addresses[shipment["delivery_address"]]
            country, subdivision = address["country."] or {}, address["subdivision."] or {}
            texts = [
                *(address[name] for name in ("party_name", "attn", "building_name", "postal_code", "city")),
                *(address["street"] or "").splitlines(),
                address["party."]["name"],
                country.get("code"),
                *(subdivision.get("code") or "").split("-")[1:],
                *(numbers.get(contact) for contact in address["party."]["contact_mechanisms"] or ()),
            ]
            labels[shipment["id"]] = [text for text in texts if text]
        return labels


def _is_stray(shipment: Record) -> bool:
    return shipment["state"] == "draft" and shipment["create_uid."]["login"] == PIPELINE.name
