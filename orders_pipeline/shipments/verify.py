"""Verify confirmed packages against Amazon's own answer (promise 5).

A 204 can be a package that silently is not there, for instance under a carrier code that Amazon does not know
(facts/peers.md §0, 4). 2026-01-01 shows packages; v0 shows quantities shipped, which prove less, but something. Of an
edit they prove nothing (`edits.py`).
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Event
from typing import Any

from orders_pipeline.alerts.rows import close_alerts, raise_alert
from orders_pipeline.audit.log import AuditEntry
from orders_pipeline.channels.amazon.carriers import OTHER
from orders_pipeline.channels.amazon.errors import AmazonAuthError, AmazonError, LimitNotBefore
from orders_pipeline.database.engine import AccountTransaction, database_now
from orders_pipeline.model.order import Order, OrderParts, OrderStatus, Package, Priority
from orders_pipeline.model.states import TO_VERIFY, PackageState
from orders_pipeline.orders.fetches import request_fetch
from orders_pipeline.shipments.confirm import (
    ACCOUNT_RETRY,
    ACTION_LEASE,
    CONFIRM_WORKERS,
    FIRST_RETRY,
    LONGEST_RETRY,
    MAPPING_RECHECK,
    Confirming,
    ConfirmTotals,
    alert_account_refused,
    alert_blocked,
    failed_unexpectedly,
    wait_or_go_on,
)
from orders_pipeline.shipments.edits import number_may_prove, quantities_may_prove
from orders_pipeline.shipments.quantities import quantity_by_line
from orders_pipeline.shipments.replacements import take_over, voided_twin
from orders_pipeline.shipments.rows import (
    Confirmation,
    claim_due_confirmations,
    lock_confirmations,
    update_confirmation,
)
from orders_pipeline.work.workers import over_each

# Amazon may show a package some minutes late: verify three times (after 15 s, 1 min, 4 min) before confirming again.
READS_BEFORE_RESEND = 3
NEXT_READ = timedelta(minutes=1)
# A confirmation that was accepted and dropped this often will be dropped again.
SENDS_BEFORE_GIVING_UP = 4
_ALERTS_OF_THE_UNCONFIRMED = ("refused", "dropped", "held", "defect", "blocked", "by_hand", "not_replaced")


def verify_due_packages(
    work: Confirming, *, deadline_seconds: float = 45.0, clock: Callable[[], float] = time.monotonic
) -> ConfirmTotals:
    """Look at every package that is due, one call an order, until none is or time or quota ends it."""
    totals = ConfirmTotals()
    started = clock()
    stop = Event()
    with ThreadPoolExecutor(CONFIRM_WORKERS, thread_name_prefix="read-back") as pool:
        while not stop.is_set() and clock() - started < deadline_seconds:
            with work.database.transaction(work.account_id) as tx:
                due = claim_due_confirmations(tx, states=TO_VERIFY, limit=CONFIRM_WORKERS * 5, lease=ACTION_LEASE)
            if not due:
                break
            by_order: defaultdict[str, list[Confirmation]] = defaultdict(list)
            for package in due:
                by_order[package.order_id].append(package)

            def read(one: tuple[str, list[Confirmation]]) -> ConfirmTotals:
                remaining = max(deadline_seconds - (clock() - started), 1.0)
                return _verify_safely(work, one[0], one[1], remaining, stop)

            for one in over_each(pool, read, list(by_order.items())):
                for outcome, times in one.outcomes.items():
                    totals.count(outcome, times)
                totals.not_before = one.not_before or totals.not_before
                totals.account_error = one.account_error or totals.account_error
    wait_or_go_on(work, totals, TO_VERIFY)
    return totals


def _verify_safely(
    work: Confirming, order_id: str, packages: Sequence[Confirmation], deadline_seconds: float, stop: Event
) -> ConfirmTotals:
    try:
        return _verify(work, order_id, packages, deadline_seconds, stop)
    except Exception as error:  # noqa: BLE001 - one order's defect is that order's alone
        totals = ConfirmTotals()
        for package in packages:
            failed_unexpectedly(work, package, PackageState(package.state), error, totals)
        return totals


def _verify(
    work: Confirming, order_id: str, packages: Sequence[Confirmation], deadline_seconds: float, stop: Event
) -> ConfirmTotals:
    totals = ConfirmTotals()
    if stop.is_set():
        _postpone(work, packages, timedelta())
        totals.count("postponed", len(packages))
        return totals
    try:
        shown = work.orders.get_order(
            order_id, OrderParts.PACKAGES, priority=Priority.SWEEP, deadline_seconds=deadline_seconds
        ).order
    except LimitNotBefore as error:
        stop.set()
        totals.not_before = error.not_before
        _postpone(work, packages, max(error.not_before - work.database.now(), timedelta(seconds=1)))
        totals.count("postponed", len(packages))
        return totals
    except AmazonAuthError as error:
        stop.set()
        totals.account_error = str(error)
        _postpone(work, packages, ACCOUNT_RETRY)
        alert_account_refused(work, error)
        totals.count("account_error", len(packages))
        return totals
    except AmazonError:
        attempts = min(max(package.attempts for package in packages), 8)
        _postpone(work, packages, min(FIRST_RETRY * 2**attempts, LONGEST_RETRY), count=True)
        totals.count("read_failed", len(packages))
        return totals
    with work.database.transaction(work.account_id) as tx:
        entries: list[AuditEntry] = []
        current = lock_confirmations(tx, order_id)
        asked = {package.package_id for package in packages}
        counted = [package for package in current if _may_count_at_amazon(package)]
        for package in current:
            if package.package_id in asked and package.state in TO_VERIFY:
                outcome = _compare(tx, work, package, current, counted, shown)
                totals.count(outcome)
                entries.append(
                    AuditEntry(
                        action="confirmation_read_back",
                        account_id=work.account_id,
                        order_id=order_id,
                        purpose="verify a package at Amazon",
                        outcome=outcome,
                        detail={"package_reference_id": package.package_reference_id},
                    )
                )
        work.audit.record_many(tx.connection, entries)
    return totals


def _may_count_at_amazon(package: Confirmation) -> bool:
    """Whether Amazon's shipped quantities may hold this package.

    Of two that were told, Amazon may have taken either: unless all are covered, none is proven. Telling both again does
    no harm.
    """
    told = package.state in (*TO_VERIFY, PackageState.VOIDED) and package.sends
    return bool(told) or package.state in (PackageState.CONFIRMED, PackageState.BY_HAND)


def _compare(
    tx: AccountTransaction,
    work: Confirming,
    package: Confirmation,
    all_packages: Sequence[Confirmation],
    counted: Sequence[Confirmation],
    order: Order,
) -> str:
    if _is_there(package, counted, order):
        _update(
            tx,
            package,
            # Watched until its carrier has a code; then it is edited.
            MAPPING_RECHECK if package.carrier_code == OTHER and package.sends else None,
            state=PackageState.CONFIRMED.value,
            confirmed_at=database_now(tx.connection),
            attempts=0,
            last_error=None,
        )
        over = [f"package.{kind}:{package.order_id}:{package.package_id}" for kind in _ALERTS_OF_THE_UNCONFIRMED]
        close_alerts(tx, keys=over)
        return "confirmed"
    if order.status == OrderStatus.CANCELLED:
        _update(tx, package, None, state=PackageState.BLOCKED.value)
        alert_blocked(tx, package)
        return "blocked"
    if not package.sends and order.status in (OrderStatus.SHIPPED, OrderStatus.INVOICE_UNCONFIRMED):
        _update(tx, package, None, state=PackageState.BY_HAND.value)
        _alert(tx, package, "by_hand", "info",
               "was confirmed by someone else, under other facts than the warehouse's.",
               "Nothing, unless the tracking number at Amazon is wrong.")  # fmt: skip
        return "by_hand"
    if package.state == PackageState.SENT and not package.sends:
        # We assumed that somebody else had confirmed it, and nobody has: confirm it.
        _update(tx, package, timedelta(), state=PackageState.PENDING.value, attempts=1)
        request_fetch(tx, order_id=package.order_id)
        return "not_shipped_after_all"
    if package.state == PackageState.SENDING:
        # The call's result is unknown and Amazon does not show the package: confirming it again is safe.
        _update(tx, package, timedelta(), state=PackageState.PENDING.value)
        return "send_again"
    if package.last_error and (voided := voided_twin(package.lines, all_packages)) is not None:
        # It came before the word that it replaces another; Amazon refused it beside that one.
        take_over(tx, package, voided)
        return "replacement"
    if package.last_error:
        _update(tx, package, None, state=PackageState.REFUSED.value)
        _alert(tx, package, "refused", "error",
               f"was refused: {package.last_error}",
               "Correct it in Seller Central before the ship-by time, or mend the cause and replay it.")  # fmt: skip
        return "refused"
    if package.reads + 1 < READS_BEFORE_RESEND:
        delay = NEXT_READ * 4**package.reads
        _update(tx, package, delay, reads=package.reads + 1)
        return "not_there_yet"
    if package.sends < SENDS_BEFORE_GIVING_UP:
        _update(tx, package, timedelta(), state=PackageState.PENDING.value, reads=0)
        return "send_again"
    _update(tx, package, None, state=PackageState.DROPPED.value)
    _alert(tx, package, "dropped", "error",
           f"was accepted {package.sends} times and is not shown: Amazon drops it.",
           "Check the carrier's code (carriers.csv); then confirm it by hand.")  # fmt: skip
    return "dropped"


def _is_there(package: Confirmation, counted: Sequence[Confirmation], order: Order) -> bool:
    if order.packages is None:
        return quantities_may_prove(package) and _quantities_are_there(package, counted, order)
    return number_may_prove(package) and any(_shows(shown, package) for shown in order.packages)


def _shows(shown: Package, package: Confirmation) -> bool:
    """Amazon may name a package otherwise than we did (facts §2); the tracking number is what the buyer sees."""
    if (shown.tracking_number or "").strip() != (package.tracking_number or "").strip():
        return False
    return not shown.items or dict(shown.items) == quantity_by_line(package.lines)


def _quantities_are_there(package: Confirmation, counted: Sequence[Confirmation], order: Order) -> bool:
    """v0: whether Amazon counts as shipped all that this package and the others that it may have taken hold."""
    shipped = {item.order_item_id: item.quantity_fulfilled for item in order.items}
    others = (one.lines for one in counted if one.package_id != package.package_id)
    needed = quantity_by_line([line for lines in (package.lines, *others) for line in lines])
    return all(shipped.get(line["line_ref"], 0) >= needed[line["line_ref"]] for line in package.lines)


def _postpone(work: Confirming, packages: Sequence[Confirmation], delay: timedelta, *, count: bool = False) -> None:
    with work.database.transaction(work.account_id) as tx:
        for package in packages:
            attempts = package.attempts + 1 if count else package.attempts
            # Only as it was claimed: one that was voided meanwhile has nothing due, and must not get it.
            _update(tx, package, delay, only_if=package.state, attempts=attempts)


def _update(tx: AccountTransaction, package: Confirmation, due_in: timedelta | None, **values: Any) -> None:
    update_confirmation(tx, order_id=package.order_id, package_id=package.package_id, due_in=due_in, **values)


def _alert(tx: AccountTransaction, package: Confirmation, kind: str, severity: str, what: str, what_to_do: str) -> None:
    raise_alert(
        tx,
        key=f"package.{kind}:{package.order_id}:{package.package_id}",
        severity=severity,
        message=f"Package {package.package_reference_id} of order {package.order_id} {what}",
        what_to_do=what_to_do,
    )
