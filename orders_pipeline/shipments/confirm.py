"""Tell Amazon which package left, once, before the ship-by time."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from threading import Event
from typing import Any

from orders_pipeline.alerts.rows import close_alert, close_alerts_about, raise_alert, subject_hash
from orders_pipeline.audit.log import AuditEntry, AuditLog
from orders_pipeline.channels.amazon.carriers import OTHER, CarrierTable, resolve_carrier
from orders_pipeline.channels.amazon.errors import (
    AmazonAuthError,
    AmazonBadRequest,
    AmazonError,
    AmazonNotFound,
    LimitNotBefore,
)
from orders_pipeline.database.engine import AccountTransaction, AnyRow, Database, database_now
from orders_pipeline.model.order import LABEL_PROGRAMS, OrdersPort, OrderStatus
from orders_pipeline.model.shipment import ConfirmedItem, ShipmentConfirmation, ShipmentsPort
from orders_pipeline.model.states import TO_SEND, PackageState
from orders_pipeline.model.untrusted_text import bounded_text
from orders_pipeline.orders.rows import order_row
from orders_pipeline.shipments.edits import Edited
from orders_pipeline.shipments.quantities import quantity_by_line
from orders_pipeline.shipments.rows import (
    Confirmation,
    claim_due_confirmations,
    lock_confirmations,
    lock_confirmed_under,
    postpone_due_confirmations,
    update_confirmation,
)
from orders_pipeline.work.workers import error_location, is_infrastructure_error, over_each

CONFIRM_WORKERS = 4
# Longer than one call can take (the deadline of a batch is 45 s); a process that died gives its packages back after.
ACTION_LEASE = timedelta(minutes=1)
FIRST_RETRY, LONGEST_RETRY = timedelta(seconds=10), timedelta(minutes=10)
# How long after a 204 Amazon is asked what it shows; sooner often reads the state before.
VERIFY_AFTER = timedelta(seconds=15)
ACCOUNT_RETRY = timedelta(minutes=5)
# Followed by the kind of refusal; any success closes all of them.
ACCOUNT_ALERT = "amazon.account:"
# A package that went out as `Other` is told again once its carrier has a code. Every run looks; where none comes, an
# hour is soon enough for a figure that Amazon counts by the month, which is how long it is looked for.
MAPPING_RECHECK, MAPPING_AWAITED, MAPPED_A_RUN = timedelta(hours=1), timedelta(days=30), 200


@dataclass(frozen=True, slots=True)
class Confirming:
    """What every package needs."""

    database: Database
    audit: AuditLog
    shipments: ShipmentsPort
    orders: OrdersPort
    carrier_overrides: CarrierTable
    account_id: str
    default_marketplace_id: str


@dataclass(slots=True)
class ConfirmTotals:
    """What became of the packages, by outcome. `not_before`: when the quota allows the next, if it ran out."""

    outcomes: dict[str, int] = field(default_factory=dict)
    not_before: datetime | None = None
    account_error: str | None = None

    def count(self, outcome: str, times: int = 1) -> None:
        self.outcomes[outcome] = self.outcomes.get(outcome, 0) + times


def confirm_due_packages(
    work: Confirming, *, deadline_seconds: float = 45.0, clock: Callable[[], float] = time.monotonic
) -> ConfirmTotals:
    """Tell Amazon of every package that is due, nearest ship-by first, until none is or time or quota ends it."""
    totals = ConfirmTotals()
    started = clock()
    stop = Event()
    edits = _edit_mapped(work)
    if edits:
        totals.count("mapped", edits)
    with ThreadPoolExecutor(CONFIRM_WORKERS, thread_name_prefix="confirm") as pool:
        while not stop.is_set() and clock() - started < deadline_seconds:
            with work.database.transaction(work.account_id) as tx:
                due = claim_due_confirmations(tx, states=TO_SEND, limit=CONFIRM_WORKERS * 5, lease=ACTION_LEASE)
            if not due:
                break

            def confirm(package: Confirmation) -> ConfirmTotals:
                return _confirm_safely(work, package, max(deadline_seconds - (clock() - started), 1.0), stop)

            for one in over_each(pool, confirm, due):
                for outcome, times in one.outcomes.items():
                    totals.count(outcome, times)
                totals.not_before = one.not_before or totals.not_before
                totals.account_error = one.account_error or totals.account_error
    wait_or_go_on(work, totals, TO_SEND)
    return totals


def wait_or_go_on(work: Confirming, totals: ConfirmTotals, states: Sequence[PackageState]) -> None:
    """After a refusal that all packages share, all wait; after a success the alert about it is over."""
    with work.database.transaction(work.account_id) as tx:
        if totals.account_error is not None:
            delay = ACCOUNT_RETRY
        elif totals.not_before is not None:
            delay = max(totals.not_before - database_now(tx.connection), timedelta(seconds=1))
        else:
            if totals.outcomes.keys() & {"sent", "confirmed"}:
                close_alerts_about(tx.connection, account_id=work.account_id, prefix=ACCOUNT_ALERT)
            return
        postpone_due_confirmations(tx, states=states, delay=delay)


def failed_unexpectedly(
    work: Confirming, package: Confirmation, state: PackageState, error: Exception, totals: ConfirmTotals
) -> None:
    """Handle an unexpected error of one package: store it, retry with backoff, raise an alert. The others go on."""
    if is_infrastructure_error(error):
        raise error
    with work.database.transaction(work.account_id) as tx:
        delay = min(FIRST_RETRY * 2 ** min(package.attempts, 8), LONGEST_RETRY)
        what = error_location(error)
        _update(tx, package, delay, only_if=state, attempts=package.attempts + 1)
        raise_alert(
            tx,
            key=f"package.defect:{package.order_id}:{package.package_id}",
            severity="error",
            message=f"A package of order {package.order_id} met a defect of this program: {what}.",
            what_to_do="Report it; confirm the package by hand if the ship-by time is near.",
        )
    totals.count("defect")


def _edit_mapped(work: Confirming) -> int:
    """Confirm packages again that were sent as `Other` and whose carrier is mapped now. Returns how many."""
    edited: list[AuditEntry] = []
    with work.database.transaction(work.account_id) as tx:
        now = database_now(tx.connection)
        for package in lock_confirmed_under(tx, OTHER, MAPPED_A_RUN):
            order = order_row(tx, package.order_id)
            marketplace_id = (order.marketplace_id if order is not None else None) or work.default_marketplace_id
            choice = resolve_carrier(package.carrier, package.service, marketplace_id, work.carrier_overrides)
            if choice.known and choice.code != OTHER and order is not None and order.status != OrderStatus.CANCELLED:
                edited.append(_transition(work, package, PackageState.PENDING))
                state, edit = PackageState.PENDING.value, Edited.FACTS.value
                _update(tx, package, timedelta(), state=state, edited=edit, reads=0)
            elif choice.known or now - package.confirmed_at > MAPPING_AWAITED:
                _update(tx, package, None)
            elif package.action_due_at <= now:
                _update(tx, package, MAPPING_RECHECK)
        work.audit.record_many(tx.connection, edited)
    return len(edited)


def _confirm_safely(work: Confirming, package: Confirmation, deadline_seconds: float, stop: Event) -> ConfirmTotals:
    try:
        return _confirm(work, package, deadline_seconds, stop)
    except Exception as error:  # noqa: BLE001 - one package's defect is that package's alone
        # The call was sent and its result was not stored: verify before the next call, as after a lost answer.
        totals = ConfirmTotals()
        failed_unexpectedly(work, package, PackageState.SENDING, error, totals)
        return totals


def _confirm(work: Confirming, package: Confirmation, deadline_seconds: float, stop: Event) -> ConfirmTotals:
    totals = ConfirmTotals()
    if stop.is_set():
        _back(work, package, timedelta())
        totals.count("postponed")
        return totals
    try:
        with work.database.transaction(work.account_id) as tx:
            prepared = _prepare(tx, work, package)
    except Exception as error:  # noqa: BLE001 - one package's defect is that package's alone
        failed_unexpectedly(work, package, PackageState.PENDING, error, totals)
        return totals
    if isinstance(prepared, str):
        totals.count(prepared)
        return totals
    try:
        work.shipments.confirm_shipment(prepared, deadline_seconds=deadline_seconds)
    except LimitNotBefore as error:
        # Nothing was sent: the package waits as it did before.
        stop.set()
        totals.not_before = error.not_before
        _back(work, package, max(error.not_before - work.database.now(), timedelta(seconds=1)), unsent=True)
        totals.count("postponed")
    except AmazonAuthError as error:
        stop.set()
        totals.account_error = str(error)
        _back(work, package, ACCOUNT_RETRY, unsent=True)
        alert_account_refused(work, error)
        totals.count("account_error")
    except (AmazonBadRequest, AmazonNotFound) as error:
        # "Order already fulfilled" and its like come as 400 too: what Amazon shows decides (facts/peers.md §2, 10).
        _save_result(work, package, PackageState.SENT, timedelta(), "refused", last_error=str(error))
        totals.count("refused")
    except AmazonError as error:
        delay = min(FIRST_RETRY * 2 ** min(package.attempts, 8), LONGEST_RETRY)
        _save_result(
            work,
            package,
            PackageState.SENDING,
            delay,
            "unknown",
            attempts=package.attempts + 1,
            last_error=str(error),
        )
        totals.count("retry")
    except Exception as error:  # noqa: BLE001 - one package's defect is that package's alone
        failed_unexpectedly(work, package, PackageState.SENDING, error, totals)
    else:
        _save_result(work, package, PackageState.SENT, VERIFY_AFTER, "sent", attempts=0, last_error=None, reads=0)
        totals.count("sent")
    return totals


def _prepare(tx: AccountTransaction, work: Confirming, claimed: Confirmation) -> ShipmentConfirmation | str:
    """Under the order's lock, build the confirmation and store it as sending; or return why nothing is sent."""
    package = next(
        (found for found in lock_confirmations(tx, claimed.order_id) if found.package_id == claimed.package_id),
        None,
    )
    order = order_row(tx, claimed.order_id)
    if package is None or order is None or package.state != PackageState.PENDING:
        return "nothing"
    verdict = _verdict(order, package)
    if verdict is not None:
        state, due_in = verdict
        _update(tx, package, due_in, state=state.value, last_error=None)
        if state is PackageState.BLOCKED:
            alert_blocked(tx, package)
        work.audit.record_many(tx.connection, [_transition(work, package, state)])
        return state.value
    marketplace_id = order.marketplace_id or work.default_marketplace_id
    # Bounded once more: an earlier release stored what the warehouse wrote as it was.
    carrier, service = bounded_text(package.carrier), bounded_text(package.service)
    choice = resolve_carrier(carrier, service, marketplace_id, work.carrier_overrides)
    key = f"carrier.unknown:{subject_hash((carrier or 'none').lower())}"
    if not choice.known:
        raise_alert(
            tx,
            key=key,
            severity="error" if choice.needs_correction else "warning",
            message=f"Carrier {carrier!r} has no code at Amazon: "
            + (
                "its packages are held."
                if choice.needs_correction
                else "its packages are confirmed as 'Other', by name."
            ),
            what_to_do="Add it to carriers.csv in the data folder; its packages are then sent or edited.",
        )
    else:
        close_alert(tx, key=key)
    if choice.needs_correction:
        # Looked at again every ten minutes: the mapping may have come.
        _update(tx, package, LONGEST_RETRY, last_error="carrier without a code at Amazon")
        return "held"
    shipped_at = _ship_date(package, order, database_now(tx.connection))
    _update(
        tx,
        package,
        ACTION_LEASE,
        state=PackageState.SENDING.value,
        carrier_code=choice.code,
        carrier_name=choice.name,
        shipping_method=choice.shipping_method,
        sends=package.sends + 1,
        sent_at=database_now(tx.connection),
    )
    work.audit.record_many(tx.connection, [_transition(work, package, PackageState.SENDING)])
    return ShipmentConfirmation(
        order_id=package.order_id,
        marketplace_id=marketplace_id,
        package_reference_id=package.package_reference_id,
        carrier_code=choice.code,
        carrier_name=choice.name,
        shipping_method=choice.shipping_method,
        tracking_number=bounded_text(package.tracking_number) or "",
        shipped_at=shipped_at,
        purchased_at=order.purchased_at,
        # Amazon refuses an item that is listed twice.
        items=tuple(
            ConfirmedItem(line_ref, quantity) for line_ref, quantity in quantity_by_line(package.lines).items()
        ),
    )


def _verdict(order: AnyRow, package: Confirmation) -> tuple[PackageState, timedelta | None] | None:
    if order.status == OrderStatus.CANCELLED:
        return PackageState.BLOCKED, None
    if LABEL_PROGRAMS.intersection(order.programs):
        return PackageState.NOT_NEEDED, None
    over = order.status in (OrderStatus.SHIPPED, OrderStatus.INVOICE_UNCONFIRMED)
    if over and not package.sends and not package.attempts:
        # Amazon shows it shipped although we sent nothing: verify before confirming.
        return PackageState.SENT, timedelta()
    return None


def _ship_date(package: Confirmation, order: AnyRow, now: datetime) -> datetime:
    """Amazon refuses a ship date before the purchase or in the future; a warehouse's clock may be off either way."""
    shipped_at = min(package.shipped_at or package.reported_at, now)
    return max(shipped_at, order.purchased_at) if order.purchased_at else shipped_at


def alert_blocked(tx: AccountTransaction, package: Confirmation) -> None:
    """Alert: a package of a cancelled order is in transit and has to be brought back."""
    raise_alert(
        tx,
        key=f"package.blocked:{package.order_id}:{package.package_id}",
        severity="error",
        message=f"A package of order {package.order_id} left, but the order is cancelled at Amazon.",
        what_to_do="Have the carrier return the package; the shipment is not confirmed.",
    )


def _save_result(
    work: Confirming, package: Confirmation, state: PackageState, due_in: timedelta, outcome: str, **values: Any
) -> None:
    with work.database.transaction(work.account_id) as tx:
        # Only as it was sent: another label may have been reported meanwhile, and be on its way by another process.
        _update(
            tx,
            package,
            due_in,
            only_if=PackageState.SENDING,
            only_if_sends=package.sends + 1,
            state=state.value,
            **values,
        )
        work.audit.record(
            tx.connection,
            action="shipment_confirmation",
            account_id=work.account_id,
            order_id=package.order_id,
            purpose="confirm a package to Amazon",
            outcome=outcome,
            detail={"package_reference_id": package.package_reference_id},
        )


def _back(work: Confirming, package: Confirmation, delay: timedelta, *, unsent: bool = False) -> None:
    with work.database.transaction(work.account_id) as tx:
        if unsent:
            _update(
                tx,
                package,
                delay,
                only_if=PackageState.SENDING,
                only_if_sends=package.sends + 1,
                state=PackageState.PENDING.value,
                sends=package.sends,
            )
            work.audit.record_many(tx.connection, [_transition(work, package, PackageState.PENDING)])
        else:
            # Only as it was claimed: one that was voided meanwhile has nothing due, and must not get it.
            _update(tx, package, delay, only_if=PackageState(package.state))


def _transition(work: Confirming, package: Confirmation, after: PackageState) -> AuditEntry:
    """A package's new state, for the audit log; last in the transaction."""
    return AuditEntry(
        action="package_state",
        account_id=work.account_id,
        order_id=package.order_id,
        purpose="state of a package",
        outcome=after.value,
        detail={"package_reference_id": package.package_reference_id},
    )


def _update(
    tx: AccountTransaction,
    package: Confirmation,
    due_in: timedelta | None,
    *,
    only_if: PackageState | None = None,
    only_if_sends: int | None = None,
    **values: Any,
) -> None:
    update_confirmation(
        tx,
        order_id=package.order_id,
        package_id=package.package_id,
        due_in=due_in,
        only_if=only_if.value if only_if else None,
        only_if_sends=only_if_sends,
        **values,
    )


def alert_account_refused(work: Confirming, error: AmazonAuthError) -> None:
    """Amazon refuses this seller's account: a person has to mend it."""
    with work.database.transaction(work.account_id) as tx:
        raise_alert(
            tx,
            key=f"{ACCOUNT_ALERT}{type(error).__name__}",
            severity="error",
            message=str(error),
            what_to_do="No shipment can be confirmed until this is mended. Run `orders-pipeline doctor`.",
        )
