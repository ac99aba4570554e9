"""Every order whose details are kept, here or at the warehouse, with when they must go."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from orders_pipeline.database.engine import AccountTransaction, AnyRow, Database
from orders_pipeline.privacy.retention.clock import Due, RetainedDetails, due
from orders_pipeline.privacy.retention.rows import retained_orders, retained_page, sellers
from orders_pipeline.vault.access import SHRED_BATCH
from orders_pipeline.vault.shipping_details import SHIPPING_DETAILS


@dataclass(frozen=True, slots=True)
class RetainedOrder:
    """An order whose details the vault has (`in_vault`), or the warehouse (`at_warehouse`), or both."""

    order_id: str
    in_vault: bool
    at_warehouse: bool
    erasure_requested: bool  # the warehouse is being asked already
    retained_since: datetime
    bought_at: datetime  # or first kept, where Amazon did not say
    due: Due

    def must_go(self, at: datetime) -> bool:
        """Whether our own copy's time has come."""
        return self.in_vault and self.due.due_at <= at

    def warehouse_must_erase(self, at: datetime) -> bool:
        """Whether the warehouse's copy's time has come, and it was not asked yet."""
        return self.at_warehouse and not self.erasure_requested and self.due.warehouse_due_at <= at


def next_retained(tx: AccountTransaction, after: str, limit: int = SHRED_BATCH) -> list[RetainedOrder]:
    """The next orders by id; an empty list when the pass is over."""
    return [_retained(row) for row in retained_page(tx, SHIPPING_DETAILS, after, limit)]


def retained(tx: AccountTransaction, order_ids: Sequence[str]) -> list[RetainedOrder]:
    """These orders, as far as anything of them is kept."""
    return [_retained(row) for row in retained_orders(tx, SHIPPING_DETAILS, order_ids)]


def sellers_with_data(database: Database, account_id: str) -> list[str]:
    """The seller that is served, then every other of whom something is kept: what they left does not go by itself."""
    with database.begin() as connection:
        return [account_id, *(seller for seller in sellers(connection) if seller != account_id)]


def every_retained(database: Database, account_id: str) -> Iterator[RetainedOrder]:
    """All of them. A transaction a page: no lock, snapshot or memory grows with their number."""
    after = ""
    while True:
        with database.transaction(account_id) as tx:
            page = next_retained(tx, after)
        if not page:
            return
        yield from page
        after = page[-1].order_id


def _retained(row: AnyRow) -> RetainedOrder:
    facts = RetainedDetails(
        order_known=row.order_known,
        status=row.status,
        fulfilled_by=row.fulfilled_by,
        retained_since=row.retained_since,
        first_retained_at=row.first_retained_at,
        purchased_at=row.purchased_at,
        ship_by=row.ship_by,
        deliver_by=row.deliver_by,
        delivered_at=row.delivered_at,
        left_at=row.left_at,
        unconfirmed_packages=row.unconfirmed,
        queue_state=row.queue_state,
        queue_changed_at=row.queue_changed_at,
        erasure_requested_at=row.erasure_requested_at,
    )
    return RetainedOrder(
        order_id=row.order_id,
        in_vault=row.in_vault,
        at_warehouse=row.at_warehouse,
        erasure_requested=row.erasure_requested,
        retained_since=row.retained_since,
        bought_at=row.purchased_at or row.retained_since,
        due=due(facts, row.now),
    )
