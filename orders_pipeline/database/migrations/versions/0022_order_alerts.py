"""What the last alerts about orders and searches follow from is stored; what is open now stays open."""

from alembic import op

revision = "0022"
down_revision = "0021"
phase = "before"
branch_labels = None
depends_on = None

STATEMENTS = (
    """alter table pipeline.orders
         add column answer_older_at timestamptz,
         add column needs_review boolean default false not null,
         add column verification_problem text,
         add column reduced_items text[] default '{}' not null,
         add column reduced_at timestamptz""",
    """update pipeline.orders o set answer_older_at = a.opened_at from pipeline.alerts a
         where a.account_id = o.account_id and a.key = 'order.answer_older:' || o.order_id and a.closed_at is null""",
    """update pipeline.orders o set reduced_at = a.last_seen_at,
         reduced_items = string_to_array(substring(a.message from 'item (.*) was cancelled'), ', ')
         from pipeline.alerts a
         where a.account_id = o.account_id and a.key = 'order.fewer_pieces:' || o.order_id and a.closed_at is null
           and a.message ~ 'item .* was cancelled'""",
    # A sweep that could be read whole ended the alert, and not what it was about.
    """update pipeline.parked_messages m set replayed_at = clock_timestamp()
         where m.notification_type = 'search entry' and m.replayed_at is null and not exists (
           select from pipeline.alerts a where a.account_id = m.account_id and a.key = 'search.unreadable_entries'
             and a.closed_at is null)""",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.get_bind().exec_driver_sql(statement)


def downgrade() -> None:
    op.get_bind().exec_driver_sql(
        "alter table pipeline.orders drop column answer_older_at, drop column needs_review, "
        "drop column verification_problem, drop column reduced_items, drop column reduced_at"
    )
