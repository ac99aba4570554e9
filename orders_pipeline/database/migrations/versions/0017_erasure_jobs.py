"""Erasures at the warehouse and questions after deliveries are jobs; columns about both are named by the glossary.

What was pending is due in the work queue, with its attempts and its last error. That an erasure was requested and done
stays with the order: it is the proof.
"""

from alembic import op

revision = "0017"
down_revision = "0016"
phase = "stopped"
branch_labels = None
depends_on = None

COLUMNS = (
    ("pipeline.wms_orders", "erase_asked_at", "erase_requested_at"),
    ("pipeline.erasures", "asked_at", "requested_at"),
    ("pipeline.clock_readings", "told_at", "amazon_time"),
)
TABLES = (
    ("pipeline.database_grants", "database_privileges"),
    ("vault_keys.unsettled_shreds", "pending_shreds"),
)
# Constraints, indexes and the sequence that carry a table's name.
NAMES = (
    ("constraint", "pipeline.database_privileges", "pk_database_grants", "pk_database_privileges"),
    ("constraint", "vault_keys.pending_shreds", "pk_unsettled_shreds", "pk_pending_shreds"),
)
STATEMENTS = (
    """insert into pipeline.jobs (account_id, queue, subject, due_at, enqueued_at, attempts, last_error)
         select account_id, 'erase', order_id, erase_due_at, coalesce(erase_asked_at, clock_timestamp()),
           erase_attempts, erase_error
         from pipeline.wms_orders where erase_due_at is not null order by account_id, order_id""",
    """update pipeline.wms_orders set erase_asked_at = coalesce(erase_asked_at, clock_timestamp()), erased_at = null
         where erase_due_at is not null""",
    # Asked daily. The nightly run enqueues what was never asked about.
    """insert into pipeline.jobs (account_id, queue, subject, due_at, enqueued_at)
         select account_id, 'delivery', order_id, delivery_checked_at + interval '20 hours', delivery_checked_at
         from pipeline.orders
         where delivery_checked_at is not null and delivered_at is null and fulfilled_by = 'MERCHANT'
           and status in ('SHIPPED', 'INVOICE_UNCONFIRMED') order by account_id, order_id""",
    "drop index pipeline.ix_wms_orders_erase_due",
    "alter table pipeline.wms_orders drop column erase_due_at, drop column erase_attempts, drop column erase_error",
    "alter table pipeline.orders drop column delivery_checked_at",
    "alter index pipeline.ix_wms_orders_kept rename to ix_wms_orders_not_erased",
)


def upgrade() -> None:
    run = op.get_bind().exec_driver_sql
    for statement in STATEMENTS:
        run(statement)
    for table, old, new in COLUMNS:
        run(f"alter table {table} rename column {old} to {new}")
    for table, new in TABLES:
        run(f"alter table {table} rename to {new}")
    for kind, table, old, new in NAMES:
        run(f"alter table {table} rename {kind} {old} to {new}")
    run("alter sequence vault_keys.unsettled_shreds_shred_id_seq rename to pending_shreds_shred_id_seq")


def downgrade() -> None:
    run = op.get_bind().exec_driver_sql
    run("alter sequence vault_keys.pending_shreds_shred_id_seq rename to unsettled_shreds_shred_id_seq")
    for kind, table, old, new in NAMES:
        run(f"alter table {table} rename {kind} {new} to {old}")
    for table, new in TABLES:
        schema, _, old = table.partition(".")
        run(f"alter table {schema}.{new} rename to {old}")
    for table, old, new in COLUMNS:
        run(f"alter table {table} rename column {new} to {old}")
    for statement in (
        "alter index pipeline.ix_wms_orders_not_erased rename to ix_wms_orders_kept",
        "alter table pipeline.orders add column delivery_checked_at timestamptz",
        """alter table pipeline.wms_orders add column erase_due_at timestamptz,
             add column erase_attempts integer default 0 not null, add column erase_error text""",
        """create index ix_wms_orders_erase_due on pipeline.wms_orders (account_id, erase_due_at)
             where erase_due_at is not null""",
        """update pipeline.wms_orders w set erase_due_at = coalesce(j.leased_until, j.due_at),
             erase_attempts = j.attempts, erase_error = j.last_error
             from pipeline.jobs j
             where j.queue = 'erase' and j.account_id = w.account_id and j.subject = w.order_id""",
        """update pipeline.orders o set delivery_checked_at = j.due_at - interval '20 hours' from pipeline.jobs j
             where j.queue = 'delivery' and j.account_id = o.account_id and j.subject = o.order_id""",
        "delete from pipeline.jobs where queue in ('erase', 'delivery')",
    ):
        run(statement)
