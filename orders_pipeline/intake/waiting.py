"""Which orders wait to be fetched, and what is known of their last change: what a plan of calls is made from."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text

from orders_pipeline.channels.amazon.read_plan import ORDERS_A_PAGE, PAGES_FOR_BACKFILL, Waiting
from orders_pipeline.database.engine import AccountTransaction
from orders_pipeline.intake.save import may_need_details
from orders_pipeline.work.jobs import BACKFILLED, Queue

# Beyond what both buckets can answer within a run: what is left is looked at again after it.
MOST_LOOKED_AT = 2500
# Of what only a backfill asks for, which may be a month's, and is looked at again whenever a token is spare.
MOST_BACKFILLED_LOOKED_AT = PAGES_FOR_BACKFILL * ORDERS_A_PAGE

# An event without a time of its own happened before it came. One from the future counts as of when it came.
_WAITING_IN_TURN = """
    select j.subject as order_id, j.version, j.ship_by,
        j.priority < 0 as is_backfilled,
        j.priority not in (0, :backfilled) or j.attempts > 0 or j.lost_leases > 0 or o.rechecks > 0
            or o.cancellation_told_at is not null as alone,
        greatest(e.changed_at, o.last_updated_at, o.told_at) as changed_at,
        o.status, o.fulfilled_by, o.marketplace_id, o.programs, o.deliver_by, f.state as queue_state
    from ((
        select * from pipeline.jobs where {due} and priority >= 0
        order by priority desc, ship_by, due_at limit :limit)
        union all (
        select * from pipeline.jobs where {due} and priority < 0
        order by priority desc, ship_by, due_at limit :backfilled_limit)) as j
    join pipeline.orders o on o.account_id = j.account_id and o.order_id = j.subject
    left join pipeline.fulfillment_orders f on f.account_id = j.account_id and f.order_id = j.subject
    left join lateral (
        select max(least(coalesce(changed_at, received_at), received_at)) as changed_at
        from pipeline.order_events where account_id = j.account_id and order_id = j.subject) as e on true
    order by j.priority desc, j.ship_by, j.due_at
"""
_DUE = """account_id = :account_id and queue = :queue and parked_at is null and leased_until is null
          and coalesce(leased_until, due_at) <= statement_timestamp()"""
_WAITING = text(_WAITING_IN_TURN.format(due=_DUE))
_WAITING_OF_THESE = text(_WAITING_IN_TURN.format(due=f"{_DUE} and subject = any(:order_ids)"))


@dataclass(frozen=True, slots=True)
class WaitingOrder:
    """One order whose fetch is due, as it was read. `version` is its job's: another one was enqueued since.

    `is_backfilled`: nobody but a backfill asks for it.
    """

    reading: Waiting
    version: int
    is_backfilled: bool
    status: str
    programs: frozenset[str]
    deliver_by: datetime | None
    queue_state: str | None

    @property
    def order_id(self) -> str:
        return self.reading.order_id

    def needs_details(self, now: datetime, marketplace_ids: Collection[str]) -> bool:
        """Whether the warehouse may still need to know where it goes; `now` aware, UTC."""
        return may_need_details(
            self.queue_state,
            self.status,
            self.reading.fulfilled_by,
            self.reading.marketplace_id,
            self.programs,
            self.deliver_by,
            now,
            marketplace_ids,
        )


def waiting_orders(tx: AccountTransaction, order_ids: Sequence[str] | None = None) -> list[WaitingOrder]:
    """Those whose fetch is due and in nobody's hand, in the order in which they would be asked one by one.

    All of them, or those of `order_ids`; first those of live orders, then some of those of a backfill.
    """
    statement = _WAITING if order_ids is None else _WAITING_OF_THESE
    values = {
        "account_id": tx.account_id,
        "queue": Queue.FETCH,
        "backfilled": BACKFILLED,
        "limit": MOST_LOOKED_AT,
        "backfilled_limit": MOST_BACKFILLED_LOOKED_AT,
    }
    of_these = {} if order_ids is None else {"order_ids": list(order_ids)}
    return [
        WaitingOrder(
            Waiting(row.order_id, row.changed_at, row.ship_by, row.alone, row.fulfilled_by, row.marketplace_id),
            row.version,
            row.is_backfilled,
            row.status,
            frozenset(row.programs),
            row.deliver_by,
            row.queue_state,
        )
        for row in tx.execute(statement, {**values, **of_these})
    ]
