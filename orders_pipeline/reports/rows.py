"""Queries of the reports that were wanted."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert

from orders_pipeline.database.engine import AccountTransaction, AnyRow
from orders_pipeline.model.report import Report, ReportSpecification, ReportState
from orders_pipeline.model.untrusted_text import LONGEST_ERROR, bounded_text
from orders_pipeline.reports.tables import report_requests
from orders_pipeline.work.jobs import Queue
from orders_pipeline.work.queue import ZERO, enqueue, withdraw


@dataclass(frozen=True, slots=True)
class ReportRequest:
    """One report that is wanted. `attempts`: how many reports Amazon was asked to make for it. Times aware, UTC."""

    request_id: int
    wanted: ReportSpecification
    state: ReportState
    report_id: str | None
    document_id: str | None
    attempts: int
    rows_read: int
    rows_unreadable: int
    events_new: int
    requested_at: datetime
    finished_at: datetime | None
    problem: str | None

    @property
    def subject(self) -> str:
        """The subject of its job."""
        return str(self.request_id)


def want_report(tx: AccountTransaction, wanted: ReportSpecification) -> ReportRequest:
    """The request for this report, made now if it is new; then its job is due."""
    made = insert(report_requests).values(**_key(tx, wanted), state=ReportState.WANTED).on_conflict_do_nothing()
    is_new = tx.execute(made.returning(report_requests.c.request_id)).scalar_one_or_none() is not None
    request = wanted_report(tx, wanted)
    assert request is not None
    if is_new:
        enqueue(tx, Queue.REPORT, [request.subject])
    return request


def wanted_report(tx: AccountTransaction, wanted: ReportSpecification) -> ReportRequest | None:
    """The request for this report, if there is one."""
    same = [report_requests.c[name] == value for name, value in _key(tx, wanted).items()]
    row = tx.execute(select(report_requests).where(*same)).one_or_none()
    return None if row is None else _request(row)


def report_request(tx: AccountTransaction, request_id: int) -> ReportRequest | None:
    """The request of this id; None once it is purged."""
    row = tx.execute(select(report_requests).where(*_is(tx, request_id))).one_or_none()
    return None if row is None else _request(row)


def save_report(tx: AccountTransaction, request_id: int, report: Report, *, created: bool = False) -> None:
    """Note where Amazon has it. `created`: it was made for this request just now."""
    values: dict[str, Any] = {
        "state": report.state,
        "report_id": report.report_id,
        "document_id": report.document_id,
        "attempts": report_requests.c.attempts + int(created),
    }
    _change(tx, request_id, values)


def want_again(tx: AccountTransaction, request_id: int, *, due_in: timedelta = ZERO, after_failure: bool) -> None:
    """Begin anew, with another report: this one failed, or a person wants to see the data as they are now."""
    # Whoever asks anew waits from now on.
    values: dict[str, Any] = {} if after_failure else {"attempts": 0, "requested_at": func.clock_timestamp()}
    values |= {"report_id": None, "document_id": None, "rows_read": 0, "rows_unreadable": 0, "events_new": 0}
    _change(tx, request_id, {**values, "state": ReportState.WANTED, "finished_at": None, "problem": None})
    enqueue(tx, Queue.REPORT, [str(request_id)], due_in=due_in)


def save_rows(tx: AccountTransaction, request_id: int, *, rows: int, unreadable: int, events_new: int) -> None:
    """Note that so many more rows of its document are recorded."""
    columns = report_requests.c
    _change(
        tx,
        request_id,
        {
            "rows_read": columns.rows_read + rows,
            "rows_unreadable": columns.rows_unreadable + unreadable,
            "events_new": columns.events_new + events_new,
        },
    )


def fail_report(tx: AccountTransaction, request_id: int, problem: str) -> None:
    """No report will come of it. `problem` holds no buyer's data: it is shown."""
    _change(tx, request_id, {"state": ReportState.FATAL, "problem": bounded_text(problem, LONGEST_ERROR)})


def finish_report(tx: AccountTransaction, request_id: int) -> None:
    """Its data are recorded, from its document or in another way: nothing more is to be done about it."""
    _change(tx, request_id, {"finished_at": func.clock_timestamp()})
    withdraw(tx, Queue.REPORT, [str(request_id)])


def finish_reports_within(tx: AccountTransaction, report_type: str, start: datetime, end: datetime) -> None:
    """Data of this time are recorded otherwise: nothing more is to be done about reports of it that did not come."""
    columns = report_requests.c
    statement = select(columns.request_id).where(
        columns.account_id == tx.account_id,
        columns.report_type == report_type,
        columns.finished_at.is_(None),
        columns.data_start >= start,
        columns.data_end <= end,
    )
    for request_id in list(tx.execute(statement).scalars()):
        finish_report(tx, request_id)


def _change(tx: AccountTransaction, request_id: int, values: dict[str, Any]) -> None:
    tx.execute(update(report_requests).where(*_is(tx, request_id)).values(**values, changed_at=func.clock_timestamp()))


def _is(tx: AccountTransaction, request_id: int) -> tuple[Any, ...]:
    return (report_requests.c.account_id == tx.account_id, report_requests.c.request_id == request_id)


def _key(tx: AccountTransaction, wanted: ReportSpecification) -> dict[str, Any]:
    return {
        "account_id": tx.account_id,
        "report_type": wanted.report_type,
        "marketplace_ids": sorted(wanted.marketplace_ids),
        "data_start": wanted.data_start,
        "data_end": wanted.data_end,
    }


def _request(row: AnyRow) -> ReportRequest:
    return ReportRequest(
        request_id=row.request_id,
        wanted=ReportSpecification(row.report_type, row.data_start, row.data_end, tuple(row.marketplace_ids)),
        state=ReportState(row.state),
        report_id=row.report_id,
        document_id=row.document_id,
        attempts=row.attempts,
        rows_read=row.rows_read,
        rows_unreadable=row.rows_unreadable,
        events_new=row.events_new,
        requested_at=row.requested_at,
        finished_at=row.finished_at,
        problem=row.problem,
    )
