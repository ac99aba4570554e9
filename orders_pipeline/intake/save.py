"""Keep an answer of Amazon's: the order, its items, its sealed details, and what is still to be asked of it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from orders_pipeline.database.engine import AccountTransaction, AnyRow, database_now
from orders_pipeline.intake.addresses import address_retry
from orders_pipeline.intake.event_decision import FINAL
from orders_pipeline.intake.rechecks import OrderBefore, review_answer
from orders_pipeline.intake.verification import Verified, keep_verification
from orders_pipeline.model.order import AMAZON, MERCHANT, NOT_FOR_THE_WAREHOUSE, Order, OrderStatus
from orders_pipeline.model.shipping_details import ShippingDetails
from orders_pipeline.model.states import AT_THE_WAREHOUSE, NOT_AT_THE_WAREHOUSE, FulfillmentState
from orders_pipeline.orders.erasures import may_be_stored
from orders_pipeline.orders.fetches import request_fetch
from orders_pipeline.orders.ownership import awaits_adoption
from orders_pipeline.orders.rows import (
    clear_address,
    item_rows,
    note_reduced_items,
    order_row,
    save_fetched_order,
)
from orders_pipeline.vault.access import Vault
from orders_pipeline.vault.shipping_details import SHIPPING_DETAILS, identifying_values, shipping_details_to_bytes
from orders_pipeline.work.queue import complete

SHIPPABLE = frozenset({OrderStatus.UNSHIPPED, OrderStatus.PARTIALLY_SHIPPED})
# In these states the warehouse has not got the address, or not surely: a push may have to be repeated.
NEEDS_DETAILS = NOT_AT_THE_WAREHOUSE | {None, FulfillmentState.PUSHING}
# After its delivery window: by then the retention destroys the details of an order that still waits, each night anew.
DETAILS_OF_USE = timedelta(days=28)


@dataclass(frozen=True, slots=True)
class Answer:
    """What Amazon answered to one fetch. `details` is None where none came, or none was asked for."""

    order: Order
    details: ShippingDetails | None
    asked_for_details: bool
    # Of an order with regulated items, where it was asked for.
    verified: Verified | None = None


def save_answer(
    tx: AccountTransaction, vault: Vault, before: OrderBefore, answer: Answer, marketplace_ids: Collection[str]
) -> bool:
    """Store one answer with all that follows from it; False if the order is to ship and has no address yet."""
    order, details = answer.order, answer.details
    values = order_values(tx.account_id, order)
    if answer.asked_for_details:
        shippable = details is not None and details.address.is_shippable
        values |= {"has_address": shippable, "address_hidden": details is not None and details.address.is_hidden}
        if shippable:
            values["address_at"] = database_now(tx.connection)
    quantities_before = to_ship_by_item(item_rows(tx, order.order_id))
    taken = save_fetched_order(tx, values, item_values(tx.account_id, order))
    complete(tx, before.job)
    review_answer(tx, before, order)
    if answer.verified is not None:
        keep_verification(tx, order.order_id, answer.verified)
    merged = order_row(tx, order.order_id)
    if taken and before.queue_state in AT_THE_WAREHOUSE:
        _note_reduced_items(tx, order, quantities_before)
    to_ship = merged is not None and merged.status in SHIPPABLE and merged.fulfilled_by == MERCHANT
    if not (taken and to_ship) or merged is None:
        return True
    if merged.marketplace_id not in marketplace_ids:
        # The order is of another or an unknown marketplace: its address is not stored; a later fetch brings it.
        clear_address(tx, order_id=order.order_id)
        return True
    now = database_now(tx.connection)
    if not details_are_of_use(frozenset(merged.programs), merged.deliver_by, now):
        return True
    if not may_be_stored(tx, order.order_id) or awaits_adoption(tx, merged):
        # Its erasure was asked for while the answer was on its way, or an old process ships it: it goes no further.
        clear_address(tx, order_id=order.order_id)
        return True
    if not answer.asked_for_details:
        if before.queue_state in NEEDS_DETAILS:
            # It was told to be over, or Amazon's to ship, and is ours to ship after all.
            request_fetch(tx, order_id=order.order_id)
        return True
    if details is not None and details.address.is_shippable:
        vault.store(
            tx,
            kind=SHIPPING_DETAILS,
            subject_id=order.order_id,
            plaintext=shipping_details_to_bytes(details),
            expires_at=order.deliver_by,
            values=identifying_values(details),
        )
        return True
    # Before it was to ship, or known here, nobody waited for its address.
    waiting_since = max(merged.first_seen_at, order.last_updated_at)
    delay = address_retry(waiting_since, merged.ship_by, now)
    request_fetch(tx, order_id=order.order_id, delay=delay)
    return False


def details_are_of_use(programs: frozenset[str], deliver_by: datetime | None, now: datetime) -> bool:
    """Whether a warehouse of ours could need to know where this order goes. If not, it is neither asked nor kept."""
    if programs & NOT_FOR_THE_WAREHOUSE:
        return False
    return deliver_by is None or now < deliver_by + DETAILS_OF_USE


def may_need_details(
    queue_state: str | None,
    status: str,
    fulfilled_by: str,
    marketplace_id: str | None,
    programs: frozenset[str],
    deliver_by: datetime | None,
    now: datetime,
    marketplace_ids: Collection[str],
) -> bool:
    """Whether the warehouse may still need to know where an order goes, by what is stored of it."""
    return (
        queue_state in NEEDS_DETAILS
        and status not in FINAL
        and fulfilled_by != AMAZON
        and (marketplace_id is None or marketplace_id in marketplace_ids)
        and details_are_of_use(programs, deliver_by, now)
    )


def _note_reduced_items(tx: AccountTransaction, order: Order, before: dict[str, int]) -> None:
    """A line was cancelled, or made smaller, at Amazon: the contract has no word for it, so a person has to say it."""
    now = {item.order_item_id: 0 if item.cancelled else item.quantity_ordered for item in order.items}
    fewer = sorted(item_id for item_id, quantities in before.items() if now.get(item_id, 0) < quantities)
    if fewer and order.status != OrderStatus.CANCELLED:
        note_reduced_items(tx, order_id=order.order_id, item_ids=fewer)


def order_values(account_id: str, order: Order) -> dict[str, Any]:
    """The columns of `orders` that an answer of Amazon's sets."""
    return {
        "account_id": account_id,
        "order_id": order.order_id,
        "marketplace_id": order.marketplace_id,
        "status": order.status,
        "fulfilled_by": order.fulfilled_by,
        "service_level": order.service_level,
        "programs": sorted(order.programs),
        "total_amount": order.total.amount if order.total else None,
        "total_currency": order.total.currency if order.total else None,
        "purchased_at": order.purchased_at,
        "last_updated_at": order.last_updated_at,
        "earliest_ship_at": order.earliest_ship_at,
        "ship_by": order.ship_by,
        "deliver_by": order.deliver_by,
        "cancellation_requested": order.cancellation_requested,
    }


def item_values(account_id: str, order: Order) -> list[dict[str, Any]]:
    """The rows of `order_items` for an answer of Amazon's."""
    return [
        {
            "account_id": account_id,
            "order_id": order.order_id,
            "order_item_id": item.order_item_id,
            "position": position,
            "sku": item.sku,
            "asin": item.asin,
            "title": item.title,
            "quantity_ordered": item.quantity_ordered,
            "quantity_fulfilled": item.quantity_fulfilled,
            "unit_price": item.unit_price.amount if item.unit_price else None,
            "currency": item.unit_price.currency if item.unit_price else None,
            "programs": sorted(item.programs),
            "cancellation_requested": item.cancellation_requested,
            "cancelled": item.cancelled,
        }
        for position, item in enumerate(order.items)
    ]


def to_ship_by_item(items: Sequence[AnyRow]) -> dict[str, int]:
    """How many pieces of each line are ordered, as our rows have it; none of a cancelled line."""
    return {item.order_item_id: 0 if item.cancelled else item.quantity_ordered for item in items}
