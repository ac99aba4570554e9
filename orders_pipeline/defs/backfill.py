"""A backfill in Dagster: one run that waits for the quota, shows each day once it is read, and tells how far it is.

A run that ended before its days are read would have the backfill fail (docs/decisions/27-a-backfill-is-one-run.md).
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from datetime import date, datetime, timedelta

import dagster as dg

from orders_pipeline.defs.accounts import fail_on_defects, serve_accounts
from orders_pipeline.defs.resources import StoreResource
from orders_pipeline.intake.backfill import BackfillProgress
from orders_pipeline.intake.backfill_plan import Days
from orders_pipeline.model.durations import duration
from orders_pipeline.operations.deployment import ServedAccount
from orders_pipeline.operations.search import end_span, read_span, search_quota

# Found by it, whoever started the run.
BACKFILL_TAG = "orders_pipeline/backfill"
# It may wait for days, and be killed more than twice meanwhile: each of a restart's signals ends a run.
_LONG_RUN = {BACKFILL_TAG: "true", "dagster/max_runtime": "0", "dagster/max_retries": "50"}
# Each line is kept in Dagster's database: a page in three minutes need not have one.
TOLD_EVERY = timedelta(minutes=10)


def read_days_of_run(context: dg.AssetExecutionContext, store: StoreResource) -> None:
    """Read the run's days for every account; each day is materialized once it is complete for all of them."""
    context.instance.add_run_tags(context.run.run_id, _LONG_RUN)
    request = context.run.root_run_id or context.run.run_id
    days = Days(*(date.fromisoformat(key) for key in (context.partition_keys[0], context.partition_keys[-1])))
    teller = _Teller(context, store)
    waiting: Collection[ServedAccount] = store.accounts()
    progress: dict[str, BackfillProgress] = {}
    shown: set[date] = set()
    while waiting:
        served = serve_accounts(context, list(waiting), lambda account: read_span(account, days, request), waits=True)
        progress |= served.results
        for day in days.each:
            if day not in shown and all(_has_read(progress.get(one.account_id), day) for one in store.accounts()):
                context.log_event(_materialization(day, progress))
                shown.add(day)
        going_on = {one: seen.resume_at for one, seen in served.results.items() if seen.resume_at is not None}
        waiting = [account for account in waiting if account.account_id in going_on]
        if waiting:
            teller.wait_until(min(going_on.values()), progress, waiting)
    fail_on_defects(context)
    for account in store.accounts():
        end_span(account, request)


def _has_read(progress: BackfillProgress | None, day: date) -> bool:
    return progress is not None and any(days.first <= day <= days.last for days in progress.complete)


def _materialization(day: date, progress: Mapping[str, BackfillProgress]) -> dg.AssetMaterialization:
    totals = {
        "pages_of_the_backfill": sum(one.pages for one in progress.values()),
        "orders_seen_by_it": sum(one.orders_seen for one in progress.values()),
        "new_events_of_it": sum(one.events_new for one in progress.values()),
        "windows": sum(one.windows for one in progress.values()),
        "report_rows_of_it": sum(one.rows for one in progress.values()),
        "source": _sources(progress),
    }
    return dg.AssetMaterialization("order_events", partition=day.isoformat(), metadata=totals)


def _sources(progress: Mapping[str, BackfillProgress]) -> str:
    return " | ".join(sorted({one.source for one in progress.values()}))


class _Teller:
    """Waits, and says in the log and as an observation of the asset how far it is; at most every ten minutes."""

    def __init__(self, context: dg.AssetExecutionContext, store: StoreResource) -> None:
        self._context, self._store = context, store
        self._told_at: datetime | None = None

    def wait_until(
        self, resume_at: datetime, progress: Mapping[str, BackfillProgress], waiting: Collection[ServedAccount]
    ) -> None:
        now = self._store.database().now()
        if self._told_at is None or now - self._told_at >= TOLD_EVERY:
            self._told_at = now
            self._tell(now, resume_at, progress, waiting)
        time.sleep(max((resume_at - now).total_seconds(), 0.0))

    def _tell(
        self,
        now: datetime,
        resume_at: datetime,
        progress: Mapping[str, BackfillProgress],
        waiting: Collection[ServedAccount],
    ) -> None:
        quota = {account.account_id: search_quota(account) for account in waiting}
        reasons = {progress[one].waits_for for one in quota}
        known = {one: pages for one in quota if (pages := progress[one].pages_left) is not None}
        # The slowest account's; without a number of pages there is no telling.
        seconds = [pages / quota[one][1] for one, pages in known.items()] if len(known) == len(quota) else []
        ends = f"about {_utc(now + timedelta(seconds=max(seconds)))}" if seconds else "unknown"
        reports = sum(one.reports for one in progress.values())
        read = sum(one.reports_read for one in progress.values())
        if read < reports:
            ends = "unknown: Amazon makes a report in minutes to hours"
        shown = {
            "source": _sources(progress),
            "reports": reports,
            "reports_read": read,
            "report_rows": sum(one.rows for one in progress.values()),
            "pages": sum(one.pages for one in progress.values()),
            "pages_left": sum(known.values()) if seconds else "unknown",
            "calls_left": round(sum(tokens for tokens, _ in quota.values()), 1),
            "waits_for": "; ".join(sorted(reasons)),
            "waits_until": _utc(resume_at),
            "ends": ends,
        }
        self._context.log.info(
            "%s of %s reports and %s pages are read, %s pages are left (estimated); it waits for %s until %s (%s), "
            "and ends: %s. Source: %s.",
            read,
            reports,
            shown["pages"],
            shown["pages_left"],
            shown["waits_for"],
            shown["waits_until"],
            duration((resume_at - now).total_seconds()),
            ends,
            shown["source"],
        )
        self._context.log_event(dg.AssetObservation("order_events", metadata=shown))


def _utc(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"
