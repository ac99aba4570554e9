"""What opens and closes each alert that `orders_pipeline/operations/alerts.py` adds to those of the domains."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from sqlalchemy import text

from orders_pipeline.alerts.kinds import NOBODY, AlertKind, Found
from orders_pipeline.alerts.reconcile import NOT_EVALUATED, evaluate, reconcile
from orders_pipeline.database.engine import AccountTransaction
from orders_pipeline.operations.alerting.alerts import NOT_DELIVERED, RULES_FILE
from orders_pipeline.operations.alerting.rows import lease_channel, note_failure, return_channel
from orders_pipeline.operations.alerting.rules_file import rules_in_use
from orders_pipeline.operations.alerts import (
    ACCOUNT_NOT_SERVED,
    FAILED_BACKFILL,
    FAILED_RUN,
    FORMER_ACCOUNT_PARKED,
    evaluate_alerts,
)
from orders_pipeline.operations.overdue import OVERDUE, SWEEP, watch_scheduled_work, work_is_done
from orders_pipeline.work.jobs import Job, Queue
from orders_pipeline.work.queue import claim, enqueue, park
from orders_pipeline_tests.alerts.case import Case
from orders_pipeline_tests.conftest import SELLER
from orders_pipeline_tests.world import World


def _nothing_was_done_for_a_day(world: World) -> None:
    with world.database.transaction(SELLER) as tx:
        watch_scheduled_work(tx)
    world.sql("delete from pipeline.work_done where work <> :work", work=SWEEP)
    world.sql("update pipeline.work_done set watched_since = watched_since - interval '1 day'")


def _runs_failed(world: World, *jobs: str) -> None:
    with world.database.transaction(NOBODY) as tx:
        reconcile(tx, FAILED_RUN, [Found(job, {"job": job, "run_id": "0b1c"}) for job in jobs])


def _backfills_failed(world: World, *backfills: str) -> None:
    with world.database.transaction(NOBODY) as tx:
        reconcile(tx, FAILED_BACKFILL, [Found(one, {"backfill_id": one}) for one in backfills])


def _evaluate(world: World, sql: str) -> None:
    kind = AlertKind("some.kind", "error", text(sql), "Message.", "Action.", "Alerts")
    evaluate(world.database, SELLER, [kind])


def _park_work_of_a_former_account(world: World) -> None:
    with world.database.transaction("FORMER") as tx:
        enqueue(tx, Queue.FETCH, ["111-1", "111-2"])
        enqueue(tx, Queue.PUSH, ["111-3"])
        for job in (*_taken(tx, Queue.FETCH), *_taken(tx, Queue.PUSH)):
            assert park(tx, job, "404")
    with world.database.transaction(SELLER) as tx:
        enqueue(tx, Queue.FETCH, ["111-4"])
        (ours,) = _taken(tx, Queue.FETCH)
        assert park(tx, ours, "404")
    _evaluate_all(world, SELLER)
    (told,) = world.rows("pipeline.alerts", where="key like 'account.parked%'")
    assert told.message.startswith("3 pieces of work (fetch, push) of account FORMER, which is no longer configured")


def _taken(tx: AccountTransaction, queue: Queue) -> list[Job]:
    return claim(tx, queue, limit=10, lease=timedelta(minutes=1))


def _evaluate_all(world: World, *served: str, **not_served: Sequence[str]) -> None:
    evaluate_alerts(world.database, served, [], [], not_served=not_served, budget_seconds=60)


def _slack_takes_nothing(world: World) -> None:
    with world.database.begin() as connection:
        assert lease_channel(connection, "slack") is not None
        for _ in range(2):
            failure = "Slack answered 404: check SLACK_WEBHOOK_URL"
            note_failure(connection, "slack", failure, timedelta(minutes=5))
    world.sql("update pipeline.alert_channels set failing_since = failing_since - interval '2 minutes'")


def _slack_works(world: World) -> None:
    with world.database.begin() as connection:
        return_channel(connection, "slack", has_delivered=True)


def _write_rules(world: World, content: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "alerts.yaml")
        file.write_text(content)
        rules_in_use(world.database, file, {"order.late"})


CASES = (
    # Told by email alone; a channel that works again has been told nothing of itself.
    Case(NOT_DELIVERED, begin=_slack_takes_nothing, end=_slack_works),
    Case(
        RULES_FILE,
        begin=lambda world: _write_rules(world, "digest: soon"),
        end=lambda world: _write_rules(world, "{}"),
    ),
    Case(
        FORMER_ACCOUNT_PARKED,
        begin=_park_work_of_a_former_account,
        # Configured again, its work has alerts of its own.
        end=lambda world: _evaluate_all(world, SELLER, "FORMER"),
    ),
    Case(
        ACCOUNT_NOT_SERVED,
        begin=lambda world: _evaluate_all(world, SELLER, acme=["secrets.refresh_token: the variable ACME is not set"]),
        end=lambda world: _evaluate_all(world, SELLER, "acme"),
    ),
    Case(
        OVERDUE,
        begin=_nothing_was_done_for_a_day,
        end=lambda world: work_is_done(world.database, account_id=SELLER, work=SWEEP),
    ),
    Case(FAILED_RUN, begin=lambda world: _runs_failed(world, "doctor"), end=_runs_failed),
    Case(FAILED_BACKFILL, begin=lambda world: _backfills_failed(world, "xkcdabcd"), end=_backfills_failed),
    Case(
        NOT_EVALUATED,
        begin=lambda world: _evaluate(world, "select 1 / 0 as subject"),
        end=lambda world: _evaluate(world, "select '' as subject where false"),
    ),
)
