"""Alerts about packages end with their cause, so that the next one of their kind is told again."""

from __future__ import annotations

import pytest
from sqlalchemy import event
from sqlalchemy.engine import Connection

from orders_pipeline.operations.replay import recover_order
from orders_pipeline.shipments.packages import apply_shipments
from orders_pipeline_tests.conftest import SELLER
from orders_pipeline_tests.world import World


def _open(world: World) -> set[str]:
    """The open alerts about packages and warehouse."""
    return {key for key in world.alerts() if key.startswith(("package.", "warehouse."))}


def _pass_by(world: World, days: int) -> None:
    ago = f"interval '{days} days'"
    world.sql(f"update pipeline.wms_shipments set received_at = received_at - {ago}")
    world.sql(f"update pipeline.wms_cursors set unreadable_at = unreadable_at - {ago}")
    world.sql(f"update pipeline.shipment_confirmations set changed_at = changed_at - {ago}")


def test_a_package_of_an_unknown_order_is_no_alert_once_it_was_taken_up(world: World):
    order_id = world.order(hear=False)
    world.warehouse.accept(order_id, {"ship_to": {}, "lines": []})
    world.ship(order_id, {0: 1})
    world.confirm_and_verify()
    assert "package.unknown_order" in _open(world)
    world.run_until_idle()
    assert _open(world) == set()


@pytest.mark.parametrize("what", ["a kind", "an event that cannot be read"])
def test_what_the_warehouse_wrote_wrongly_is_over_after_three_days_and_told_again(world: World, what: str):
    order_id = world.accepted()

    def write() -> None:
        world.warehouse.add_event("teleported", order_id, {})
        if what != "a kind":
            del world.warehouse.events[-1]["order_ref"]

    key = "package.unknown_kind" if what == "a kind" else "warehouse.unreadable_event"
    write()
    world.confirm_and_verify()
    _pass_by(world, 2)
    assert _open(world) == {key}
    _pass_by(world, 2)
    assert _open(world) == set()
    write()
    world.confirm_and_verify()
    assert _open(world) == {key}


def test_a_blocked_package_is_an_alert_until_it_is_resolved(world: World):
    order_id = world.accepted()
    package_id = world.ship(order_id)
    world.amazon.cancel(order_id, notify=False)
    world.confirm_and_verify()
    _pass_by(world, 20)
    assert "package.blocked" in _open(world)
    recover_order(world.database, world.vault.audit, account_id=SELLER, order_id=order_id)
    assert "package.blocked" not in _open(world)
    world.make_due()
    world.confirm_and_verify()
    assert "package.blocked" in _open(world), "it is as before: told again"
    world.warehouse.void(order_id, package_id)
    world.confirm_and_verify()
    assert "package.blocked" not in _open(world)


def test_a_blocked_package_that_nobody_touched_is_over_after_a_month(world: World):
    order_id = world.accepted()
    world.ship(order_id)
    world.amazon.cancel(order_id, notify=False)
    world.confirm_and_verify()
    _pass_by(world, 31)
    assert "package.blocked" not in _open(world)


def test_a_confirmation_by_hand_is_over_once_it_could_be_read(world: World):
    order_id = world.accepted()
    world.ship(order_id)
    world.amazon.change_status(order_id, "SHIPPED")
    world.run_until_idle()
    assert _open(world) == {"package.by_hand"}
    _pass_by(world, 4)
    assert _open(world) == set()


@pytest.mark.parametrize("over_by", ["report", "order"])
def test_a_void_of_an_unreported_package_ends_with_its_report_or_order(world: World, over_by: str):
    order_id = world.accepted()
    package_id = world.ship(order_id)
    world.warehouse.void(order_id, package_id)
    report, void = world.warehouse.events
    world.warehouse.events[:] = [void]
    world.confirm_and_verify()
    assert _open(world) == {"package.unknown"}
    if over_by == "report":
        world.warehouse.events.append(report)
    else:
        world.ship(order_id)
    world.run_until_idle()
    assert _open(world) == set()


def test_a_voided_package_without_replacement_is_an_alert_after_an_hour(world: World):
    order_id = world.accepted(quantities=(2, 1))
    world.ship(order_id, {0: 1})
    package_id = world.ship(order_id, {0: 1, 1: 1})
    world.warehouse.void(order_id, package_id)
    world.run_until_idle()
    assert _open(world) == set(), "the warehouse may be packing it anew"
    _pass_by(world, 1)
    assert _open(world) == {"package.not_replaced"}
    assert order_id in world.alerts()["package.not_replaced"].message
    world.ship(order_id, {0: 1})
    world.confirm_and_verify()
    assert _open(world) == {"package.not_replaced"}, "a part of it"
    world.ship(order_id, {1: 1})
    world.confirm_and_verify()
    assert _open(world) == set()


def test_looking_again_at_old_events_reads_no_whole_table(world: World):
    world.sql(
        "insert into pipeline.wms_shipments (account_id, event_id, kind, order_id, lines, processed_at, result) "
        "select :seller, 'E' || n, 'shipped', 'O' || n, '[]', clock_timestamp(), 'shipped' "
        "from generate_series(1, 20000) n",
        seller=SELLER,
    )
    world.sql("analyze pipeline.wms_shipments")
    asked: list[tuple[str, object]] = []

    def note(connection: Connection, cursor: object, statement: str, parameters: object, *_: object) -> None:
        if "update pipeline.wms_shipments" in statement:
            asked.append((statement, parameters))

    event.listen(world.database.engine, "before_cursor_execute", note)
    apply_shipments(world.database, world.vault.audit, account_id=SELLER)
    event.remove(world.database.engine, "before_cursor_execute", note)
    assert len(asked) == 2
    for statement, parameters in asked:
        with world.database.begin() as connection:
            plan = connection.exec_driver_sql(f"explain {statement}", parameters).scalars().all()  # type: ignore[arg-type]
        assert "Seq Scan on wms_shipments" not in "\n".join(plan)
