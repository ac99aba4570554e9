"""What opens and closes each alert of `orders_pipeline/shipments/alerts.py`."""

from __future__ import annotations

from collections.abc import Callable

from orders_pipeline.channels.amazon.carriers import COLUMNS, read_table
from orders_pipeline.channels.amazon.errors import AmazonBadRequest
from orders_pipeline.model.webhook import WebhookRefusal
from orders_pipeline.operations.replay import recover_order
from orders_pipeline.shipments import alerts
from orders_pipeline.shipments.carrier_files import note_problem
from orders_pipeline.shipments.event_rows import note_refused_webhooks, note_unread, note_webhook
from orders_pipeline.wms.port import ShipmentPage
from orders_pipeline_tests.alerts.case import Case
from orders_pipeline_tests.conftest import SELLER
from orders_pipeline_tests.world import World

NEW = "1Z999AA10123456784"


def _order_id(world: World) -> str:
    return world.rows("pipeline.orders", "order_id, status")[0].order_id


def _package_id(world: World) -> str:
    return world.rows("pipeline.shipment_confirmations", "package_id, state")[0].package_id


def _ship(world: World) -> str:
    order_id = world.accepted()
    world.ship(order_id)
    return order_id


def _refuse_webhooks(world: World) -> None:
    with world.database.transaction(SELLER) as tx:
        note_refused_webhooks(tx, 3, WebhookRefusal.SIGNATURE)


def _take_a_webhook(world: World) -> None:
    with world.database.transaction(SELLER) as tx:
        note_webhook(tx, ShipmentPage((), None))


def _confirmed(world: World) -> str:
    order_id = _ship(world)
    world.run_until_idle()
    return order_id


def _days_pass(days: int) -> Callable[[World], None]:
    def pass_by(world: World) -> None:
        ago = f"interval '{days} days'"
        world.sql(f"update pipeline.shipment_confirmations set changed_at = changed_at - {ago}")
        world.sql(f"update pipeline.wms_shipments set received_at = received_at - {ago}")
        world.sql(f"update pipeline.wms_cursors set unreadable_at = unreadable_at - {ago}")

    return pass_by


def _left_late(world: World) -> None:
    _ship(world)
    world.poll()
    world.sql("update pipeline.shipment_confirmations set ship_by = clock_timestamp() + interval '3 hours'")


def _confirm_in_the_end(world: World) -> None:
    world.run_until_idle()


def _replay(world: World) -> None:
    world.faults.clear()
    world.amazon.faults.clear()
    recover_order(world.database, world.vault.audit, account_id=SELLER, order_id=_order_id(world))
    world.run_until_idle()


def _report_without_number(world: World) -> None:
    _ship(world)
    world.warehouse.events[-1]["tracking_number"] = None
    world.poll()


def _report_with_number(world: World) -> None:
    world.warehouse.events.append({**world.warehouse.events[-1], "event_id": "again", "tracking_number": NEW})
    world.poll()


def _refuse(world: World) -> None:
    world.faults.fail("confirm", AmazonBadRequest("no", operation="confirmShipment", status=400), _ship(world))
    world.run_until_idle()


def _drop(world: World) -> None:
    _ship(world)
    world.amazon.faults.add("dropped", "confirmShipment", times=None)
    for _ in range(40):
        world.confirm_and_verify()


def _block(world: World) -> None:
    world.amazon.cancel(_ship(world), notify=False)
    world.confirm_and_verify()


def _confirm_by_hand(world: World) -> None:
    world.amazon.change_status(_ship(world), "SHIPPED")
    world.run_until_idle()


def _void_confirmed(world: World) -> None:
    order_id = _confirmed(world)
    world.warehouse.void(order_id, _package_id(world))
    world.poll()


def _void_unconfirmed(world: World) -> None:
    order_id = _ship(world)
    world.warehouse.void(order_id, world.warehouse.events[-1]["package_id"])
    world.run_until_idle()
    _days_pass(1)(world)


def _replace(world: World) -> None:
    world.ship(_order_id(world))
    world.confirm_and_verify()


def _ship_by_an_unknown_carrier(world: World) -> None:
    world.ship(world.accepted(), carrier="Bluefin Couriers")
    world.confirm_and_verify()


def _map_the_carrier(world: World) -> None:
    world.carriers = read_table([",".join(COLUMNS), "Bluefin Couriers,*,*,OnTrac,"], "carriers.csv")
    world.confirm_and_verify()


def _break_the_file(world: World) -> None:
    with world.database.begin() as connection:
        note_problem(connection, "carriers.csv", "line 4: not UTF-8")


def _mend_the_file(world: World) -> None:
    with world.database.begin() as connection:
        note_problem(connection, "carriers.csv", None)


def _two_labels(world: World, *, void: str | None) -> None:
    order_id = _ship(world)
    report = world.warehouse.events[-1]
    world.warehouse.void(order_id, report["package_id"])
    world.warehouse.relabel(order_id, report["package_id"], NEW)
    _, voided, newer = world.warehouse.events
    newer["shipped_at"] = world.database.now().isoformat()
    world.warehouse.events[:] = [report, newer, {**voided, "tracking_number": void}]
    world.run_until_idle()


def _void_unclearly(world: World) -> None:
    _two_labels(world, void=None)


def _void_the_newer(world: World) -> None:
    _two_labels(world, void=NEW)


def _void_by_its_number(world: World) -> None:
    number = world.package(_package_id(world)).tracking_number
    world.warehouse.events.append({**world.warehouse.events[-1], "event_id": "last", "tracking_number": number})
    world.poll()


def _void_the_unreported(world: World) -> None:
    order_id = _ship(world)
    world.warehouse.void(order_id, world.warehouse.events[-1]["package_id"])
    del world.warehouse.events[0]
    world.poll()


def _report_the_voided(world: World) -> None:
    void = world.warehouse.events[-1]
    world.warehouse.events.append({**void, "kind": "shipped", "event_id": "late"})
    world.poll()


def _meet_a_defect(world: World) -> None:
    world.sql("alter table pipeline.shipment_confirmations add constraint refused check (carrier is null) not valid")
    _ship(world)
    world.poll()


def _mend_the_defect(world: World) -> None:
    world.sql("alter table pipeline.shipment_confirmations drop constraint refused")
    world.sql("update pipeline.wms_shipments set processed_at = processed_at - interval '1 hour'")
    world.poll()


def _ship_an_unknown_order(world: World) -> None:
    order_id = world.order(hear=False)
    world.warehouse.accept(order_id, {"ship_to": {}, "lines": []})
    world.ship(order_id, {0: 1})
    world.poll()


def _write(kind: str) -> Callable[[World], None]:
    def write(world: World) -> None:
        world.warehouse.add_event(kind, world.accepted(), {})
        world.poll()

    return write


def _write_without_order(world: World) -> None:
    world.warehouse.add_event("shipped", world.accepted(), {})
    del world.warehouse.events[-1]["order_ref"]
    world.poll()


def _order_is_over(world: World) -> None:
    world.sql("update pipeline.orders set status = 'CANCELLED'")


def _push_again(world: World) -> None:
    world.sql("update pipeline.wms_orders set sent_at = clock_timestamp()")


def _be_away(world: World) -> None:
    with world.database.transaction(SELLER) as tx:
        note_unread(tx, "The warehouse answered 503.")


def _answer_with_a_cursor_that_cannot_be_sent(world: World) -> None:
    world.wms.poll = lambda *_: ShipmentPage((), None, cursor_unreadable=True)  # type: ignore[method-assign]
    world.poll()


def _answer_again(world: World) -> None:
    world.wms.poll = lambda cursor, limit: ShipmentPage((), "0")  # type: ignore[method-assign]
    world.poll()


CASES = (
    Case(alerts.NEEDS_CORRECTION, begin=_report_without_number, end=_report_with_number),
    Case(alerts.REFUSED, begin=_refuse, end=_replay),
    Case(alerts.DROPPED, begin=_drop, end=_replay),
    Case(alerts.LATE, begin=_left_late, end=_confirm_in_the_end),
    Case(alerts.BLOCKED, begin=_block, end=_days_pass(31)),
    Case(alerts.BY_HAND, begin=_confirm_by_hand, end=_days_pass(4)),
    Case(alerts.VOIDED, begin=_void_confirmed, end=_replace),
    Case(alerts.NOT_REPLACED, begin=_void_unconfirmed, end=_replace),
    Case(alerts.CARRIER_UNKNOWN, begin=_ship_by_an_unknown_carrier, end=_map_the_carrier),
    Case(alerts.CARRIER_FILE, begin=_break_the_file, end=_mend_the_file),
    Case(alerts.VOID_UNCLEAR, begin=_void_unclearly, end=_void_by_its_number),
    Case(alerts.EARLIER_LABEL, begin=_void_the_newer, end=_void_by_its_number),
    Case(alerts.UNKNOWN_PACKAGE, begin=_void_the_unreported, end=_report_the_voided),
    Case(alerts.EVENT_DEFECT, begin=_meet_a_defect, end=_mend_the_defect),
    Case(alerts.UNKNOWN_ORDER, begin=_ship_an_unknown_order, end=World.run_until_idle),
    Case(alerts.SHORT, begin=_write("short"), end=_order_is_over),
    Case(alerts.WAREHOUSE_CANCELLED, begin=_write("cancelled"), end=_push_again),
    Case(alerts.UNKNOWN_KIND, begin=_write("teleported"), end=_days_pass(4)),
    Case(alerts.SHIPMENTS_UNREAD, begin=_be_away, end=World.poll),
    Case(alerts.UNREADABLE_EVENT, begin=_write_without_order, end=_days_pass(4)),
    Case(alerts.UNREADABLE_CURSOR, begin=_answer_with_a_cursor_that_cannot_be_sent, end=_answer_again),
    Case(alerts.WEBHOOKS_REFUSED, begin=_refuse_webhooks, end=_take_a_webhook),
)
# Another end: a person corrected the order at Amazon, and nothing replaces the package.
A_MONTH_PASSES = Case(alerts.VOIDED, begin=_void_confirmed, end=_days_pass(31))
BLOCKED_FOR_A_MONTH = Case(alerts.BLOCKED, begin=_block, end=_days_pass(31))
