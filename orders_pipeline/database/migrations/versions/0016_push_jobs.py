"""What is to be asked of the warehouse is a job; the fulfillment order keeps its state only.

The kinds of alerts that the work queue's own replace are closed: what was parked is parked there, and says so.
"""

from alembic import op

revision = "0016"
down_revision = "0015"
phase = "stopped"
branch_labels = None
depends_on = None

STATEMENTS = (
    # As `STOPPING` and `STOP_FIRST` have it: what stops an order goes before what ships.
    """insert into pipeline.jobs
           (account_id, queue, subject, priority, ship_by, due_at, attempts, last_error, parked_at)
         select account_id, 'push', order_id, case when state in ('hold_asked', 'cancel_asked') then 100 else 0 end,
           ship_by, coalesce(action_due_at, clock_timestamp()), attempts, last_error, parked_at
         from pipeline.fulfillment_queue
         where (action_due_at is not null or parked_at is not null)
           and state in ('queued', 'pushing', 'hold_asked', 'release', 'cancel_asked')
         order by order_id on conflict do nothing""",
    # A defect of deciding was an alert only; as a parked job it can be replayed.
    """insert into pipeline.jobs (account_id, queue, subject, last_error, parked_at)
         select distinct on (a.account_id, o.order_id) a.account_id, 'decide', o.order_id, a.message, a.opened_at
         from pipeline.alerts a join pipeline.orders o
           on o.account_id = a.account_id and o.order_id = split_part(a.key, ':', 2)
         where a.closed_at is null and split_part(a.key, ':', 1) in ('order.defect', 'order.impossible')
         order by a.account_id, o.order_id, a.opened_at on conflict do nothing""",
    """update pipeline.alerts set closed_at = clock_timestamp() where closed_at is null
         and split_part(key, ':', 1) in ('order.defect', 'order.impossible', 'push.parked',
           'warehouse.api_unavailable', 'warehouse.api_unauthorized')""",
    "drop index pipeline.ix_fulfillment_queue_due",
    """alter table pipeline.fulfillment_queue drop column action_due_at, drop column attempts, drop column last_error,
         drop column parked_at""",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.get_bind().exec_driver_sql(statement)


def downgrade() -> None:
    for statement in (
        """alter table pipeline.fulfillment_queue add column action_due_at timestamptz,
             add column attempts integer default 0 not null, add column last_error text,
             add column parked_at timestamptz""",
        """create index ix_fulfillment_queue_due on pipeline.fulfillment_queue (account_id, action_due_at)
             where action_due_at is not null""",
        """update pipeline.fulfillment_queue q set attempts = j.attempts, last_error = j.last_error,
             parked_at = j.parked_at, action_due_at = case when j.parked_at is null then j.due_at end
             from pipeline.jobs j where j.queue = 'push' and j.account_id = q.account_id and j.subject = q.order_id""",
        "delete from pipeline.jobs where queue = 'push'",
    ):
        op.get_bind().exec_driver_sql(statement)
