"""A person takes over orders from before the start: from now on this pipeline ships and confirms them.

Nothing here tells the old process to stop: who adopts an order has made sure that nobody else ships it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from orders_pipeline.audit.log import AuditEntry, AuditLog
from orders_pipeline.database.engine import AccountTransaction, AnyRow, Database
from orders_pipeline.operations.accounts import Numbers, add_up
from orders_pipeline.operations.deployment import Deployment
from orders_pipeline.orders.fetches import request_fetch
from orders_pipeline.orders.ownership import count_adopted, note_adoption, waiting_for_adoption
from orders_pipeline.orders.rows import insert_new_order

# Amazon's order ids, in its 3-7-7 format.
_ORDER_ID = re.compile(r"\d{3}-\d{7}-\d{7}")


class OrdersNotAdopted(Exception):
    """Nothing was adopted; the message says why and what to do."""


def orders_to_adopt(database: Database, *, account_id: str) -> Sequence[AnyRow]:
    """(order_id, status, purchased_at, ship_by) of the orders that wait for it, nearest ship-by first."""
    with database.transaction(account_id) as tx:
        return waiting_for_adoption(tx)


def adopt_in_accounts(
    deployment: Deployment,
    order_ids: Sequence[str],
    *,
    everything: bool,
    account_id: str | None = None,
    dry_run: bool = False,
) -> Numbers:
    """Adopt the orders of each account, or of the one named; counts as `adopt_orders` has them, of all accounts.

    All or none of each account's.

    Raises OrdersNotAdopted, UnknownAccount.
    """
    counts: dict[str, Numbers] = {}
    for account, named in deployment.by_account(order_ids, account_id):
        counts[account.account_id] = adopt_orders(
            account.database,
            account.audit,
            account_id=account.account_id,
            order_ids=named,
            everything=everything,
            dry_run=dry_run,
        )
    return add_up(counts)


def adopt_orders(
    database: Database,
    audit: AuditLog,
    *,
    account_id: str,
    order_ids: Sequence[str] = (),
    everything: bool = False,
    dry_run: bool = False,
) -> Numbers:
    """Adopt the named orders, known or not, or everything that waits for it. All or none. Raises OrdersNotAdopted.

    How many are `adopted` now, and how many were `adopted_before`: there nothing was changed. With `dry_run` nothing
    is changed at all, and those that would be adopted are counted as `would_adopt`.
    """
    named = sorted({order_id.strip() for order_id in order_ids})
    if bool(named) == everything:
        raise OrdersNotAdopted("Name the orders to adopt, or ask for everything that waits: one of the two.")
    wrong = [order_id for order_id in named if not _ORDER_ID.fullmatch(order_id)]
    if wrong:
        raise OrdersNotAdopted(
            f"{len(wrong)} of {len(named)} are not Amazon order ids (as 902-1845936-5435065): nothing was adopted."
        )
    with database.transaction(account_id) as tx:
        chosen = named or sorted(row.order_id for row in waiting_for_adoption(tx))
        if dry_run:
            before = count_adopted(tx, chosen)
            return {"would_adopt": len(chosen) - before, "adopted_before": before}
        adopted = [order_id for order_id in chosen if _adopt(tx, order_id)]
        audit.record_many(
            tx.connection,
            [
                AuditEntry(
                    action="adopt_order",
                    account_id=account_id,
                    order_id=order_id,
                    purpose="adoption by a person",
                    outcome="adopted",
                )
                for order_id in adopted
            ],
        )
    return {"adopted": len(adopted), "adopted_before": len(chosen) - len(adopted)}


def _adopt(tx: AccountTransaction, order_id: str) -> bool:
    insert_new_order(
        tx, order_id=order_id, marketplace_id=None, status="UNKNOWN", fulfilled_by="UNKNOWN", last_updated_at=None
    )
    if not note_adoption(tx, order_id):
        return False
    # Its address was not asked for while an old process shipped it.
    request_fetch(tx, order_id=order_id)
    return True
