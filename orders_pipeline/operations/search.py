"""Search Amazon for one account: the hourly sweep, and the days that a person asks for."""

from __future__ import annotations

from dataclasses import replace

from orders_pipeline.intake.backfill import BackfillProgress, read_days
from orders_pipeline.intake.backfill_plan import Days, adjoined
from orders_pipeline.intake.backfill_windows import end_request
from orders_pipeline.intake.search import SearchTotals
from orders_pipeline.intake.search_windows import finish_given_up, given_up_searches
from orders_pipeline.intake.sweep import first_sweep_from, sweep_orders
from orders_pipeline.operations.accounts import Numbers
from orders_pipeline.operations.deployment import ServedAccount
from orders_pipeline.operations.history import ORDERS_REPORT, HistoryReports
from orders_pipeline.operations.overdue import SWEEP, work_is_done
from orders_pipeline.orders.ownership import note_start
from orders_pipeline.reports.rows import finish_reports_within


def sweep(account: ServedAccount) -> Numbers:
    """Find what no notification told since the last sweep. Raises AmazonError."""
    with account.transaction() as tx:
        note_start(tx, account.settings.start_at)
    swept = sweep_orders(
        account.amazon.orders,
        account.database,
        account_id=account.account_id,
        marketplace_ids=account.marketplace_ids,
        fulfilled_by=account.settings.searched_fulfillers,
    )
    with account.transaction() as tx:
        given_up = given_up_searches(tx)
        not_before = first_sweep_from(tx)
    if swept.search.finished:
        work_is_done(account.database, account_id=account.account_id, work=SWEEP)
    numbers: dict[str, int | str] = {**_numbers(swept.search), "missed": swept.missed, "given_up": len(given_up)}
    if swept.window is not None:
        numbers["from"] = swept.window.updated_after.isoformat()
        numbers["until"] = swept.window.updated_before.isoformat()
    if not_before is not None:
        numbers["not_further_back_than"] = (
            f"{not_before.isoformat()}: the first start of this account; what changed before is an old process's"
        )
    return numbers


def read_span(account: ServedAccount, days: Days, request: str) -> BackfillProgress:
    """Record every order that changed on these days, as far as the quota and reports allow now. Raises AmazonError.

    `request`: what asked for them. They are read from reports or searches, as ORDERS_HISTORY_SOURCE has it.
    """
    with account.transaction() as tx:
        note_start(tx, account.settings.start_at)
    reports = HistoryReports(account)
    progress = read_days(
        account.amazon.orders,
        account.database,
        days,
        account_id=account.account_id,
        request=request,
        marketplace_ids=account.marketplace_ids,
        fulfilled_by=account.settings.searched_fulfillers,
        reports=reports,
    )
    with account.transaction() as tx:
        if progress.complete:
            finish_given_up(tx)
        for span in adjoined(progress.complete):
            finish_reports_within(tx, ORDERS_REPORT, span.start, span.end)
        return replace(progress, source=reports.explain(tx, days))


def search_quota(account: ServedAccount) -> tuple[float, float]:
    """(calls that Amazon would take now, calls a second) of the searches."""
    bucket = account.amazon.orders.read_quota().listing
    return bucket.tokens, bucket.rate


def end_span(account: ServedAccount, request: str) -> None:
    """All of its days are read and shown."""
    with account.transaction() as tx:
        end_request(tx, request)


def _numbers(totals: SearchTotals) -> dict[str, int | str]:
    """As shown: a truth value is 1 or 0, so that accounts add up."""
    return {name: int(value) if isinstance(value, bool) else value for name, value in totals.as_metadata().items()}
