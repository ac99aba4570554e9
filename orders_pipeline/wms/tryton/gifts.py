"""What a buyer wrote for an item, as a note on the shipment: Tryton has no field for it that a picker reads."""

from __future__ import annotations

from orders_pipeline.wms.port import FulfillmentLine, FulfillmentOrder
from orders_pipeline.wms.tryton.calls import Calls

NOTE = "ir.note"


def write_messages(calls: Calls, order: FulfillmentOrder, shipment_id: int) -> None:
    """Write them down, once; an order without any costs no call."""
    messages = [text for line in order.lines for text in _messages(line)]
    if not messages:
        return
    resource = f"stock.shipment.out,{shipment_id}"
    if not calls.search_read(NOTE, [["resource", "=", resource]], ["id"], limit=1):
        calls.create(NOTE, {"resource": resource, "message": "\n".join(messages)})


def _messages(line: FulfillmentLine) -> list[str]:
    labelled = (("Gift message", line.gift_message), ("Customization", line.customization_url))
    return [f"{label} for {line.sku} ({line.line_ref}): {text.plain()}" for label, text in labelled if text]
