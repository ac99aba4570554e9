"""The alerts about reports: one that failed, and one that does not come."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import text

from orders_pipeline.alerts.kinds import AlertKind
from orders_pipeline.model.report import ReportState

# Amazon makes most reports within minutes; whoever waits for one has another source by then.
LATE_AFTER = timedelta(hours=6)
# A report without data is cancelled: whoever asked for it finds out within the hour whether that is so.
CANCELLED_FOR = timedelta(hours=1)

FAILED = AlertKind(
    name="report.failed",
    severity="warning",
    query=text("""
select request_id::text as subject, report_type,
  to_char(data_start at time zone 'UTC', 'YYYY-MM-DD HH24:MI') as data_start,
  to_char(data_end at time zone 'UTC', 'YYYY-MM-DD HH24:MI') as data_end,
  coalesce(problem, 'Amazon says ' || upper(state)) as problem
from pipeline.report_requests
where account_id = :account_id and finished_at is null
  and (state = :fatal
       or (state in (:cancelled, :done) and document_id is null and changed_at < clock_timestamp() - :cancelled_for))
order by requested_at
""").bindparams(
        fatal=str(ReportState.FATAL),
        cancelled=str(ReportState.CANCELLED),
        done=str(ReportState.DONE),
        cancelled_for=CANCELLED_FOR,
    ),
    message="The report {report_type} of {data_start} to {data_end} UTC has no data for us: {problem}",
    action="Materialize its days again with ORDERS_HISTORY_SOURCE=search.",
    runbook="Reports",
)

LATE = AlertKind(
    name="report.late",
    severity="warning",
    query=text("""
select request_id::text as subject, report_type,
  to_char(data_start at time zone 'UTC', 'YYYY-MM-DD HH24:MI') as data_start,
  to_char(data_end at time zone 'UTC', 'YYYY-MM-DD HH24:MI') as data_end,
  to_char(requested_at at time zone 'UTC', 'YYYY-MM-DD HH24:MI') as since
from pipeline.report_requests
where account_id = :account_id and finished_at is null and state in (:wanted, :in_queue, :in_progress)
  and requested_at < clock_timestamp() - :late_after
order by requested_at
""").bindparams(
        wanted=str(ReportState.WANTED),
        in_queue=str(ReportState.IN_QUEUE),
        in_progress=str(ReportState.IN_PROGRESS),
        late_after=LATE_AFTER,
    ),
    message="The report {report_type} of {data_start} to {data_end} UTC has been awaited since {since} UTC.",
    action="Look at the report in Seller Central; materialize its days again with ORDERS_HISTORY_SOURCE=search.",
    runbook="Reports",
)

ALERTS = (FAILED, LATE)
