"""Dagster's own history in Dagster: how much there is of it, and the nightly pruning."""

from contextlib import closing
from datetime import timedelta

import dagster as dg
from pydantic import Field

from orders_pipeline.audit.log import acting_as
from orders_pipeline.database.connect import dagster_database_url
from orders_pipeline.database.engine import Database
from orders_pipeline.defs.actors import actor_of
from orders_pipeline.defs.guide import DESTROYS, described, link
from orders_pipeline.defs.metadata import table
from orders_pipeline.defs.resources import StoreResource
from orders_pipeline.operations.dagster_history import (
    FREQUENT_JOBS,
    KEEP_DAYS,
    KEEP_FREQUENT_DAYS,
    HistorySize,
    HistoryTotals,
    history_size,
    prune_history,
)
from orders_pipeline.operations.overdue import HISTORY


class HistoryConfig(dg.Config):
    """How long runs are remembered."""

    keep_days: int = Field(KEEP_DAYS, ge=1, description="Runs that ended longer ago, and results as old, are deleted.")
    keep_frequent_days: int = Field(
        KEEP_FREQUENT_DAYS,
        ge=1,
        description=f"The same of runs that succeeded of {', '.join(FREQUENT_JOBS)}, and of what sensors reported.",
    )


@dg.asset()
def dagster_history(
    context: dg.AssetExecutionContext, config: HistoryConfig, store: StoreResource
) -> dg.MaterializeResult:
    """What Dagster remembers of runs, events and check results, and how much of it a thousand orders cost.

    Older than 30 days is deleted nightly; after 3 days what frequent jobs and sensors left that succeeded. The newest
    event of each asset and partition stays, so nothing looks as if it had never been made.
    """
    keep, keep_frequent = timedelta(days=config.keep_days), timedelta(days=config.keep_frequent_days)
    address = dagster_database_url(store.settings())
    with closing(Database(address, pool_size=1)) as dagster, acting_as(actor_of(context)):
        totals = prune_history(dagster, store.audit(), keep=keep, keep_frequent=keep_frequent)
        size = history_size(dagster, store.database())
    store.deployment().note_done(HISTORY)
    return dg.MaterializeResult(metadata={**totals.as_metadata(), **size.as_metadata(), **_tables(size, totals)})


def _tables(size: HistorySize, totals: HistoryTotals) -> dict[str, dg.TableMetadataValue]:
    tables = [
        (s.name, s.rows, s.rows_of_the_last_day, round(s.bytes / 1e6, 1), s.oldest_at, totals.gone[s.name])
        for s in size.tables
    ]
    jobs = [(j.job, j.runs, j.events, round(j.events / j.runs, 1), round(j.bytes / j.runs / 1e3, 1)) for j in size.jobs]
    return {
        "tables": table(["table", "rows", "of_the_last_day", "megabytes", "oldest", "deleted_now"], tables),
        "jobs_of_the_last_day": table(["job", "runs", "events", "events_a_run", "kilobytes_a_run"], jobs),
    }


history_job = dg.define_asset_job(
    "prune_history",
    selection=dg.AssetSelection.assets("dagster_history"),
    tags={"dagster/max_runtime": "3600", **DESTROYS},
    description=described(
        "⚠ Deletes Dagster's own runs and events that are older than 30 days, and those of frequent jobs after 3.\n\n"
        "Nightly by itself. No order and no audit entry is touched, and the newest event of each asset stays.",
        red="Dagster's history",
        rule=f"{link('why it is pruned, and by SQL', 'decisions/25-dagster-history-pruned-by-sql.md')}.",
    ),
)
