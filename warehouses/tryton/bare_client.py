"""The least that makes a customer shipment in Tryton: what a script would send, with no care for doubles or failures.

A yardstick for what the server itself can take, and for tests of the warehouse without the pipeline.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal

from warehouses.tryton.rpc import Record, TrytonRpc
from warehouses.tryton.worker import SHIPMENT


class BareClient:
    """One user's pushes; reads what every shipment needs once."""

    def __init__(self, rpc: TrytonRpc) -> None:
        self._rpc = rpc
        fields = ["storage_location", "output_location"]
        (self._warehouse,) = rpc.search("stock.location", [("type", "=", "warehouse")], fields)
        (customers,) = rpc.search("stock.location", [("type", "=", "customer")], ["id"])
        self._customers: int = customers["id"]
        self.company: int = rpc.context["company"]
        self._currency: int = rpc.read("company.company", [self.company], ["currency"])[0]["currency"]
        products = rpc.search("product.product", [("template.type", "=", "goods")], ["code", "default_uom"])
        self._products: dict[str, Record] = {product["code"]: product for product in products}
        countries = rpc.search("country.country", [], ["code"])
        self._countries: dict[str, int] = {country["code"]: country["id"] for country in countries}

    def push(self, order_ref: str, lines: Mapping[str, int], ship_to: Mapping[str, str] | None = None) -> int:
        """Party, address and shipment in three calls, units by SKU; the shipment's id, in the state `waiting`."""
        to = {"name": "Ada Abernathy", "street": "1 Maple Street", "city": "Boise", "postal_code": "83702"}
        to |= ship_to or {}
        address = {"party_name": to["name"], "street": to["street"], "city": to["city"]}
        address |= {"postal_code": to["postal_code"], "country": self._countries["US"]}
        party = self._rpc.create("party.party", {"name": to["name"], "addresses": [("create", [address])]})[0]
        addresses = self._rpc.read("party.party", [party], ["addresses"])[0]["addresses"]
        shipment: Record = {
            "reference": order_ref,
            "company": self.company,
            "customer": party,
            "delivery_address": addresses[0],
            "planned_date": datetime.now(UTC).date(),
            "warehouse": self._warehouse["id"],
            "warehouse_storage": self._warehouse["storage_location"],
            "warehouse_output": self._warehouse["output_location"],
            "outgoing_moves": [("create", [self._move(sku, units) for sku, units in lines.items()])],
        }
        made = self._rpc.create(SHIPMENT, shipment)
        self._rpc.press(SHIPMENT, "wait", made)
        return made[0]

    def _move(self, sku: str, units: int) -> Record:
        return {
            "product": self._products[sku]["id"],
            "quantity": float(units),
            "unit": self._products[sku]["default_uom"],
            "company": self.company,
            "from_location": self._warehouse["output_location"],
            "to_location": self._customers,
            "unit_price": Decimal("0.0"),
            "currency": self._currency,
        }
