"""The reports that are wanted of Amazon have a table."""

from importlib.resources import files

from alembic import op

revision = "0024"
down_revision = "0023"
phase = "before"
branch_labels = None
depends_on = None

STATEMENTS = (
    """create table pipeline.report_requests (
         request_id bigint generated always as identity,
         account_id text not null,
         report_type text not null,
         marketplace_ids text[] not null,
         data_start timestamptz not null,
         data_end timestamptz not null,
         state text not null,
         report_id text,
         document_id text,
         attempts integer default 0 not null,
         rows_read integer default 0 not null,
         rows_unreadable integer default 0 not null,
         events_new integer default 0 not null,
         requested_at timestamptz default clock_timestamp() not null,
         changed_at timestamptz default clock_timestamp() not null,
         finished_at timestamptz,
         problem text,
         constraint pk_report_requests primary key (request_id),
         constraint uq_report_requests_wanted
           unique (account_id, report_type, data_start, data_end, marketplace_ids))""",
    "comment on column pipeline.report_requests.marketplace_ids is 'sorted'",
    "comment on column pipeline.report_requests.state is 'wanted, or where Amazon has it'",
    "comment on column pipeline.report_requests.problem is 'why it failed'",
    """create index ix_report_requests_unfinished on pipeline.report_requests (account_id) where finished_at is null""",
    "create index ix_report_requests_requested_at on pipeline.report_requests (account_id, requested_at)",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.get_bind().exec_driver_sql(statement)
    roles = files("orders_pipeline.database.migrations") / "sql" / "roles.sql"
    op.get_bind().exec_driver_sql(roles.read_text("utf-8"))


def downgrade() -> None:
    op.get_bind().exec_driver_sql("delete from pipeline.jobs where queue = 'report'")
    op.get_bind().exec_driver_sql("drop table pipeline.report_requests")
