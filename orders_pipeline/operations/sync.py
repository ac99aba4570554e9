"""The steps from recorded events to the warehouse, each for one account: what the job `sync_orders` does.

Each returns the numbers of its own work and nothing that would have to be counted over a whole table: a step that ships
waits for no report.
"""

from __future__ import annotations

from orders_pipeline.fulfillment import push
from orders_pipeline.fulfillment.decide import decide_orders
from orders_pipeline.intake.apply_events import apply_events
from orders_pipeline.intake.fetch import fetch_due_orders
from orders_pipeline.intake.verification import Verifier
from orders_pipeline.operations.accounts import Numbers
from orders_pipeline.operations.deployment import ServedAccount
from orders_pipeline.orders.ownership import note_start

# Of each step. All of a run's steps together end well before it is taken for one that hangs (defs.runs).
DEADLINE_SECONDS = 45.0


def update_orders(account: ServedAccount) -> Numbers:
    """Apply recorded events, and fetch the orders that need it."""
    client = account.amazon
    with account.transaction() as tx:
        note_start(tx, account.settings.start_at)
    applied = apply_events(account.database, account_id=account.account_id, marketplace_ids=account.marketplace_ids)
    fetched = fetch_due_orders(
        client.orders,
        account.database,
        account.vault,
        account_id=account.account_id,
        marketplace_ids=account.marketplace_ids,
        verifier=Verifier(client.verifications, account.settings.regulated_skus),
        deadline_seconds=DEADLINE_SECONDS,
    )
    return {
        **{f"events_{action}": count for action, count in sorted(applied.outcomes.items())},
        "events_parked": applied.parked,
        **fetched.as_metadata(),
    }


def decide_fulfillment(account: ServedAccount) -> Numbers:
    """Decide what the warehouse should do next with every order that changed."""
    tally = decide_orders(
        account.database, account.audit, account_id=account.account_id, marketplace_ids=account.marketplace_ids
    )
    return tally.as_metadata()


def push_orders(account: ServedAccount) -> Numbers:
    """Push, hold, release and cancel what is due at the warehouse."""
    work = push.Pushing(
        database=account.database,
        vault=account.vault,
        audit=account.audit,
        warehouse=account.warehouse,
        account_id=account.account_id,
        marketplace_ids=account.marketplace_ids,
    )
    return push.push_orders(work, deadline_seconds=DEADLINE_SECONDS).as_metadata()
