"""What opens and closes each alert of `orders_pipeline/privacy/alerts.py`."""

from __future__ import annotations

from orders_pipeline.privacy.alerts import NOT_ERASED_AT_WAREHOUSE
from orders_pipeline.privacy.checks.check_alerts import RED_CHECK, alert_on
from orders_pipeline.privacy.checks.check_result import CheckResult
from orders_pipeline.privacy.erasure.rows import ask_warehouse_to_erase
from orders_pipeline.privacy.erasure.warehouse_erasure import erase_at_warehouse
from orders_pipeline_tests.alerts.case import Case
from orders_pipeline_tests.conftest import SELLER
from orders_pipeline_tests.world import World


def _check(world: World, *, passed: bool) -> None:
    outcome = CheckResult("every_record_opens", passed, "ERROR", "2 do not open.", "Find out who.", "DPP §2.4", {})
    alert_on(world.database, outcome, account_id=SELLER)


def _owe(world: World) -> None:
    order_id = world.accepted()
    with world.database.transaction(SELLER) as tx:
        ask_warehouse_to_erase(tx, [order_id])
    world.sql("update pipeline.wms_orders set erase_requested_at = erase_requested_at - interval '3 hours'")


def _erase(world: World) -> None:
    erase_at_warehouse(world.database, world.vault.audit, world.wms, account_id=SELLER)


CASES = (
    Case(NOT_ERASED_AT_WAREHOUSE, _owe, _erase),
    Case(RED_CHECK, lambda world: _check(world, passed=False), lambda world: _check(world, passed=True)),
)
