"""What opens and closes each alert of `orders_pipeline/fulfillment/alerts.py`."""

from __future__ import annotations

from orders_pipeline.fulfillment.alerts import BY_HAND, FEWER_PIECES, LATE, REFUSED, TOO_LATE
from orders_pipeline.wms.port import Capability
from orders_pipeline_tests.alerts.case import Case
from orders_pipeline_tests.world import World


def _refuse_the_address(world: World) -> None:
    order_id = world.order()
    world.warehouse.faults.add("invalid_address_echo", "put_order", order_id=order_id)
    world.sync()
    assert world.state(order_id) == "refused"


def _ship_by_passes(world: World) -> None:
    world.accepted()
    world.sql("update pipeline.orders set ship_by = clock_timestamp() - interval '1 minute'")


def _cancel_at_amazon(world: World) -> None:
    (order_id,) = world.amazon.orders
    world.amazon.cancel(order_id)
    world.hear()
    world.sync()


def _hold_too_late(world: World) -> None:
    order_id = world.accepted()
    world.warehouse.faults.add("too_late", "hold", order_id=order_id)
    world.amazon.request_cancellation(order_id)
    world.hear()
    world.sync()


def _withdraw_the_request(world: World) -> None:
    (order_id,) = world.amazon.orders
    world.amazon.withdraw_cancellation_request(order_id)
    world.hear()
    world.sync()


def _cancel_without_being_able_to(world: World) -> None:
    order_id = world.accepted()
    world.wms.capabilities -= {Capability.CANCEL}
    world.amazon.cancel(order_id)
    world.hear()
    world.sync()


def _cancel_by_hand(world: World) -> None:
    (order_id,) = world.warehouse.orders
    world.warehouse.stop(order_id)
    world.make_due()
    world.sync()


def _order_fewer_pieces(world: World) -> None:
    world.fewer_pieces(world.accepted(quantities=(3,)), 2)
    world.sync()


CASES = (
    Case(FEWER_PIECES, begin=_order_fewer_pieces, end=_cancel_at_amazon),
    Case(REFUSED, begin=_refuse_the_address, end=_cancel_at_amazon),
    Case(LATE, begin=_ship_by_passes, end=_cancel_at_amazon),
    Case(BY_HAND, begin=_cancel_without_being_able_to, end=_cancel_by_hand),
    Case(TOO_LATE, begin=_hold_too_late, end=_withdraw_the_request),
)
# Another end: nobody hears that the package came back.
A_MONTH_PASSES = Case(
    TOO_LATE,
    begin=_hold_too_late,
    end=lambda world: world.sql("update pipeline.fulfillment_orders set changed_at = changed_at - interval '31 days'"),
)
