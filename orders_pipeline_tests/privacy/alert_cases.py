"""What opens and closes each alert of `orders_pipeline/privacy/alerts.py`."""

from __future__ import annotations

from datetime import timedelta

from orders_pipeline.database.clocks import note_reading
from orders_pipeline.privacy.access.role_changes import note_role_changes
from orders_pipeline.privacy.access.secret_rows import note_secret
from orders_pipeline.privacy.alerts import (
    CLOCK_WRONG,
    ERASE_BY_HAND,
    ERASED_UNSHIPPED,
    NOT_ERASED_AT_WAREHOUSE,
    ROLES_CHANGED,
    SECRET_ENDS,
)
from orders_pipeline.privacy.check_result import CheckResult
from orders_pipeline.privacy.checks.check_alerts import RED_CHECK, alert_on
from orders_pipeline.privacy.erasure.erasure import erase_order
from orders_pipeline.privacy.erasure.rows import ask_warehouse_to_erase
from orders_pipeline.privacy.erasure.warehouse_erasure import BY_HAND, erase_at_warehouse, note_erased_by_hand
from orders_pipeline.wms.port import Capability
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


def _owe_what_cannot_be_asked_for(world: World) -> None:
    _owe(world)
    world.wms.capabilities -= {Capability.ERASE_PII}
    _erase(world)


def _say_that_it_is_erased(world: World) -> None:
    (order_id,) = world.warehouse.orders
    note_erased_by_hand(world.database, world.vault.audit, account_id=SELLER, order_id=order_id, reason=BY_HAND)


def _forget(world: World) -> None:
    order_id = world.accepted()
    erase_order(world.database, world.vault, world.wms, account_id=SELLER, order_id=order_id, reason="the buyer asked")


def _cancel(world: World) -> None:
    world.sql("update pipeline.orders set status = 'CANCELLED'")


def _grant(world: World) -> None:
    note_role_changes(world.database, world.vault.audit)
    world.sql("grant select on vault.records to public")
    note_role_changes(world.database, world.vault.audit)


def _two_days_later(world: World) -> None:
    with world.database.begin() as connection:
        connection.exec_driver_sql("alter table audit.entries disable trigger all")
        connection.exec_driver_sql("update audit.entries set at = at - interval '2 days'")
        connection.exec_driver_sql("alter table audit.entries enable trigger all")


def _clock(world: World, *, minutes: int) -> None:
    with world.database.begin() as connection:
        note_reading(connection, world.database.now() - timedelta(minutes=minutes))


def _secret(world: World, *, days: int) -> None:
    with world.database.begin() as connection:
        note_secret(connection, "amzn1.application-oa2-client.x", f"seen {days} days ago")
    world.sql(
        f"update pipeline.client_secrets set first_seen_at = first_seen_at - interval '{days} days' "
        f"where fingerprint = 'seen {days} days ago'"
    )


CASES = (
    Case(NOT_ERASED_AT_WAREHOUSE, _owe, _erase),
    Case(ERASE_BY_HAND, _owe_what_cannot_be_asked_for, _say_that_it_is_erased),
    Case(ERASED_UNSHIPPED, _forget, _cancel),
    Case(ROLES_CHANGED, _grant, _two_days_later),
    Case(CLOCK_WRONG, lambda world: _clock(world, minutes=7), lambda world: _clock(world, minutes=0)),
    Case(SECRET_ENDS, lambda world: _secret(world, days=175), lambda world: _secret(world, days=0)),
    Case(RED_CHECK, lambda world: _check(world, passed=False), lambda world: _check(world, passed=True)),
)
