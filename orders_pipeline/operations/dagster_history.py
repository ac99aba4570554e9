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
from orders_pipeline.operations.dagster_history_rows import TableSize
from orders_pipeline.privacy import rules
from orders_pipeline.privacy.check_result import CheckResult

KEEP_DAYS = 30
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
    deadline_seconds: float = 1_800.0,
    clock: Callable[[], float] = time.monotonic,
) -> HistoryTotals:
    """Delete runs that ended longer ago than `keep`, with their events, and old events and results without a run.

    `dagster` is Dagster's own database. Safe to repeat, and beside a working Dagster: nothing of a run that has not
    ended is touched, nor the newest event of each asset and partition.
    """
    cutoff = dagster.now() - keep
    ends = clock() + deadline_seconds
    totals = HistoryTotals()

    def goes_on() -> bool:
        totals.unfinished |= clock() >= ends
        return not totals.unfinished

    after = 0
    while goes_on():
        with dagster.begin() as connection:
            runs = queries.old_runs(connection, cutoff, after, RUNS_A_BATCH)
            events_gone, runs_gone = queries.delete_runs(connection, [run.run_id for run in runs])
        totals.gone["event_logs"] += events_gone
        totals.gone["runs"] += runs_gone
        if _is_last(runs, RUNS_A_BATCH):
            break
        after = runs[-1].id
    after = 0
    while goes_on():
        with dagster.begin() as connection:
            events = queries.old_runless_events(connection, cutoff, after, EVENTS_A_BATCH)
            totals.gone["event_logs"] += queries.delete_runless_events(connection, [event.id for event in events])
        if _is_last(events, EVENTS_A_BATCH):
            break
        after = events[-1].id
    while goes_on():
        with dagster.begin() as connection:
            results_gone = queries.delete_old_check_results(connection, cutoff, EVENTS_A_BATCH)
        totals.gone["asset_check_executions"] += results_gone
        if results_gone < EVENTS_A_BATCH:
            break
    if goes_on():
        with dagster.begin() as connection:
            totals.gone["bulk_actions"] += queries.delete_old_backfills(connection, cutoff)
    if any(totals.gone.values()):
        audit.record(
            None,
            action="purge_history",
            account_id="*",
            purpose=f"Dagster's runs and events older than {keep.days} days",
            outcome="unfinished" if totals.unfinished else "done",
            detail={table: rows for table, rows in sorted(totals.gone.items()) if rows},
        )
    return totals


def history_sizes(dagster: Database) -> list[TableSize]:
    """How much there is, by table."""
    with dagster.begin() as connection:
        return queries.history_sizes(connection)


def history_is_pruned(dagster: Database, *, keep: timedelta = timedelta(days=KEEP_DAYS)) -> CheckResult:
    """Nothing of Dagster's history that could go is older than it may be."""
    cutoff = dagster.now() - keep - PATIENCE
    with dagster.begin() as connection:
        runs, events = queries.count_overdue(connection, cutoff)
    return CheckResult(
        name="history_is_pruned",
        passed=not runs and not events,
        severity="WARN",
        description=f"{runs} runs and {events} events without a run are older than {keep.days} days, and are not the "
        "newest of their asset.",
        what_to_do="Start the job prune_history; its metadata says whether it ran out of time.",
        source=rules.NON_PII,
        numbers={"runs_overdue": runs, "events_overdue": events, "keep_days": keep.days},
    )


def _is_last(page: Sequence[AnyRow], size: int) -> bool:
    return len(page) < size
