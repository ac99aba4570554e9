"""Ask Amazon about the orders that need it, and keep what it answers.

The few and the urgent are asked one by one, a crowd by pages (`channels/amazon/read_plan.py`), side by side. One
order's failure is that order's; what each failure means is in `channels/amazon/failures.py`. Without the keys only
orders whose details are to be sealed wait: a cancellation of what the warehouse has goes on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from contextvars import copy_context
from datetime import timedelta

from orders_pipeline.channels.amazon.failures import READ_POLICY
from orders_pipeline.channels.amazon.listed_jobs import ListedJobs
from orders_pipeline.database.engine import Database
from orders_pipeline.intake.fetch_one import PROVES, FetchOne
from orders_pipeline.intake.fetch_pages import FetchPages
from orders_pipeline.intake.verification import Verifier
from orders_pipeline.model.order import OrdersPort
from orders_pipeline.vault.access import Vault
from orders_pipeline.vault.errors import KeyProviderUnavailable, VaultError
from orders_pipeline.work.jobs import Job, Queue
from orders_pipeline.work.runner import POLL_SECONDS, Handler, run_queue
from orders_pipeline.work.tally import Tally
from orders_pipeline.work.workers import is_infrastructure_error

# Longer than a run's fetches (45 s) with what the last of them may take.
FETCH_LEASE = timedelta(minutes=1)
FETCH_WORKERS = 4


def fetch_due_orders(
    orders: OrdersPort,
    database: Database,
    vault: Vault,
    *,
    account_id: str,
    marketplace_ids: Collection[str],
    fulfilled_by: Collection[str] = (),
    verifier: Verifier | None = None,
    deadline_seconds: float = 45.0,
    clock: Callable[[], float] = time.monotonic,
) -> Tally:
    """Fetch every order that is due, several at a time, until none is or the deadline, the quota or a refusal ends it.

    Buyers' details are asked for, and kept, of orders of these marketplaces alone. `fulfilled_by`: who ships the orders
    that are noted where a page shows them beside others, as a sweep would; empty: whoever does.
    """
    # The key that hashes what is stored is opened, or made, in a transaction of its own.
    with suppress(KeyProviderUnavailable):
        vault.prepare()
    fetch = FetchOne(orders, database, vault, account_id, marketplace_ids, verifier)
    ends_at = clock() + deadline_seconds

    def run(handle: Handler, seconds: float, claimed: Sequence[Job] | None = None) -> Tally:
        return run_queue(
            database,
            account_id,
            Queue.FETCH,
            handle,
            workers=FETCH_WORKERS,
            lease=FETCH_LEASE,
            policy=READ_POLICY,
            deadline_seconds=seconds,
            proves=lambda word: PROVES[word],
            # A record that cannot be sealed or opened for another reason than the keys is not one order's trouble.
            ends_run=lambda error: is_infrastructure_error(error) or isinstance(error, VaultError),
            claimed=claimed,
            clock=clock,
        )

    listed = ListedJobs(orders, database, account_id, Queue.FETCH, FETCH_LEASE, run, clock)
    pages = FetchPages(fetch, listed, ends_at=ends_at, fulfilled_by=fulfilled_by)
    tally = Tally()
    with ThreadPoolExecutor(1, thread_name_prefix="pages") as pool:
        while True:
            # Planned before anything is asked one by one: what a page will answer is not to cost a call.
            pages.plan()
            reading = pool.submit(copy_context().run, pages.read)
            try:
                tally += run(fetch, max(ends_at - clock(), 0.0))
                pages.stop()
                # What comes while the last page is on its way does not wait for it.
                while not wait([reading], timeout=POLL_SECONDS).done:
                    tally += run(fetch, max(ends_at - clock(), 0.0))
            finally:
                pages.stop()
            read = reading.result()
            tally += read
            if not read.outcomes or clock() >= ends_at:
                return tally
