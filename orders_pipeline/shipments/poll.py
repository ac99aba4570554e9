"""Read the warehouse's shipment events: record, then move the cursor, in one transaction."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from orders_pipeline.alerts.rows import close_alert, raise_alert
from orders_pipeline.database.engine import Database
from orders_pipeline.orders.owners import orders_of_others
from orders_pipeline.settings import SettingsError
from orders_pipeline.shipments.rows import insert_shipment_events, save_cursor, warehouse_cursor
from orders_pipeline.vault.access import Vault
from orders_pipeline.vault.held_words import HeldMask
from orders_pipeline.vault.shipping_details import SHIPPING_DETAILS
from orders_pipeline.wms.port import ShipmentEvent, WarehouseError, WarehousePort, WarehouseUnavailable

EVENTS_A_PAGE = 200
UNREAD_ALERT = "warehouse.shipments_unread"
CURSOR_ALERT = "warehouse.unreadable_cursor"


@dataclass(slots=True)
class PollTotals:
    """What one poll brought. `duplicates` are events that the warehouse delivered again."""

    pages: int = 0
    events: int = 0
    new: int = 0
    unreadable: int = 0
    # Why the warehouse could not be asked; None if it could.
    unreachable: str | None = None

    @property
    def duplicates(self) -> int:
        return self.events - self.new


def poll_or_alert(
    open_warehouse: Callable[[], WarehousePort],
    database: Database,
    open_vault: Callable[[], Vault],
    *,
    account_id: str,
    budget_seconds: float = 30.0,
    clock: Callable[[], float] = time.monotonic,
) -> PollTotals:
    """As `poll_shipments`; a warehouse that is away is an alert until it is read again, and no reason to stop."""
    try:
        totals = _polled(open_warehouse(), database, open_vault(), account_id, budget_seconds, clock)
    except (WarehouseError, SettingsError) as error:
        with database.transaction(account_id) as tx:
            raise_alert(
                tx,
                key=UNREAD_ALERT,
                severity="error",
                message=f"The warehouse's shipments cannot be read. {error}",
                what_to_do="Check the warehouse's status, WMS_BASE_URL and WMS_TOKEN (`orders-pipeline doctor`). Known "
                "packages are told to Amazon meanwhile; nobody hears of those that leave now.",
            )
        return PollTotals(unreachable=str(error))
    with database.transaction(account_id) as tx:
        close_alert(tx, key=UNREAD_ALERT)
    return totals


def _polled(
    warehouse: WarehousePort,
    database: Database,
    vault: Vault,
    account_id: str,
    budget_seconds: float,
    clock: Callable[[], float],
) -> PollTotals:
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
) -> PollTotals:
    """Read the events after the stored cursor, until there are no more. The last page is begun within the budget.

    Raises WarehouseError; what was read before is kept.
    """
    totals = PollTotals()
    started = clock()
    while totals.pages < max_pages and (totals.pages == 0 or clock() - started < budget_seconds):
        with database.transaction(account_id) as tx:
            cursor = warehouse_cursor(tx)
        page = warehouse.poll(cursor, EVENTS_A_PAGE)
        with database.transaction(account_id) as tx:
            # One warehouse ships for all accounts, and each reads all of its events.
            others = orders_of_others(tx, [event.order_ref for event in page.events])
        rows = masked_rows(vault, account_id, [event for event in page.events if event.order_ref not in others])
        with database.transaction(account_id) as tx:
            new = insert_shipment_events(tx.connection, rows)
            if page.next_cursor is not None:
                save_cursor(tx, page.next_cursor)
            if page.unreadable:
                raise_alert(
                    tx,
                    key="warehouse.unreadable_event",
                    severity="error",
                    message=f"{page.unreadable} shipment events of the warehouse have no id, order or lines.",
                    what_to_do="Ask the warehouse; look for packages that left without being reported.",
                )
            if page.cursor_unreadable:
                raise_alert(
                    tx,
                    key=CURSOR_ALERT,
                    severity="error",
                    message="The warehouse's list of shipments has a `next_cursor` that cannot be sent back: too long, "
                    "or with characters that cannot be seen.",
                    what_to_do="Ask the warehouse. Until then only the events of this page are read, again and again.",
                )
            elif page.next_cursor is not None:
                close_alert(tx, key=CURSOR_ALERT)
        totals.pages += 1
        totals.events += len(page.events)
        totals.new += new
        totals.unreadable += page.unreadable
        if not page.events or page.next_cursor is None or page.next_cursor == cursor:
            break
    return totals


def masked_rows(vault: Vault, account_id: str, events: Sequence[ShipmentEvent]) -> list[dict[str, object]]:
    """The events as they are stored: what a warehouse wrote of the buyer is masked before."""
    if not events:
        return []
    orders = sorted({event.order_ref for event in events})
    mask = vault.held_mask(account_id=account_id, kind=SHIPPING_DETAILS, subject_ids=orders)
    return [_row(account_id, event, mask) for event in events]


def _row(account_id: str, event: ShipmentEvent, mask: HeldMask) -> dict[str, object]:
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
