"""The daily retention: shred, purge and erase what is due, here and at the warehouse, and audit each step.

Each step is a number of short transactions and can be repeated; a run that is killed is gone on with by the next one.
What takes part: shipping details and parked messages in the vault, what the warehouse was sent, then what identifies
nobody after 18 months, then the audit log after 24; at the end one settlement, so that no old backup with an old key
opens what was shredded. Dagster's own tables are pruned by another job (`prune_history`).
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from orders_pipeline.audit.rows import count_before, may_purge
from orders_pipeline.database.clocks import now_for_retention
from orders_pipeline.database.engine import Database
from orders_pipeline.orders.erasures import Erasure, finish_erasures, open_erasures, seller_left_at
from orders_pipeline.privacy.erasure.erasure import carry_out
from orders_pipeline.privacy.erasure.key_destruction import complete_pending_shreds
from orders_pipeline.privacy.erasure.rows import warehouse_erasures_waiting
from orders_pipeline.privacy.erasure.shredding import ShredTotals, each_alone_if_need_be, purpose, shred_due
from orders_pipeline.privacy.erasure.warehouse_erasure import ERASED, REQUESTS_FINISHED, erase_at_warehouse
from orders_pipeline.privacy.retention.database_clock import mend_times
from orders_pipeline.privacy.retention.purge import BY_AGE, count_old, purge_by_age, purge_orders
from orders_pipeline.privacy.retention.retained import every_retained, next_retained
from orders_pipeline.privacy.retention.rows import count_other_records_due, count_retained, other_records_due
from orders_pipeline.privacy.rules import SOURCES, WORDS, Rule
from orders_pipeline.vault.access import SHRED_BATCH, Vault
from orders_pipeline.vault.rotation import pending_shreds
from orders_pipeline.vault.shipping_details import SHIPPING_DETAILS
from orders_pipeline.wms.port import WarehousePort
from orders_pipeline.work.progress import Notify, Progress, silent
from orders_pipeline.work.tally import Totals

# 18 months of 30.4 days, as the policy has it for what identifies nobody.
NON_PII_LIFE = timedelta(days=548)
# 24 months; the database refuses to purge anything of the last 12.
AUDIT_LIFE = timedelta(days=731)
PURGE_BATCH = 5_000
ROWS_SHOWN = 50
PARKED = "parked_message"


@dataclass(frozen=True, slots=True)
class PlannedRow:
    """One thing that would go. `what`: shipping_details, warehouse copy, parked_message, or a table."""

    what: str
    subject: str
    rule: Rule
    due_at: datetime


@dataclass(frozen=True, slots=True)
class RetentionPlan:
    """What a run would do at that time: all of it counted, the first rows shown."""

    at: datetime
    counts: dict[tuple[str, Rule], int]
    rows: tuple[PlannedRow, ...]

    @property
    def would_go(self) -> int:
        return sum(self.counts.values())

    @property
    def would_shred(self) -> int:
        return sum(count for (what, _), count in self.counts.items() if what == SHIPPING_DETAILS)

    def by_rule(self) -> list[tuple[str, str, int, str, str]]:
        """(what, rule, how many, why, source), for a table."""
        return [
            (what, rule.value, count, WORDS[rule], SOURCES[rule]) for (what, rule), count in sorted(self.counts.items())
        ]


@dataclass(slots=True)
class RetentionTotals(ShredTotals):
    """What a run did. `unfinished`: the deadline came; the next run goes on. Nothing here identifies anybody."""

    warehouse_erased: int = 0
    warehouse_failed: int = 0
    warehouse_waiting: int = 0
    purged: Counter[str] = field(default_factory=Counter[str])
    times_mended: int = 0
    shreds_completed: int = 0
    shreds_pending: int = 0
    erasures_finished: int = 0
    # This login is no member of orders_pipeline_retention: what is too old of the audit log stays, and a check says so.
    audit_purge_refused: bool = False
    unfinished: bool = False

    def add(self, other: Totals) -> None:
        """As any totals; but what is pending is every account's, as it is now."""
        Totals.add(self, other)
        if isinstance(other, RetentionTotals):
            self.shreds_pending = other.shreds_pending

    def by_rule(self) -> list[tuple[str, str, int, str, str]]:
        """(what, rule, how many, why, source), for a table."""
        rows = [("vault", rule, count) for rule, count in sorted(self.shredded.items()) if count]
        rows += [
            (table, Rule.AUDIT_LOG if table == "audit_entries" else Rule.NON_PII, count)
            for table, count in sorted(self.purged.items())
            if count
        ]
        return [(what, rule.value, count, WORDS[rule], SOURCES[rule]) for what, rule, count in rows]


def plan_retention(
    database: Database, *, account_id: str, at: datetime | None = None, rows_shown: int = ROWS_SHOWN
) -> RetentionPlan:
    """The dry run: what `apply_retention` would do now, or at the time given, and why. Changes nothing.

    It takes the warehouse to answer; orders are counted without the rows that go with them.
    """
    at = at or now_for_retention(database)
    counts: Counter[tuple[str, Rule]] = Counter()
    rows: list[PlannedRow] = []

    def add(what: str, subject: str, rule: Rule, due_at: datetime) -> None:
        counts[what, rule] += 1
        if len(rows) < rows_shown:
            rows.append(PlannedRow(what, subject, rule, due_at))

    for order in every_retained(database, account_id):
        ours, theirs = order.must_go(at), order.warehouse_must_erase(at) or order.erasure_requested
        if ours:
            add(SHIPPING_DETAILS, order.order_id, order.due.rule, order.due.due_at)
        if order.warehouse_must_erase(at):
            add("warehouse copy", order.order_id, order.due.rule, order.due.warehouse_due_at)
        if order.bought_at < at - NON_PII_LIFE and (ours or not order.in_vault) and (theirs or not order.at_warehouse):
            # Once the buyer's data are gone, the rest of the order is old enough in the same run.
            add("orders", order.order_id, Rule.NON_PII, order.bought_at + NON_PII_LIFE)
    with database.transaction(account_id) as tx:
        others = count_other_records_due(tx, order_kind=SHIPPING_DETAILS, at=at)
        if others:
            counts[PARKED, Rule.PARKED_MESSAGE] = others
        left_at = seller_left_at(tx)
        for table, old in count_old(tx, at - NON_PII_LIFE, left_at=left_at).items():
            counts[table, Rule.NON_PII] += old
        if old_entries := count_before(tx.connection, at - AUDIT_LIFE):
            counts["audit_entries", Rule.AUDIT_LOG] = old_entries
    return RetentionPlan(at, dict(counts), tuple(rows))


def apply_retention(
    database: Database,
    vault: Vault,
    warehouse: WarehousePort | None,
    *,
    account_id: str,
    complete_shreds: bool = True,
    deadline_seconds: float = 3600.0,
    clock: Callable[[], float] = time.monotonic,
    notify: Notify = silent,
) -> RetentionTotals:
    """Do all that is due, until it is done or the deadline has come. `notify` hears now and then how far it is.

    `complete_shreds` makes the shreds final for old backups too: only the nightly run does so.
    Without a warehouse what it owes stays due.
    """
    ends = clock() + deadline_seconds
    totals = RetentionTotals()
    totals.times_mended = mend_times(database, vault.audit)
    _go_on_with_erasures(database, vault, account_id, totals)
    _shred_orders(database, vault, account_id, totals, lambda: clock() < ends, notify)
    _shred_others(database, vault, account_id, totals, lambda: clock() < ends)
    if warehouse is not None:
        erased = erase_at_warehouse(
            database, vault.audit, warehouse, account_id=account_id, deadline_seconds=ends - clock(), clock=clock
        )
        totals.warehouse_erased = erased.outcomes.get(ERASED, 0)
        totals.warehouse_failed = sum(erased.errors.values())
        totals.erasures_finished = erased.outcomes.get(REQUESTS_FINISHED, 0)
    with database.transaction(account_id) as tx:
        totals.erasures_finished += finish_erasures(tx)
    _purge_orders(database, vault, account_id, totals, lambda: clock() < ends)
    if complete_shreds:
        # Before the audit log is purged: nothing that can be refused may come between a shred and its settlement.
        totals.shreds_completed = complete_pending_shreds(database, vault, notify=notify)
    totals.shreds_pending = pending_shreds(database).records
    _purge_audit_log(database, vault, totals, lambda: clock() < ends)
    with database.transaction(account_id) as tx:
        totals.warehouse_waiting, _ = warehouse_erasures_waiting(tx, older_than=timedelta())
    return totals


def _go_on_with_erasures(database: Database, vault: Vault, account_id: str, totals: RetentionTotals) -> None:
    """Requests whose process died before all was done on our side."""
    with database.transaction(account_id) as tx:
        left_open = [one for one in open_erasures(tx) if one.shredded_at is None]

    def go_on(requests: Sequence[Erasure]) -> None:
        for one in requests:
            totals.add(carry_out(database, vault, account_id, one))

    # One that meets a lock stays open for the next run, and holds up nobody else's.
    totals.failed += sum(each_alone_if_need_be(go_on, [one]) for one in left_open)


def _shred_orders(
    database: Database,
    vault: Vault,
    account_id: str,
    totals: RetentionTotals,
    goes_on: Callable[[], bool],
    notify: Notify,
) -> None:
    with database.transaction(account_id) as tx:
        progress = Progress("orders examined", count_retained(tx, SHIPPING_DETAILS), notify)
    at = now_for_retention(database)
    after = ""
    while True:
        with database.transaction(account_id) as tx:
            page = next_retained(tx, after)
        if not page:
            break
        if not goes_on():
            totals.unfinished = True
            break
        shred_due(database, vault, account_id=account_id, orders=page, at=at, totals=totals)
        progress.advance(len(page))
        after = page[-1].order_id


def _shred_others(
    database: Database, vault: Vault, account_id: str, totals: RetentionTotals, goes_on: Callable[[], bool]
) -> None:
    at = now_for_retention(database)
    while goes_on():
        with database.transaction(account_id) as tx:
            due = other_records_due(tx, order_kind=SHIPPING_DETAILS, at=at, limit=SHRED_BATCH)
        by_kind: defaultdict[str, list[str]] = defaultdict(list)
        for row in due:
            by_kind[row.kind].append(row.subject_id)
        failed = 0
        for kind, subjects in by_kind.items():

            def shred(some: Sequence[str], kind: str = kind) -> None:
                with database.transaction(account_id) as tx:
                    gone = vault.shred_many(
                        tx, kind=kind, subject_ids=some,
                        reason=purpose(Rule.PARKED_MESSAGE))  # fmt: skip
                totals.shredded[Rule.PARKED_MESSAGE] += len(gone)

            failed += each_alone_if_need_be(shred, subjects)
        totals.failed += failed
        # A failed one would be first again.
        if len(due) < SHRED_BATCH or failed:
            return
    totals.unfinished = True


def _purge_orders(
    database: Database, vault: Vault, account_id: str, totals: RetentionTotals, goes_on: Callable[[], bool]
) -> None:
    now = now_for_retention(database)
    cutoff = now - NON_PII_LIFE
    with database.transaction(account_id) as tx:
        left_at = seller_left_at(tx)
    gone: Counter[str] = Counter()
    while goes_on():
        with database.transaction(account_id) as tx:
            rows = purge_orders(tx, cutoff, PURGE_BATCH, left_at=left_at)
        gone.update(rows)
        if not rows:
            break
    for table in BY_AGE:
        while goes_on():
            with database.transaction(account_id) as tx:
                rows_gone = purge_by_age(tx, table, cutoff, PURGE_BATCH)
            gone[table] += rows_gone
            if rows_gone < PURGE_BATCH:
                break
    if any(gone.values()):
        vault.audit.record(
            None,
            action="purge",
            account_id=account_id,
            purpose=purpose(Rule.NON_PII),
            outcome="done",
            detail={table: rows for table, rows in sorted(gone.items()) if rows},
        )
    totals.purged.update(gone)


def _purge_audit_log(database: Database, vault: Vault, totals: RetentionTotals, goes_on: Callable[[], bool]) -> None:
    if not goes_on():
        totals.unfinished = True
        return
    cutoff = now_for_retention(database) - AUDIT_LIFE
    with database.begin() as connection:
        old = count_before(connection, cutoff)
        totals.audit_purge_refused = bool(old) and not may_purge(connection)
    if old and not totals.audit_purge_refused:
        totals.purged["audit_entries"] += vault.audit.purge_before(cutoff)
