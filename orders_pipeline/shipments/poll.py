"""Read the warehouse's shipment events: record, then move the cursor, in one transaction."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence

from orders_pipeline.database.engine import Database
from orders_pipeline.orders.ownership import orders_of_others
from orders_pipeline.settings import SettingsError
from orders_pipeline.shipments.event_rows import insert_shipment_events, note_unread, save_page, warehouse_cursor
from orders_pipeline.vault.access import Vault
from orders_pipeline.vault.identifying_words import BuyerMask
from orders_pipeline.vault.shipping_details import SHIPPING_DETAILS
from orders_pipeline.wms.port import ShipmentEvent, WarehouseError, WarehousePort, WarehouseUnavailable
from orders_pipeline.work.tally import Tally

EVENTS_A_PAGE = 200

logger = logging.getLogger(__name__)


def poll_warehouse(
    open_warehouse: Callable[[], WarehousePort],
    database: Database,
    open_vault: Callable[[], Vault],
    *,
    account_id: str,
    budget_seconds: float = 30.0,
    clock: Callable[[], float] = time.monotonic,
) -> Tally:
    """As `poll_shipments`; a warehouse that is away is noted until it is read again, and no reason to stop."""
    try:
        return _polled(open_warehouse(), database, open_vault(), account_id, budget_seconds, clock)
    except (WarehouseError, SettingsError) as error:
        logger.warning("The warehouse's shipments cannot be read. %s", error)
        with database.transaction(account_id) as tx:
            note_unread(tx, str(error))
        return Tally(errors={type(error).__name__: 1})


def _polled(
    warehouse: WarehousePort,
    database: Database,
    vault: Vault,
    account_id: str,
    budget_seconds: float,
    clock: Callable[[], float],
) -> Tally:
    started = clock()
    try:
        return poll_shipments(
            warehouse, database, vault, account_id=account_id, budget_seconds=budget_seconds, clock=clock
        )
    except WarehouseUnavailable:
        left = budget_seconds - (clock() - started)
        if left <= budget_seconds / 2:
            raise
        # A connection that broke is no reason to wake anybody.
        return poll_shipments(warehouse, database, vault, account_id=account_id, budget_seconds=left, clock=clock)


def poll_shipments(
    warehouse: WarehousePort,
    database: Database,
    vault: Vault,
    *,
    account_id: str,
    max_pages: int = 50,
    budget_seconds: float = 30.0,
    clock: Callable[[], float] = time.monotonic,
) -> Tally:
    """Read the events after the stored cursor, until there are no more. The last page is begun within the budget.

    Counted are `pages`, `events`, `new` (the others were delivered again) and `unreadable`. Raises WarehouseError; what
    was read before is kept.
    """
    totals: Counter[str] = Counter()
    started = clock()
    while totals["pages"] < max_pages and (totals["pages"] == 0 or clock() - started < budget_seconds):
        with database.transaction(account_id) as tx:
            cursor = warehouse_cursor(tx)
        page = warehouse.poll(cursor, EVENTS_A_PAGE)
        with database.transaction(account_id) as tx:
            # One warehouse ships for all accounts, and each reads all of its events.
            others = orders_of_others(tx, [event.order_ref for event in page.events])
        rows = masked_rows(vault, account_id, [event for event in page.events if event.order_ref not in others])
        with database.transaction(account_id) as tx:
            totals["new"] += insert_shipment_events(tx.connection, rows)
            save_page(tx, page.next_cursor, unreadable=page.unreadable, cursor_unreadable=page.cursor_unreadable)
        totals["pages"] += 1
        totals["events"] += len(page.events)
        totals["unreadable"] += page.unreadable
        if not page.events or page.next_cursor is None or page.next_cursor == cursor:
            break
    return Tally(totals)


def masked_rows(vault: Vault, account_id: str, events: Sequence[ShipmentEvent]) -> list[dict[str, object]]:
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
