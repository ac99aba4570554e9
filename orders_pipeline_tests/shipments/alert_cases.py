"""What opens and closes each alert of `orders_pipeline/shipments/alerts.py`."""

from __future__ import annotations

from orders_pipeline.shipments.alerts import NOT_REPLACED
from orders_pipeline_tests.alerts.case import Case
from orders_pipeline_tests.world import World


def _void(world: World) -> None:
    order_id = world.accepted()
    package_id = world.ship(order_id)
    world.warehouse.void(order_id, package_id)
    world.run_until_idle()
    world.sql("update pipeline.shipment_confirmations set changed_at = changed_at - interval '2 hours'")


def _replace(world: World) -> None:
    (row,) = world.rows("pipeline.shipment_confirmations", "order_id, package_id")
    world.ship(row.order_id)
    world.confirm_and_verify()


CASES = (Case(NOT_REPLACED, begin=_void, end=_replace),)
