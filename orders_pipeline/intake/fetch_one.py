"""Fetch one order: what to ask of it, the call, and what is kept of the answer, wherever that came from."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta

from orders_pipeline.channels.amazon.errors import AmazonError, LimitNotBefore
from orders_pipeline.channels.amazon.failures import READ_FAILURES
from orders_pipeline.channels.amazon.listed_items import ListedItems
from orders_pipeline.channels.amazon.listed_jobs import NOT_LISTED
from orders_pipeline.database.engine import Database
from orders_pipeline.intake.rechecks import OrderBefore, order_before
from orders_pipeline.intake.save import Answer, may_need_details, save_answer
from orders_pipeline.intake.verification import Verifier, mark_regulated, verify
from orders_pipeline.model.order import FetchedOrder, OrderParts, OrdersPort, Priority
from orders_pipeline.orders.answers import is_older
from orders_pipeline.orders.erasures import erasure_requested
from orders_pipeline.orders.ownership import awaits_adoption
from orders_pipeline.orders.rows import order_row
from orders_pipeline.vault.access import Vault
from orders_pipeline.vault.errors import KeyProviderUnavailable
from orders_pipeline.work.jobs import AMAZON as AMAZON_CALLS
from orders_pipeline.work.jobs import KEYS, Job, Queue, spare_quota_of
from orders_pipeline.work.pauses import pause_of
from orders_pipeline.work.runner import NotBefore, Refused

# The outcomes of a job. Without an address: it is to be shipped, and Amazon gave none.
FETCHED, WITH_DETAILS, WITHOUT_ADDRESS, UNKNOWN = "fetched", "fetched_with_details", "without_address", "unknown"
PROVES = {
    FETCHED: frozenset({AMAZON_CALLS}),
    WITHOUT_ADDRESS: frozenset({AMAZON_CALLS}),
    WITH_DETAILS: frozenset({AMAZON_CALLS, KEYS}),
    UNKNOWN: frozenset[str](),
    NOT_LISTED: frozenset[str](),
}


@dataclass(frozen=True, slots=True)
class Prepared:
    """One order before it is asked for."""

    before: OrderBefore
    needs_details: bool


@dataclass(frozen=True, slots=True)
class FetchOne:
    """The queue's handler."""

    orders: OrdersPort
    database: Database
    vault: Vault
    account_id: str
    marketplace_ids: Collection[str]
    verifier: Verifier | None

    def __call__(self, job: Job, seconds: float) -> str:
        if job.is_backfilled:
            self._leave_tokens_for_live_orders()
        prepared = self.prepare(job)
        if prepared is None:
            return UNKNOWN
        parts = OrderParts.SHIPPING_DETAILS if prepared.needs_details else OrderParts.STATE
        try:
            answer = self.orders.get_order(job.order_id, parts, priority=_priority(job), deadline_seconds=seconds)
        except AmazonError as error:
            if job.is_backfilled and isinstance(error, LimitNotBefore):
                raise NotBefore(error.not_before, spare_quota_of(Queue.FETCH)) from error
            raise READ_FAILURES.answer(error) from error
        return self.keep(prepared, answer, seconds, asked_for_details=prepared.needs_details)

    def _leave_tokens_for_live_orders(self) -> None:
        wait = self.orders.read_quota().single.seconds_until_spare
        if wait > 0:
            raise NotBefore(self.database.now() + timedelta(seconds=wait), spare_quota_of(Queue.FETCH))

    def keep_listed(
        self, job: Job, answer: FetchedOrder, items: ListedItems, seconds: float, *, details: bool
    ) -> str | None:
        """Keep what a page shows of the order; None if it shows it as it was before what is known of it.

        `details`: the page was asked for them. `items`: where they come from if the page shows none.
        """
        prepared = self.prepare(job)
        if prepared is None:
            return UNKNOWN
        if is_older(answer.order.last_updated_at, prepared.before.told_at):
            return None
        asked_for_details = details and prepared.needs_details
        parts = OrderParts.SHIPPING_DETAILS if asked_for_details else OrderParts.STATE
        whole = items.complete(answer, parts, seconds)
        return self.keep(prepared, whole, seconds, asked_for_details=asked_for_details)

    def prepare(self, job: Job) -> Prepared | None:
        """What is known of the order now; None for one that is not known (any more)."""
        with self.database.transaction(self.account_id) as tx:
            before = order_before(tx, job)
            if before is None:
                return None
            needs_details = may_need_details(
                before.queue_state,
                before.status,
                before.fulfilled_by,
                before.marketplace_id,
                before.programs,
                before.deliver_by,
                before.read_at,
                self.marketplace_ids,
            )
            if needs_details:
                row = order_row(tx, job.order_id)
                # An erasure was requested, or an old process ships it: its details are not stored.
                needs_details = not erasure_requested(tx, [job.order_id]) and not (row and awaits_adoption(tx, row))
            pause = pause_of(tx, KEYS) if needs_details else None
        if pause is not None and not pause.probing:
            raise Refused(KEYS, pause.reason, whole=True)
        return Prepared(before, needs_details)

    def keep(self, prepared: Prepared, answer: FetchedOrder, seconds: float, *, asked_for_details: bool) -> str:
        """Store the answer, and what follows from it. Details that this order does not need are not kept."""
        before, details = prepared.before, answer.shipping_details if asked_for_details else None
        order = mark_regulated(self.verifier, answer.order)
        verified = verify(self.verifier, before, order, seconds, _priority(before.job))
        to_save = Answer(order, details, asked_for_details, verified)
        try:
            with self.database.transaction(self.account_id) as tx:
                has_address = save_answer(tx, self.vault, before, to_save, self.marketplace_ids)
        except KeyProviderUnavailable as error:
            raise Refused(KEYS, error, whole=True) from error
        if not has_address:
            return WITHOUT_ADDRESS
        return WITH_DETAILS if details is not None else FETCHED


def _priority(job: Job) -> Priority:
    return Priority.BACKFILL if job.is_backfilled else Priority.EVENT
