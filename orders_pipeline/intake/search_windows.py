"""Queries of searches: how far each window has been read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, case, func, or_, select, text, true, update
from sqlalchemy.dialects.postgresql import insert

from orders_pipeline.database.engine import AccountTransaction, AnyRow
from orders_pipeline.intake.tables import search_windows
from orders_pipeline.model.order import SearchWindow
from orders_pipeline.model.untrusted_text import LONGEST_ERROR, bounded_text


@dataclass(frozen=True, slots=True)
class StoredSearch:
    """How far one search has been read. `parameters` are the first page's, to be repeated exactly.

    `from_report`: its days are read from a report; then `orders_seen` counts the rows of it.
    """

    window_id: int
    updated_after: datetime
    updated_before: datetime
    parameters: dict[str, Any]
    page_token: str | None
    page_token_at: datetime | None
    finished: bool
    pages: int
    orders_seen: int
    events_new: int

    @property
    def from_report(self) -> bool:
        return self.parameters.get("source") == "report"

    @property
    def window(self) -> SearchWindow:
        return SearchWindow(
            self.updated_after,
            self.updated_before,
            tuple(self.parameters["marketplace_ids"]),
            tuple(self.parameters["fulfilled_by"]),
        )


def open_search(
    tx: AccountTransaction, purpose: str, updated_after: datetime, updated_before: datetime, parameters: dict[str, Any]
) -> StoredSearch:
    """The stored progress of this window; begun now if it is new."""
    tx.execute(
        insert(search_windows)
        .values(
            account_id=tx.account_id,
            purpose=purpose,
            updated_after=updated_after,
            updated_before=updated_before,
            parameters=parameters,
        )
        .on_conflict_do_nothing()
    )
    row = tx.execute(
        select(search_windows).where(
            search_windows.c.account_id == tx.account_id,
            search_windows.c.purpose == purpose,
            search_windows.c.updated_after == updated_after,
            search_windows.c.updated_before == updated_before,
        )
    ).one()
    return stored_search(row)


def stored_search(row: AnyRow) -> StoredSearch:
    """A row of `search_windows` as a value."""
    return StoredSearch(
        window_id=row.window_id,
        updated_after=row.updated_after,
        updated_before=row.updated_before,
        parameters=row.parameters,
        page_token=row.page_token,
        page_token_at=row.page_token_at,
        finished=row.finished_at is not None,
        pages=row.pages,
        orders_seen=row.orders_seen,
        events_new=row.events_new,
    )


def unfinished_search(tx: AccountTransaction, purpose: str) -> StoredSearch | None:
    """The oldest search of this purpose that has not come to its end."""
    row = tx.execute(
        select(search_windows.c.updated_after, search_windows.c.updated_before, search_windows.c.parameters)
        .where(
            search_windows.c.account_id == tx.account_id,
            search_windows.c.purpose == purpose,
            search_windows.c.finished_at.is_(None),
            search_windows.c.given_up_at.is_(None),
        )
        .order_by(search_windows.c.window_id)
        .limit(1)
    ).one_or_none()
    if row is None:
        return None
    return open_search(tx, purpose, row.updated_after, row.updated_before, row.parameters)


def newest_search(tx: AccountTransaction, purpose: str, *, since: datetime) -> StoredSearch | None:
    """The search of this purpose that looks furthest, if it was begun since then."""
    row = tx.execute(
        select(search_windows)
        .where(
            search_windows.c.account_id == tx.account_id,
            search_windows.c.purpose == purpose,
            search_windows.c.started_at >= since,
        )
        .order_by(search_windows.c.updated_before.desc())
        .limit(1)
    ).one_or_none()
    return None if row is None else stored_search(row)


def latest_finished_until(tx: AccountTransaction, purpose: str) -> datetime | None:
    """Up to when (exclusive) searches of this purpose have looked; one that was given up is over too."""
    return tx.execute(
        select(func.max(search_windows.c.updated_before)).where(
            search_windows.c.account_id == tx.account_id,
            search_windows.c.purpose == purpose,
            or_(search_windows.c.finished_at.is_not(None), search_windows.c.given_up_at.is_not(None)),
        )
    ).scalar_one()


def save_page(
    connection: Connection, search: StoredSearch, next_page_token: str | None, orders_seen: int, events_new: int
) -> StoredSearch:
    """Note that one page has been recorded; a search without a next page is finished.

    Failures are forgotten only when a page is read that failed, or one beyond: the pages before it prove nothing.
    """
    columns, done = search_windows.c, next_page_token is None
    forgiven = true() if done else columns.page_number + 1 >= func.coalesce(columns.failed_page, 0)
    connection.execute(
        update(search_windows)
        .where(search_windows.c.window_id == search.window_id)
        .values(
            page_token=next_page_token,
            page_token_at=func.clock_timestamp() if next_page_token else None,
            pages=search_windows.c.pages + 1,
            page_number=search_windows.c.page_number + 1,
            orders_seen=search_windows.c.orders_seen + orders_seen,
            events_new=search_windows.c.events_new + events_new,
            finished_at=func.clock_timestamp() if done else None,
            failures=case((forgiven, 0), else_=columns.failures),
            outages=case((forgiven, 0), else_=columns.outages),
            last_error=case((forgiven, None), else_=columns.last_error),
        )
    )
    return replace(search, page_token=next_page_token, finished=done, pages=search.pages + 1)


def restart_search(connection: Connection, search: StoredSearch) -> StoredSearch:
    """Begin the window again from its first page: its page token has expired, or someone asked for it anew."""
    anew: dict[str, Any] = {"failures": 0, "outages": 0, "failed_page": None} if search.finished else {}
    connection.execute(
        update(search_windows)
        .where(search_windows.c.window_id == search.window_id)
        .values(page_token=None, page_token_at=None, page_number=0, finished_at=None, given_up_at=None, **anew)
    )
    return replace(search, page_token=None, page_token_at=None, finished=False)


def fail_search(connection: Connection, window_id: int, error: str, *, outage: bool) -> int:
    """Note that the search of this window failed; how often it has, for this kind of reason.

    After an outage of Amazon's it goes on at the page that failed: at a page of quota in three minutes, a long window
    that began anew each time would never end. After any other failure it is begun anew: its token may be the reason.
    """
    columns = search_windows.c
    count = columns.outages if outage else columns.failures
    values: dict[str, Any] = {} if outage else {"page_token": None, "page_token_at": None, "page_number": 0}
    error = bounded_text(error, LONGEST_ERROR) or ""
    return connection.execute(
        update(search_windows)
        .where(columns.window_id == window_id)
        .values(
            last_error=error,
            failed_page=func.greatest(columns.failed_page, columns.page_number + 1),
            **{count.name: count + 1},
            **values,
        )
        .returning(count)
    ).scalar_one()


def give_up_search(connection: Connection, window_id: int) -> None:
    connection.execute(
        update(search_windows).where(search_windows.c.window_id == window_id).values(given_up_at=func.clock_timestamp())
    )


def finish_given_up(tx: AccountTransaction) -> list[int]:
    """The given-up windows that later searches, of any purpose, have covered: they count as finished from now on."""
    return list(
        tx.execute(
            text("""
                update pipeline.search_windows w set finished_at = clock_timestamp()
                where w.account_id = :account_id and w.given_up_at is not null and w.finished_at is null
                and coalesce((select range_agg(tstzrange(f.updated_after, f.updated_before))
                from pipeline.search_windows f where f.account_id = w.account_id and f.finished_at > w.given_up_at
                and f.purpose <> 'listing')
                @> tstzrange(w.updated_after, w.updated_before), false) returning w.window_id
            """),
            {"account_id": tx.account_id},
        ).scalars()
    )


def given_up_searches(tx: AccountTransaction) -> Sequence[AnyRow]:
    """(window_id, purpose, updated_after, updated_before, failures, last_error, given_up_at), not yet made good."""
    statement = (
        select(
            search_windows.c.window_id,
            search_windows.c.purpose,
            search_windows.c.updated_after,
            search_windows.c.updated_before,
            (search_windows.c.failures + search_windows.c.outages).label("failures"),
            search_windows.c.last_error,
            search_windows.c.given_up_at,
        )
        .where(
            search_windows.c.account_id == tx.account_id,
            search_windows.c.given_up_at.is_not(None),
            search_windows.c.finished_at.is_(None),
        )
        .order_by(search_windows.c.updated_after)
    )
    return list(tx.execute(statement))


def given_up_until(tx: AccountTransaction, purpose: str) -> datetime | None:
    """The end of the latest window of this purpose that was given up and not made good."""
    return tx.execute(
        select(func.max(search_windows.c.updated_before)).where(*_given_up(tx.account_id, purpose))
    ).scalar_one()


def given_up_since(tx: AccountTransaction, purpose: str, not_before: datetime) -> datetime | None:
    """The beginning of the earliest window of this purpose that was given up and not made good, of those from then."""
    return tx.execute(
        select(func.min(search_windows.c.updated_after)).where(
            *_given_up(tx.account_id, purpose), search_windows.c.updated_after >= not_before
        )
    ).scalar_one()


def _given_up(account_id: str, purpose: str) -> tuple[ColumnElement[bool], ...]:
    return (
        search_windows.c.account_id == account_id,
        search_windows.c.purpose == purpose,
        search_windows.c.given_up_at.is_not(None),
        search_windows.c.finished_at.is_(None),
    )
