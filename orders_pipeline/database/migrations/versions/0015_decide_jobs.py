"""Orders that are to be decided about are jobs: `queue_stale` goes, and what it marked is due in the work queue."""

from alembic import op

revision = "0015"
down_revision = "0014"
phase = "stopped"
branch_labels = None
depends_on = None

STATEMENTS = (
    """insert into pipeline.jobs (account_id, queue, subject)
         select account_id, 'decide', order_id from pipeline.orders where queue_stale order by order_id
         on conflict do nothing""",
    "drop index pipeline.ix_orders_queue_stale",
    "alter table pipeline.orders drop column queue_stale",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.get_bind().exec_driver_sql(statement)


def downgrade() -> None:
    for statement in (
        "alter table pipeline.orders add column queue_stale boolean default false not null",
        "create index ix_orders_queue_stale on pipeline.orders (account_id, order_id) where queue_stale",
        """update pipeline.orders o set queue_stale = true from pipeline.jobs j
             where j.queue = 'decide' and j.account_id = o.account_id and j.subject = o.order_id""",
        "delete from pipeline.jobs where queue = 'decide'",
    ):
        op.get_bind().exec_driver_sql(statement)
