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

from orders_pipeline.channels.amazon.errors import AmazonError
from orders_pipeline.intake.apply_events import apply_events
from orders_pipeline.intake.backfill import BackfillProgress
from orders_pipeline.intake.backfill_plan import Days
from orders_pipeline.model.account import HistorySource
from orders_pipeline.operations.deployment import Deployment, ServedAccount
from orders_pipeline.operations.history import plan_history
from orders_pipeline.operations.search import end_span, read_span
from orders_pipeline.orders.rows import insert_new_order, order_row
from orders_pipeline.sandbox.amazon.order import V0_STATUS
from orders_pipeline.sandbox.sandbox import MARKETPLACE_ID, Sandbox
from orders_pipeline.sandbox.warehouse.floor import FloorOptions
from orders_pipeline.settings import load_settings
from orders_pipeline.work.jobs import BACKFILLED

CANADA = "A2EUQ1WTGCTBG2"
NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


def at(day: int, hour: int = 0, minute: int = 0) -> datetime:
    return datetime(2026, 11, day, hour, minute, tzinfo=UTC)


# --- which source


@pytest.mark.parametrize(
    ("source", "first", "last", "now", "reports"),
    [
        ("auto", 18, 20, NOON, []),
        ("auto", 17, 20, NOON, [(17, 20)]),
        ("search", 1, 20, NOON, []),
        ("report", 20, 20, NOON, [(20, 20)]),
        # A day that has just ended may still lack its last half hour: it is searched.
        ("report", 20, 20, at(21, 0, 30), []),
        ("report", 20, 20, at(21, 0, 46), [(20, 20)]),
        ("auto", 16, 20, at(21, 0, 30), [(16, 19)]),
        ("auto", 17, 20, at(21, 0, 30), []),
    ],
)
def test_reports_are_for_more_than_a_few_days_that_are_over(
    source: HistorySource, first: int, last: int, now: datetime, reports: list[tuple[int, int]]
) -> None:
    plan = plan_history(source, Days(date(2026, 11, first), date(2026, 11, last)), now)
    assert [(one.first.day, one.last.day) for one in plan.reports] == reports
    assert plan.reason.startswith("report" if reports else "search")


def test_a_year_is_reports_of_thirty_days_without_a_gap() -> None:
    plan = plan_history("auto", Days(date(2026, 1, 1), date(2026, 11, 20)), NOON)
    assert len(plan.reports) == 11
    assert {one.count for one in plan.reports[:-1]} == {30}
    assert [one.end for one in plan.reports[:-1]] == [one.start for one in plan.reports[1:]]
    assert (plan.reports[0].first, plan.reports[-1].last) == (date(2026, 1, 1), date(2026, 11, 20))


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

    @property
    def days(self) -> Days:
        return Days(self.first, self.last)

    def read(
        self, source: HistorySource = "auto", account: ServedAccount | None = None, request: str = "run"
    ) -> BackfillProgress:
        """Called until all is read."""
        account = account or self.account(source)
        seen: list[BackfillProgress] = []
        for _ in range(12):
            seen.append(read_span(account, self.days, request))
            if seen[-1].resume_at is None:
                assert sum(days.count for days in seen[-1].complete) == self.days.count
                return seen[-1]
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

    def fetches(self, account: ServedAccount) -> list[tuple[Any, ...]]:
        with account.database.begin() as connection:
            rows = connection.exec_driver_sql("select subject, priority from pipeline.jobs where queue = 'fetch'")
            return [tuple(row) for row in rows]

    def stored(self, account: ServedAccount) -> list[tuple[Any, ...]]:
        with account.database.begin() as connection:
            rows = connection.exec_driver_sql("select order_id, status, fetched_at from pipeline.orders")
            return [tuple(row) for row in rows]

    def forget(self, account: ServedAccount) -> None:
        with account.database.begin() as connection:
            connection.exec_driver_sql(
                "truncate pipeline.order_events, pipeline.orders, pipeline.order_items, pipeline.jobs, "
                "pipeline.search_windows, pipeline.report_requests, pipeline.paused_dependencies, "
                "pipeline.amazon_rate_limits cascade"
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


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
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
    assert history.read("report", request="another").events_new == 0
    assert history.events(account) == found[0]


def test_ten_days_cost_one_report_and_no_search_and_no_call_for_what_need_not_ship(history: History) -> None:
    history.first = history.last - timedelta(days=9)
    to_ship = history.order(day=3, status="UNSHIPPED")
    others = [history.order(day=number % 10, second=number, status="SHIPPED") for number in range(20)]
    others += [history.order(day=4, status=one) for one in ("PENDING", "CANCELLED")]
    others.append(history.order(day=5, status="UNSHIPPED", fulfilled_by="AMAZON"))
    account = history.account()
    first = read_span(account, history.days, "run")
    assert (first.complete, first.reports, first.reports_read, first.pages_left) == ((), 1, 0, 0)
    assert f"the report of {history.first} to {history.last} (in_queue)" in first.waits_for
    history.make_due(account)
    progress = history.read()
    assert (progress.complete, progress.reports_read, progress.rows) == ((history.days,), 1, 24)
    assert (progress.events_new, progress.pages, progress.orders_seen) == (24, 0, 0)
    calls = [history.calls(one) for one in ("createReport", "getReportDocument", "searchOrders")]
    assert calls == [1, 1, 0]
    assert "10 days in 1" in progress.source
    assert history.sandbox.amazon.reports.credentials_sent == 0
    apply_events(account.database, account_id=account.account_id, marketplace_ids=account.marketplace_ids)
    assert history.fetches(account) == [(to_ship, BACKFILLED)]
    assert {order_id for order_id, *_ in history.stored(account)} == {to_ship, *others}
    assert all(fetched_at for order_id, _, fetched_at in history.stored(account) if order_id != to_ship)
    assert history.read().resume_at is None
    assert history.calls("getReportDocument") == 1, "what is read is not read again by itself"


def test_a_report_takes_nothing_back_that_was_told_later_or_answered(history: History) -> None:
    """It may be a day old, and has neither items nor deadlines."""
    told = history.order(status="PENDING", fulfilled_by="AMAZON")
    answered = history.order(status="PENDING", second=3600)
    account = history.account()
    now = account.database.now()
    of_the_report = history.sandbox.amazon.orders[answered].last_updated
    with account.transaction() as tx:
        insert_new_order(
            tx, order_id=told, marketplace_id=MARKETPLACE_ID, status="SHIPPED", fulfilled_by="AMAZON",
            last_updated_at=now,
        )  # fmt: skip
        insert_new_order(
            tx, order_id=answered, marketplace_id=MARKETPLACE_ID, status="UNSHIPPED", fulfilled_by="MERCHANT",
            last_updated_at=of_the_report,
        )  # fmt: skip
        tx.connection.exec_driver_sql(
            f"update pipeline.orders set fetched_at = clock_timestamp(), ship_by = last_updated_at "
            f"where order_id = '{answered}'"
        )
        before = [tuple(order_row(tx, one) or ()) for one in (told, answered)]
    history.read()
    with account.transaction() as tx:
        assert [tuple(order_row(tx, one) or ()) for one in (told, answered)] == before


def test_what_amazon_ships_is_left_out_of_a_report_too_where_it_is_not_watched(history: History) -> None:
    order_id, _ = history.order(), history.order(fulfilled_by="AMAZON")
    history.environment["ORDERS_WATCH_FBA"] = "false"
    history.read()
    assert [event[0] for event in history.events(history.account())] == [order_id]


def test_another_request_reads_anew_and_goes_on_with_a_report_that_is_being_made(history: History) -> None:
    order_id = history.order()
    account = history.account()
    read_span(account, history.days, "run")
    history.make_due(account)
    history.read(request="another")
    assert history.calls("createReport") == 1
    with account.database.begin() as connection:
        connection.exec_driver_sql("delete from pipeline.order_events")
        connection.exec_driver_sql("update pipeline.report_requests set requested_at = requested_at - interval '1 day'")
    assert history.read(request="another").resume_at is None
    assert history.events(account) == [], "the same request reads nothing twice"
    end_span(account, "another")
    # Without it the report that is there would be read again at once.
    history.sandbox.amazon.reports.by_id.clear()
    history.sandbox.amazon.options.report_queue_seconds = 3600
    begun = read_span(account, history.days, "another")
    assert (begun.complete, begun.reports) == ((), 1), "it is awaited from now on"
    history.sandbox.clock.advance(timedelta(hours=1))
    history.make_due(account)
    history.read(request="another")
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
    progress = history.read(account=account)
    assert (progress.reports, progress.pages, progress.events_new) == (0, 1, 1)
    assert why in progress.source
    assert [event[0] for event in history.events(account)] == [order_id]
    assert _open_alerts(account) == []


def test_a_failed_report_needs_a_person_where_reports_alone_are_wanted(history: History) -> None:
    order_id = history.order()
    history.sandbox.amazon.faults.add("report_fatal", times=None)
    account = history.account("report")
    with pytest.raises(AmazonError, match=r"does not come: .*FATAL"):
        history.read("report", account=account)
    assert history.calls("searchOrders") == 0
    assert [alert for alert in _open_alerts(account) if alert.startswith("report.failed")] != []
    history.read("search", request="another")
    assert [event[0] for event in history.events(account)] == [order_id]
    assert _open_alerts(account) == []


@pytest.mark.parametrize("source", ["auto", "report"])
def test_a_cancelled_report_is_no_proof_that_nothing_happened(history: History, source: HistorySource) -> None:
    """Amazon cancels a report for want of data, and for being asked too often: a page of the search tells which."""
    order_id = history.order()
    history.sandbox.amazon.faults.add("report_cancelled")
    account = history.account(source)
    history.read(source, account=account)
    assert [event[0] for event in history.events(account)] == [order_id]


def test_a_report_that_does_not_come_is_replaced_after_six_hours(history: History) -> None:
    order_id = history.order()
    history.sandbox.amazon.faults.add("report_stuck")
    account = history.account()
    first = read_span(account, history.days, "run")
    assert (first.complete, first.resume_at is not None) == ((), True)
    with account.database.begin() as connection:
        connection.exec_driver_sql(
            "update pipeline.report_requests set requested_at = requested_at - interval '7 hours'"
        )
    assert [alert for alert in _open_alerts(account) if alert.startswith("report.late")] != []
    assert read_span(account, history.days, "run").complete == (history.days,)
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
import dataclasses, sys, time
from datetime import date
from orders_pipeline.intake.backfill_plan import Days
from orders_pipeline.operations import history
from orders_pipeline.operations.deployment import Deployment
from orders_pipeline.operations.search import read_span
from orders_pipeline.settings import load_settings

account = Deployment(load_settings()).account()
reader = history.report_reader(account)
recorded = []

def record(tx, rows, broken):
    if recorded:
        print("within", flush=True)
        sys.stdin.read()
    recorded.append(reader.record(tx, rows, broken))
    return recorded[-1]

history.report_reader = lambda _: dataclasses.replace(reader, record=record, rows_a_chunk=10)
while True:
    progress = read_span(account, Days(*map(date.fromisoformat, sys.argv[1:])), "run")
    time.sleep(max((progress.resume_at - account.database.now()).total_seconds(), 0))
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
    progress = history.read(account=account)
    assert (progress.rows, progress.events_new) == (40, 40), "each row once"
    assert [event[0] for event in history.events(account)] == orders
    assert history.calls("createReport") == 1


def _open_alerts(account: ServedAccount) -> list[str]:
    from orders_pipeline.alerts.reconcile import evaluate
    from orders_pipeline.reports.alerts import ALERTS

    evaluate(account.database, account.account_id, ALERTS)
    with account.database.begin() as connection:
        found = connection.exec_driver_sql("select key from pipeline.alerts where closed_at is null order by key")
        return list(found.scalars())
