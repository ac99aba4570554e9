"""Prune what Dagster remembers of old runs: it grows with every run, and nothing in Dagster itself makes it stop.

Dagster's history holds no buyer's data (the check `no_copies_in_clear` looks); it is pruned all the same, because
what is not kept cannot leak, and because a busy shop adds half a gigabyte a day.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from orders_pipeline.audit.log import AuditLog
from orders_pipeline.database.engine import AnyRow, Database
from orders_pipeline.operations import dagster_history_rows as queries
from orders_pipeline.operations.dagster_history_rows import Cutoffs, TableSize
from orders_pipeline.orders.rows import orders_of_the_last_day
from orders_pipeline.privacy import rules
from orders_pipeline.privacy.check_result import CheckResult

KEEP_DAYS = 30
# These run all day, up to some thousand times, and nobody reads how one succeeded a week ago.
FREQUENT_JOBS = ("sync_orders", "confirm_shipments", "erase_at_warehouse")
KEEP_FREQUENT_DAYS = 3
JOBS_SHOWN = 20
RUNS_A_BATCH = 200
EVENTS_A_BATCH = 5_000
# A nightly prune that fails, and fails again, is still green.
PATIENCE = timedelta(days=3)


@dataclass(slots=True)
class HistoryTotals:
    """What went, by table. `unfinished`: the deadline came; the next call goes on."""

    gone: Counter[str] = field(default_factory=Counter[str])
    unfinished: bool = False

    def as_metadata(self) -> dict[str, int | bool]:
        return {**{f"{table}_gone": rows for table, rows in sorted(self.gone.items())}, "unfinished": self.unfinished}


def prune_history(
    dagster: Database,
    audit: AuditLog,
    *,
    keep: timedelta = timedelta(days=KEEP_DAYS),
    keep_frequent: timedelta = timedelta(days=KEEP_FREQUENT_DAYS),
    deadline_seconds: float = 1_800.0,
    clock: Callable[[], float] = time.monotonic,
) -> HistoryTotals:
    """Delete runs that ended longer ago than `keep`, with their events, and old results of checks and backfills.

    Runs of FREQUENT_JOBS that succeeded, and what sensors reported without a run, go after `keep_frequent` (if that is
    shorter).

    `dagster` is Dagster's own database. Safe to repeat, and beside a working Dagster: nothing of a run that has not
    ended is touched, nor the newest event of each asset and partition.
    """
    cutoffs = _cutoffs(dagster, keep, keep_frequent)
    ends = clock() + deadline_seconds
    totals = HistoryTotals()

    def goes_on() -> bool:
        totals.unfinished |= clock() >= ends
        return not totals.unfinished

    after = 0
    while goes_on():
        with dagster.begin() as connection:
            runs = queries.old_runs(connection, cutoffs, after, RUNS_A_BATCH)
            events_gone, runs_gone = queries.delete_runs(connection, [run.run_id for run in runs])
        totals.gone["event_logs"] += events_gone
        totals.gone["runs"] += runs_gone
        if _is_last(runs, RUNS_A_BATCH):
            break
        after = runs[-1].id
    after = 0
    while goes_on():
        with dagster.begin() as connection:
            events = queries.old_runless_events(connection, cutoffs.frequent, after, EVENTS_A_BATCH)
            totals.gone["event_logs"] += queries.delete_runless_events(connection, [event.id for event in events])
        if _is_last(events, EVENTS_A_BATCH):
            break
        after = events[-1].id
    while goes_on():
        with dagster.begin() as connection:
            results_gone = queries.delete_old_check_results(connection, cutoffs.all, EVENTS_A_BATCH)
        totals.gone["asset_check_executions"] += results_gone
        if results_gone < EVENTS_A_BATCH:
            break
    if goes_on():
        with dagster.begin() as connection:
            totals.gone["bulk_actions"] += queries.delete_old_backfills(connection, cutoffs.all)
    if any(totals.gone.values()):
        audit.record(
            None,
            action="purge_history",
            account_id="*",
            purpose=f"Dagster's runs and events older than {keep.days} days, frequent ones than {keep_frequent.days}",
            outcome="unfinished" if totals.unfinished else "done",
            detail={table: rows for table, rows in sorted(totals.gone.items()) if rows},
        )
    return totals


@dataclass(frozen=True, slots=True)
class HistorySize:
    """How much there is, by table; what the last day added, by job and for its `orders`."""

    tables: Sequence[TableSize]
    jobs: Sequence[AnyRow]
    orders: int

    def as_metadata(self) -> dict[str, int | float]:
        """Without orders there is nothing to compare with."""
        shown: dict[str, int | float] = {"megabytes": round(sum(size.bytes for size in self.tables) / 1e6, 1)}
        added = sum(size.bytes_of_the_last_day for size in self.tables)
        shown["megabytes_of_the_last_day"] = round(added / 1e6, 1)
        if self.orders:
            events = sum(size.rows_of_the_last_day for size in self.tables if size.name == "event_logs")
            shown["orders_of_the_last_day"] = self.orders
            shown["event_rows_per_order"] = round(events / self.orders, 3)
            shown["megabytes_per_1000_orders"] = round(added / self.orders / 1000, 3)
        return shown


def history_size(dagster: Database, orders: Database) -> HistorySize:
    """What Dagster remembers, and how much of it a day of orders costs."""
    with dagster.begin() as connection:
        tables, jobs = queries.history_sizes(connection), queries.runs_of_the_last_day(connection, JOBS_SHOWN)
    with orders.begin() as connection:
        return HistorySize(tables, jobs, orders_of_the_last_day(connection))


def history_is_pruned(
    dagster: Database,
    *,
    keep: timedelta = timedelta(days=KEEP_DAYS),
    keep_frequent: timedelta = timedelta(days=KEEP_FREQUENT_DAYS),
) -> CheckResult:
    """Nothing of Dagster's history that could go is older than it may be."""
    cutoffs = _cutoffs(dagster, keep + PATIENCE, keep_frequent + PATIENCE)
    with dagster.begin() as connection:
        runs, events = queries.count_overdue(connection, cutoffs)
    return CheckResult(
        name="history_is_pruned",
        passed=not runs and not events,
        severity="WARN",
        description=f"{runs} runs are older than {keep.days} days ({keep_frequent.days} of a frequent job that "
        f"succeeded), and {events} events without a run than {keep_frequent.days}, and are not the newest of their "
        "asset.",
        what_to_do="Start the job prune_history; its metadata says whether it ran out of time.",
        source=rules.NON_PII,
        numbers={
            "runs_overdue": runs,
            "events_overdue": events,
            "keep_days": keep.days,
            "keep_frequent_days": keep_frequent.days,
        },
    )


def _cutoffs(dagster: Database, keep: timedelta, keep_frequent: timedelta) -> Cutoffs:
    now = dagster.now()
    return Cutoffs(now - keep, now - min(keep, keep_frequent), FREQUENT_JOBS)


def _is_last(page: Sequence[AnyRow], size: int) -> bool:
    return len(page) < size
