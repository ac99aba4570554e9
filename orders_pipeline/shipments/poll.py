"""Read the warehouse's shipment events: record, then move the cursor, in one transaction.

Belongs here: paging through the events. Elsewhere: what an event means for a package (packages).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from orders_pipeline.settings import SettingsError
from orders_pipeline.store.alerts import close_alert, raise_alert
from orders_pipeline.store.database import Database
from orders_pipeline.store.shipments import insert_shipment_events, save_cursor, warehouse_cursor
from orders_pipeline.wms.warehouse import ShipmentEvent, WarehouseError, WarehousePort, WarehouseUnavailable

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
    *,
    seller_id: str,
    budget_seconds: float = 30.0,
    clock: Callable[[], float] = time.monotonic,
) -> PollTotals:
    """As `poll_shipments`; a warehouse that is away is an alert until it is read again, and no reason to stop."""
    try:
        totals = _polled(open_warehouse(), database, seller_id, budget_seconds, clock)
    except (WarehouseError, SettingsError) as error:
        with database.transaction() as connection:
            raise_alert(
                connection,
                seller_id=seller_id,
                key=UNREAD_ALERT,
                severity="error",
                message=f"The warehouse's shipments cannot be read. {error}",
                what_to_do="Check the warehouse's status, WMS_BASE_URL and WMS_TOKEN (`orders-pipeline doctor`). Known "
                "packages are told to Amazon meanwhile; nobody hears of those that leave now.",
            )
        return PollTotals(unreachable=str(error))
    with database.transaction() as connection:
        close_alert(connection, seller_id=seller_id, key=UNREAD_ALERT)
    return totals


def _polled(
    warehouse: WarehousePort, database: Database, seller_id: str, budget_seconds: float, clock: Callable[[], float]
) -> PollTotals:
    started = clock()
    try:
        return poll_shipments(warehouse, database, seller_id=seller_id, budget_seconds=budget_seconds, clock=clock)
    except WarehouseUnavailable:
        left = budget_seconds - (clock() - started)
        if left <= budget_seconds / 2:
            raise
        # A connection that broke is no reason to wake anybody.
        return poll_shipments(warehouse, database, seller_id=seller_id, budget_seconds=left, clock=clock)


def poll_shipments(
    warehouse: WarehousePort,
    database: Database,
    *,
    seller_id: str,
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
        with database.transaction() as connection:
            cursor = warehouse_cursor(connection, seller_id)
        page = warehouse.poll(cursor, EVENTS_A_PAGE)
        with database.transaction() as connection:
            new = insert_shipment_events(connection, [_row(seller_id, event) for event in page.events])
            if page.next_cursor is not None:
                save_cursor(connection, seller_id, page.next_cursor)
            if page.unreadable:
                raise_alert(
                    connection,
                    seller_id=seller_id,
                    key="warehouse.unreadable_event",
                    severity="error",
                    message=f"{page.unreadable} shipment events of the warehouse have no id, order or lines.",
                    what_to_do="Ask the warehouse; look for parcels that left without being reported.",
                )
            if page.cursor_unreadable:
                raise_alert(
                    connection,
                    seller_id=seller_id,
                    key=CURSOR_ALERT,
                    severity="error",
                    message="The warehouse's list of shipments has a `next_cursor` that cannot be sent back: too long, "
                    "or with characters that cannot be seen.",
                    what_to_do="Ask the warehouse. Until then only the events of this page are read, again and again.",
                )
            elif page.next_cursor is not None:
                close_alert(connection, seller_id=seller_id, key=CURSOR_ALERT)
        totals.pages += 1
        totals.events += len(page.events)
        totals.new += new
        totals.unreadable += page.unreadable
        if not page.events or page.next_cursor is None or page.next_cursor == cursor:
            break
    return totals


def _row(seller_id: str, event: ShipmentEvent) -> dict[str, object]:
    return {
        "seller_id": seller_id,
        "event_id": event.event_id,
        "kind": event.kind,
        "order_id": event.order_ref,
        "package_id": event.package_id,
        "carrier": event.carrier,
        "service": event.service,
        "tracking_number": event.tracking_number,
        "shipped_at": event.shipped_at,
        "lines": [{"line_ref": line_ref, "quantity": quantity} for line_ref, quantity in event.lines],
    }
