"""Dagster's own history in Dagster: how much there is of it, and the nightly pruning."""

from contextlib import closing
from datetime import timedelta

import dagster as dg
from pydantic import Field

from orders_pipeline.audit.log import acting_as
from orders_pipeline.database.connect import dagster_database_url
from orders_pipeline.database.engine import Database
from orders_pipeline.defs.actors import actor_of
from orders_pipeline.defs.metadata import table
from orders_pipeline.defs.resources import StoreResource
from orders_pipeline.operations.dagster_history import KEEP_DAYS, history_sizes, prune_history
from orders_pipeline.operations.overdue import HISTORY


class HistoryConfig(dg.Config):
    """How long runs are remembered."""

    keep_days: int = Field(KEEP_DAYS, ge=1, description="Runs that ended longer ago, and events as old, are deleted.")


@dg.asset()
def dagster_history(
    context: dg.AssetExecutionContext, config: HistoryConfig, store: StoreResource
) -> dg.MaterializeResult:
    """What Dagster remembers of runs, events and check results; older than 30 days is deleted nightly.

    The newest event of each asset and partition stays, so nothing looks as if it had never been made.
    """
    address = dagster_database_url(store.settings())
    with closing(Database(address, pool_size=1)) as dagster, acting_as(actor_of(context)):
        totals = prune_history(dagster, store.audit(), keep=timedelta(days=config.keep_days))
        sizes = history_sizes(dagster)
    store.deployment().note_done(HISTORY)
    rows = [(s.name, s.rows, round(s.bytes / 1e6, 1), s.oldest_at, totals.gone[s.name]) for s in sizes]
    tables = table(["table", "rows", "megabytes", "oldest", "deleted_now"], rows)
    megabytes = round(sum(size.bytes for size in sizes) / 1e6, 1)
    return dg.MaterializeResult(metadata={**totals.as_metadata(), "megabytes": megabytes, "tables": tables})


history_job = dg.define_asset_job(
    "prune_history",
    selection=dg.AssetSelection.assets("dagster_history"),
    tags={"dagster/max_runtime": "3600"},
    description="Delete Dagster's own runs and events that are older than 30 days. Nightly by itself.",
)
