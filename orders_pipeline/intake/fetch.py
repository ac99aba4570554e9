"""Ask Amazon about the orders that need it, and keep what it answers.

One order's failure is that order's; what each failure means is in `channels/amazon/failures.py`. Without the keys only
orders whose details are to be sealed wait: a cancellation of what the warehouse has goes on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta

from orders_pipeline.channels.amazon.errors import AmazonError
from orders_pipeline.channels.amazon.failures import READ_FAILURES, READ_POLICY
from orders_pipeline.database.engine import Database
from orders_pipeline.intake.event_decision import FINAL
from orders_pipeline.intake.rechecks import OrderBefore, order_before
from orders_pipeline.intake.save import NEEDS_DETAILS, Answer, details_are_of_use, save_answer
from orders_pipeline.intake.verification import Verifier, mark_regulated, verify
from orders_pipeline.model.order import AMAZON, OrderParts, OrdersPort
from orders_pipeline.orders.erasures import erasure_requested
from orders_pipeline.orders.ownership import awaits_adoption
from orders_pipeline.orders.rows import order_row
from orders_pipeline.vault.access import Vault
from orders_pipeline.vault.errors import KeyProviderUnavailable, VaultError
from orders_pipeline.work.jobs import AMAZON as AMAZON_CALLS
from orders_pipeline.work.jobs import KEYS, Job, Queue
from orders_pipeline.work.pauses import pause_of
from orders_pipeline.work.runner import Refused, run_queue
from orders_pipeline.work.tally import Tally
from orders_pipeline.work.workers import is_infrastructure_error

# Longer than a run's fetches (45 s) with what the last of them may take.
FETCH_LEASE = timedelta(minutes=1)
FETCH_WORKERS = 4
# The outcomes of a job. Without an address: it is to be shipped, and Amazon gave none.
FETCHED, WITH_DETAILS, WITHOUT_ADDRESS, UNKNOWN = "fetched", "fetched_with_details", "without_address", "unknown"
_PROVES = {
    FETCHED: frozenset({AMAZON_CALLS}),
    WITHOUT_ADDRESS: frozenset({AMAZON_CALLS}),
    WITH_DETAILS: frozenset({AMAZON_CALLS, KEYS}),
    UNKNOWN: frozenset[str](),
}


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
) -> Tally:
    """Fetch every order that is due, several at a time, until none is or the deadline, the quota or a refusal ends it.

    Buyers' details are asked for, and kept, of orders of these marketplaces alone.
    """
    # The key that hashes what is stored is opened, or made, in a transaction of its own.
    with suppress(KeyProviderUnavailable):
        vault.prepare()
    return run_queue(
        database,
        account_id,
        Queue.FETCH,
        _Fetch(orders, database, vault, account_id, marketplace_ids, verifier),
        workers=FETCH_WORKERS,
        lease=FETCH_LEASE,
        policy=READ_POLICY,
        deadline_seconds=deadline_seconds,
        proves=lambda word: _PROVES[word],
        # A record that cannot be sealed or opened for another reason than the keys is not one order's trouble.
        ends_run=lambda error: is_infrastructure_error(error) or isinstance(error, VaultError),
        clock=clock,
    )


@dataclass(frozen=True, slots=True)
class _Fetch:
    """The queue's handler."""

    orders: OrdersPort
    database: Database
    vault: Vault
    account_id: str
    marketplace_ids: Collection[str]
    verifier: Verifier | None

    def __call__(self, job: Job, seconds: float) -> str:
        with self.database.transaction(self.account_id) as tx:
            before = order_before(tx, job)
            if before is None:
                return UNKNOWN
            needs_details = self._may_need_details(before)
            if needs_details:
                row = order_row(tx, job.order_id)
                # An erasure was requested, or an old process ships it: its details are not stored.
                needs_details = not erasure_requested(tx, [job.order_id]) and not (row and awaits_adoption(tx, row))
            pause = pause_of(tx, KEYS) if needs_details else None
        if pause is not None and not pause.probing:
            raise Refused(KEYS, pause.reason, whole=True)
        parts = OrderParts.SHIPPING_DETAILS if needs_details else OrderParts.STATE
        try:
            answer = self.orders.get_order(job.order_id, parts, deadline_seconds=seconds)
        except AmazonError as error:
            raise READ_FAILURES.answer(error) from error
        order = mark_regulated(self.verifier, answer.order)
        verified = verify(self.verifier, before, order, seconds)
        to_save = Answer(order, answer.shipping_details, needs_details, verified)
        try:
            with self.database.transaction(self.account_id) as tx:
                has_address = save_answer(tx, self.vault, before, to_save, self.marketplace_ids)
        except KeyProviderUnavailable as error:
            raise Refused(KEYS, error, whole=True) from error
        if not has_address:
            return WITHOUT_ADDRESS
        return WITH_DETAILS if needs_details and answer.shipping_details is not None else FETCHED

    def _may_need_details(self, before: OrderBefore) -> bool:
        return (
            before.queue_state in NEEDS_DETAILS
            and before.status not in FINAL
            and before.fulfilled_by != AMAZON
            and (before.marketplace_id is None or before.marketplace_id in self.marketplace_ids)
            and details_are_of_use(before.programs, before.deliver_by, before.read_at)
        )
