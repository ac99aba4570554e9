"""What opens and closes each alert that `orders_pipeline/operations/alerts.py` adds to those of the domains."""

from __future__ import annotations

from sqlalchemy import text

from orders_pipeline.alerts.kinds import NOBODY, AlertKind, Found
from orders_pipeline.alerts.reconcile import NOT_EVALUATED, evaluate, reconcile
from orders_pipeline.operations.alerts import FAILED_RUN
from orders_pipeline.operations.overdue import OVERDUE, SWEEP, watch_scheduled_work, work_is_done
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


def _evaluate(world: World, sql: str) -> None:
    kind = AlertKind("some.kind", "error", text(sql), "Message.", "Action.", "Alerts")
    evaluate(world.database, SELLER, [kind])


CASES = (
    Case(
        OVERDUE,
        begin=_nothing_was_done_for_a_day,
        end=lambda world: work_is_done(world.database, account_id=SELLER, work=SWEEP),
    ),
    Case(FAILED_RUN, begin=lambda world: _runs_failed(world, "doctor"), end=_runs_failed),
    Case(
        NOT_EVALUATED,
        begin=lambda world: _evaluate(world, "select 1 / 0 as subject"),
        end=lambda world: _evaluate(world, "select '' as subject where false"),
    ),
)
