"""Forget one order, or a whole seller, because Amazon, a buyer or the seller asked: within the day.

Belongs here: the request, kept before anything is done about it, and its steps. Elsewhere: the steps themselves, which
the daily retention goes on with should one of them fail (shredding, warehouse_erasure, vault.rotation).

After it, the order's details are not fetched again: what the warehouse has not taken leaves the queue for good, and
whatever should come back all the same is due at once for every later run (clock: `erasure_asked`).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from orders_pipeline.amazon.shipping_details import SHIPPING_DETAILS
from orders_pipeline.compliance.kept import kept, next_kept
from orders_pipeline.compliance.rules import WORDS, Rule
from orders_pipeline.compliance.shredding import ShredTotals, shred_due
from orders_pipeline.compliance.warehouse_erasure import erase_at_warehouse
from orders_pipeline.store.compliance import other_records_due, warehouse_erasures_waiting
from orders_pipeline.store.database import Database
from orders_pipeline.store.erasures import (
    bar_orders,
    delete_tokens,
    finish_erasures,
    insert_erasure,
    mark_erasure_shredded,
    orders_to_bar,
)
from orders_pipeline.store.orders import lock_orders
from orders_pipeline.vault.access import SHRED_BATCH, Vault
from orders_pipeline.vault.rotation import settle_shreds, unsettled_shreds
from orders_pipeline.wms.warehouse import WarehousePort

BARRED_A_BATCH = 1_000
END_OF_TIME = datetime(9999, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class ErasureTotals:
    """What became of a request. Complete: nothing is left here, at the warehouse, or in a backup's reach."""

    shredded: int
    warehouse_erased: int
    warehouse_waiting: int
    settled: int
    failed: int
    complete: bool

    def as_metadata(self) -> dict[str, int | bool]:
        return {
            "shredded": self.shredded,
            "warehouse_erased": self.warehouse_erased,
            "warehouse_waiting": self.warehouse_waiting,
            "settled": self.settled,
            "failed": self.failed,
            "complete": self.complete,
        }


def erase(
    database: Database,
    vault: Vault,
    warehouse: WarehousePort | None,
    *,
    seller_id: str,
    order_id: str | None,
    reason: str,
    everything: bool = False,
) -> ErasureTotals:
    """Forget one order's buyer, or with None every buyer of the seller."""
    if order_id is not None:
        return erase_order(database, vault, warehouse, seller_id=seller_id, order_id=order_id, reason=reason)
    return erase_seller(database, vault, warehouse, seller_id=seller_id, reason=reason, everything=everything)


def erase_order(
    database: Database, vault: Vault, warehouse: WarehousePort | None, *, seller_id: str, order_id: str, reason: str
) -> ErasureTotals:
    """Forget who bought one order. Safe to repeat; what should come of it later goes at once as well."""
    erasure_id = _ask(database, vault, seller_id, order_id, reason, everything=False)
    with database.transaction() as connection:
        order = kept(connection, seller_id, order_id)
        if order is None:
            lock_orders(connection, seller_id, [order_id])
            bar_orders(connection, seller_id, [order_id])
    shreds = ShredTotals()
    if order is not None:
        now = database.now()
        shred_due(database, vault, seller_id=seller_id, kept=[order], at=now, totals=shreds, reason=reason)
    return _finish(database, vault, warehouse, seller_id, erasure_id, shreds)


def erase_seller(
    database: Database,
    vault: Vault,
    warehouse: WarehousePort | None,
    *,
    seller_id: str,
    reason: str,
    everything: bool = False,
) -> ErasureTotals:
    """Forget every buyer of a seller that is known by now, their parked messages and Amazon's tokens for it.

    `everything`: the next retention deletes what identifies nobody as well (the seller has left: policy §1.7). Orders
    that come after this are the seller's new ones, and are not touched.
    """
    erasure_id = _ask(database, vault, seller_id, None, reason, everything=everything)
    shreds = ShredTotals()
    after = ""
    while True:
        with database.transaction() as connection:
            page = next_kept(connection, seller_id, after)
        if not page:
            break
        shred_due(database, vault, seller_id=seller_id, kept=page, at=database.now(), totals=shreds, reason=reason)
        after = page[-1].order_id
    _bar_the_rest(database, seller_id)
    _shred_others(database, vault, seller_id, shreds, reason)
    with database.transaction() as connection:
        delete_tokens(connection, seller_id)
    return _finish(database, vault, warehouse, seller_id, erasure_id, shreds)


def _bar_the_rest(database: Database, seller_id: str) -> None:
    while True:
        with database.transaction() as connection:
            order_ids = orders_to_bar(connection, seller_id, BARRED_A_BATCH)
            if not order_ids:
                return
            lock_orders(connection, seller_id, order_ids)
            bar_orders(connection, seller_id, order_ids)


def _shred_others(database: Database, vault: Vault, seller_id: str, shreds: ShredTotals, reason: str) -> None:
    while True:
        with database.transaction() as connection:
            due = other_records_due(
                connection, seller_id, order_kind=SHIPPING_DETAILS, at=END_OF_TIME, limit=SHRED_BATCH
            )
        if not due:
            return
        for kind in sorted({row.kind for row in due}):
            with database.transaction() as connection:
                gone = vault.shred_many(
                    connection, seller_id=seller_id, kind=kind,
                    subject_ids=[row.subject_id for row in due if row.kind == kind],
                    reason=f"{Rule.ERASURE_ASKED}: {reason}",
                )  # fmt: skip
            shreds.shredded[Rule.ERASURE_ASKED] += len(gone)


def _ask(
    database: Database, vault: Vault, seller_id: str, order_id: str | None, reason: str, *, everything: bool
) -> int:
    with database.transaction() as connection:
        erasure_id = insert_erasure(connection, seller_id, order_id, everything=everything)
        vault.audit.record(
            connection,
            action="erase",
            seller_id=seller_id,
            order_id=order_id,
            purpose=reason,
            outcome="requested",
            detail={"erasure": erasure_id, "whole_seller": order_id is None},
        )
    return erasure_id


def _finish(
    database: Database,
    vault: Vault,
    warehouse: WarehousePort | None,
    seller_id: str,
    erasure_id: int,
    shreds: ShredTotals,
) -> ErasureTotals:
    if not shreds.failed:
        with database.transaction() as connection:
            mark_erasure_shredded(connection, erasure_id)
    erased = erase_at_warehouse(database, vault.audit, warehouse, seller_id=seller_id) if warehouse else None
    with database.transaction() as connection:
        finish_erasures(connection, seller_id)
        waiting, _ = warehouse_erasures_waiting(connection, seller_id, older_than=timedelta())
    settled = settle_shreds(database, vault.keys, vault.audit)
    complete = not shreds.failed and not waiting and not unsettled_shreds(database).records
    shredded = sum(shreds.shredded.values())
    vault.audit.record(
        None,
        action="erase",
        seller_id=seller_id,
        purpose=f"{Rule.ERASURE_ASKED}: {WORDS[Rule.ERASURE_ASKED]}",
        outcome="done" if complete else "unfinished",
        detail={"erasure": erasure_id, "shredded": shredded, "warehouse_waiting": waiting},
    )
    return ErasureTotals(
        shredded=shredded,
        warehouse_erased=erased.erased if erased else 0,
        warehouse_waiting=waiting,
        settled=settled.shreds_settled if settled else 0,
        failed=shreds.failed,
        complete=complete,
    )
