"""Record the warehouse's shipment events, whichever way they came: read by a poll, or brought by a webhook.

Each is kept once, by its id. What it means is found out later, in the order in which they were recorded.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from orders_pipeline.database.engine import AccountTransaction, Database
from orders_pipeline.orders.ownership import orders_of_others
from orders_pipeline.shipments.event_rows import insert_shipment_events
from orders_pipeline.vault.access import Vault
from orders_pipeline.vault.identifying_words import BuyerMask
from orders_pipeline.vault.shipping_details import SHIPPING_DETAILS
from orders_pipeline.wms.port import ShipmentEvent, ShipmentPage


def record_shipments(
    database: Database,
    vault: Vault,
    page: ShipmentPage,
    *,
    account_id: str,
    note: Callable[[AccountTransaction, ShipmentPage], None],
) -> int:
    """Commit the page's events, and what `note` writes of the page, in one transaction; how many were new."""
    with database.transaction(account_id) as tx:
        # One warehouse ships for all accounts, and each is told all of its events.
        others = orders_of_others(tx, [event.order_ref for event in page.events])
    rows = _masked_rows(vault, account_id, [event for event in page.events if event.order_ref not in others])
    with database.transaction(account_id) as tx:
        new = insert_shipment_events(tx, rows)
        note(tx, page)
    return new


def _masked_rows(vault: Vault, account_id: str, events: Sequence[ShipmentEvent]) -> list[dict[str, object]]:
    """The events as they are stored: what a warehouse wrote of the buyer is masked before."""
    if not events:
        return []
    orders = sorted({event.order_ref for event in events})
    mask = vault.buyer_mask(account_id=account_id, kind=SHIPPING_DETAILS, subject_ids=orders)
    return [_row(account_id, event, mask) for event in events]


def _row(account_id: str, event: ShipmentEvent, mask: BuyerMask) -> dict[str, object]:
    order_id = event.order_ref
    return {
        "account_id": account_id,
        "event_id": mask.id(order_id, event.event_id),
        "kind": mask.text(order_id, event.kind),
        "order_id": order_id,
        "package_id": mask.id(order_id, event.package_id),
        "carrier": mask.text(order_id, event.carrier),
        "service": mask.text(order_id, event.service),
        "tracking_number": mask.text(order_id, event.tracking_number, is_number=True),
        "shipped_at": event.shipped_at,
        "lines": [{"line_ref": mask.id(order_id, ref), "quantity": quantity} for ref, quantity in event.lines],
    }
