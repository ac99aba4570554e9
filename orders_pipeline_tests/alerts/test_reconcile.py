"""The stored alerts of a kind are what its query finds: told once, closed with their cause, and of no other kind."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import event, literal, select, text
from sqlalchemy.exc import OperationalError

from orders_pipeline.alerts.kinds import NOBODY, AlertKind, Found, Severity
from orders_pipeline.alerts.reconcile import ONE_BY_ONE, AlertKindWrong, Changes, evaluate, reconcile
from orders_pipeline.alerts.rows import open_alerts
from orders_pipeline.database.engine import AnyRow, Database
from orders_pipeline_tests.alerts.opened import set_alert
from orders_pipeline_tests.conftest import SELLER

OTHER = "A1OTHERSELLER"
KIND = AlertKind(
    name="order.late",
    severity="warning",
    query=text("select work as subject, work as order_id from pipeline.work_done where account_id = :account_id"),
    message="Order {order_id} is late.",
    action="Ship {order_id}.",
    runbook="Push",
)
BROKEN = replace(KIND, name="order.broken", query=text("select 1 / 0 as subject"))


def found(*subjects: str, severity: Severity | None = None) -> list[Found]:
    return [Found(subject, {"order_id": subject}, severity) for subject in subjects]


def take_in(database: Database, now: list[Found], kind: AlertKind = KIND, account_id: str = SELLER) -> Changes:
    with database.transaction(account_id) as tx:
        return reconcile(tx, kind, now)


def alerts(database: Database, account_id: str = SELLER) -> dict[str, AnyRow]:
    with database.transaction(account_id) as tx:
        return {row.key: row for row in open_alerts(tx)}


def sql(database: Database, statement: str, **values: object) -> None:
    with database.begin() as connection:
        connection.execute(text(statement), values)


def deliver(database: Database) -> None:
    sql(database, "update pipeline.alerts set delivered_at = clock_timestamp() where delivered_at is null")


def late(database: Database, *orders: str, account_id: str = SELLER) -> None:
    sql(database, "delete from pipeline.work_done where account_id = :account", account=account_id)
    for order in orders:
        sql(database, "insert into pipeline.work_done values (:account, :work)", account=account_id, work=order)


def test_what_is_found_is_open_and_what_is_gone_is_closed(database: Database):
    assert take_in(database, found("1", "2")) == Changes(opened=2)
    assert take_in(database, found("2", "3")) == Changes(opened=1, closed=1)
    opened = alerts(database)
    assert opened.keys() == {"order.late:2", "order.late:3"}
    assert (opened["order.late:2"].message, opened["order.late:2"].what_to_do) == ("Order 2 is late.", "Ship 2.")


def test_other_kinds_and_other_accounts_are_not_touched(database: Database):
    keys = ("order.later:1", "order", "package.held:1")
    with database.transaction(SELLER) as tx:
        for key in keys:
            set_alert(tx, key)
    take_in(database, found("1"), account_id=OTHER)
    assert take_in(database, []) == Changes()
    assert alerts(database).keys() == set(keys)
    assert alerts(database, OTHER).keys() == {"order.late:1"}


def test_the_same_again_writes_nothing(database: Database):
    take_in(database, found("1", "2"))
    written: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if not statement.lstrip().startswith("select"):
            written.append(statement)

    event.listen(database.engine, "before_cursor_execute", note)
    assert take_in(database, found("1", "2")) == Changes()
    assert written == []
    many = found(*map(str, range(40)))
    assert take_in(database, many) == Changes(opened=38)
    assert len(written) == 1, "one statement, however many"


@pytest.mark.parametrize(
    ("before", "after", "is_told_again"),
    [("warning", "error", True), ("error", "warning", False), ("info", "warning", True), ("error", "error", False)],
)
def test_only_what_became_worse_is_told_again(
    database: Database, before: Severity, after: Severity, is_told_again: bool
):
    take_in(database, found("1", severity=before))
    deliver(database)
    take_in(database, found("1", severity=after))
    (alert,) = alerts(database).values()
    assert alert.severity == after
    assert (alert.delivered_at is None) == is_told_again


def test_what_changed_is_told_again_after_an_hour(database: Database):
    take_in(database, found("1"))
    deliver(database)
    changed_at = database.now()
    changed = [replace(found("1")[0], changed_at=changed_at)]
    assert take_in(database, changed) == Changes()
    sql(database, "update pipeline.alerts set delivered_at = delivered_at - interval '61 minutes'")
    assert take_in(database, changed) == Changes(updated=1)
    deliver(database)
    sql(database, "update pipeline.alerts set delivered_at = :at", at=changed_at + timedelta(seconds=1))
    assert take_in(database, changed) == Changes(), "once for each change"


@pytest.mark.parametrize(("minutes", "severity", "is_told"), [(14, None, False), (14, "error", True), (16, None, True)])
def test_what_returns_soon_is_the_same_alert_and_is_not_told_again(
    database: Database, minutes: int, severity: Severity | None, is_told: bool
):
    take_in(database, found("1"))
    deliver(database)
    take_in(database, [])
    assert alerts(database) == {}
    sql(database, "update pipeline.alerts set closed_at = closed_at - make_interval(mins => :n)", n=minutes)
    assert take_in(database, found("1", severity=severity)) == Changes(opened=1)
    (alert,) = alerts(database).values()
    assert (alert.delivered_at is None) == is_told


def test_a_storm_is_told_of_fifty_times_and_once_by_its_number(database: Database):
    orders = [f"{number:04d}" for number in range(4000)]
    take_in(database, found(*orders))
    opened = alerts(database)
    assert len(opened) == ONE_BY_ONE + 1
    assert opened["order.late:*"].message.startswith("3950 more alerts of the kind order.late")
    deliver(database)
    # It goes by: of those that are left none is opened in place of one that ended.
    assert take_in(database, found(*orders[40:])) == Changes(closed=40)
    assert take_in(database, found(*orders[40:], severity="error")).opened == 0
    assert take_in(database, found(*orders[3995:])) == Changes(opened=5, closed=11)
    assert "order.late:*" not in alerts(database)


def test_the_worst_of_a_storm_are_told_one_by_one(database: Database):
    orders = [f"{number:04d}" for number in range(200)]
    take_in(database, [*found(*orders), *found("9999", severity="error")])
    assert "order.late:9999" in alerts(database)


def test_where_only_some_were_looked_at_the_others_stay(database: Database):
    take_in(database, found("1", "2", "3"))
    with database.transaction(SELLER) as tx:
        reconcile(tx, KIND, found("1"), examined=["1", "2"])
    assert alerts(database).keys() == {"order.late:1", "order.late:3"}


def test_keys_and_messages_are_bounded(database: Database):
    longest = "x" * 9_000
    take_in(database, found(longest, "a\x1b[2J"))
    opened = alerts(database)
    assert {len(key) for key in opened} == {len("order.late:") + 32}
    assert all(len(alert.message) <= 2_000 and "\x1b" not in alert.message for alert in opened.values())
    assert take_in(database, found(longest)) == Changes(closed=1)


def test_the_worst_alert_is_shown_first_and_those_of_no_account_too(database: Database):
    for account_id, severity in ((SELLER, "info"), (NOBODY, "error"), (SELLER, "warning")):
        kind = replace(KIND, name=f"order.{severity}")
        take_in(database, found("1", severity=severity), kind, account_id)  # type: ignore[arg-type]
    assert [alert.severity for alert in alerts(database).values()] == ["error", "warning", "info"]


# --- evaluation


def test_a_kind_is_evaluated_for_the_account_alone(database: Database):
    late(database, "1")
    late(database, "2", account_id=OTHER)
    core = replace(KIND, name="order.core", query=select(literal("7").label("subject"), literal("7").label("order_id")))
    result = evaluate(database, SELLER, [KIND, core])
    assert result.changes == {"order.late": Changes(opened=1), "order.core": Changes(opened=1)}
    assert alerts(database).keys() == {"order.late:1", "order.core:7"}
    late(database)
    assert evaluate(database, SELLER, [KIND]).changes == {"order.late": Changes(closed=1)}


def test_a_kind_of_no_account_is_evaluated_for_nobody(database: Database):
    kind = replace(KIND, per_account=False, query=text("select null as subject, 'x' as order_id"))
    assert evaluate(database, SELLER, [kind]).changes == {}
    assert evaluate(database, NOBODY, [kind, KIND]).changes == {"order.late": Changes(opened=1)}
    assert alerts(database)["order.late"].account_id == NOBODY


@pytest.mark.parametrize(
    ("query", "cause"),
    [
        ("select 1 / 0 as subject", "DataError, SQLSTATE 22012"),
        ("select pg_sleep(2)::text as subject", "OperationalError, SQLSTATE 57014"),
        ("select '1' as subject", "order.broken: a template names 'order_id', which is not found."),
        ("select '1' as order_id", "The query of order.broken returns no column named subject."),
        ("select '1' as subject, '1' as order_id, 'bad' as severity", "order.broken: 'bad' is no severity"),
    ],
)
def test_a_kind_that_fails_keeps_its_alerts_is_one_itself_and_stops_no_other(
    database: Database, monkeypatch: pytest.MonkeyPatch, query: str, cause: str
):
    monkeypatch.setattr("orders_pipeline.alerts.reconcile.QUERY_MILLISECONDS", 200)
    take_in(database, found("1"), BROKEN)
    late(database, "2")
    broken = replace(BROKEN, query=text(query))
    result = evaluate(database, SELLER, [broken, KIND, replace(broken, name="order.worse")])
    assert result.changes == {"order.late": Changes(opened=1)}
    assert result.failed["order.broken"].startswith(cause)
    assert alerts(database).keys() == {
        "order.broken:1", "order.late:2", "alert.not_evaluated:order.broken", "alert.not_evaluated:order.worse"
    }  # fmt: skip
    late(database)
    mended = replace(BROKEN, query=text("select '1' as subject, '1' as order_id"))
    evaluate(database, SELLER, [mended])
    assert alerts(database).keys() == {"order.broken:1", "order.late:2", "alert.not_evaluated:order.worse"}


def test_a_database_that_is_away_is_not_a_failure_of_each_kind():
    away = Database("postgresql+psycopg2://nobody@127.0.0.1:1/none")
    with pytest.raises(OperationalError):
        evaluate(away, SELLER, [KIND])


def test_what_is_not_reached_within_the_budget_stays_and_is_not_always_the_same(database: Database):
    kinds = [replace(KIND, name=f"order.n{number}") for number in range(6)]
    left: set[str] = set()
    for _ in range(40):
        seconds = iter(range(0, 1000, 10))
        result = evaluate(database, SELLER, kinds, budget_seconds=25, clock=lambda: next(seconds))  # noqa: B023
        assert len(result.changes) == 2
        left |= set(result.not_reached)
    assert len(left) == 6


def test_a_template_that_names_what_is_not_found_is_an_error(database: Database):
    with pytest.raises(AlertKindWrong, match="order_id"):
        take_in(database, [Found("1")])


def test_two_processes_that_evaluate_at_once_open_each_alert_once(database: Database):
    late(database, *(f"{number:02d}" for number in range(30)))
    ready = threading.Barrier(4)
    failed: list[object] = []

    def work() -> None:
        ready.wait()
        for _ in range(5):
            failed.extend(evaluate(database, SELLER, [KIND]).failed.values())

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    with database.begin() as connection:
        rows = connection.execute(text("select count(*), max(times_seen) from pipeline.alerts")).one()
    assert tuple(rows) == (30, 1)


def test_an_evaluation_that_waits_for_another_looks_after_it(database: Database):
    late(database, "1")
    with database.transaction(SELLER) as tx:
        reconcile(tx, KIND, [])
        waiting = threading.Thread(target=evaluate, args=(database, SELLER, [KIND]))
        waiting.start()
        waiting.join(0.5)
        assert waiting.is_alive()
        late(database)
    waiting.join()
    assert alerts(database) == {}, "what ended meanwhile is not opened"
