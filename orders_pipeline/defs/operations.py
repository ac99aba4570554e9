"""Operations in Dagster: the board that people look at, and what Amazon ships itself."""

from collections.abc import Iterable, Iterator, Sequence

import dagster as dg

from orders_pipeline.alerts.kinds import Found
from orders_pipeline.database.embedded import EmbeddedPostgresError
from orders_pipeline.defs.accounts import as_metadata, fail_on_defects, serve_accounts
from orders_pipeline.defs.automation import CONDITION_SENSORS, JOBS
from orders_pipeline.defs.backfill_watch import end_lost_backfills, failed_backfills
from orders_pipeline.defs.checks import FLOW_CHECKS
from orders_pipeline.defs.guide import described as in_markdown
from orders_pipeline.defs.guide import described_plainly as described
from orders_pipeline.defs.metadata import Shown, tables_of
from orders_pipeline.defs.resources import StoreResource
from orders_pipeline.defs.runs import MAX_RUNTIME_TAG
from orders_pipeline.operations.accounts import Served
from orders_pipeline.operations.alerting.deliver import tell_people
from orders_pipeline.operations.alerts import ALERTS, evaluate_alerts
from orders_pipeline.operations.board import BOARD_REPORTS, FBA_REPORTS, board_numbers
from orders_pipeline.operations.board_gauges import Gauges, board_gauges, calls_per_order, together
from orders_pipeline.operations.overdue import REPORTS
from orders_pipeline.settings import SettingsError

# The tags that Dagster gives to a run that a schedule or a sensor asked for.
STARTED_BY_ITSELF = {"dagster/schedule_name", "dagster/sensor_name"}
_ENDED = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]
# Of those that ended since a job's last success, so many are looked at for one that started by itself.
_RUNS_LOOKED_AT = 50
# What a slow database may take of a tick before alerts are delivered all the same.
_EVALUATION_SECONDS = 9.0


@dg.asset(deps=["orders", "fulfillment_queue", "wms_orders", "shipment_confirmations"])
def order_board(context: dg.AssetExecutionContext, store: StoreResource) -> Iterator[dg.MaterializeResult]:
    """Where all orders are: counts by status, age and deadline, and what a person should look at now.

    "Metadata" has the newest numbers, its "Plots" those of every hour: what waits and how long, how long an order
    takes, what is used of Amazon's quotas. Counts over whole tables are here: no step that ships waits for one.
    """
    served = serve_accounts(context, store.accounts(), board_numbers)
    plotted = gauges_as_metadata(context, serve_accounts(context, store.accounts(), board_gauges))
    tables = tables_of(context, store, BOARD_REPORTS)
    yield dg.MaterializeResult(metadata={**as_metadata(served), **plotted, **tables})
    store.deployment().note_done(REPORTS)
    fail_on_defects(context)


@dg.asset(deps=["orders"])
def fba_shipments(context: dg.AssetExecutionContext, store: StoreResource) -> dg.MaterializeResult:
    """Orders that Amazon ships itself (AFN), from notifications and searches, at no call of their own, never pushed.

    Shipments are told of FBA Onsite alone (Brazil): runbook, "FBA".
    """
    return dg.MaterializeResult(metadata=tables_of(context, store, FBA_REPORTS))


def gauges_as_metadata(context: dg.AssetExecutionContext, served: Served[Gauges]) -> dict[str, Shown]:
    """All accounts' gauges, and the calls that an order took since the last time."""
    gauges = together(served.results)
    last = context.instance.get_latest_materialization_event(context.asset_key)
    shown = last.asset_materialization if last is not None else None
    before = {name: value.value for name, value in shown.metadata.items()} if shown is not None else {}
    return {**gauges.counts, **gauges.levels, **calls_per_order(gauges.counts, before)}


reports = dg.define_asset_job(
    "refresh_reports",
    selection=dg.AssetSelection.assets("fba_shipments", "order_board") | FLOW_CHECKS,
    tags=MAX_RUNTIME_TAG,
    description=in_markdown(
        "Makes the tables and numbers that people look at, and counts the checks of the flow, now.\n\nFrom what is "
        "in the store; no call to anybody. Hourly by itself; safe to start by hand at any time.",
        red="Failed runs",
        rule="ours: what counts whole tables is no part of what ships.",
    ),
)


@dg.sensor(
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description=described(
        "Opens and closes alerts by what is in the store, and tells people of each cause once.\n\nNew alerts go to the "
        "log; one message for each cause goes to Slack and by email, where they are set up. Open ones are on "
        "`order_board` too. ORDERS_HEARTBEAT_URL is called while all is well.",
        red="Alerts",
        rule="an alert is open while its cause lasts, and closes by itself.",
    ),
)
def deliver_alerts_sensor(context: dg.SensorEvaluationContext, store: StoreResource) -> dg.SkipReason:
    try:
        account_ids, database = store.deployment().account_ids(), store.database()
    except (SettingsError, EmbeddedPostgresError) as error:
        return dg.SkipReason(str(error))
    repository = context.repository_def
    assert repository is not None, "a sensor that Dagster evaluates has its repository"
    failed = failed_runs(context.instance, repository.job_names)
    end_lost_backfills(context.instance, database)
    days_failed = failed_backfills(context.instance)
    wrong = {one.name: one.problems for one in store.settings().wrong_accounts}
    results = evaluate_alerts(
        database, account_ids, failed, days_failed, not_served=wrong, budget_seconds=_EVALUATION_SECONDS
    )
    told = tell_people(database, store.settings().alerts, ALERTS, all_is_well=all(one.is_whole for one in results))
    for problem in told.problems:
        context.log.warning(problem)
    return dg.SkipReason(told.as_sentence())


def failed_runs(instance: dg.DagsterInstance, jobs: Iterable[str]) -> list[Found]:
    """The jobs of which a run that started by itself failed, and none succeeded since.

    Who starts a run by hand sees how it ends. What Dagster has forgotten is no alert any more. A run that a condition
    asked for is taken for one of the job that does the same by hand: its success ends the alert.
    """
    by_condition = dg.RunsFilter(statuses=_ENDED, tags={"dagster/sensor_name": list(CONDITION_SENSORS)})
    made = list(instance.get_run_records(by_condition, limit=_RUNS_LOOKED_AT))
    found: list[Found] = []
    for job in jobs:
        of_the_same = [record for record in made if _makes(record.dagster_run, JOBS.get(job))]
        newest = _newest_first(of_the_same, _ended(instance, job, limit=1))
        if not newest or newest[0].status == dg.DagsterRunStatus.SUCCESS:
            continue
        for run in _newest_first(of_the_same, _ended(instance, job, limit=_RUNS_LOOKED_AT)):
            if run.status == dg.DagsterRunStatus.SUCCESS:
                break
            if run.status == dg.DagsterRunStatus.FAILURE and STARTED_BY_ITSELF & run.tags.keys():
                found.append(Found(job, {"job": job, "run_id": run.run_id}))
                break
    return found


def _ended(instance: dg.DagsterInstance, job: str, *, limit: int) -> Sequence[dg.RunRecord]:
    return instance.get_run_records(dg.RunsFilter(job_name=job, statuses=_ENDED), limit=limit)


def _newest_first(*records: Sequence[dg.RunRecord]) -> list[dg.DagsterRun]:
    newest = sorted((one for some in records for one in some), key=lambda record: record.create_timestamp, reverse=True)
    return [record.dagster_run for record in newest]


def _makes(run: dg.DagsterRun, asset: str | None) -> bool:
    return asset is not None and dg.AssetKey(asset) in (run.asset_selection or ())
