"""What this Tryton is like: the ids by which its company, warehouse and locations are named, and what the user may do.

Read once; what is missing is said with what to do about it, and read again with the next call.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, tzinfo
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from orders_pipeline.wms.port import WarehouseForbidden
from orders_pipeline.wms.tryton.calls import Calls, as_id
from orders_pipeline.wms.tryton.errors import NotDone
from orders_pipeline.wms.tryton.order_marks import NOBODY_CODE
from orders_pipeline.wms.tryton.orders import EVERYTHING, SHIPMENT

# They bring along what they stand on: parties, carriers, packages and the stock itself.
MODULES = ("stock_package_shipping", "stock_shipment_cost")
# What the adapter does with each model; docs/tryton.md has the same list.
RIGHTS: Mapping[str, tuple[str, ...]] = {
    "party.party": ("read", "write", "create"),
    "party.address": ("read", "write", "create"),
    "party.contact_mechanism": ("read", "write", "create", "delete"),
    "party.identifier": ("read", "create", "delete"),
    SHIPMENT: ("read", "write", "create"),
    "stock.move": ("read", "write", "create"),
    "stock.package": ("read", "write"),
    "stock.location": ("read",),
    "product.product": ("read",),
    "carrier": ("read",),
    "country.country": ("read",),
    "country.subdivision": ("read",),
}
# A service level may be given to another carrier in Tryton; a push that does not know yet does no harm.
CARRIERS_FOR_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Installation:
    """Ids. `nobody` is the party that stands for buyers until an order has its own, `nowhere` its address.

    `zone`: in which Tryton's days begin and end.
    """

    company: int
    currency: int
    warehouse: int
    storage: int
    output: int
    customers: int
    nobody: int
    nowhere: int
    zone: tzinfo
    _carriers: dict[str, tuple[float, int | None]] = field(default_factory=dict[str, tuple[float, int | None]])

    def carrier_of(self, calls: Calls, service_level: str | None) -> int | None:
        """The carrier whose product has this service level as its code; None leaves it to the warehouse."""
        if service_level is None:
            return None
        read_at, carrier = self._carriers.get(service_level, (0.0, None))
        if time.monotonic() - read_at > CARRIERS_FOR_SECONDS or not read_at:
            domain = [["carrier_product.code", "=", service_level]]
            found = calls.search_read("carrier", domain, ["id"], order=[("id", "ASC")], limit=1)
            carrier = found[0]["id"] if found else None
            self._carriers[service_level] = (time.monotonic(), carrier)
        return carrier

    def require_rights(self, calls: Calls) -> None:
        """Raises WarehouseForbidden if the user lacks a right: then it is no order's fault that Tryton refused it."""
        _require_rights(calls)


class KnownInstallation:
    """The installation, read by the first call that needs it. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._installation: Installation | None = None

    def read(self, calls: Calls) -> Installation:
        """Raises WarehouseError; WarehouseForbidden where something is to be set up in Tryton."""
        with self._lock:
            if self._installation is None:
                self._installation = _read(calls)
            return self._installation


def _read(calls: Calls) -> Installation:
    _require_modules(calls)
    _require_rights(calls)
    try:
        defaults = calls.call(SHIPMENT, "default_get", ["company", "warehouse"], False)
        company, warehouse = as_id(defaults.get("company")), as_id(defaults.get("warehouse"))
        if company is None:
            raise _to_set_up("the user works for no company: give the user one in Tryton")
        if warehouse is None:
            raise _to_set_up("the user has no default warehouse: give the user one, or let there be one only")
        zones = calls.read("stock.location", [warehouse], ["picking_location", "storage_location", "output_location"])[
            0
        ]
        storage = as_id(zones.get("picking_location")) or as_id(zones.get("storage_location"))
        output = as_id(zones.get("output_location"))
        of_company = calls.read("company.company", [company], ["currency", "timezone"])[0]
        currency, zone = as_id(of_company.get("currency")), _zone(of_company.get("timezone"))
        nobody = _nobody(calls)
        place = calls.search_read("party.address", [["party", "=", nobody]], ["id"], limit=1, context=EVERYTHING)
        customers = as_id(calls.read("party.party", [nobody], ["customer_location"])[0].get("customer_location"))
    except (NotDone, AttributeError, IndexError) as error:
        raise _to_set_up("it refuses to be read: give the user the groups of docs/tryton.md") from error
    if currency is None or customers is None or storage is None or output is None or not place:
        raise _to_set_up(
            "the company has no currency, or the warehouse no zones, or there is no location for customers"
        )
    return Installation(company, currency, warehouse, storage, output, customers, nobody, place[0]["id"], zone)


def _nobody(calls: Calls) -> int:
    domain = [["code", "=", NOBODY_CODE]]
    found = calls.search_read("party.party", domain, ["id"], limit=1, context=EVERYTHING)
    if found:
        return found[0]["id"]
    values: dict[str, Any] = {"name": "Amazon orders", "code": NOBODY_CODE, "addresses": [["create", [{}]]]}
    try:
        return calls.create("party.party", values)
    except NotDone:
        # Another process was faster.
        return calls.search_read("party.party", domain, ["id"], limit=1, context=EVERYTHING)[0]["id"]


def _zone(name: object) -> tzinfo:
    """The company's; UTC where it has none, as on a server that is set up as most are."""
    if not isinstance(name, str) or not name:
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        raise _to_set_up("this machine does not know the time zone of the user's company") from None


def _require_modules(calls: Calls) -> None:
    domain = [["name", "in", list(MODULES)], ["state", "in", ["activated", "to upgrade"]]]
    active = {one.get("name") for one in calls.search_read("ir.module", domain, ["name"])}
    if missing := [name for name in MODULES if name not in active]:
        raise _to_set_up(f"activate its module{'s' if len(missing) > 1 else ''} {' and '.join(missing)}")


def _require_rights(calls: Calls) -> None:
    access = calls.call("ir.model.access", "get_access", list(RIGHTS))
    for model, rights in RIGHTS.items():
        allowed = access.get(model) if isinstance(access, dict) else None
        for right in rights:
            if isinstance(allowed, dict) and not allowed.get(right):
                raise _to_set_up(f"the user may not {right} {model}: give the user the groups of docs/tryton.md")


def _to_set_up(what: str) -> WarehouseForbidden:
    return WarehouseForbidden(f"Tryton is not set up for this: {what}.", status=403)
