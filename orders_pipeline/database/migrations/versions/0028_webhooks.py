"""When the warehouse's last webhook was taken, and how many were refused since, beside how far it was read."""

from alembic import op

revision = "0028"
down_revision = "0027"
phase = "before"
branch_labels = None
depends_on = None

_COLUMNS = {
    "webhook_at": "timestamp with time zone",
    "webhooks_refused": "integer not null default 0",
    "webhook_refused_at": "timestamp with time zone",
    "webhook_refusal": "text",
}


def upgrade() -> None:
    for name, kind in _COLUMNS.items():
        op.get_bind().exec_driver_sql(f"alter table pipeline.wms_cursors add column {name} {kind}")
    op.get_bind().exec_driver_sql(
        "comment on column pipeline.wms_cursors.webhook_refusal is 'why those that came last were refused'"
    )


def downgrade() -> None:
    for name in reversed(_COLUMNS):
        op.get_bind().exec_driver_sql(f"alter table pipeline.wms_cursors drop column {name}")
