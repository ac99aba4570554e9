"""Forget one order, or a whole seller, because Amazon, a buyer or the seller asked: within the day.

From the moment of the request the order's details are neither stored nor sent: whoever would looks under the order's
lock whether it is to be forgotten (`erasure_requested`, `orders/erasures.py`), and what the warehouse should do is
decided anew. Whatever should come back all the same is due at once for every later run (`retention/clock.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from orders_pipeline.audit.log import AuditEntry
from orders_pipeline.database.clocks import now_for_retention
from orders_pipeline.database.engine import Database
from orders_pipeline.orders.erasures import (
    Erasure,
    block_orders,
    delete_tokens,
    erasure,
    finish_erasures,
    insert_erasure,
    is_finished,
    mark_erasure_shredded,
    orders_to_bar,
)
from orders_pipeline.orders.rows import lock_orders
from orders_pipeline.privacy.erasure.key_destruction import complete_pending_shreds
from orders_pipeline.privacy.erasure.rows import warehouse_erasures_waiting
from orders_pipeline.privacy.erasure.shredding import ShredTotals, note_erased, purpose, shred_due
from orders_pipeline.privacy.erasure.warehouse_erasure import ERASED, erase_at_warehouse
from orders_pipeline.privacy.retention.database_clock import mend_times
from orders_pipeline.privacy.retention.retained import next_retained, retained
from orders_pipeline.privacy.retention.rows import other_records_by
from orders_pipeline.privacy.rules import Rule
from orders_pipeline.vault.access import SHRED_BATCH, Vault
from orders_pipeline.vault.rotation import pending_shreds
from orders_pipeline.vault.shipping_details import SHIPPING_DETAILS
from orders_pipeline.wms.port import WarehousePort
from orders_pipeline.work.tally import Totals

BLOCKED_A_BATCH = 1_000


@dataclass(slots=True)
class ErasureTotals(Totals):
    """What became of a request. Complete: nothing of it is left here, at the warehouse, or in a backup's reach.

    `warehouse_waiting` counts all that the warehouse still owes, also of others' requests.
    """

    shredded: int
    warehouse_erased: int
    warehouse_waiting: int
    shreds_completed: int
    failed: int
    complete: bool


def erase(
    database: Database,
    vault: Vault,
    warehouse: WarehousePort | None,
    *,
    account_id: str,
    order_id: str | None,
    reason: str,
    everything: bool = False,
) -> ErasureTotals:
    """Forget one order's buyer, or with None every buyer of the seller."""
    if order_id is not None:
        return erase_order(database, vault, warehouse, account_id=account_id, order_id=order_id, reason=reason)
    return erase_seller(database, vault, warehouse, account_id=account_id, reason=reason, everything=everything)


def erase_order(
    database: Database, vault: Vault, warehouse: WarehousePort | None, *, account_id: str, order_id: str, reason: str
) -> ErasureTotals:
    """Erase the buyer's data of one order. Safe to repeat; data that arrives later is erased at once."""
    asked = _ask(database, vault, account_id, order_id, reason, everything=False)
    shreds = carry_out(database, vault, account_id, asked, reason=reason)
    return _finish(database, vault, warehouse, account_id, asked, shreds)


def erase_seller(
    database: Database,
    vault: Vault,
    warehouse: WarehousePort | None,
    *,
    account_id: str,
    reason: str,
    everything: bool = False,
) -> ErasureTotals:
    """Forget every buyer of a seller that is known by now, their parked messages and Amazon's tokens for it.

    `everything`: the next retention deletes what identifies nobody as well (the seller has left: policy §1.7). Orders
    that are bought after this are the seller's new ones, and are not touched.
    """
    asked = _ask(database, vault, account_id, None, reason, everything=everything)
    shreds = carry_out(database, vault, account_id, asked, reason=reason)
    return _finish(database, vault, warehouse, account_id, asked, shreds)


def carry_out(
    database: Database, vault: Vault, account_id: str, asked: Erasure, *, reason: str | None = None
) -> ShredTotals:
    """Every step of a request on our side, then the note that it is done. A run that was killed repeats them all."""
    shreds = ShredTotals()
    if asked.order_id is not None:
        _block(database, vault, account_id, [asked.order_id])
        with database.transaction(account_id) as tx:
            orders = retained(tx, [asked.order_id])
        shred_due(
            database,
            vault,
            account_id=account_id,
            orders=orders,
            at=now_for_retention(database),
            totals=shreds,
            reason=reason,
        )
    else:
        _block_all(database, vault, account_id, asked.requested_at)
        _shred_all(database, vault, account_id, shreds, reason)
        _shred_others(database, vault, account_id, asked.requested_at, shreds, reason)
        with database.transaction(account_id) as tx:
            # Who leaves takes the authorization along; who asks to forget buyers is served on.
            delete_tokens(tx, authorization=asked.everything)
    if not shreds.failed:
        with database.begin() as connection:
            mark_erasure_shredded(connection, asked.erasure_id)
    return shreds


def _block(database: Database, vault: Vault, account_id: str, order_ids: Sequence[str]) -> None:
    """From here on nobody stores or sends what is about to be shredded; these orders are decided about anew."""
    with database.transaction(account_id) as tx:
        known = lock_orders(tx, order_ids)
        block_orders(tx, order_ids)
        entries = [
            AuditEntry(
                action="bar_order", account_id=account_id, order_id=order_id, purpose=purpose(Rule.ERASURE_REQUESTED),
                outcome="done",
            )
            for order_id in sorted(known)
        ]  # fmt: skip
        note_erased(tx, known, Rule.ERASURE_REQUESTED)
        vault.audit.record_many(tx.connection, entries)


def _block_all(database: Database, vault: Vault, account_id: str, requested_at: datetime) -> None:
    after = ""
    while True:
        with database.transaction(account_id) as tx:
            order_ids = orders_to_bar(tx, requested_at, after, BLOCKED_A_BATCH)
        if not order_ids:
            return
        _block(database, vault, account_id, order_ids)
        after = order_ids[-1]


def _shred_all(database: Database, vault: Vault, account_id: str, shreds: ShredTotals, reason: str | None) -> None:
    after = ""
    while True:
        with database.transaction(account_id) as tx:
            page = next_retained(tx, after)
        if not page:
            return
        asked = [order for order in page if order.due.rule is Rule.ERASURE_REQUESTED]
        shred_due(
            database,
            vault,
            account_id=account_id,
            orders=asked,
            at=now_for_retention(database),
            totals=shreds,
            reason=reason,
        )
        after = page[-1].order_id


def _shred_others(
    database: Database, vault: Vault, account_id: str, requested_at: datetime, shreds: ShredTotals, reason: str | None
) -> None:
    while True:
        with database.transaction(account_id) as tx:
            due = other_records_by(tx, order_kind=SHIPPING_DETAILS, stored_by=requested_at, limit=SHRED_BATCH)
        if not due:
            return
        for kind in sorted({row.kind for row in due}):
            with database.transaction(account_id) as tx:
                gone = vault.shred_many(
                    tx, kind=kind,
                    subject_ids=[row.subject_id for row in due if row.kind == kind],
                    reason=purpose(Rule.ERASURE_REQUESTED, reason))  # fmt: skip
            shreds.shredded[Rule.ERASURE_REQUESTED] += len(gone)


def _ask(
    database: Database, vault: Vault, account_id: str, order_id: str | None, reason: str, *, everything: bool
) -> Erasure:
    # A time that is still to come would leave its order out of what is asked.
    mend_times(database, vault.audit)
    with database.transaction(account_id) as tx:
        erasure_id = insert_erasure(tx, order_id, everything=everything)
        asked = erasure(tx.connection, erasure_id)
        vault.audit.record(
            tx.connection,
            action="erase",
            account_id=account_id,
            order_id=order_id,
            purpose=reason,
            outcome="requested",
            # All of the request: a database that was restored has it from here alone.
            detail={"erasure": erasure_id, "whole_seller": order_id is None, "everything": everything},
        )
    return asked


def _finish(
    database: Database,
    vault: Vault,
    warehouse: WarehousePort | None,
    account_id: str,
    asked: Erasure,
    shreds: ShredTotals,
) -> ErasureTotals:
    erased = erase_at_warehouse(database, vault.audit, warehouse, account_id=account_id) if warehouse else None
    with database.transaction(account_id) as tx:
        finish_erasures(tx)  # where there is no warehouse
        finished = is_finished(tx.connection, asked.erasure_id)
        waiting, _ = warehouse_erasures_waiting(tx, older_than=timedelta())
    shreds_completed = complete_pending_shreds(database, vault)
    complete = finished and not pending_shreds(database).records
    shredded = sum(shreds.shredded.values())
    vault.audit.record(
        None,
        action="erase",
        account_id=account_id,
        order_id=asked.order_id,
        purpose=purpose(Rule.ERASURE_REQUESTED),
        outcome="done" if complete else "unfinished",
        detail={"erasure": asked.erasure_id, "shredded": shredded, "warehouse_waiting": waiting},
    )
    return ErasureTotals(
        shredded=shredded,
        warehouse_erased=erased.outcomes.get(ERASED, 0) if erased else 0,
        warehouse_waiting=waiting,
        shreds_completed=shreds_completed,
        failed=shreds.failed,
        complete=complete,
    )
