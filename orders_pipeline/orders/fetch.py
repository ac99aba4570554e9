"""Ask Amazon about the orders that need it, and keep what it answers.

Belongs here: which parts to ask for, what an answer changes, and what becomes of an order whose look failed. Elsewhere:
which events need a look at all (plan), the call (amazon), whether the order may ship (fulfillment).

One order's failure is that order's: it is tried again with backoff, then parked. A failure of the account (a role that
is missing, a revoked authorisation) ends the batch, gives every lease back, and raises an alert.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from threading import Event
from typing import Any

from sqlalchemy import Connection

from orders_pipeline.amazon.errors import AmazonAuthError, AmazonError, AmazonNotFound, LimitNotBefore
from orders_pipeline.amazon.order import (
    AMAZON,
    MERCHANT,
    NOT_FOR_THE_WAREHOUSE,
    Order,
    OrderParts,
    OrdersPort,
    OrderStatus,
    ShippingDetails,
)
from orders_pipeline.amazon.shipping_details import SHIPPING_DETAILS, shipping_details_to_bytes
from orders_pipeline.orders.plan import FINAL
from orders_pipeline.store.account_starts import awaits_adoption
from orders_pipeline.store.alerts import close_alert, close_alerts_about, raise_alert
from orders_pipeline.store.database import AnyRow, Database, database_now
from orders_pipeline.store.erasures import may_be_stored, to_be_forgotten
from orders_pipeline.store.orders import (
    FetchClaim,
    claim_due_fetches,
    fail_fetch,
    item_rows,
    lose_address,
    order_row,
    postpone_due_fetches,
    release_fetch,
    request_fetch,
    save_fetched_order,
    settle_fetch,
)
from orders_pipeline.store.workers import concerns_all, over_each, where_from
from orders_pipeline.vault.access import Vault
from orders_pipeline.vault.errors import AuditRefused, VaultError

# Longer than one look can take (the deadline of a batch is 45 s); a process that died gives its orders back after this.
FETCH_LEASE = timedelta(minutes=1)
FETCH_WORKERS = 4
# 30 s, 1 min, 2 min … 1 h: some nine hours in all before an order is parked.
FIRST_RETRY, LONGEST_RETRY, FETCH_ATTEMPTS = timedelta(seconds=30), timedelta(hours=1), 15
# An address can lag minutes behind the status, and was blank for days in 2021 (facts/peers.md §2, 23, 28).
ADDRESS_RETRY, LONGEST_ADDRESS_RETRY = timedelta(seconds=30), timedelta(hours=2)
# An account that is refused is asked again every few minutes: a person mends it, nothing else does.
ACCOUNT_RETRY = timedelta(minutes=5)
# Followed by the kind of refusal; any success closes all of them.
ACCOUNT_ALERT = "amazon.account:"
SHIPPABLE = frozenset({OrderStatus.UNSHIPPED, OrderStatus.PARTIALLY_SHIPPED})
# In these states the warehouse has not got the address, or not surely: a push may have to be repeated.
_NEEDS_DETAILS = frozenset({None, "queued", "pushing", "held", "refused"})
# In these the warehouse has the order, and ships what it was told.
_AT_THE_WAREHOUSE = frozenset({"pushing", "accepted", "hold_asked", "holding", "release"})
# After its delivery window: by then the retention destroys the details of an order that still waits, each night anew.
DETAILS_OF_USE = timedelta(days=28)
# An error that nobody expected is tried a few times: it may be the order's state of the moment.
DEFECT_ATTEMPTS = 4


@dataclass(slots=True)
class FetchTotals:
    """What one batch of looks did. `not_before` is when the quota allows the next, if it ran out."""

    fetched: int = 0
    failed: int = 0
    parked: int = 0
    without_address: int = 0
    not_before: datetime | None = None
    account_error: str | None = None
    errors: dict[str, int] = field(default_factory=dict)

    def add(self, other: FetchTotals) -> None:
        self.fetched += other.fetched
        self.failed += other.failed
        self.parked += other.parked
        self.without_address += other.without_address
        self.not_before = other.not_before or self.not_before
        self.account_error = other.account_error or self.account_error
        for name, count in other.errors.items():
            self.errors[name] = self.errors.get(name, 0) + count


def fetch_due_orders(
    orders: OrdersPort,
    database: Database,
    vault: Vault,
    *,
    seller_id: str,
    deadline_seconds: float = 45.0,
    clock: Callable[[], float] = time.monotonic,
) -> FetchTotals:
    """Look at every order that is due, several at a time, until none is or the deadline or the quota ends it."""
    totals = FetchTotals()
    started = clock()
    stop = Event()
    with ThreadPoolExecutor(FETCH_WORKERS, thread_name_prefix="fetch") as pool:
        while not stop.is_set() and clock() - started < deadline_seconds:
            with database.transaction() as connection:
                claims = claim_due_fetches(connection, seller_id, limit=FETCH_WORKERS * 5, lease=FETCH_LEASE)
            if not claims:
                break

            def look(claim: FetchClaim) -> FetchTotals:
                remaining = max(deadline_seconds - (clock() - started), 1.0)
                return _look(orders, database, vault, seller_id, claim, remaining, stop)

            for looked in over_each(pool, look, claims):
                totals.add(looked)
    _wait_or_go_on(database, seller_id, totals)
    return totals


def _wait_or_go_on(database: Database, seller_id: str, totals: FetchTotals) -> None:
    """After a refusal that all orders share, all wait; after a success the alert about it is over."""
    with database.transaction() as connection:
        if totals.account_error is not None:
            until = database_now(connection) + ACCOUNT_RETRY
            postpone_due_fetches(connection, seller_id=seller_id, until=until)
        elif totals.not_before is not None:
            postpone_due_fetches(connection, seller_id=seller_id, until=totals.not_before)
        elif totals.fetched:
            close_alerts_about(connection, seller_id=seller_id, prefix=ACCOUNT_ALERT)


def _look(
    orders: OrdersPort,
    database: Database,
    vault: Vault,
    seller_id: str,
    claim: FetchClaim,
    deadline_seconds: float,
    stop: Event,
) -> FetchTotals:
    totals = FetchTotals()
    if stop.is_set():
        _give_back(database, seller_id, claim, None)
        return totals
    needs_details = (
        claim.queue_state in _NEEDS_DETAILS
        and claim.status not in FINAL
        and claim.fulfilled_by != AMAZON
        and details_are_of_use(claim.programs, claim.deliver_by, claim.claimed_at)
    )
    if needs_details:
        with database.transaction() as connection:
            # Somebody asked that this buyer be forgotten: not even Amazon's own data comes back in.
            needs_details = not to_be_forgotten(connection, seller_id, [claim.order_id]) and not _awaits_adoption(
                connection, seller_id, claim.order_id
            )
    parts = OrderParts.SHIPPING_DETAILS if needs_details else OrderParts.STATE
    try:
        answer = orders.get_order(claim.order_id, parts, deadline_seconds=deadline_seconds)
    except LimitNotBefore as error:
        totals.not_before = error.not_before
        stop.set()
        _give_back(database, seller_id, claim, error.not_before)
        return totals
    except AmazonAuthError as error:
        totals.account_error = str(error)
        stop.set()
        _give_back(database, seller_id, claim, None, delay=ACCOUNT_RETRY)
        with database.transaction() as connection:
            raise_alert(
                connection,
                seller_id=seller_id,
                key=f"{ACCOUNT_ALERT}{type(error).__name__}",
                severity="error",
                message=str(error),
                what_to_do="No order of this seller can be fetched until this is mended; events are kept meanwhile. "
                "Run `orders-pipeline doctor`.",
            )
        return totals
    except AmazonError as error:
        _failed(database, seller_id, claim, error, totals)
        return totals
    except Exception as error:  # noqa: BLE001 - one order's defect is that order's alone
        _defect(database, seller_id, claim, error, totals)
        return totals
    try:
        with database.transaction() as connection:
            _save(connection, vault, seller_id, claim, answer.order, answer.shipping_details, needs_details, totals)
    except Exception as error:  # noqa: BLE001 - one order's defect is that order's alone
        _defect(database, seller_id, claim, error, totals)
        return totals
    totals.fetched += 1
    return totals


def _save(
    connection: Connection,
    vault: Vault,
    seller_id: str,
    claim: FetchClaim,
    order: Order,
    details: ShippingDetails | None,
    asked_for_details: bool,
    totals: FetchTotals,
) -> None:
    values = order_values(seller_id, order)
    if asked_for_details:
        values["has_address"] = details is not None and details.is_shippable
    before = to_ship_by_item(item_rows(connection, seller_id, order.order_id))
    taken = save_fetched_order(connection, values, item_values(seller_id, order))
    settle_fetch(connection, seller_id=seller_id, order_id=order.order_id, requests=claim.requests)
    merged = order_row(connection, seller_id, order.order_id)
    close_alert(connection, seller_id=seller_id, key=f"order.parked:{order.order_id}")
    if taken and claim.queue_state in _AT_THE_WAREHOUSE:
        _tell_of_fewer_pieces(connection, seller_id, order, before)
    to_ship = merged is not None and merged.status in SHIPPABLE and merged.fulfilled_by == MERCHANT
    if not (taken and to_ship) or merged is None:
        return
    now = database_now(connection)
    if not details_are_of_use(frozenset(merged.programs), merged.deliver_by, now):
        return
    if not may_be_stored(connection, seller_id, order.order_id) or awaits_adoption(connection, seller_id, merged):
        # Its erasure was asked for while the answer was on its way, or an old process ships it: it goes no further.
        lose_address(connection, seller_id=seller_id, order_id=order.order_id)
        return
    if not asked_for_details:
        if claim.queue_state in _NEEDS_DETAILS:
            # It was told to be over, or Amazon's to ship, and is ours to ship after all.
            request_fetch(connection, seller_id=seller_id, order_id=order.order_id)
        return
    if details is not None and details.is_shippable:
        vault.store(
            connection,
            seller_id=seller_id,
            kind=SHIPPING_DETAILS,
            subject_id=order.order_id,
            plaintext=shipping_details_to_bytes(details),
            expires_at=order.deliver_by,
        )
        close_alert(connection, seller_id=seller_id, key=f"order.no_address:{order.order_id}")
        return
    totals.without_address += 1
    # As long again as it has been waiting already: each wait is twice the one before. Before it was to ship, or known
    # here, nobody waited for its address.
    waiting = now - max(merged.first_seen_at, order.last_updated_at)
    request_fetch(
        connection,
        seller_id=seller_id,
        order_id=order.order_id,
        delay=min(max(ADDRESS_RETRY, waiting), LONGEST_ADDRESS_RETRY),
    )


def _awaits_adoption(connection: Connection, seller_id: str, order_id: str) -> bool:
    known = order_row(connection, seller_id, order_id)
    return known is not None and awaits_adoption(connection, seller_id, known)


def details_are_of_use(programs: frozenset[str], deliver_by: datetime | None, now: datetime) -> bool:
    """Whether a warehouse of ours could need to know where this order goes. If not, it is neither asked nor kept."""
    if programs & NOT_FOR_THE_WAREHOUSE:
        return False
    return deliver_by is None or now < deliver_by + DETAILS_OF_USE


def to_ship_by_item(items: Sequence[AnyRow]) -> dict[str, int]:
    """How many pieces of each line are ordered, as our rows have it; none of a cancelled line."""
    return {item.order_item_id: 0 if item.cancelled else item.quantity_ordered for item in items}


def _tell_of_fewer_pieces(connection: Connection, seller_id: str, order: Order, before: dict[str, int]) -> None:
    """A line was cancelled, or made smaller, at Amazon: the contract has no word for it, so a person has to say it."""
    now = {item.order_item_id: 0 if item.cancelled else item.quantity_ordered for item in order.items}
    fewer = sorted(item_id for item_id, pieces in before.items() if now.get(item_id, 0) < pieces)
    if not fewer or order.status == OrderStatus.CANCELLED:
        return
    raise_alert(
        connection,
        seller_id=seller_id,
        key=f"order.fewer_pieces:{order.order_id}",
        severity="error",
        message=f"Of order {order.order_id} the warehouse has more than is ordered: at Amazon, item "
        f"{', '.join(fewer)} was cancelled, in part or all, after the push.",
        what_to_do="Tell the warehouse not to ship these pieces.",
    )


def _defect(database: Database, seller_id: str, claim: FetchClaim, error: Exception, totals: FetchTotals) -> None:
    """What nobody expected of one order: noted, tried again, parked; the others go on."""
    if concerns_all(error) or (isinstance(error, VaultError) and not isinstance(error, AuditRefused)):
        raise error
    name = type(error).__name__
    totals.failed += 1
    totals.errors[name] = totals.errors.get(name, 0) + 1
    give_up = claim.attempts + 1 >= DEFECT_ATTEMPTS
    retry_in = None if give_up else FIRST_RETRY * 2**claim.attempts
    _note_failure(database, seller_id, claim, f"a defect of this program: {where_from(error)}", retry_in, totals)


def _failed(database: Database, seller_id: str, claim: FetchClaim, error: AmazonError, totals: FetchTotals) -> None:
    name = type(error).__name__
    totals.failed += 1
    totals.errors[name] = totals.errors.get(name, 0) + 1
    give_up = claim.attempts + 1 >= FETCH_ATTEMPTS or not (error.retryable or isinstance(error, AmazonNotFound))
    # An order may be announced before it can be read: 404 is given three tries.
    if isinstance(error, AmazonNotFound) and claim.attempts + 1 >= 3:
        give_up = True
    retry_in = None if give_up else min(FIRST_RETRY * 2**claim.attempts, LONGEST_RETRY)
    _note_failure(database, seller_id, claim, str(error), retry_in, totals)


def _note_failure(
    database: Database,
    seller_id: str,
    claim: FetchClaim,
    error: str,
    retry_in: timedelta | None,
    totals: FetchTotals,
) -> None:
    with database.transaction() as connection:
        fail_fetch(connection, seller_id=seller_id, order_id=claim.order_id, error=error, retry_in=retry_in)
        if retry_in is None:
            totals.parked += 1
            raise_alert(
                connection,
                seller_id=seller_id,
                key=f"order.parked:{claim.order_id}",
                severity="error",
                message=f"Order {claim.order_id} cannot be fetched: {error}",
                what_to_do="Mend the cause, then run the job `replay_parked` (or `recover_order`) in the Dagster UI.",
            )


def _give_back(
    database: Database,
    seller_id: str,
    claim: FetchClaim,
    not_before: datetime | None,
    delay: timedelta = timedelta(),
) -> None:
    due_at = not_before or database.now() + delay
    with database.transaction() as connection:
        release_fetch(connection, seller_id=seller_id, order_id=claim.order_id, due_at=due_at)


def order_values(seller_id: str, order: Order) -> dict[str, Any]:
    """The columns of `orders` that an answer of Amazon's sets."""
    return {
        "seller_id": seller_id,
        "order_id": order.order_id,
        "marketplace_id": order.marketplace_id,
        "status": order.status,
        "fulfilled_by": order.fulfilled_by,
        "service_level": order.service_level,
        "programs": sorted(order.programs),
        "total_amount": order.total.amount if order.total else None,
        "total_currency": order.total.currency if order.total else None,
        "purchased_at": order.purchased_at,
        "last_updated_at": order.last_updated_at,
        "earliest_ship_at": order.earliest_ship_at,
        "ship_by": order.ship_by,
        "deliver_by": order.deliver_by,
        "cancellation_requested": order.cancellation_requested,
    }


def item_values(seller_id: str, order: Order) -> list[dict[str, Any]]:
    """The rows of `order_items` for an answer of Amazon's."""
    return [
        {
            "seller_id": seller_id,
            "order_id": order.order_id,
            "order_item_id": item.order_item_id,
            "position": position,
            "sku": item.sku,
            "asin": item.asin,
            "title": item.title,
            "quantity_ordered": item.quantity_ordered,
            "quantity_fulfilled": item.quantity_fulfilled,
            "unit_price": item.unit_price.amount if item.unit_price else None,
            "currency": item.unit_price.currency if item.unit_price else None,
            "programs": sorted(item.programs),
            "cancellation_requested": item.cancellation_requested,
            "cancelled": item.cancelled,
        }
        for position, item in enumerate(order.items)
    ]
