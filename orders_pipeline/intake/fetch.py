"""Ask Amazon about the orders that need it, and keep what it answers.

One order's failure is that order's: it is tried again with backoff, then parked. A failure of the account (a role that
is missing, a revoked authorisation) ends the batch, gives every lease back, and raises an alert.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from threading import Event

from orders_pipeline.alerts.rows import close_alerts_about, raise_alert
from orders_pipeline.channels.amazon.errors import AmazonAuthError, AmazonError, AmazonNotFound, LimitNotBefore
from orders_pipeline.database.engine import AccountTransaction, Database, database_now
from orders_pipeline.intake.addresses import review_addresses
from orders_pipeline.intake.event_decision import FINAL
from orders_pipeline.intake.save import NEEDS_DETAILS, Answer, details_are_of_use, save_answer
from orders_pipeline.intake.verification import Verifier, mark_regulated, review_verifications, verify
from orders_pipeline.model.order import AMAZON, OrderParts, OrdersPort
from orders_pipeline.orders.account_starts import awaits_adoption
from orders_pipeline.orders.erasures import erasure_requested
from orders_pipeline.orders.rows import (
    FetchClaim,
    claim_due_fetches,
    fail_fetch,
    order_row,
    postpone_due_fetches,
    release_fetch,
)
from orders_pipeline.vault.access import Vault
from orders_pipeline.vault.errors import KeyProviderUnavailable, VaultError
from orders_pipeline.vault.key_alerts import KEYS_RETRY, close_keys_alert, raise_keys_alert
from orders_pipeline.work.workers import error_location, is_infrastructure_error, over_each

# Longer than one look can take (the deadline of a batch is 45 s); a process that died gives its orders back after this.
FETCH_LEASE = timedelta(minutes=1)
FETCH_WORKERS = 4
# 30 s, 1 min, 2 min … 1 h: some nine hours in all before an order is parked.
FIRST_RETRY, LONGEST_RETRY, FETCH_ATTEMPTS = timedelta(seconds=30), timedelta(hours=1), 15
# An account that is refused is asked again every few minutes: a person mends it, nothing else does.
ACCOUNT_RETRY = timedelta(minutes=5)
# Followed by the kind of refusal; any success closes all of them.
ACCOUNT_ALERT = "amazon.account:"
# An error that nobody expected is tried a few times: it may be the order's state of the moment.
DEFECT_ATTEMPTS = 4


@dataclass(slots=True)
class FetchTotals:
    """Counts of one batch of fetches. `not_before`: when the quota allows the next fetch, if it ran out."""

    fetched: int = 0
    failed: int = 0
    parked: int = 0
    without_address: int = 0
    not_before: datetime | None = None
    account_error: str | None = None
    with_details: int = 0
    keys_error: str | None = None
    errors: dict[str, int] = field(default_factory=dict)

    def add(self, other: FetchTotals) -> None:
        self.fetched += other.fetched
        self.failed += other.failed
        self.parked += other.parked
        self.without_address += other.without_address
        self.not_before = other.not_before or self.not_before
        self.account_error = other.account_error or self.account_error
        self.with_details += other.with_details
        self.keys_error = other.keys_error or self.keys_error
        for name, count in other.errors.items():
            self.errors[name] = self.errors.get(name, 0) + count


def fetch_due_orders(
    orders: OrdersPort,
    database: Database,
    vault: Vault,
    *,
    account_id: str,
    marketplace_ids: Collection[str],
    verifier: Verifier | None = None,
    deadline_seconds: float = 45.0,
    clock: Callable[[], float] = time.monotonic,
) -> FetchTotals:
    """Look at every order that is due, several at a time, until none is or the deadline or the quota ends it.

    Buyers' details are asked for, and kept, of orders of these marketplaces alone.
    """
    # The key that hashes what is stored is opened, or made, in a transaction of its own.
    with suppress(KeyProviderUnavailable):
        vault.prepare()
    totals = FetchTotals()
    started = clock()
    stop, no_keys = Event(), Event()
    with ThreadPoolExecutor(FETCH_WORKERS, thread_name_prefix="fetch") as pool:
        while not stop.is_set() and clock() - started < deadline_seconds:
            with database.transaction(account_id) as tx:
                claims = claim_due_fetches(tx, limit=FETCH_WORKERS * 5, lease=FETCH_LEASE)
            if not claims:
                break

            def fetch(claim: FetchClaim) -> FetchTotals:
                remaining = max(deadline_seconds - (clock() - started), 1.0)
                try:
                    return _fetch_one(
                        orders, database, vault, account_id, marketplace_ids, verifier, claim, remaining, stop, no_keys
                    )
                except Exception as error:  # noqa: BLE001 - one order's defect is that order's alone
                    # Also what was raised while a failure was noted.
                    return _defect(database, account_id, claim, error)

            for one in over_each(pool, fetch, claims):
                totals.add(one)
    _wait_or_go_on(database, account_id, totals)
    return totals


def _wait_or_go_on(database: Database, account_id: str, totals: FetchTotals) -> None:
    """After a refusal that all orders share, all wait; after a success the alert about it is over."""
    with database.transaction(account_id) as tx:
        if totals.account_error is not None:
            until = database_now(tx.connection) + ACCOUNT_RETRY
            postpone_due_fetches(tx, until=until)
        elif totals.not_before is not None:
            postpone_due_fetches(tx, until=totals.not_before)
        elif totals.fetched:
            close_alerts_about(tx.connection, account_id=account_id, prefix=ACCOUNT_ALERT)
        if totals.with_details and totals.keys_error is None:
            close_keys_alert(tx)
        review_addresses(tx)
        review_verifications(tx)


def _fetch_one(
    orders: OrdersPort,
    database: Database,
    vault: Vault,
    account_id: str,
    marketplace_ids: Collection[str],
    verifier: Verifier | None,
    claim: FetchClaim,
    deadline_seconds: float,
    stop: Event,
    no_keys: Event,
) -> FetchTotals:
    totals = FetchTotals()
    if stop.is_set():
        _give_back(database, account_id, claim, None)
        return totals
    needs_details = (
        claim.queue_state in NEEDS_DETAILS
        and claim.status not in FINAL
        and claim.fulfilled_by != AMAZON
        and (claim.marketplace_id is None or claim.marketplace_id in marketplace_ids)
        and details_are_of_use(claim.programs, claim.deliver_by, claim.claimed_at)
    )
    if needs_details:
        with database.transaction(account_id) as tx:
            # An erasure of this order was requested: its details are not stored again.
            needs_details = not erasure_requested(tx, [claim.order_id]) and not _awaits_adoption(tx, claim.order_id)
    if needs_details and no_keys.is_set():
        _give_back(database, account_id, claim, None, delay=KEYS_RETRY)
        return totals
    parts = OrderParts.SHIPPING_DETAILS if needs_details else OrderParts.STATE
    try:
        answer = orders.get_order(claim.order_id, parts, deadline_seconds=deadline_seconds)
    except LimitNotBefore as error:
        totals.not_before = error.not_before
        stop.set()
        _give_back(database, account_id, claim, error.not_before)
        return totals
    except AmazonAuthError as error:
        totals.account_error = str(error)
        stop.set()
        _give_back(database, account_id, claim, None, delay=ACCOUNT_RETRY)
        with database.transaction(account_id) as tx:
            raise_alert(
                tx,
                key=f"{ACCOUNT_ALERT}{type(error).__name__}",
                severity="error",
                message=str(error),
                what_to_do="No order of this seller can be fetched until this is mended; events are kept meanwhile. "
                "Run `orders-pipeline doctor`.",
            )
        return totals
    except AmazonError as error:
        _failed(database, account_id, claim, error, totals)
        return totals
    try:
        order = mark_regulated(verifier, answer.order)
        verified = verify(verifier, claim, order, deadline_seconds)
        to_save = Answer(order, answer.shipping_details, needs_details, verified)
        with database.transaction(account_id) as tx:
            has_address = save_answer(tx, vault, claim, to_save, marketplace_ids)
    except KeyProviderUnavailable as error:
        # Only what is to be sealed has to wait: a cancellation of what the warehouse has goes on.
        no_keys.set()
        totals.keys_error = str(error)
        _give_back(database, account_id, claim, None, delay=KEYS_RETRY)
        with database.transaction(account_id) as tx:
            raise_keys_alert(tx, error)
        return totals
    totals.fetched += 1
    totals.with_details += needs_details and answer.shipping_details is not None
    totals.without_address += not has_address
    return totals


def _awaits_adoption(tx: AccountTransaction, order_id: str) -> bool:
    known = order_row(tx, order_id)
    return known is not None and awaits_adoption(tx, known)


def _defect(database: Database, account_id: str, claim: FetchClaim, error: Exception) -> FetchTotals:
    """What nobody expected of one order: noted, tried again, parked; the others go on."""
    if is_infrastructure_error(error) or isinstance(error, VaultError):
        raise error
    totals = FetchTotals(failed=1, errors={type(error).__name__: 1})
    give_up = claim.attempts + 1 >= DEFECT_ATTEMPTS
    retry_in = None if give_up else FIRST_RETRY * 2**claim.attempts
    _note_failure(database, account_id, claim, f"a defect of this program: {error_location(error)}", retry_in, totals)
    return totals


def _failed(database: Database, account_id: str, claim: FetchClaim, error: AmazonError, totals: FetchTotals) -> None:
    name = type(error).__name__
    totals.failed += 1
    totals.errors[name] = totals.errors.get(name, 0) + 1
    give_up = claim.attempts + 1 >= FETCH_ATTEMPTS or not (error.retryable or isinstance(error, AmazonNotFound))
    # An order may be announced before it can be read: 404 is given three tries.
    if isinstance(error, AmazonNotFound) and claim.attempts + 1 >= 3:
        give_up = True
    retry_in = None if give_up else min(FIRST_RETRY * 2**claim.attempts, LONGEST_RETRY)
    _note_failure(database, account_id, claim, str(error), retry_in, totals)


def _note_failure(
    database: Database,
    account_id: str,
    claim: FetchClaim,
    error: str,
    retry_in: timedelta | None,
    totals: FetchTotals,
) -> None:
    with database.transaction(account_id) as tx:
        fail_fetch(tx, order_id=claim.order_id, error=error, retry_in=retry_in)
        if retry_in is None:
            totals.parked += 1
            raise_alert(
                tx,
                key=f"order.parked:{claim.order_id}",
                severity="error",
                message=f"Order {claim.order_id} cannot be fetched: {error}",
                what_to_do="Mend the cause, then run the job `replay_parked` (or `recover_order`) in the Dagster UI.",
            )


def _give_back(
    database: Database,
    account_id: str,
    claim: FetchClaim,
    not_before: datetime | None,
    delay: timedelta = timedelta(),
) -> None:
    due_at = not_before or database.now() + delay
    with database.transaction(account_id) as tx:
        release_fetch(tx, order_id=claim.order_id, due_at=due_at)
