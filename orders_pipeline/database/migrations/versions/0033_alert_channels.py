"""What each channel was told of alerts, whether it takes them, and the rules of ORDERS_ALERTS_FILE as last read.

And of an alert where it can be looked at, and how many others it counts.
"""

from importlib.resources import files

from alembic import op

revision = "0033"
down_revision = "0032"
phase = "before"
branch_labels = None
depends_on = None

_STATEMENTS = (
    "alter table pipeline.alerts add column link text",
    "alter table pipeline.alerts add column stands_for integer not null default 1",
    "comment on column pipeline.alerts.link is 'a path of the web port'",
    "comment on column pipeline.alerts.stands_for is 'how many it counts'",
    """create table pipeline.alert_channels (
         channel text not null, leased_until timestamptz, next_try_at timestamptz, attempts integer not null default 0,
         failing_since timestamptz, failure text, delivered_at timestamptz,
         constraint pk_alert_channels primary key (channel))""",
    "comment on column pipeline.alert_channels.channel is 'slack, email, or heartbeat'",
    """create table pipeline.alert_deliveries (
         channel text not null, group_key text not null, kind text not null, severity text not null,
         words text not null, alerts integer not null, opened_at timestamptz not null, absent_since timestamptz,
         told_at timestamptz, told_severity text, told_words text, told_alerts integer,
         messages integer not null default 0,
         constraint pk_alert_deliveries primary key (channel, group_key))""",
    "comment on column pipeline.alert_deliveries.group_key is 'one cause; told_at is null while it waits to be told'",
    """create table pipeline.alert_rules (
         path text not null, content text, problem text, read_at timestamptz not null default clock_timestamp(),
         constraint pk_alert_rules primary key (path))""",
    "comment on column pipeline.alert_rules.content is 'what the file said when it was last valid'",
)


def upgrade() -> None:
    connection = op.get_bind()
    for statement in _STATEMENTS:
        connection.exec_driver_sql(statement)
    roles = files("orders_pipeline.database.migrations") / "sql" / "roles.sql"
    connection.exec_driver_sql(roles.read_text("utf-8"))


def downgrade() -> None:
    connection = op.get_bind()
    for table in ("alert_rules", "alert_deliveries", "alert_channels"):
        connection.exec_driver_sql(f"drop table pipeline.{table}")
    connection.exec_driver_sql("alter table pipeline.alerts drop column link, drop column stands_for")
