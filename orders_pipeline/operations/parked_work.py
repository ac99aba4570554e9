"""What was set aside: parked jobs and events, and what needs a person by its state."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import text

from orders_pipeline.database.engine import AccountTransaction, AnyRow
from orders_pipeline.model.states import NEEDS_A_PERSON
from orders_pipeline.work.jobs import Queue

# By the stage that a replay may be narrowed to: verifying is a part of confirming.
_PARKED = text("""
select case queue when 'verify' then 'confirm' else queue end as stage, split_part(subject, ':', 1) as order_id,
  last_error as reason, parked_at
from pipeline.jobs
where account_id = :account_id and parked_at is not null
union all
select 'events', order_id, park_reason, parked_at from pipeline.order_events
where account_id = :account_id and parked_at is not null
union all
select 'push', q.order_id, coalesce(w.answer_code, w.answer, q.state), q.changed_at
from pipeline.fulfillment_orders q left join pipeline.wms_orders w using (account_id, order_id)
where q.account_id = :account_id and q.state = 'refused'
union all
select 'confirm', order_id, coalesce(reason, state), changed_at from pipeline.shipment_confirmations
where account_id = :account_id and state = any(:needs_a_person)
order by parked_at desc nulls last
""")


def parked_work(tx: AccountTransaction) -> Sequence[AnyRow]:
    """(stage, order_id, reason, parked_at) of everything that was set aside, newest first."""
    values = {"account_id": tx.account_id, "needs_a_person": [str(state) for state in NEEDS_A_PERSON]}
    return tx.execute(_PARKED, values).all()


def parked_orders(tx: AccountTransaction, reason: str | None, stage: str | None = None) -> list[str]:
    """The orders that have something set aside; with `reason`, only where the reason holds this text; with `stage`
    (events, fetch, decide, push, confirm, erase, delivery), only what that stage set aside. A report is no order."""
    return sorted(
        {
            row.order_id
            for row in parked_work(tx)
            if row.stage != Queue.REPORT
            and (reason is None or reason.lower() in (row.reason or "").lower())
            and stage in (None, row.stage)
        }
    )
