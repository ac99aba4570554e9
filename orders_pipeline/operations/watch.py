"""What `drain_notifications_sensor` and `poll_warehouse_sensor` do at each tick for one account."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from orders_pipeline.database.notifications import Listener
from orders_pipeline.intake.drain import DrainTotals, drain_notifications
from orders_pipeline.intake.queue import CALLS, LONGEST_POLL_SECONDS, QueueDepth, QueueUnavailable
from orders_pipeline.intake.queue_depth import note_queue_depth
from orders_pipeline.operations.deployment import ServedAccount
from orders_pipeline.operations.overdue import NOTIFICATIONS, SHIPMENTS
from orders_pipeline.operations.pending_work import pending_work
from orders_pipeline.orders.ownership import note_start
from orders_pipeline.shipments.event_rows import WMS_SHIPMENTS
from orders_pipeline.shipments.poll import poll_warehouse
from orders_pipeline.work.work_done import note_done

# A tick stops listening so long before its budget is over: fourteen seconds after it began. Every five seconds Dagster
# looks which sensors are due, so that the next tick begins a second later; between the two nobody listens.
UNHEARD_SECONDS = 4.0
# The seconds within which a call may still be begun.
Budget = Callable[[], float]


@dataclass(frozen=True, slots=True)
class QueueWatch:
    """What came, what `sync_orders` would find to do, and how deep the queue is, where that was asked."""

    drained: DrainTotals
    due: bool
    depth: QueueDepth | None = None


@dataclass(frozen=True, slots=True)
class WarehouseWatch:
    """What `confirm_shipments` would find to do; `unreachable`: why the warehouse was not read."""

    due: bool
    unreachable: str | None = None


def by_queue(accounts: Sequence[ServedAccount]) -> Mapping[str, Sequence[ServedAccount]]:
    """The accounts of each queue, by the id of the first: one reads it for all of them."""
    readers: dict[str, list[ServedAccount]] = {}
    for account in accounts:
        readers.setdefault(account.settings.queue_url, []).append(account)
    return {sharing[0].account_id: sharing for sharing in readers.values()}


def watch_queue(
    sharing: Sequence[ServedAccount], budget: Budget, *, measure: bool, is_awake: Callable[[], bool]
) -> QueueWatch:
    """Record what these accounts' queue has, and wait for the first message if nothing is due for any of them.

    `measure`: ask its depth. While a run `is_awake` for what comes, it goes on waiting for messages until its time is
    up: each is in that run's hands at its commit, and only a tick that has ended can ask for a run.
    """
    account = sharing[0]
    # First, for a busy queue leaves no time; unless that call, at its longest, would leave none for reading.
    depth = _depth(account) if measure and budget() > CALLS["change"].longest else None
    drained = DrainTotals()
    while True:
        waiting = [_is_sync_due(one, begins=True) for one in sharing]
        drained += drain_notifications(
            account.queue,
            account.database,
            account.vault,
            account_id=account.account_id,
            sellers={one.settings.seller_id: one.account_id for one in sharing},
            # While work waits for a run, a long poll would only make it wait longer.
            wait_seconds=1 if any(waiting) else LONGEST_POLL_SECONDS,
            budget_seconds=budget(),
        )
        if drained.unavailable is not None or budget() <= 0 or not is_awake():
            break
    if drained.unavailable is not None:
        depth = None
    due = [_is_sync_due(one, begins=False) for one in sharing]
    for one in sharing:
        with one.transaction() as tx:
            note_done(tx, NOTIFICATIONS)
            if depth is not None and one is account:
                note_queue_depth(tx, depth)
    return QueueWatch(drained, any(due), depth)


def _is_sync_due(account: ServedAccount, *, begins: bool) -> bool:
    with account.transaction() as tx:
        if begins:
            note_start(tx, account.settings.start_at)
        return pending_work(tx).for_sync


def watch_warehouse(account: ServedAccount, budget: Budget) -> WarehouseWatch:
    """Read the warehouse's shipment events."""
    polled = poll_warehouse(
        lambda: account.warehouse,
        account.database,
        lambda: account.vault,
        account_id=account.account_id,
        budget_seconds=budget(),
    )
    with account.transaction() as tx:
        due = pending_work(tx).for_confirm
        note_done(tx, SHIPMENTS)
    unread = "Its shipments cannot be read: see the alert warehouse.shipments_unread." if polled.errors else None
    return WarehouseWatch(due, unread)


def hear_webhooks(accounts: Sequence[ServedAccount], budget: Budget) -> bool:
    """Whether a webhook brought a package meanwhile: a run is asked for now, and not when the warehouse is read next.

    Waits where the warehouse has a secret to sign webhooks with, and the server tells of new work; else not at all.
    """
    if not any(account.deployment.takes_webhooks for account in accounts):
        return False
    with Listener(accounts[0].database) as listener:
        ends_at = time.monotonic() + budget() - UNHEARD_SECONDS
        # What was committed before the server took LISTEN was told to nobody.
        heard = {(account.account_id, WMS_SHIPMENTS) for account in accounts}
        while listener.hears and (left := ends_at - time.monotonic()) > 0:
            if any(is_confirm_due(account) for account in accounts if (account.account_id, WMS_SHIPMENTS) in heard):
                return True
            heard = listener.wait(left)
    return False


def is_confirm_due(account: ServedAccount) -> bool:
    """Whether `confirm_shipments` would find anything to do for this account."""
    with account.transaction() as tx:
        return pending_work(tx).for_confirm


def _depth(account: ServedAccount) -> QueueDepth | None:
    try:
        return account.queue.depth()
    except QueueUnavailable:
        # Who reads it next says why; it is asked again at the next tick.
        return None
