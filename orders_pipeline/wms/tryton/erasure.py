"""Erase what Tryton holds of an order's buyer; the shipment, its numbers and what left stay.

The order's party has its code still, so that the order is known to have been here: it is not taken for a new one.

Tryton lets nobody change a carrier's label, an e-mail that was sent, or a message of a shipment's chat by its API.
Where there are any, the buyer's data are not erased, and that is what is answered.

Nor does it where somebody merged the order's party with another: whose address is whose nobody can tell then, and a
party that was replaced cannot be changed.
"""

from __future__ import annotations

from collections.abc import Sequence

from orders_pipeline.wms.tryton import order_marks
from orders_pipeline.wms.tryton.addresses import ERASED
from orders_pipeline.wms.tryton.calls import Calls, Domain, Record
from orders_pipeline.wms.tryton.orders import EVERYTHING, SHIPMENT, find_order, take_away

# The country stays: Tryton's reports of taxes want it, and so many people live there.
_BLANK_ADDRESS: Record = dict.fromkeys(
    (
        *("party_name", "attn", "street_unstructured", "street_name", "building_name", "building_number"),
        *("unit_number", "floor_number", "room_number", "post_box", "private_bag", "post_office"),
        *("city", "postal_code", "subdivision"),
    )
)


def erase(calls: Calls, nobody: int, order_ref: str) -> bool:
    """Whether nothing is left. Asking again is safe: what is erased is not found. Raises WarehouseError."""
    found = find_order(calls, order_ref, nobody)
    take_away(calls, found.strays)
    if found.order is None:
        return True
    party, *merged_into = found.order.parties
    if merged_into or _ids(calls, "party.party", [["replaced_by", "=", party]]):
        return False
    shipments = [one.id for one in found.order.shipments]
    addresses = _ids(calls, "party.address", [["party", "=", party]])
    packages = _ids(calls, "stock.package", [["shipment", "in", _references(SHIPMENT, shipments)]])
    _write(calls, "party.address", addresses, _BLANK_ADDRESS)
    _delete(calls, "party.contact_mechanism", [["party", "=", party]])
    resources = _references("party.party", [party]) + _references("party.address", addresses)
    resources += _references(SHIPMENT, shipments) + _references("stock.package", packages)
    for model in ("ir.note", "ir.attachment"):
        _delete(calls, model, [["resource", "in", resources]])
    marks = calls.search_read("party.identifier", [["party", "=", party]], ["code"], context=EVERYTHING)
    calls.delete("party.identifier", [one["id"] for one in marks if order_marks.is_fingerprint(one.get("code"))])
    _write(calls, "party.party", [party], {"name": ERASED})
    return not _is_kept(calls, shipments, packages, resources)


def _is_kept(calls: Calls, shipments: Sequence[int], packages: Sequence[int], resources: Sequence[str]) -> bool:
    labelled = ["OR", ["shipping_label", "!=", None], ["shipping_label_id", "!=", None]]
    if _ids(calls, "stock.package", [["id", "in", list(packages)], labelled]):
        return True
    if _ids(calls, "ir.email", [["resource", "in", list(resources)]]):
        return True
    return any(calls.call("ir.chat.channel", "get", one) for one in _references(SHIPMENT, shipments))


def _ids(calls: Calls, model: str, domain: Domain) -> list[int]:
    return [one["id"] for one in calls.search_read(model, domain, ["id"], context=EVERYTHING)]


def _delete(calls: Calls, model: str, domain: Domain) -> None:
    calls.delete(model, _ids(calls, model, domain))


def _write(calls: Calls, model: str, ids: Sequence[int], values: Record) -> None:
    if not ids:
        return
    # Of a record that somebody has deactivated Tryton lets nobody change a field.
    inactive = _ids(calls, model, [["id", "in", list(ids)], ["active", "=", False]])
    if inactive:
        calls.write(model, inactive, {"active": True})
    calls.write(model, ids, values)
    if inactive:
        calls.write(model, inactive, {"active": False})


def _references(model: str, ids: Sequence[int]) -> list[str]:
    return [f"{model},{one}" for one in ids]
