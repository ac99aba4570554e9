"""Read the warehouse's shipment events: they are recorded, and the cursor moves, in one transaction."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence

from orders_pipeline.database.engine import Database
from orders_pipeline.orders.ownership import orders_of_account
from orders_pipeline.settings import SettingsError
from orders_pipeline.shipments.event_rows import note_unread, recorded_by_every_account, save_page, warehouse_cursor
from orders_pipeline.shipments.record import record_shipments
from orders_pipeline.vault.access import Vault
from orders_pipeline.wms.port import Capability, ShipmentEvent, WarehouseError, WarehousePort, WarehouseUnavailable
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

    Counted are `pages`, `events`, `new` (the others were delivered again), `unreadable`, and `not_acknowledged`. Raises
    WarehouseError; what was read before is kept.
    """
    totals: Counter[str] = Counter()
    started, read = clock(), set[str | None]()
    while totals["pages"] < max_pages and (totals["pages"] == 0 or clock() - started < budget_seconds):
        with database.transaction(account_id) as tx:
            cursor = warehouse_cursor(tx)
        page = warehouse.poll(cursor, EVENTS_A_PAGE)
        totals["new"] += record_shipments(database, vault, page, account_id=account_id, note=save_page)
        if Capability.ACKNOWLEDGE in warehouse.capabilities:
            totals["not_acknowledged"] += _acknowledge(warehouse, database, account_id, page.events)
        totals["pages"] += 1
        totals["events"] += len(page.events)
        totals["unreadable"] += page.unreadable
        read.add(cursor)
        # A list whose pages go round is read on by the next poll, as one that has come to its end.
        if not page.events or page.next_cursor is None or page.next_cursor in read:
            break
    return Tally(totals)


def _acknowledge(
    warehouse: WarehousePort, database: Database, account_id: str, committed: Sequence[ShipmentEvent]
) -> int:
    """Tell the warehouse which of its events are committed here; how many it could not be told of.

    No failure loses one: it is committed, and if it is delivered again, it is acknowledged then. An event of an order
    that is not known here may be another account's: it is left until every account has recorded it.
    """
    with database.transaction(account_id) as tx:
        ours = orders_of_account(tx, [event.order_ref for event in committed])
        everywhere = recorded_by_every_account(tx, [event.event_id for event in committed])
    event_ids = [one.event_id for one in committed if one.order_ref in ours or one.event_id in everywhere]
    if not event_ids:
        return 0
    try:
        warehouse.acknowledge(event_ids)
    except WarehouseError as error:
        logger.warning("The warehouse did not take the acknowledgement of %d events. %s", len(event_ids), error)
        return len(event_ids)
    return 0
