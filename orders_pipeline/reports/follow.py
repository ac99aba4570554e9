"""Follow the reports that are wanted: find one that fits or ask for one, see how far it is, record its document.

One job of the queue REPORT is one request, and one step of it is one call to Amazon. Whatever a step learned is stored
before the next, so that a kill costs a step: a report that was asked for is gone on with, and a document is recorded
from the row on behind which the reader stopped.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from orders_pipeline.channels.amazon.errors import AmazonError
from orders_pipeline.database.engine import AccountTransaction, Database, database_now
from orders_pipeline.model.report import ENDED, Report, ReportsPort, ReportState
from orders_pipeline.reports.document import ROWS_A_CHUNK, BrokenLine, Columns, ReportUnreadable, read_chunks
from orders_pipeline.reports.failures import REPORT_FAILURES, REPORT_POLICY, is_given_up
from orders_pipeline.reports.rows import (
    ReportRequest,
    fail_report,
    finish_report,
    report_request,
    save_report,
    save_rows,
    want_again,
)
from orders_pipeline.work.jobs import AMAZON_REPORTS, Job, Queue
from orders_pipeline.work.queue import complete, enqueue, renew
from orders_pipeline.work.runner import LEASE_LOST, run_queue
from orders_pipeline.work.tally import Tally

if TYPE_CHECKING:
    import pandas as pd

# Longer than a step's two calls, of 45 s each, and than the first chunk of a document; it begins anew with each chunk.
# After a kill the report waits for its end.
REPORT_LEASE = timedelta(minutes=2)
# A report takes seconds to an hour. getReport may be called twice a second.
FIRST_LOOK, LONGEST_PAUSE = timedelta(seconds=5), timedelta(minutes=2)
# A report of the same data that is this young is as good as a new one, and costs nothing.
REUSED_FOR = timedelta(hours=24)
# FATAL is often over when it is tried again; then it is what it says.
REPORTS_A_REQUEST, AFTER_FATAL = 2, timedelta(minutes=10)
WANTED_AGAIN, CREATED, FOUND, WAITS, READ, ENDED_WITHOUT_DATA, GIVEN_UP, NOT_WANTED = (
    "wanted_again", "created", "found", "waits", "read", "ended_without_data", "given_up", "not_wanted",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class RecordedRows:
    """What became of some rows: how many told something new, and how many could not be read."""

    events_new: int
    unreadable: int


@dataclass(frozen=True, slots=True)
class ReportReader:
    """The customer of one type of report: the columns it takes, and how it records some rows in a transaction.

    `record` is given rows in the document's order, again after a kill: it recognises what it has recorded.
    """

    report_type: str
    columns: Columns
    record: Callable[[AccountTransaction, pd.DataFrame, tuple[BrokenLine, ...]], RecordedRows]
    rows_a_chunk: int = ROWS_A_CHUNK


def look_pause(age: timedelta) -> timedelta:
    """How long to wait before the next look at a report that was asked for so long ago."""
    return min(max(age / 4, FIRST_LOOK), LONGEST_PAUSE)


def follow_reports(
    reports: ReportsPort,
    database: Database,
    readers: Mapping[str, ReportReader],
    *,
    account_id: str,
    deadline_seconds: float = 45.0,
    pause: Callable[[timedelta], timedelta] = look_pause,
) -> Tally:
    """One step of every report that is due, until none is or the deadline or the quota ends it.

    `readers` by type of report. What is wanted of a type without a reader fails.
    """
    return run_queue(
        database,
        account_id,
        Queue.REPORT,
        _Follow(reports, database, readers, account_id, pause),
        # The quota of documents is one a minute: nothing is won by several at a time.
        workers=1,
        lease=REPORT_LEASE,
        policy=REPORT_POLICY,
        deadline_seconds=deadline_seconds,
        proves=lambda word: () if word in (NOT_WANTED, GIVEN_UP, LEASE_LOST) else (AMAZON_REPORTS,),
    )


class _LeaseLost(Exception):
    """Another worker has the job: what was recorded in this transaction is its to record."""


@dataclass(frozen=True, slots=True)
class _Follow:
    """The queue's handler."""

    reports: ReportsPort
    database: Database
    readers: Mapping[str, ReportReader]
    account_id: str
    pause: Callable[[timedelta], timedelta]

    def __call__(self, job: Job, seconds: float) -> str:
        with self.database.transaction(self.account_id) as tx:
            request = report_request(tx, int(job.subject))
        if request is None or request.finished_at is not None:
            return NOT_WANTED
        try:
            if request.state is ReportState.DONE and request.document_id is not None:
                return self._record(job, request, seconds)
            return self._step(job, request, seconds)
        except _LeaseLost:
            return LEASE_LOST
        except (AmazonError, ReportUnreadable) as error:
            if not is_given_up(error, job.attempts + 1):
                raise REPORT_FAILURES.answer(error) from error
            with self.database.transaction(self.account_id) as tx:
                fail_report(tx, request.request_id, str(error))
                complete(tx, job)
            return GIVEN_UP

    def _step(self, job: Job, request: ReportRequest, seconds: float) -> str:
        if request.report_id is not None:
            report = self.reports.get_report(request.report_id, deadline_seconds=seconds)
            return self._save(job, request, report, WAITS)
        with self.database.transaction(self.account_id) as tx:
            since = database_now(tx.connection) - REUSED_FOR
        # Also the one that a worker asked for before it was killed, and one whose answer was lost.
        listed = self.reports.find_reports(request.wanted.report_type, created_since=since, deadline_seconds=seconds)
        fitting = next((one for one in listed if one.answers(request.wanted)), None)
        if fitting is not None:
            return self._save(job, request, fitting, FOUND)
        report_id = self.reports.create_report(request.wanted, deadline_seconds=seconds)
        with self.database.transaction(self.account_id) as tx:
            created = Report(report_id, request.wanted.report_type, ReportState.IN_QUEUE, database_now(tx.connection))
            save_report(tx, request.request_id, created, created=True)
            if complete(tx, job):
                enqueue(tx, Queue.REPORT, [job.subject], due_in=self.pause(timedelta()))
        return CREATED

    def _save(self, job: Job, request: ReportRequest, report: Report, word: str) -> str:
        """Store how far the report is, and when it is looked at again."""
        with self.database.transaction(self.account_id) as tx:
            save_report(tx, request.request_id, report)
            if not complete(tx, job):
                return LEASE_LOST
            if report.state not in ENDED:
                age = database_now(tx.connection) - report.created_at
                enqueue(tx, Queue.REPORT, [job.subject], due_in=self.pause(age))
                return word
            if report.state is ReportState.DONE and report.document_id is not None:
                enqueue(tx, Queue.REPORT, [job.subject])
                return word
            if report.state is ReportState.FATAL and request.attempts < REPORTS_A_REQUEST:
                want_again(tx, request.request_id, due_in=AFTER_FATAL, after_failure=True)
                return WANTED_AGAIN
            if report.state is ReportState.FATAL:
                fail_report(tx, request.request_id, f"Amazon could not make the report {report.report_id} (FATAL).")
                return GIVEN_UP
        # CANCELLED, or DONE without a document: no data, or asked for too often. Only its customer can tell which.
        return ENDED_WITHOUT_DATA

    def _record(self, job: Job, request: ReportRequest, seconds: float) -> str:
        reader = self.readers.get(request.wanted.report_type)
        if reader is None:
            raise ReportUnreadable(f"nobody reads reports of the type {request.wanted.report_type}")
        assert request.document_id is not None
        document = self.reports.read_document(request.document_id, deadline_seconds=seconds)
        done = request.rows_read
        for chunk in read_chunks(document, reader.columns, rows=reader.rows_a_chunk):
            skipped = min(done, len(chunk.rows))
            done -= skipped
            rows = chunk.rows.iloc[skipped:]
            with self.database.transaction(self.account_id) as tx:
                recorded = reader.record(tx, rows, chunk.broken)
                save_rows(
                    tx,
                    request.request_id,
                    rows=len(rows),
                    unreadable=recorded.unreadable,
                    events_new=recorded.events_new,
                )
                if not renew(tx, job, lease=REPORT_LEASE):
                    raise _LeaseLost
        with self.database.transaction(self.account_id) as tx:
            finish_report(tx, request.request_id)
        return READ
