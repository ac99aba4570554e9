"""Give orders another chance: those that were parked, or any that a person names.

The work itself is done by the next runs: this only makes it due.
"""

from __future__ import annotations

from collections.abc import Sequence

from orders_pipeline.audit.log import AuditEntry, AuditLog
from orders_pipeline.database.engine import Database, database_now
from orders_pipeline.fulfillment.replay import replay_fulfillment
from orders_pipeline.operations.accounts import Numbers
from orders_pipeline.operations.deployment import ServedAccount
from orders_pipeline.operations.parked_work import parked_orders
from orders_pipeline.orders.event_rows import NewOrderEvent, insert_order_events, partition_day, replay_events
from orders_pipeline.orders.fetches import believe_amazon, request_fetch
from orders_pipeline.orders.rows import insert_new_order
from orders_pipeline.shipments.replay import replay_packages
from orders_pipeline.work.jobs import Queue
from orders_pipeline.work.queue import unpark
from orders_pipeline.work.tally import Tally


def replay_parked(
    database: Database,
    audit: AuditLog,
    *,
    account_id: str,
    order_ids: Sequence[str] = (),
    reason: str | None = None,
    stage: str | None = None,
) -> Tally:
    """Replay the named orders, or, without names, all that are parked (in this stage, for a reason with this text).

    Outcomes: `orders`, `packages` and `reports` that are due again.
    """
    chosen = list(order_ids)
    reports = 0
    if not chosen:
        with database.transaction(account_id) as tx:
            chosen = parked_orders(tx, reason, stage)
            if reason is None and stage in (None, Queue.REPORT):
                reports = unpark(tx, queue=Queue.REPORT)
    packages = sum(recover_order(database, audit, account_id=account_id, order_id=order_id) for order_id in chosen)
    return Tally({"orders": len(chosen), "packages": packages, "reports": reports})


def replay_account(account: ServedAccount, order_ids: Sequence[str], stage: str | None) -> Numbers:
    """Replay an account's orders, as `replay_parked` does."""
    tally = replay_parked(
        account.database, account.audit, account_id=account.account_id, order_ids=order_ids, stage=stage
    )
    return tally.as_metadata()


def recover_order(database: Database, audit: AuditLog, *, account_id: str, order_id: str) -> int:
    """Have one order, known or not, fetched and brought into line; how many of its packages are looked at again."""
    with database.transaction(account_id) as tx:
        now = database_now(tx.connection)
        insert_order_events(
            tx.connection,
            [
                NewOrderEvent(
                    account_id=account_id,
                    order_id=order_id,
                    source="recovery",
                    deduplication_key=f"recovery:{now.isoformat()}",
                    published_at=now,
                    partition_day=partition_day(now, now),
                    change_type="Recovery",
                )
            ],
        )
        insert_new_order(
            tx, order_id=order_id, marketplace_id=None, status="UNKNOWN", fulfilled_by="UNKNOWN", last_updated_at=None
        )
        believe_amazon(tx, order_id=order_id)
        request_fetch(tx, order_id=order_id)
        replay_events(tx, order_id)
        entries: list[AuditEntry] = []
        unpark(tx, subjects=[order_id])
        state = replay_fulfillment(tx, order_id, entries)
        packages = replay_packages(tx, order_id)
        entries.append(
            AuditEntry(
                action="order_replay",
                account_id=account_id,
                order_id=order_id,
                purpose="replay by a person",
                outcome=state.value if state else "not_queued",
            )
        )
        audit.record_many(tx.connection, entries)
    return packages
