"""Recognise what Amazon says to our own confirmation of a package: it is verified anyway, so it costs no call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from orders_pipeline.database.engine import AccountTransaction, AnyRow
from orders_pipeline.model.order import OrderStatus, canonical_status
from orders_pipeline.orders.told_shipments import ToldShipment, told_shipments

# ORDER_CHANGE's word for any other change than a buyer's request.
STATUS_CHANGE = "OrderStatusChange"


class Echoes:
    """Of some orders: what Amazon was told of their packages."""

    def __init__(self, told: Mapping[str, ToldShipment]) -> None:
        self._told = told

    @classmethod
    def of(cls, tx: AccountTransaction, order_ids: Sequence[str]) -> Echoes:
        """Of these orders, as they are stored."""
        return cls(told_shipments(tx, order_ids))

    def explain(self, event: AnyRow) -> bool:
        """Whether the event (a row of order_events) says no more than what we told and are about to verify."""
        told = self._told.get(event.order_id)
        if told is None or not told.awaited or event.change_type != STATUS_CHANGE or event.status_told is None:
            return False
        if event.changed_at is None:
            # Nothing could tell whether the verification's answer is as new.
            return False
        if any(item.get("IsBuyerRequestedCancel") for item in event.details.get("OrderItems", ())):
            return False
        status = canonical_status(event.status_told)
        # Whoever can write to the queue can write that all of it left: believed of what we told alone.
        return status == OrderStatus.PARTIALLY_SHIPPED or (status == OrderStatus.SHIPPED and told.whole)
