"""Keep an answer of Amazon's: the order, its items, its sealed details, and what is still to be asked of it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from orders_pipeline.database.engine import AccountTransaction, database_now
from orders_pipeline.intake.addresses import address_retry
from orders_pipeline.intake.event_decision import FINAL
from orders_pipeline.intake.rechecks import OrderBefore, review_answer
from orders_pipeline.intake.verification import Verified, keep_verification
from orders_pipeline.model.order import AMAZON, MERCHANT, NOT_FOR_THE_WAREHOUSE, Order, OrderStatus
from orders_pipeline.model.shipping_details import ShippingDetails
from orders_pipeline.model.states import NOT_AT_THE_WAREHOUSE, FulfillmentState
from orders_pipeline.orders.answers import save_order
from orders_pipeline.orders.erasures import may_be_stored
from orders_pipeline.orders.fetches import request_fetch
from orders_pipeline.orders.ownership import awaits_adoption
from orders_pipeline.orders.rows import clear_address, order_row
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
    order, details, priority = answer.order, answer.details, before.job.base_priority
    values: dict[str, Any] = {}
    if answer.asked_for_details:
        shippable = details is not None and details.address.is_shippable
        values = {"has_address": shippable, "address_hidden": details is not None and details.address.is_hidden}
        if shippable:
            values["address_at"] = database_now(tx.connection)
    taken = save_order(tx, order, before.queue_state, **values)
    complete(tx, before.job)
    review_answer(tx, before, order)
    if answer.verified is not None:
        keep_verification(tx, order.order_id, answer.verified, priority)
    merged = order_row(tx, order.order_id)
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
            request_fetch(tx, order_id=order.order_id, priority=priority)
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
    request_fetch(tx, order_id=order.order_id, delay=delay, priority=priority)
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
