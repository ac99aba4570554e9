"""A run that never was is an alert until the work is done; a fresh installation is left alone."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import text

from orders_pipeline.alerts.reconcile import evaluate
from orders_pipeline.alerts.rows import open_alerts
from orders_pipeline.database.engine import Database
from orders_pipeline.definitions import build_defs
from orders_pipeline.operations.overdue import OVERDUE, SCHEDULED, watch_scheduled_work, work_is_done
from orders_pipeline_tests.conftest import SELLER

EVERYTHING = sorted(one.work for one in SCHEDULED)


def look(database: Database) -> list[str]:
    with database.transaction(SELLER) as tx:
        watch_scheduled_work(tx)
    assert evaluate(database, SELLER, [OVERDUE]).failed == {}
    with database.transaction(SELLER) as tx:
        keys = [alert.key for alert in open_alerts(tx)]
    return sorted(key.removeprefix("work.overdue:") for key in keys)


def pass_by(database: Database, time: timedelta) -> None:
    with database.begin() as connection:
        connection.execute(
            text("update pipeline.work_done set watched_since = watched_since - :time, done_at = done_at - :time"),
            {"time": time},
        )


def test_a_fresh_installation_owes_nothing_until_its_first_run_is_due(database: Database):
    assert look(database) == []
    pass_by(database, timedelta(minutes=50))
    assert look(database) == []
    pass_by(database, timedelta(hours=25))
    assert look(database) == [
        "authorizations",
        "client_secrets",
        "notifications",
        "reports",
        "shipments",
        "sweep",
        "warehouse_erasures",
    ]


@pytest.mark.parametrize("work", EVERYTHING)
def test_each_work_that_was_not_done_is_an_alert_until_it_is_done(database: Database, work: str):
    look(database)
    for one in EVERYTHING:
        work_is_done(database, account_id=SELLER, work=one)
    assert look(database) == []
    # The daemon was down for three days; when it is back, all of it is overdue at once.
    pass_by(database, timedelta(days=3))
    assert look(database) == EVERYTHING
    work_is_done(database, account_id=SELLER, work=work)
    assert look(database) == [one for one in EVERYTHING if one != work]


def test_a_work_that_says_it_was_done_tomorrow_is_not_believed(database: Database):
    look(database)
    pass_by(database, timedelta(days=3))
    with database.begin() as connection:
        connection.execute(text("update pipeline.work_done set done_at = clock_timestamp() + interval '1 year'"))
    assert look(database) == EVERYTHING


def test_everything_that_starts_work_by_itself_is_watched():
    repository = build_defs().get_repository_def()
    schedules = {schedule.name for schedule in repository.schedule_defs}
    sensors = {sensor.name for sensor in repository.sensor_defs}
    # One is who looks; the other is looked after by the nightly check of the same.
    assert {one.starter for one in SCHEDULED} == schedules | sensors - {"deliver_alerts_sensor", "watch_roles_sensor"}
