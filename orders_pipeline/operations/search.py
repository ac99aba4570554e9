"""Search Amazon for one account: the hourly sweep, and a day that a person asks for."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime

from orders_pipeline.intake.search import SearchTotals, day_window, resumed_window, search_events
from orders_pipeline.intake.search_windows import finish_given_up, given_up_searches
from orders_pipeline.intake.sweep import first_sweep_from, sweep_orders
from orders_pipeline.model.order import Priority
from orders_pipeline.operations.accounts import Numbers
from orders_pipeline.operations.deployment import ServedAccount
from orders_pipeline.operations.overdue import SWEEP, work_is_done
from orders_pipeline.orders.ownership import note_start

_BACKFILL = "backfill"


@dataclass(frozen=True, slots=True)
class DaySearch:
    """How far the search of a day came. `resume_at`: when the quota allows the next page, if it is not finished."""

    numbers: Numbers
    pages: int
    resume_at: datetime | None


def sweep(account: ServedAccount) -> Numbers:
    """Find what no notification told since the last sweep. Raises AmazonError."""
    with account.transaction() as tx:
        note_start(tx, account.settings.start_at)
    swept = sweep_orders(
        account.amazon.orders,
        account.database,
        account_id=account.account_id,
        marketplace_ids=account.marketplace_ids,
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


def search_day(account: ServedAccount, day: date) -> DaySearch:
    """Record every order that changed on this UTC day, as far as the quota allows now. Raises AmazonError."""
    now = account.database.now()
    window = day_window(day, now, account.marketplace_ids)
    totals = SearchTotals(finished=True)
    if window is not None:
        with account.transaction() as tx:
            note_start(tx, account.settings.start_at)
            window = resumed_window(tx, _BACKFILL, window)
        totals = search_events(
            account.amazon.orders,
            account.database,
            window,
            account_id=account.account_id,
            purpose=_BACKFILL,
            priority=Priority.BACKFILL,
        )
    if totals.finished:
        with account.transaction() as tx:
            finish_given_up(tx)
    return DaySearch(_numbers(totals), totals.pages, None if totals.finished else totals.resume_at or now)


def _numbers(totals: SearchTotals) -> dict[str, int | str]:
    """As shown: a truth value is 1 or 0, so that accounts add up."""
    return {name: int(value) if isinstance(value, bool) else value for name, value in totals.as_metadata().items()}
