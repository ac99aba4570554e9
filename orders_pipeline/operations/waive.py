"""A person waives a hold: ship, although there is a reason to wait."""

from __future__ import annotations

from collections.abc import Sequence

from orders_pipeline.audit.log import AuditLog
from orders_pipeline.database.engine import Database
from orders_pipeline.fulfillment.eligibility import WAIVABLE
from orders_pipeline.orders.fetches import request_fetch
from orders_pipeline.orders.rows import waive_holds


class HoldNotWaived(Exception):
    """The hold cannot be waived; the message says why and what to do instead."""


def waive_hold(
    database: Database,
    audit: AuditLog,
    *,
    account_id: str,
    order_id: str,
    reasons: Sequence[str],
    why: str,
    keeps_others: bool = False,
) -> None:
    """Ship this order in spite of the reasons named, and of no others; with `keeps_others`, of those waived before too.

    An empty list takes the decision back. Raises HoldNotWaived.
    """
    final = sorted(set(reasons) - WAIVABLE)
    if final:
        raise HoldNotWaived(
            f"{', '.join(final)} is not a person's to waive (these are: {', '.join(sorted(WAIVABLE))}): the runbook, "
            "'Holds', says what ends it."
        )
    with database.transaction(account_id) as tx:
        if not waive_holds(tx, order_id=order_id, reasons=reasons, keeps_others=keeps_others):
            raise HoldNotWaived(f"Order {order_id} is not known: run the job recover_order first.")
        # Fetch now: the next fetch may be hours away, and a decision that was taken back needs a fresh answer.
        request_fetch(tx, order_id=order_id)
        audit.record(
            tx.connection,
            action="waive_hold",
            account_id=account_id,
            order_id=order_id,
            purpose=why,
            outcome="waived" if reasons else "taken_back",
            detail=dict.fromkeys(sorted(reasons), True),
        )
