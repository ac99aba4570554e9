"""Have one shipment made of an order, however often and by however many it is pushed, and whatever answer is lost.

Tryton takes any number of shipments with one reference, and no call of its API makes a shipment and a key of it in one
transaction. What it takes only once is a party's code. So a push

1. makes a draft of the shipment for a party that is nobody: nothing of the buyer is in it, and nobody picks drafts;
2. makes the order's own party, whose code is the order's, with the address and the marks that name this draft: of
   several pushes Tryton lets exactly one do this, also if one of them was held up on its way for hours;
3. gives the draft to that party, and has it wait for its picker.

Who is overtaken at 2 cancels its draft. Whoever pushes the order again goes on at 3, from the marks: no step's answer
needs to arrive. A lock of our own would not do: its holder may die while its call is still on the way to Tryton.
"""

from __future__ import annotations

import json
from decimal import Decimal

from orders_pipeline.wms.port import FulfillmentOrder, PushAnswer, PushResult, WarehouseForbidden, WarehouseUnavailable
from orders_pipeline.wms.tryton import order_marks
from orders_pipeline.wms.tryton.addresses import AddressRefused, Places, party_values
from orders_pipeline.wms.tryton.calls import Calls, Record, as_id
from orders_pipeline.wms.tryton.errors import Changed, NotDone
from orders_pipeline.wms.tryton.gifts import write_messages
from orders_pipeline.wms.tryton.installation import Installation
from orders_pipeline.wms.tryton.order_marks import MarkedLine, OrderMarks, party_code
from orders_pipeline.wms.tryton.orders import (
    CANCELLED,
    DRAFT,
    SENT,
    SHIPMENT,
    Found,
    OrderAtTryton,
    Shipment,
    find_order,
    shipment_of,
    take_away,
)

_PHONE_TYPES = ("phone", "other")


class SkuRefused(Exception):
    """Tryton has no product, or several, under a SKU; `code` says which."""

    def __init__(self, code: str) -> None:
        self.code = code
        super().__init__(code)


def push(calls: Calls, installation: Installation, places: Places, order: FulfillmentOrder) -> PushResult:
    """Raises WarehouseError; the outcome is then not known."""
    found = find_order(calls, order.order_ref, installation.nobody)
    if found.order is not None:
        return _again(calls, installation, found, order)
    if any(not one.is_cancelled for one in found.others):
        # Somebody entered it by hand: a second one would ship it twice.
        return PushResult("conflict", code="reference_in_use")
    try:
        values, products = _shipment_values(calls, installation, order)
        types = _PHONE_TYPES if order.ship_to.phone else _PHONE_TYPES[:1]
        party = [party_values(calls, places, order.ship_to, phone_type=one) for one in types]
    except (SkuRefused, AddressRefused) as refused:
        return PushResult("refused", code=refused.code)
    try:
        shipment_id = calls.create(SHIPMENT, values)
    except NotDone:
        installation.require_rights(calls)
        return PushResult("refused", code="shipment_refused")
    shipment, marks = _read_draft(calls, order, shipment_id, products)
    for attempt in party:
        # The second is without Tryton's judgement of the phone number.
        try:
            calls.create("party.party", {**attempt, "code": party_code(order.order_ref), **_identifiers(marks)})
        except NotDone:
            meanwhile = find_order(calls, order.order_ref, installation.nobody)
            if meanwhile.order is not None:
                # Another push was faster; our draft is among the strays.
                return _again(calls, installation, meanwhile, order)
        else:
            take_away(calls, found.strays)
            return _hand_over(calls, installation, order, shipment, "accepted")
    take_away(calls, [shipment])
    installation.require_rights(calls)
    return PushResult("refused", code="invalid_address")


def is_handed_over(order: OrderAtTryton) -> bool:
    """Whether the push of it was completed: nobody picks a draft."""
    return order.pushed is None or order.pushed.state != DRAFT


def content_of(order: FulfillmentOrder) -> bytes:
    return json.dumps(order.wire(), sort_keys=True, ensure_ascii=False).encode()


def _again(calls: Calls, installation: Installation, found: Found, order: FulfillmentOrder) -> PushResult:
    """The order is there, or is begun."""
    known = found.order
    assert known is not None
    take_away(calls, found.strays)
    pushed, marks = known.pushed, known.marks
    if all(one.is_cancelled for one in known.shipments):
        return PushResult("cancelled", code="order_cancelled" if known.shipments else "shipment_deleted")
    is_same = (
        marks is not None
        and marks.fingerprint is not None
        and order_marks.is_same(marks.fingerprint, content_of(order))
    )
    if not is_same:
        sent = any(one.state in SENT for one in known.shipments)
        return PushResult("shipped" if sent else "conflict", code="order_shipped" if sent else "order_conflict")
    if pushed is not None and not is_handed_over(known):
        return _hand_over(calls, installation, order, pushed, "duplicate")
    return PushResult("duplicate", wms_id=str((pushed or known.shipments[0]).id))


def _hand_over(
    calls: Calls, installation: Installation, order: FulfillmentOrder, shipment: Shipment, answer: PushAnswer
) -> PushResult:
    """Give the draft to the order's own party, and have it wait for its picker. Others may be doing the same."""
    code = party_code(order.order_ref)
    addresses = calls.search_read("party.address", [["party.code", "=", code]], ["party"], limit=1)
    party_id = as_id(addresses[0].get("party")) if addresses else None
    if party_id is None:
        raise WarehouseUnavailable("Tryton does not show the party that it has made.", status=200)
    write_messages(calls, order, shipment.id)
    values: Record = {"customer": party_id, "delivery_address": addresses[0]["id"]}
    try:
        calls.write(SHIPMENT, [shipment.id], values, unchanged_since={shipment.id: shipment.stamp})
        calls.do(SHIPMENT, "wait", [shipment.id])
    except (Changed, NotDone) as error:
        again = calls.read(SHIPMENT, [shipment.id], ["state"])
        state = again[0].get("state") if again else CANCELLED
        if state == CANCELLED:
            return PushResult("cancelled", code="order_cancelled")
        if state == DRAFT and isinstance(error, NotDone):
            installation.require_rights(calls)
            raise WarehouseForbidden(
                "Tryton does not let its user have a shipment wait: a module's rule or the groups of the button Wait "
                "forbid it (docs/tryton.md, Rights).",
                status=403,
            ) from None
        if state == DRAFT:
            # The other one may yet fail: whether the order is at work is not known.
            raise WarehouseUnavailable(
                "Tryton did not take the order's shipment out of its drafts.", status=200
            ) from error
    return PushResult(answer, wms_id=str(shipment.id))


def _shipment_values(
    calls: Calls, installation: Installation, order: FulfillmentOrder
) -> tuple[Record, dict[str, int]]:
    """What a new draft is made of, and the product of each order item. Raises SkuRefused."""
    products = _products(calls, order)
    moves: list[Record] = [
        {
            "product": products[line.line_ref]["id"],
            "unit": products[line.line_ref]["default_uom"],
            "quantity": float(line.quantity),
            "from_location": installation.output,
            "to_location": installation.customers,
            # Tryton wants a price of what leaves; what Amazon charged is not the warehouse's to know.
            "unit_price": Decimal(0),
            "currency": installation.currency,
            "company": installation.company,
        }
        for line in order.lines
    ]
    values: Record = {
        "reference": order.order_ref,
        "customer": installation.nobody,
        "delivery_address": installation.nowhere,
        "company": installation.company,
        "warehouse": installation.warehouse,
        # What Tryton's own client fills in by itself.
        "warehouse_storage": installation.storage,
        "warehouse_output": installation.output,
        "planned_date": order.ship_by.astimezone(installation.zone).date() if order.ship_by is not None else None,
        "outgoing_moves": [["create", moves]],
    }
    if (carrier := installation.carrier_of(calls, order.service_level)) is not None:
        values["carrier"] = carrier
    return values, {ref: product["id"] for ref, product in products.items()}


def _products(calls: Calls, order: FulfillmentOrder) -> dict[str, Record]:
    """Tryton's product of each order item. Raises SkuRefused."""
    skus = sorted({line.sku for line in order.lines if line.sku})
    if not skus or any(not line.sku for line in order.lines):
        raise SkuRefused("unknown_sku")
    fields = ["code", "default_uom", "type"]
    found = calls.search_read("product.product", [["code", "in", skus]], fields)
    by_sku: dict[str, Record] = {}
    for product in found:
        if product["code"] in by_sku:
            raise SkuRefused("ambiguous_sku")
        by_sku[product["code"]] = product
    if any(sku not in by_sku for sku in skus):
        raise SkuRefused("unknown_sku")
    if any(product.get("type") == "service" for product in by_sku.values()):
        raise SkuRefused("sku_is_a_service")
    return {line.line_ref: by_sku[line.sku] for line in order.lines if line.sku}


def _read_draft(
    calls: Calls, order: FulfillmentOrder, shipment_id: int, products: dict[str, int]
) -> tuple[Shipment, OrderMarks]:
    """The draft as Tryton made it, and the marks that name it. Its moves have the order of the lines."""
    record = calls.read(SHIPMENT, [shipment_id], ["state", "customer", "_timestamp", "outgoing_moves"])
    moves = sorted(record[0].get("outgoing_moves") or []) if record else []
    if len(moves) != len(order.lines):
        raise WarehouseUnavailable("Tryton does not show the shipment that it has made.", status=200)
    lines = tuple(
        MarkedLine(line.line_ref, move, products[line.line_ref], line.quantity)
        for line, move in zip(order.lines, moves, strict=True)
    )
    fingerprint = order_marks.fingerprint_of(content_of(order))
    return shipment_of(record[0]), OrderMarks(order.order_ref, shipment_id, lines, fingerprint)


def _identifiers(marks: OrderMarks) -> Record:
    return {"identifiers": [["create", [{"code": code} for code in order_marks.written(marks)]]]}
