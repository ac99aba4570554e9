"""Queries of the searches that belong to a request for days."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import func, select, text, update
from sqlalchemy.dialects.postgresql import insert

from orders_pipeline.database.engine import AccountTransaction
from orders_pipeline.intake.search_windows import StoredSearch, stored_search
from orders_pipeline.intake.tables import search_windows

FROM_REPORT = {"source": "report"}
_ANEW: dict[str, Any] = {
    **dict.fromkeys(("page_token", "page_token_at", "finished_at", "given_up_at", "failed_page", "last_error")),
    **dict.fromkeys(("page_number", "pages", "orders_seen", "events_new", "failures", "outages"), 0),
}


def searches_of_request(tx: AccountTransaction, request: str) -> Sequence[StoredSearch]:
    """All of a request's windows, oldest days first."""
    columns = search_windows.c
    statement = select(search_windows).where(columns.account_id == tx.account_id, columns.request == request)
    return [stored_search(row) for row in tx.execute(statement.order_by(columns.updated_after))]


def searches_to_join(
    tx: AccountTransaction,
    purpose: str,
    start: datetime,
    end: datetime,
    parameters: dict[str, Any],
    *,
    token_since: datetime,
) -> Sequence[StoredSearch]:
    """Windows within this time that somebody began with the same parameters, and whose page token still lives."""
    columns = search_windows.c
    statement = select(search_windows).where(
        columns.account_id == tx.account_id,
        columns.purpose == purpose,
        columns.finished_at.is_(None),
        columns.given_up_at.is_(None),
        columns.page_token_at > token_since,
        columns.updated_after >= start,
        columns.updated_before <= end,
        columns.parameters == parameters,
    )
    return [stored_search(row) for row in tx.execute(statement.order_by(columns.updated_after))]


def join_request(tx: AccountTransaction, search: StoredSearch, request: str) -> None:
    """From now on the window is read for this request, from the page where it is."""
    is_it = search_windows.c.window_id == search.window_id
    tx.execute(update(search_windows).where(is_it).values(request=request))


def begin_for_request(
    tx: AccountTransaction, purpose: str, start: datetime, end: datetime, parameters: dict[str, Any], request: str
) -> None:
    """Begin this window for the request, anew where it was read before."""
    window = {"account_id": tx.account_id, "purpose": purpose, "updated_after": start, "updated_before": end}
    values = {"parameters": parameters, "request": request}
    tx.execute(
        insert(search_windows)
        .values(**window, **values)
        .on_conflict_do_update(
            constraint="uq_search_windows_window", set_={**values, **_ANEW, "started_at": func.clock_timestamp()}
        )
    )


def finish_by_report(tx: AccountTransaction, search: StoredSearch, *, rows: int, events_new: int) -> None:
    """All of the window was read from its report."""
    is_it = search_windows.c.window_id == search.window_id
    values = {"orders_seen": rows, "events_new": events_new, "finished_at": func.clock_timestamp()}
    tx.execute(update(search_windows).where(is_it).values(**values))


def search_instead(tx: AccountTransaction, search: StoredSearch) -> None:
    """No report will tell of the window: from now on it is searched."""
    plain = {name: value for name, value in search.parameters.items() if name not in FROM_REPORT}
    tx.execute(update(search_windows).where(search_windows.c.window_id == search.window_id).values(parameters=plain))


def end_request(tx: AccountTransaction, request: str) -> None:
    """All of its days are shown as read: who asks again, even by repeating the run, has them read anew."""
    columns = search_windows.c
    is_its = (columns.account_id == tx.account_id, columns.request == request)
    tx.execute(update(search_windows).where(*is_its).values(request=None))


def orders_a_day(tx: AccountTransaction) -> float | None:
    """As the searches of the last month met them; None before the first."""
    found: float | None = tx.execute(
        text("""
            select sum(orders_seen) * 86400.0 / nullif(sum(extract(epoch from updated_before - updated_after)), 0)
            from pipeline.search_windows
            where account_id = :account_id and finished_at > clock_timestamp() - interval '30 days'
            and parameters->>'source' is distinct from 'report'
        """),
        {"account_id": tx.account_id},
    ).scalar_one()
    return float(found) if found is not None else None
