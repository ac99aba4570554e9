"""The stages from recorded events to the warehouse, each for one account: what the job `sync_orders` does.

Each returns the numbers of its own work and nothing that would have to be counted over a whole table: a stage that
ships waits for no report.
"""

from __future__ import annotations

from orders_pipeline.fulfillment import push
from orders_pipeline.fulfillment.decide import decide_orders
from orders_pipeline.intake.apply_events import apply_events
from orders_pipeline.intake.fetch import fetch_due_orders
from orders_pipeline.intake.fetch_one import WITH_DETAILS
from orders_pipeline.intake.verification import Verifier
from orders_pipeline.operations.accounts import Numbers
from orders_pipeline.operations.deployment import ServedAccount
from orders_pipeline.operations.hot_run import HotJob, JobStage
from orders_pipeline.operations.pending_work import sync_due
from orders_pipeline.orders.event_rows import ORDER_EVENTS
from orders_pipeline.orders.ownership import note_start
from orders_pipeline.work.jobs import Queue
from orders_pipeline.work.tally import Tally


def apply_recorded_events(account: ServedAccount, seconds: float) -> Tally:
    """Take recorded events into the state of their orders."""
    with account.transaction() as tx:
        note_start(tx, account.settings.start_at)
    return apply_events(
        account.database,
        account_id=account.account_id,
        marketplace_ids=account.marketplace_ids,
        deadline_seconds=seconds,
    )


def fetch_orders(account: ServedAccount, seconds: float) -> Tally:
    """Ask Amazon about the orders that need it."""
    client = account.amazon
    return fetch_due_orders(
        client.orders,
        account.database,
        account.vault,
        account_id=account.account_id,
        marketplace_ids=account.marketplace_ids,
        fulfilled_by=account.settings.searched_fulfillers,
        verifier=Verifier(client.verifications, account.settings.regulated_skus),
        deadline_seconds=seconds,
    )


def decide_fulfillment(account: ServedAccount, seconds: float) -> Tally:
    """Decide what the warehouse should do next with every order that changed."""
    return decide_orders(
        account.database,
        account.audit,
        account_id=account.account_id,
        marketplace_ids=account.marketplace_ids,
        deadline_seconds=seconds,
    )


def push_orders(account: ServedAccount, seconds: float) -> Tally:
    """Push, hold, release and cancel what is due at the warehouse."""
    work = push.Pushing(
        database=account.database,
        vault=account.vault,
        audit=account.audit,
        warehouse=account.warehouse,
        account_id=account.account_id,
        seller_id=account.settings.seller_id,
        marketplace_ids=account.marketplace_ids,
    )
    return push.push_orders(work, deadline_seconds=seconds)


def _events(tally: Tally) -> Numbers:
    return {
        **{f"events_{action}": count for action, count in sorted(tally.outcomes.items())},
        "events_parked": tally.parked,
    }


def _sealed(tally: Tally) -> Numbers:
    return {"sealed": tally.outcomes.get(WITH_DETAILS, 0)}


def _asked(tally: Tally) -> Numbers:
    """What was seen of Amazon's side: always the same names, so that they are plotted."""
    pages = tally.notes.get("pages_read", 0)
    return {
        "orders_asked_for": sum(tally.outcomes.values()),
        "pages_read": pages if isinstance(pages, int) else 0,
        "calls_failed": sum(tally.errors.values()),
    }


SYNC = HotJob(
    stages=(
        JobStage(ORDER_EVENTS, apply_recorded_events, {"orders": _events}, "applied"),
        JobStage(
            Queue.FETCH,
            fetch_orders,
            {"orders": Tally.as_metadata, "shipping_details": _sealed, "amazon_orders": _asked},
            "fetched",
        ),
        JobStage(Queue.DECIDE, decide_fulfillment, {"fulfillment_queue": Tally.as_metadata}, "decided"),
        JobStage(Queue.PUSH, push_orders, {"wms_orders": Tally.as_metadata}, "pushed"),
    ),
    due=sync_due,
)
