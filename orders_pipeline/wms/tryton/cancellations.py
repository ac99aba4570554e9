"""Ask Tryton to cancel an order, and read what came of it.

Tryton cancels whatever it is asked to, also what has left. So what left, or has a tracking number, is not asked for.
Tryton is told as what we saw it, and what is packed meanwhile is not cancelled, but looked at again.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from orders_pipeline.wms.port import CancelAnswer
from orders_pipeline.wms.tryton.calls import Calls
from orders_pipeline.wms.tryton.errors import Changed, NotDone
from orders_pipeline.wms.tryton.orders import SENT, SHIPMENT, Shipment, find_order, sent_before, take_away

# Each time somebody in the warehouse was faster. Then the pipeline asks again, a while later.
MOST_ATTEMPTS = 3


def cancel(calls: Calls, nobody: int, order_ref: str) -> CancelAnswer:
    """Raises WarehouseError; the outcome is then not known."""
    for _ in range(MOST_ATTEMPTS):
        found = find_order(calls, order_ref, nobody)
        take_away(calls, found.strays)
        if found.order is None:
            return "not_found"
        shipments = found.order.shipments
        live = [one for one in shipments if not one.is_cancelled]
        late = _late(calls, live)
        stoppable = [one for one in live if one.id not in late]
        if not stoppable:
            break
        for one in stoppable:
            with suppress(Changed, NotDone):
                calls.do(SHIPMENT, "cancel", [one.id], unchanged_since={one.id: one.stamp})
    else:
        return "pending"
    if not live:
        return "cancelled"
    cancelled = {one.id: one.day for one in shipments if one.is_cancelled}
    return "partial" if cancelled.keys() - sent_before(calls, cancelled) else "too_late"


def _late(calls: Calls, live: Sequence[Shipment]) -> set[int]:
    """Those that have left, or whose label is made: it may be on its way to the carrier."""
    late = {one.id for one in live if one.state in SENT}
    others = [f"{SHIPMENT},{one.id}" for one in live if one.id not in late]
    if others:
        domain = [["shipment", "in", others], ["shipping_reference", "not in", [None, ""]]]
        labelled = calls.search_read("stock.package", domain, ["shipment"])
        late |= {int(str(one["shipment"]).rpartition(",")[2]) for one in labelled}
    return late
