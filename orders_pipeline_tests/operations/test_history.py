"""Past days are read from reports or searches, with the same events, and end whatever is killed or fails between."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orders_pipeline.model.account import HistorySource
from orders_pipeline.operations.deployment import Deployment, ServedAccount
from orders_pipeline.operations.history import HistoryTotals, plan_history, read_history
from orders_pipeline.sandbox.amazon.order import V0_STATUS
from orders_pipeline.sandbox.sandbox import MARKETPLACE_ID, Sandbox
from orders_pipeline.sandbox.warehouse.floor import FloorOptions
from orders_pipeline.settings import load_settings

CANADA = "A2EUQ1WTGCTBG2"
NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


def at(day: int, hour: int = 0, minute: int = 0) -> datetime:
    return datetime(2026, 11, day, hour, minute, tzinfo=UTC)


# --- which source


@pytest.mark.parametrize(
    ("source", "first", "last", "now", "reports", "searches", "goes_on"),
    [
        ("auto", 18, 20, NOON, 0, [(at(18), at(21))], None),
        ("auto", 17, 20, NOON, 1, [], None),
        ("auto", 17, 21, NOON, 1, [], (at(21), at(21, 11, 57))),
        ("search", 1, 21, NOON, 0, [(at(1), at(21))], (at(21), at(21, 11, 57))),
        ("report", 20, 20, NOON, 1, [], None),
        ("report", 21, 21, NOON, 0, [], (at(21), at(21, 11, 57))),
        # A day that has just ended may still lack its last half hour.
        ("report", 20, 20, at(21, 0, 30), 0, [], (at(20), at(21))),
        ("report", 20, 20, at(21, 0, 46), 1, [], None),
        ("auto", 22, 25, NOON, 0, [], None),
    ],
)
def test_reports_are_for_more_than_a_few_days_that_are_over(
    source: HistorySource, first: int, last: int, now: datetime, reports: int, searches: Any, goes_on: Any
) -> None:
    plan = plan_history(source, date(2026, 11, first), date(2026, 11, last), now)
    assert (len(plan.reports), list(plan.searches), plan.goes_on) == (reports, searches, goes_on)
    assert plan.reason.startswith("report" if reports else "search")


def test_a_year_is_reports_of_thirty_days_without_a_gap() -> None:
    plan = plan_history("auto", date(2026, 1, 1), date(2026, 11, 20), NOON)
    assert len(plan.reports) == 11
    assert {end - start for start, end in plan.reports[:-1]} == {timedelta(days=30)}
    assert [end for _, end in plan.reports[:-1]] == [start for start, _ in plan.reports[1:]]
    assert (plan.reports[0][0], plan.reports[-1][1]) == (datetime(2026, 1, 1, tzinfo=UTC), at(21))


# --- with Amazon


class History:
    """A sandbox with a client that reads its past days, and the events that came of it."""

    def __init__(self, sandbox: Sandbox, environment: Mapping[str, str]) -> None:
        self.sandbox = sandbox
        self.environment = {**sandbox.environment(), **environment}
        # A day that may still go on when the test ends would be another's.
        self.last = datetime.now(UTC).date() - timedelta(days=2)
        self.first = self.last - timedelta(days=5)
        self._accounts: dict[str, ServedAccount] = {}

    def account(self, source: HistorySource = "auto") -> ServedAccount:
        if source not in self._accounts:
            settings = load_settings({**self.environment, "ORDERS_HISTORY_SOURCE": source})
            self._accounts[source] = Deployment(settings).account()
        return self._accounts[source]

    def order(self, *, day: int = 0, second: float = 3600.5, **specification: Any) -> str:
        order = self.sandbox.add_order(notify=False, **specification)
        begin = datetime(self.first.year, self.first.month, self.first.day, tzinfo=UTC)
        order.last_updated = begin + timedelta(days=day, milliseconds=round(second * 1000))
        order.created = order.last_updated - timedelta(hours=1)
        return order.order_id

    def read(self, source: HistorySource = "auto", account: ServedAccount | None = None, **more: Any) -> HistoryTotals:
        """Called until it is finished, or no longer goes on."""
        account = account or self.account(source)
        seen: list[object] = []
        for _ in range(12):
            totals = read_history(account, self.first, self.last, pause=lambda _: timedelta(), **more)
            if totals.finished or totals.problem is not None:
                return totals
            seen.append(totals.as_metadata())
            self.make_due(account)
        raise AssertionError(seen)

    def make_due(self, account: ServedAccount) -> None:
        with account.database.begin() as connection:
            connection.exec_driver_sql(
                "update pipeline.jobs set due_at = clock_timestamp(), "
                "leased_until = case when leased_until is not null then clock_timestamp() end"
            )

    def events(self, account: ServedAccount) -> list[tuple[Any, ...]]:
        with account.database.begin() as connection:
            return [tuple(row) for row in connection.exec_driver_sql(
                "select order_id, source, marketplace_id, change_type, level, status_told, fulfilled_by_told, details, "
                "partition_day, date_trunc('second', changed_at), date_trunc('second', published_at) "
                "from pipeline.order_events order by order_id, changed_at"
            )]  # fmt: skip

    def forget(self, account: ServedAccount) -> None:
        with account.database.begin() as connection:
            connection.exec_driver_sql(
                "truncate pipeline.order_events, pipeline.search_windows, pipeline.report_requests, pipeline.jobs, "
                "pipeline.paused_dependencies, pipeline.amazon_rate_limits"
            )

    def calls(self, operation: str) -> int:
        return self.sandbox.amazon.ledger.requests[operation]

    def close(self) -> None:
        for account in self._accounts.values():
            account.amazon.close()
            account.database.close()


@pytest.fixture
def history(database_url: str, tmp_path: Path) -> Iterator[History]:
    environment = {
        "ORDERS_DATABASE_URL": database_url,
        "ORDERS_DATA_DIR": str(tmp_path),
        "ORDERS_ENV_FILE": str(tmp_path / "none"),
        "ORDERS_START_AT": "2020-01-01T00:00:00Z",
    }
    with Sandbox(
        time_scale=100_000, floor=FloorOptions(automatic=False), subscribed=False,
        marketplace_ids=(MARKETPLACE_ID, CANADA),
    ) as sandbox:  # fmt: skip
        opened = History(sandbox, environment)
        yield opened
        opened.close()


ORDERS = st.lists(
    st.fixed_dictionaries(
        {
            "status": st.sampled_from(sorted(V0_STATUS)),
            "fulfilled_by": st.sampled_from(["MERCHANT", "AMAZON"]),
            "marketplace_id": st.sampled_from([MARKETPLACE_ID, CANADA]),
            "day": st.integers(-1, 6),
            "second": st.integers(0, 86_399_999).map(lambda milliseconds: milliseconds / 1000),
            "items": st.lists(
                st.fixed_dictionaries({"title": st.text(max_size=12), "quantity": st.integers(1, 3)}),
                min_size=1,
                max_size=3,
            ),
        }
    ),
    max_size=6,
)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(orders=ORDERS, charset=st.sampled_from(["UTF-8", "Cp1252", "Shift_JIS"]), is_gzip=st.booleans())
def test_the_same_events_come_of_reports_as_of_searches(
    history: History, orders: list[dict[str, Any]], charset: str, is_gzip: bool
) -> None:
    amazon = history.sandbox.amazon
    amazon.orders.clear()
    amazon.reports.by_id.clear()
    amazon.options.report_charset, amazon.options.report_gzip = charset, is_gzip
    for one in orders:
        history.order(**one)
    account = history.account("search")
    found: list[list[tuple[Any, ...]]] = []
    for source in ("search", "report"):
        history.forget(account)
        history.read(source)
        found.append(history.events(account))
    assert found[0] == found[1]
    # What a search recorded to the millisecond is not recorded once more from the second of a report.
    history.forget(account)
    history.read("search")
    assert history.read("report").events_new == 0
    assert history.events(account) == found[0]


def test_six_days_cost_one_report_and_no_search(history: History) -> None:
    for number in range(25):
        history.order(day=number % 6, second=number)
    totals = history.read("auto")
    assert (totals.finished, totals.reports_read, totals.events_new, totals.pages) == (True, 1, 25, 0)
    calls = [history.calls(one) for one in ("createReport", "getReportDocument", "searchOrders")]
    assert calls == [1, 1, 0]
    assert "6 days in 1" in str(totals.as_metadata()["source"])
    assert history.sandbox.amazon.reports.credentials_sent == 0
    assert history.read("auto").finished
    assert history.calls("getReportDocument") == 1, "what is read is not read again by itself"


def test_what_was_read_is_read_again_when_it_is_asked_for_anew(history: History) -> None:
    order_id = history.order()
    account = history.account()
    history.read(account=account)
    with account.database.begin() as connection:
        connection.exec_driver_sql("delete from pipeline.order_events")
        connection.exec_driver_sql("update pipeline.report_requests set requested_at = requested_at - interval '1 day'")
    # Without it the report that is there would be read again at once.
    history.sandbox.amazon.reports.by_id.clear()
    history.sandbox.amazon.options.report_queue_seconds = 3600
    begun = read_history(account, history.first, history.last, anew=True)
    assert (begun.finished, begun.replaced_by_search) == (False, 0), "it is awaited from now on"
    history.sandbox.clock.advance(timedelta(hours=1))
    history.make_due(account)
    assert history.read(account=account).finished
    assert [event[0] for event in history.events(account)] == [order_id]


@pytest.mark.parametrize(
    ("fault", "operation", "why"),
    [
        ("report_fatal", "createReport", "FATAL"),
        ("document_html", "getReportDocument", "web page"),
        ("document_missing_column", "getReportDocument", "no column last-updated-date"),
    ],
)
def test_a_report_that_fails_is_replaced_by_a_search_and_says_why(
    history: History, fault: str, operation: str, why: str
) -> None:
    order_id = history.order()
    history.sandbox.amazon.faults.add(fault, operation, times=None)
    account = history.account()
    totals = history.read(account=account)
    assert (totals.replaced_by_search, totals.pages) == (1, 1)
    assert why in str(totals.as_metadata()["waits_for"])
    assert [event[0] for event in history.events(account)] == [order_id]
    assert _open_alerts(account) == []


def test_a_failed_report_needs_a_person_where_reports_alone_are_wanted(history: History) -> None:
    history.order()
    history.sandbox.amazon.faults.add("report_fatal", times=None)
    account = history.account("report")
    totals = history.read("report", account=account)
    assert (totals.finished, history.calls("searchOrders")) == (False, 0)
    assert "FATAL" in (totals.problem or "")
    assert [alert for alert in _open_alerts(account) if alert.startswith("report.failed")] != []


@pytest.mark.parametrize("source", ["auto", "report"])
def test_a_cancelled_report_is_no_proof_that_nothing_happened(history: History, source: HistorySource) -> None:
    """Amazon cancels a report for want of data, and for being asked too often: a page of the search tells which."""
    order_id = history.order()
    history.sandbox.amazon.faults.add("report_cancelled")
    account = history.account(source)
    assert history.read(source, account=account).finished
    assert [event[0] for event in history.events(account)] == [order_id]


def test_a_report_that_does_not_come_is_replaced_after_six_hours(history: History) -> None:
    order_id = history.order()
    history.sandbox.amazon.faults.add("report_stuck")
    account = history.account()
    first = read_history(account, history.first, history.last)
    assert (first.finished, first.resume_at is not None) == (False, True)
    assert first.waits_for[0].endswith("in_queue")
    with account.database.begin() as connection:
        connection.exec_driver_sql(
            "update pipeline.report_requests set requested_at = requested_at - interval '7 hours'"
        )
    assert [alert for alert in _open_alerts(account) if alert.startswith("report.late")] != []
    assert read_history(account, history.first, history.last).finished
    assert [event[0] for event in history.events(account)] == [order_id]
    assert _open_alerts(account) == []


def test_the_place_that_an_order_goes_to_is_stored_nowhere(history: History) -> None:
    history.order(
        address={"name": "Nobody Atall", "city": "Canaryville", "postal_code": "CANARY-1", "country_code": "US"}
    )
    account = history.account()
    history.read(account=account)
    with account.database.begin() as connection:
        tables = connection.exec_driver_sql(
            "select schemaname || '.' || relname from pg_stat_user_tables where schemaname <> 'information_schema'"
        ).scalars().all()  # fmt: skip
        stored = " ".join(
            str(connection.exec_driver_sql(f"select coalesce(string_agg(t::text, ' '), '') from {table} t").scalar())
            for table in tables
        )
    assert "Canaryville" not in stored
    assert "CANARY" not in stored


PROGRAM = """
import dataclasses, sys
from datetime import date, timedelta
from orders_pipeline.operations import history
from orders_pipeline.operations.deployment import Deployment
from orders_pipeline.reports.follow import RecordedRows
from orders_pipeline.settings import load_settings

(reader,) = history.READERS.values()
recorded = []

def record(tx, rows, broken):
    if recorded:
        print("within", flush=True)
        sys.stdin.read()
    recorded.append(reader.record(tx, rows, broken))
    return recorded[-1]

readers = {reader.report_type: dataclasses.replace(reader, record=record, rows_a_chunk=10)}
history.READERS.update(readers)
account = Deployment(load_settings()).account()
while True:
    history.read_history(account, *map(date.fromisoformat, sys.argv[1:]), pause=lambda _: timedelta())
"""


def test_a_process_that_is_killed_within_a_report_is_gone_on_with(history: History) -> None:
    orders = sorted(history.order(second=number) for number in range(40))
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(history.first), str(history.last)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={**history.environment, "PATH": os.environ["PATH"]},
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "within\n"
        process.send_signal(signal.SIGKILL)
    finally:
        process.kill()
        process.communicate()
    account = history.account()
    begun = len(history.events(account))
    assert 0 < begun < 40
    history.make_due(account)
    totals = history.read(account=account)
    assert (totals.rows_read, totals.events_new) == (40, 40), "each row once"
    assert [event[0] for event in history.events(account)] == orders
    assert history.calls("createReport") == 1


def _open_alerts(account: ServedAccount) -> list[str]:
    from orders_pipeline.alerts.reconcile import evaluate
    from orders_pipeline.reports.alerts import ALERTS

    evaluate(account.database, account.account_id, ALERTS)
    with account.database.begin() as connection:
        found = connection.exec_driver_sql("select key from pipeline.alerts where closed_at is null order by key")
        return list(found.scalars())
