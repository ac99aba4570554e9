"""What opens and closes each alert of `orders_pipeline/privacy/alerts.py`."""

from __future__ import annotations

from orders_pipeline.privacy.checks.check_alerts import RED_CHECK, alert_on
from orders_pipeline.privacy.checks.check_result import CheckResult
from orders_pipeline_tests.alerts.case import Case
from orders_pipeline_tests.conftest import SELLER
from orders_pipeline_tests.world import World


def _check(world: World, *, passed: bool) -> None:
    outcome = CheckResult("every_record_opens", passed, "ERROR", "2 do not open.", "Find out who.", "DPP §2.4", {})
    alert_on(world.database, outcome, account_id=SELLER)


CASES = (Case(RED_CHECK, lambda world: _check(world, passed=False), lambda world: _check(world, passed=True)),)
