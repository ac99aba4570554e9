"""Each state of a package has its own word; what is due, attempts and parked work move into `pipeline.jobs`.

The old columns `sends`, `reads` and `last_error` decide what each stored package is. The shipment events' `outcome`
becomes `result`, and what the alerts of shipments are derived from is stored.
"""

from alembic import op

revision = "0020"
down_revision = "0019"
phase = "stopped"
branch_labels = None
depends_on = None

STATEMENTS = (
    # --- what was due becomes jobs, while the old columns are there
    """insert into pipeline.jobs
          (account_id, queue, subject, ship_by, due_at, enqueued_at, attempts, last_error, parked_at)
        select account_id, 'confirm', order_id || ':' || package_id, ship_by,
               coalesce(action_due_at, clock_timestamp()), reported_at, least(attempts, 5), last_error, parked_at
        from pipeline.shipment_confirmations
        where state in ('pending', 'sending')
           or state = 'confirmed' and carrier_code = 'Other' and action_due_at is not null
        on conflict do nothing""",
    """insert into pipeline.jobs (account_id, queue, subject, ship_by, due_at, enqueued_at, attempts)
        select account_id, 'verify', order_id, min(ship_by), min(coalesce(action_due_at, clock_timestamp())),
               min(reported_at), least(max(attempts), 5)
        from pipeline.shipment_confirmations where state = 'sent' group by account_id, order_id
        on conflict do nothing""",
    # --- the states
    """alter table pipeline.shipment_confirmations add column known_to_amazon boolean not null default false,
                            add column carrier_mapped boolean""",
    "drop index pipeline.uq_shipment_confirmations_reference",
    "drop index pipeline.ix_shipment_confirmations_voided",
    "drop index pipeline.ix_shipment_confirmations_due",
    """update pipeline.shipment_confirmations set
          known_to_amazon = sends > 0,
          carrier_mapped = case when state = 'pending' and last_error = 'carrier without a code at Amazon' then false
                                when sends > 0 then carrier_code <> 'Other' end,
          state = case when state = 'held' then 'needs_correction'
                       when state = 'pending' and last_error = 'carrier without a code at Amazon' then 'awaits_carrier'
                       when state = 'sent' and sends = 0 then 'presumed'
                       when state = 'sent' and last_error is not null then 'refused_unverified'
                       when state = 'sent' then 'accepted'
                       when state = 'voided' and sends > 0 then 'awaits_replacement'
                       else state end,
          last_error = case when state in ('held', 'refused') or state = 'sent' and sends > 0 then last_error end""",
    "alter table pipeline.shipment_confirmations rename column sends to confirmations",
    "alter table pipeline.shipment_confirmations rename column reads to verifications",
    "alter table pipeline.shipment_confirmations rename column last_error to reason",
    """alter table pipeline.shipment_confirmations
         drop column action_due_at, drop column attempts, drop column parked_at""",
    """create unique index uq_shipment_confirmations_reference
        on pipeline.shipment_confirmations (account_id, order_id, package_reference_id)
        where state not in ('voided', 'awaits_replacement', 'replaced')""",
    """create index ix_shipment_confirmations_open on pipeline.shipment_confirmations (account_id, state, changed_at)
        where state not in ('confirmed', 'replaced')""",
    """create index ix_shipment_confirmations_unmapped on pipeline.shipment_confirmations (account_id, confirmed_at)
        where carrier_mapped is false""",
    """comment on column pipeline.shipment_confirmations.known_to_amazon is
        'a call under its reference id was begun: Amazon may show it'""",
    "comment on column pipeline.shipment_confirmations.carrier_mapped is 'false: its carrier has no code at Amazon'",
    "comment on column pipeline.shipment_confirmations.reason is 'why it was refused or needs correction'",
    # --- the warehouse's events
    "alter table pipeline.wms_shipments rename column outcome to result",
    "alter table pipeline.wms_shipments add column error text",
    "comment on column pipeline.wms_shipments.error is 'where a defect of this program was met, without its text'",
    "update pipeline.wms_shipments set result = 'needs_correction' where result = 'held'",
    """create index ix_wms_shipments_alerts on pipeline.wms_shipments (account_id, result)
       where result in ('unknown_kind', 'unknown_package', 'voided_label_unknown', 'earlier_label', 'short',
                        'cancelled')""",
    """alter table pipeline.wms_cursors add column failing_since timestamptz, add column failure text,
         add column unreadable_at timestamptz, add column unreadable_events integer not null default 0,
         add column cursor_unreadable_since timestamptz""",
    "comment on column pipeline.wms_cursors.failure is 'why the warehouse cannot be read since then'",
    "alter table pipeline.carrier_files alter column content drop not null",
    "alter table pipeline.carrier_files add column problem text",
    """comment on column pipeline.carrier_files.problem is
       'why the file cannot be read now, and what is in use meanwhile'""",
    # --- alerts: by today's names. A defect is a parked job's, a refused account a pause; the file is no account's
    """update pipeline.alerts set key = regexp_replace(key, '^package\\.held:', 'package.needs_correction:')
       where key like 'package.held:%%' and closed_at is null""",
    """update pipeline.alerts set closed_at = clock_timestamp()
       where (key like 'package.defect:%%' or key like 'amazon.account:%%' or key = 'carriers.file')
         and closed_at is null""",
)


BACK = (
    """alter table pipeline.shipment_confirmations add column action_due_at timestamptz,
         add column attempts integer not null default 0,
          add column parked_at timestamptz""",
    "alter table pipeline.shipment_confirmations rename column confirmations to sends",
    "alter table pipeline.shipment_confirmations rename column verifications to reads",
    "alter table pipeline.shipment_confirmations rename column reason to last_error",
    "drop index pipeline.uq_shipment_confirmations_reference",
    "drop index pipeline.ix_shipment_confirmations_open",
    "drop index pipeline.ix_shipment_confirmations_unmapped",
    """update pipeline.shipment_confirmations c
        set action_due_at = j.due_at, attempts = j.attempts, parked_at = j.parked_at
        from pipeline.jobs j where j.account_id = c.account_id and (
          j.queue = 'confirm' and j.subject = c.order_id || ':' || c.package_id
          or j.queue = 'verify' and j.subject = c.order_id
          and c.state in ('accepted', 'refused_unverified', 'presumed'))""",
    "delete from pipeline.jobs where queue in ('confirm', 'verify')",
    """update pipeline.shipment_confirmations set
          sends = case when known_to_amazon then greatest(sends, 1) else 0 end,
          last_error = case when state = 'awaits_carrier' then 'carrier without a code at Amazon' else last_error end,
          state = case when state = 'needs_correction' then 'held'
                       when state = 'awaits_carrier' then 'pending'
                       when state in ('accepted', 'refused_unverified', 'presumed') then 'sent'
                       when state = 'awaits_replacement' then 'voided'
                       else state end""",
    "alter table pipeline.shipment_confirmations drop column known_to_amazon, drop column carrier_mapped",
    """create unique index uq_shipment_confirmations_reference
        on pipeline.shipment_confirmations (account_id, order_id, package_reference_id)
        where state not in ('voided', 'replaced')""",
    """create index ix_shipment_confirmations_voided on pipeline.shipment_confirmations (account_id, order_id)
        where state = 'voided' and sends = 0""",
    """create index ix_shipment_confirmations_due on pipeline.shipment_confirmations (account_id, action_due_at)
        where action_due_at is not null""",
    "drop index pipeline.ix_wms_shipments_alerts",
    "alter table pipeline.wms_shipments rename column result to outcome",
    "alter table pipeline.wms_shipments drop column error",
    """alter table pipeline.wms_cursors drop column failing_since, drop column failure, drop column unreadable_at,
         drop column unreadable_events, drop column cursor_unreadable_since""",
    "delete from pipeline.carrier_files where content is null",
    "alter table pipeline.carrier_files alter column content set not null, drop column problem",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.get_bind().exec_driver_sql(statement)


def downgrade() -> None:
    for statement in BACK:
        op.get_bind().exec_driver_sql(statement)
