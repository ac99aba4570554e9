"""The audit log's daily copies in Dagster: a partition a UTC day that is over."""

from datetime import date

import dagster as dg

from orders_pipeline.audit.log import acting_as
from orders_pipeline.audit.rows import exported_days
from orders_pipeline.database.embedded import EmbeddedPostgresError
from orders_pipeline.defs.actors import actor_of
from orders_pipeline.defs.guide import described, described_plainly, link
from orders_pipeline.defs.partitions import ended_days
from orders_pipeline.defs.resources import AuditExportResource, StoreResource
from orders_pipeline.defs.runs import MAX_RUNTIME_TAG
from orders_pipeline.operations.audit_export import export_audit_day
from orders_pipeline.privacy import rules
from orders_pipeline.privacy.audit_export.export import AuditExportRefused
from orders_pipeline.privacy.audit_export.targets import ExportUnavailable
from orders_pipeline.settings import SettingsError

# After a week without the daemon a person should look: the check audit_is_exported says which days are missing.
CATCH_UP_DAYS = 7
_RULE = f"{rules.LOG_RETENTION} ({link('where it is kept', 'compliance.md')})."


@dg.asset(
    deps=["pii_access_log"],
    partitions_def=ended_days,
)
def audit_exports(
    context: dg.AssetExecutionContext, store: StoreResource, audit_export: AuditExportResource
) -> dg.MaterializeResult:
    """A copy of each day's audit log outside the database, with the chain's head: written once, never over.

    To verify a copy by itself: `orders-pipeline audit verify --file audit-….jsonl.gz`.
    """
    day = date.fromisoformat(context.partition_key)
    try:
        with acting_as(actor_of(context)):
            shown = export_audit_day(store.deployment(), audit_export.target(), day)
    except (AuditExportRefused, ExportUnavailable) as error:
        refused = isinstance(error, AuditExportRefused)
        raise dg.Failure(description=str(error), allow_retries=not refused) from None
    return dg.MaterializeResult(metadata=shown)


export_job = dg.define_asset_job(
    "export_audit_log",
    selection=dg.AssetSelection.assets("audit_exports").without_checks(),
    tags=MAX_RUNTIME_TAG,
    description=described(
        "Copies one day of the audit log to where ORDERS_AUDIT_EXPORT says; a copy is never written over.\n\nNightly "
        "by itself; backfill missing days from the page of `audit_exports`.",
        red="Audit",
        rule=_RULE,
    ),
)


@dg.schedule(
    job=export_job,
    cron_schedule="23 0 * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description=described_plainly(
        "Every night: asks for a copy of yesterday's audit log, and of the days of the last week that were missed.",
        red="Audit",
        rule=_RULE,
    ),
)
def nightly_audit_export(
    context: dg.ScheduleEvaluationContext, store: StoreResource
) -> list[dg.RunRequest] | dg.SkipReason:
    # The log's own word: a partition that somebody reported as materialized by hand would never be exported.
    try:
        with store.database().begin() as connection:
            done = exported_days(connection)
    except (SettingsError, EmbeddedPostgresError) as error:
        return dg.SkipReason(str(error))
    ended = ended_days.get_partition_keys(current_time=context.scheduled_execution_time)
    # Days from before the first export are a person's to ask for: mostly there was nothing to export yet.
    begun = min(done, default=ended[-1])
    missing = [day for day in ended[-CATCH_UP_DAYS:] if day >= begun and day not in done]
    # A key means "once ever": this night's try is not the next one's.
    return [dg.RunRequest(run_key=f"{ended[-1]}:{day}", partition_key=day) for day in missing]
