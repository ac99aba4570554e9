"""What opens and closes each alert of `orders_pipeline/reports/alerts.py`."""

from __future__ import annotations

from datetime import UTC, datetime

from orders_pipeline.model.report import ReportSpecification
from orders_pipeline.reports.alerts import FAILED, LATE
from orders_pipeline.reports.rows import ReportRequest, fail_report, finish_report, want_report
from orders_pipeline_tests.alerts.case import Case
from orders_pipeline_tests.conftest import MARKETPLACE, SELLER
from orders_pipeline_tests.world import World

WANTED = ReportSpecification(
    "GET_ORDERS", datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 11, 20, tzinfo=UTC), (MARKETPLACE,)
)


def _want(world: World) -> ReportRequest:
    with world.database.transaction(SELLER) as tx:
        return want_report(tx, WANTED)


def _fail(world: World) -> None:
    request = _want(world)
    with world.database.transaction(SELLER) as tx:
        fail_report(tx, request.request_id, "Amazon could not make the report 50001 (FATAL).")


def _be_late(world: World) -> None:
    _want(world)
    world.sql("update pipeline.report_requests set requested_at = requested_at - interval '7 hours'")


def _finish(world: World) -> None:
    request = _want(world)
    with world.database.transaction(SELLER) as tx:
        finish_report(tx, request.request_id)


CASES = (Case(FAILED, begin=_fail, end=_finish), Case(LATE, begin=_be_late, end=_finish))
