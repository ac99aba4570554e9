"""Backfills that need somebody: one that failed is an alert, one whose process is gone is ended and so retried."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import dagster as dg

from orders_pipeline.alerts.kinds import Found
from orders_pipeline.database.engine import Database
from orders_pipeline.defs.backfill import BACKFILL_TAG
from orders_pipeline.defs.runs import end_if_lost

SHOWN_FOR = timedelta(days=7)
_LOOKED_AT = 20
_ASSET = dg.AssetKey("order_events")
_FAILED = frozenset({"COMPLETED_FAILED", "FAILED"})
_GOES_ON = frozenset({"REQUESTED", "COMPLETED", "COMPLETED_SUCCESS"})


def failed_backfills(instance: dg.DagsterInstance, *, now: datetime | None = None) -> list[Found]:
    """The backfills of `order_events` that failed since the newest that is under way or succeeded; of a week."""
    since = (now or datetime.now(UTC)) - SHOWN_FOR
    found: list[Found] = []
    for backfill in sorted(instance.get_backfills(limit=_LOOKED_AT), key=lambda one: -one.backfill_timestamp):
        if _ASSET not in (backfill.asset_selection or ()):
            continue
        if backfill.status.value in _GOES_ON or datetime.fromtimestamp(backfill.backfill_timestamp, UTC) < since:
            break
        if backfill.status.value in _FAILED:
            found.append(Found(backfill.backfill_id, {"backfill_id": backfill.backfill_id}))
    return found


def end_lost_backfills(instance: dg.DagsterInstance, database: Database, *, now: datetime | None = None) -> None:
    """End each run of a backfill whose process went with its code server: nobody else notices, and it has no limit."""
    started = dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED], tags={BACKFILL_TAG: "true"})
    for record in instance.get_run_records(started, limit=_LOOKED_AT):
        end_if_lost(instance, record, database, now=now)
