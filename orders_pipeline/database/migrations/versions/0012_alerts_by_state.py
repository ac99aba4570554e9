"""When an alert is due for delivery; and failed runs belong to no account.

The open alerts about failed runs keep their place, so that nobody is told of them a second time.
"""

from alembic import op

revision = "0012"
down_revision = "0011"
phase = "stopped"
branch_labels = None
depends_on = None

STATEMENTS = (
    "alter table pipeline.alerts add column delivery_due_at timestamptz",
    "create index ix_alerts_closed_at on pipeline.alerts (seller_id, closed_at)",
    "create index ix_alerts_undelivered on pipeline.alerts (alert_id) where delivered_at is null",
    """update pipeline.alerts a set seller_id = '*' where a.closed_at is null and starts_with(a.key, 'run.failed:')
         and not exists (
         select from pipeline.alerts b where b.key = a.key and b.closed_at is null and b.alert_id < a.alert_id)""",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.get_bind().exec_driver_sql(statement)


def downgrade() -> None:
    for statement in (
        "drop index pipeline.ix_alerts_undelivered",
        "drop index pipeline.ix_alerts_closed_at",
        "alter table pipeline.alerts drop column delivery_due_at",
    ):
        op.get_bind().exec_driver_sql(statement)
