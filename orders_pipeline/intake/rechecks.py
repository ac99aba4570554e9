"""Whether an answer of Amazon's settles what was asked, or is to be asked for again.

An answer can be older than the change that an event announced, and can leave out who ships the order. Both mend
themselves within minutes as a rule; after a few tries Amazon's word stands, and a person is told.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import Connection

from orders_pipeline.alerts.rows import close_alerts, raise_alert
from orders_pipeline.database.engine import AnyRow
from orders_pipeline.model.order import AMAZON, MERCHANT, Order, OrderStatus
from orders_pipeline.orders.questions import ask_again, settle_questions
from orders_pipeline.orders.rows import FetchClaim, order_row

# Eleven minutes in all; the push waits meanwhile. Whoever can write to the queue delays an order by no more.
RECHECK_DELAYS = (timedelta(minutes=1), timedelta(minutes=2), timedelta(minutes=3), timedelta(minutes=5))
_OPEN = frozenset({OrderStatus.UNSHIPPED, OrderStatus.PARTIALLY_SHIPPED})


def review_answer(connection: Connection, seller_id: str, claim: FetchClaim, order: Order) -> None:
    """Settle what messages told of this order, or ask again; tell a person once it was asked often enough."""
    row = order_row(connection, seller_id, order.order_id)
    if row is None or row.fetch_requests > claim.requests:
        # Something came while the answer was on its way: the next one is due already.
        return
    older = _is_older(order.last_updated_at, row.told_at)
    nobody_ships = row.status in _OPEN and row.fulfilled_by not in (MERCHANT, AMAZON)
    if (older or nobody_ships) and row.rechecks < len(RECHECK_DELAYS):
        ask_again(connection, seller_id=seller_id, order_id=order.order_id, delay=RECHECK_DELAYS[row.rechecks])
        return
    _tell(connection, seller_id, row, older=older, nobody_ships=nobody_ships)
    # Told to be cancelled, and shown otherwise to the end: Amazon's word counts.
    status = order.status if older and row.status == OrderStatus.CANCELLED else None
    settle_questions(connection, seller_id=seller_id, order_id=order.order_id, status=status)


def _is_older(answered: datetime, told: datetime | None) -> bool:
    """In whole seconds: v0 writes no more."""
    return told is not None and answered.replace(microsecond=0) < told.replace(microsecond=0)


def _tell(connection: Connection, seller_id: str, row: AnyRow, *, older: bool, nobody_ships: bool) -> None:
    order_id = row.order_id
    older_key, nobody_key = f"order.answer_older:{order_id}", f"order.no_fulfiller:{order_id}"
    if older:
        raise_alert(
            connection,
            seller_id=seller_id,
            key=older_key,
            severity="warning",
            message=f"A message announced a change of order {order_id} that Amazon does not show after "
            f"{len(RECHECK_DELAYS) + 1} tries. The order goes on as Amazon shows it.",
            what_to_do="Compare the order in Seller Central. If it differs, run the job `recover_order`; if many "
            "orders are concerned, see who may write to the queue.",
        )
    if nobody_ships:
        raise_alert(
            connection,
            seller_id=seller_id,
            key=nobody_key,
            severity="error",
            message=f"Amazon does not say who ships order {order_id} (fulfilledBy is absent or unknown). It is held.",
            what_to_do="Look at the order in Seller Central, then run the job `recover_order`, or ship it by hand.",
        )
    over = [key for key, open_ in ((older_key, older), (nobody_key, nobody_ships)) if not open_]
    close_alerts(connection, seller_id=seller_id, keys=over)
