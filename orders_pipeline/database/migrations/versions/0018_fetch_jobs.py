"""Fetches are jobs of the work queue: what was due or parked in the columns of `orders` becomes rows of `jobs`.

Events that could not be applied are set aside in their own row.
A fetch that a process had in hand was due at the end of its lease, and is a job that is due then.
"""

from alembic import op

revision = "0018"
down_revision = "0017"
phase = "stopped"
branch_labels = None
depends_on = None

UPGRADE = (
    """insert into pipeline.jobs
         (account_id, queue, subject, priority, ship_by, due_at, attempts, last_error, parked_at)
       select account_id, 'fetch', order_id, (cancellation_told_at is not null)::int, ship_by,
         coalesce(fetch_due_at, clock_timestamp()), fetch_attempts, coalesce(park_reason, fetch_error), parked_at
       from pipeline.orders where fetch_due_at is not null or parked_at is not null
       order by account_id, order_id""",
    "drop index pipeline.ix_orders_fetch_due",
    """alter table pipeline.orders drop column fetch_due_at, drop column fetch_requests, drop column fetch_attempts,
         drop column fetch_error, drop column parked_at, drop column park_reason""",
    # What was parked is the alert work.parked from now on.
    """update pipeline.alerts a set closed_at = clock_timestamp()
       from pipeline.jobs j where a.closed_at is null and a.account_id = j.account_id
         and j.queue = 'fetch' and a.key = 'order.parked:' || j.subject""",
    "alter table pipeline.order_events add column parked_at timestamptz, add column park_reason text",
    """create index ix_order_events_parked on pipeline.order_events (account_id, order_id)
         where parked_at is not null""",
)
DOWNGRADE = (
    """alter table pipeline.orders add column fetch_due_at timestamptz,
         add column fetch_requests integer not null default 0, add column fetch_attempts integer not null default 0,
         add column fetch_error text, add column parked_at timestamptz, add column park_reason text""",
    """create index ix_orders_fetch_due on pipeline.orders (account_id, fetch_due_at)
         where fetch_due_at is not null""",
    """update pipeline.orders o set
         fetch_due_at = case when j.parked_at is null then coalesce(leased_until, due_at) end, fetch_requests = 1,
         fetch_attempts = j.attempts, fetch_error = j.last_error, parked_at = j.parked_at,
         park_reason = case when j.parked_at is not null then j.last_error end
       from pipeline.jobs j where j.queue = 'fetch' and j.account_id = o.account_id and j.subject = o.order_id""",
    "delete from pipeline.jobs where queue = 'fetch'",
    "drop index pipeline.ix_order_events_parked",
    "alter table pipeline.order_events drop column parked_at, drop column park_reason",
)


def upgrade() -> None:
    for statement in UPGRADE:
        op.get_bind().exec_driver_sql(statement)


def downgrade() -> None:
    for statement in DOWNGRADE:
        op.get_bind().exec_driver_sql(statement)
