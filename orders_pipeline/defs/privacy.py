"""Privacy in Dagster: what an auditor opens to see that the rules hold, today."""

import time
from collections.abc import Iterator, Mapping

import dagster as dg
from pydantic import Field

from orders_pipeline.audit.log import acting_as
from orders_pipeline.database.embedded import EmbeddedPostgresError
from orders_pipeline.defs.accounts import as_metadata, fail_on_defects, problems_as_metadata, serve_accounts
from orders_pipeline.defs.actors import actor_of
from orders_pipeline.defs.guide import DESTROYS, described, described_plainly, link
from orders_pipeline.defs.metadata import Shown, table, tables_of
from orders_pipeline.defs.resources import StoreResource
from orders_pipeline.defs.runs import MAX_RUNTIME_TAG
from orders_pipeline.operations.accounts import Served, add_up
from orders_pipeline.operations.board import ACTIONS_OF_THE_LAST_DAY
from orders_pipeline.operations.examination import examine_for_checks
from orders_pipeline.operations.overdue import WAREHOUSE_ERASURES
from orders_pipeline.operations.retention import (
    Retained,
    accounts_owed_erasures,
    erase_owed,
    plan,
    retain,
    watch_roles,
)
from orders_pipeline.privacy import rules
from orders_pipeline.privacy.shred_expired import RetentionPlan, RetentionTotals
from orders_pipeline.settings import SettingsError

# The nightly run may take a while (the leak scan alone ten minutes); the run-monitoring daemon ends it after this.
NIGHTLY_TAGS = {"dagster/max_runtime": "7200"}
RULE_COLUMNS = ["what", "rule", "count", "why", "source"]


class RetentionConfig(dg.Config):
    """`dry_run` shows what would go and why, and changes nothing."""

    # What its time is over for goes nightly in any case: by hand it goes some hours earlier.
    dry_run: bool = Field(False, description="`true`: show what would go and by which rule, and change nothing.")


@dg.asset(deps=["shipping_details", "wms_orders"])
def pii_access_log(context: dg.AssetExecutionContext, store: StoreResource) -> dg.MaterializeResult:
    """Every reading of a buyer's data and every change of state, append-only and hash-chained, without the data.

    The table counts the last day. `orders-pipeline audit verify` and `audit export` read the entries themselves. `head`
    is the newest entry: kept here, outside the log, it shows if the log's end is ever cut off.
    """
    with acting_as(actor_of(context)):
        changes = watch_roles(store.deployment())
    head = store.audit().head()
    shown = {"head": f"{head.entry_id}:{head.entry_hash.hex()}" if head else "empty"}
    return dg.MaterializeResult(metadata={**changes, **shown, **tables_of(context, store, [ACTIONS_OF_THE_LAST_DAY])})


@dg.asset(deps=["shipping_details", "wms_orders", "shipment_confirmations"])
def pii_retention(
    context: dg.AssetExecutionContext, config: RetentionConfig, store: StoreResource
) -> Iterator[dg.MaterializeResult]:
    """What was shredded, purged and erased at the warehouse, by which rule.

    Daily by itself. With `dry_run` it shows what would go and changes nothing.
    """
    everybody = store.deployment().stored_accounts()
    if config.dry_run:
        yield dg.MaterializeResult(metadata=_planned(serve_accounts(context, everybody, plan)))
    else:
        served = serve_accounts(context, everybody, lambda one: retain(one, context.log.info))
        # Before the step ends: its checks read what is found now.
        examined = examine_for_checks(store.deployment(), context.log.info)
        yield dg.MaterializeResult(metadata={**_retained(served), **examined})
    fail_on_defects(context)


def _planned(served: Served[RetentionPlan]) -> Mapping[str, Shown]:
    plans = list(served.results.values())
    return {
        "would_go": sum(plan.would_go for plan in plans),
        "would_shred": sum(plan.would_shred for plan in plans),
        "by_rule": table(RULE_COLUMNS, [row for plan in plans for row in plan.by_rule()]),
        "first": table(
            ["what", "subject", "rule", "due_at"],
            [(row.what, row.subject, row.rule.value, row.due_at) for plan in plans for row in plan.rows],
        ),
        **problems_as_metadata(served),
    }


def _retained(served: Served[Retained]) -> Mapping[str, Shown]:
    totals = RetentionTotals()
    for one in served.results.values():
        totals.add(one.totals)
    return {
        **totals.as_metadata(),
        **add_up({account_id: one.deliveries for account_id, one in served.results.items()}),
        "by_rule": table(RULE_COLUMNS, totals.by_rule()),
        **problems_as_metadata(served),
    }


# Well before a run of this kind is taken for one that hangs (MAX_RUNTIME_TAG).
ERASURES_DEADLINE_SECONDS = 150.0


@dg.op(out=dg.Out(dg.Nothing))
def ask_warehouse_to_erase(context: dg.OpExecutionContext, store: StoreResource) -> None:
    """Ask the warehouse for every erasure that it owes and whose back-off is over."""
    ends = time.monotonic() + ERASURES_DEADLINE_SECONDS
    # Also for a seller that is no longer served: what the warehouse has of its buyers does not go by itself.
    owed = accounts_owed_erasures(store.deployment())
    served = serve_accounts(context, owed, lambda account: erase_owed(account, ends - time.monotonic()), waits=True)
    if not served.defects:
        store.deployment().note_done(WAREHOUSE_ERASURES)
    context.add_output_metadata(as_metadata(served))
    fail_on_defects(context)


@dg.job(
    name="erase_at_warehouse",
    tags=MAX_RUNTIME_TAG,
    description=described(
        "Asks the warehouse for the erasures of buyers' data that it owes.\n\nOnly for those whose time is over or "
        "who were erased here already. Every ten minutes by itself while any is owed; safe to start by hand.",
        red="Compliance",
        rule=f"{rules.RETENTION} ({link('where it is kept', 'compliance.md')}).",
    ),
)
def erase_at_warehouse_job() -> None:
    ask_warehouse_to_erase()


@dg.schedule(
    job=erase_at_warehouse_job,
    cron_schedule="*/10 * * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description=described_plainly(
        "Every ten minutes: asks for a run of `erase_at_warehouse` while the warehouse owes an erasure that is due.",
        red="Work that did not start",
        rule=f"{rules.RETENTION} ({link('where it is kept', 'compliance.md')}).",
    ),
)
def frequent_warehouse_erasures(store: StoreResource) -> dg.RunRequest | dg.SkipReason:
    try:
        store.accounts()
        due = accounts_owed_erasures(store.deployment())
    except (SettingsError, EmbeddedPostgresError) as error:
        return dg.SkipReason(str(error))
    if not due:
        # Then to have looked is all the work.
        store.deployment().note_done(WAREHOUSE_ERASURES)
    return dg.RunRequest() if due else dg.SkipReason("The warehouse owes nothing that is due.")


@dg.sensor(
    minimum_interval_seconds=300,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description=described_plainly(
        "Looks whether anybody was given or lost a right in the database: an audit entry each, and an "
        "alert.\n\nEvery five "
        'minutes. It asks for no run: a tick\'s "0 runs requested", clicked, says what changed.',
        red="Rights",
        rule=f"{rules.LEAST_PRIVILEGE} ({link('where it is kept', 'compliance.md')}).",
    ),
)
def watch_roles_sensor(context: dg.SensorEvaluationContext, store: StoreResource) -> dg.SkipReason:
    try:
        # Before the credentials are there every sensor says the same: what is missing.
        store.accounts()
        with acting_as(f"job:{context.sensor_name}"):
            changes = watch_roles(store.deployment())
    except (SettingsError, EmbeddedPostgresError) as error:
        return dg.SkipReason(str(error))
    given, taken = changes["privileges_granted"], changes["privileges_revoked"]
    return dg.SkipReason(f"Rights: {given} given, {taken} taken away." if given or taken else "No right changed.")


shred_expired_pii_job = dg.define_asset_job(
    "shred_expired_pii",
    selection=dg.AssetSelection.assets("pii_retention", "pii_access_log")
    | dg.AssetSelection.checks(dg.AssetCheckKey(dg.AssetKey("audit_exports"), "audit_is_exported")),
    tags={**NIGHTLY_TAGS, **DESTROYS},
    description=described(
        "⚠ Destroys the buyers' data whose time is over, then evaluates every compliance check.\n\nNightly by "
        "itself, and never what is still needed to ship. `dry_run` shows what would go, and by which rule, and "
        "changes nothing. For an audit execute the checks alone: they are on the assets' pages.",
        red="Compliance",
        rule=f"{rules.RETENTION} ({link('where it is kept', 'compliance.md')}).",
    ),
)
