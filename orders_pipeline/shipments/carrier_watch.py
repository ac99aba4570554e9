"""Packages whose carrier has no code at Amazon: they wait, or went out as `Other` and are edited once it has one."""

from __future__ import annotations

from datetime import timedelta

from orders_pipeline.channels.amazon.carriers import OTHER, CarrierChoice, resolve_carrier
from orders_pipeline.database.engine import AccountTransaction, AnyRow, database_now
from orders_pipeline.model.order import OrderStatus
from orders_pipeline.model.untrusted_text import bounded_text
from orders_pipeline.shipments.confirming import Confirming
from orders_pipeline.shipments.replacements import Edited
from orders_pipeline.shipments.rows import Package, change_package, unmapped_packages, update_package
from orders_pipeline.shipments.states import PackageEvent
from orders_pipeline.work.jobs import Queue, package_subject
from orders_pipeline.work.queue import enqueue

# Every run looks for a code. Where none comes, this is soon enough: before the ship-by time, and after it for a figure
# that Amazon counts by the month, which is how long it is looked for.
CARRIER_RECHECK, MAPPING_RECHECK, WATCHED_DAYS, MAPPED_A_RUN = timedelta(minutes=10), timedelta(hours=1), 30, 200


def choose_carrier(work: Confirming, package: AnyRow, marketplace_id: str | None) -> CarrierChoice:
    """What to tell Amazon of the package's carrier and service, as the tables are now."""
    # Bounded once more: an earlier release stored what the warehouse wrote as it was.
    carrier, service = bounded_text(package.carrier), bounded_text(package.service)
    return resolve_carrier(carrier, service, marketplace_id or work.default_marketplace_id, work.carrier_overrides)


def enqueue_mapped(work: Confirming) -> int:
    """Make packages due whose carrier has a code by now. Returns how many."""
    with work.database.transaction(work.account_id) as tx:
        mapped = [
            package_subject(row.order_id, row.package_id)
            for row in unmapped_packages(tx, days=WATCHED_DAYS, limit=MAPPED_A_RUN)
            if choose_carrier(work, row, row.marketplace_id).known
        ]
        enqueue(tx, Queue.CONFIRM, mapped)
    return len(mapped)


def edit_if_mapped(tx: AccountTransaction, work: Confirming, package: Package, order: AnyRow) -> bool:
    """Have a package that went out as `Other` confirmed again, if its carrier has a code by now."""
    choice = choose_carrier(work, package, order.marketplace_id)
    if not choice.known:
        if database_now(tx.connection) - package.confirmed_at < timedelta(days=WATCHED_DAYS):
            watch_carrier(tx, package)
        return False
    if choice.code == OTHER or order.status == OrderStatus.CANCELLED:
        update_package(tx, package, carrier_mapped=True)
        return False
    state = change_package(tx, package, PackageEvent.CARRIER_MAPPED, edited=Edited.FACTS.value)
    work.audit.record_many(tx.connection, [work.state_entry(package, state)])
    return True


def watch_carrier(tx: AccountTransaction, package: Package) -> None:
    """Look in an hour whether the carrier has a code."""
    enqueue(tx, Queue.CONFIRM, [package_subject(package.order_id, package.package_id)], due_in=MAPPING_RECHECK)
