"""Who works on an order: one person at a time, while the order is open or needs a person.

Two who claim at once: one has it, and the other is told who.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import text

from orders_pipeline.audit.log import AuditLog
from orders_pipeline.database.engine import AccountTransaction, Database
from orders_pipeline.operations.order_board.attention import ATTENTION_IDS
from orders_pipeline.operations.order_board.rows import read_card

_ORDER = text("""
select order_id from pipeline.orders where account_id = :account_id and order_id = :order_id for update
""")
_CLAIM = text("""
insert into pipeline.order_claims (account_id, order_id, claimed_by) values (:account_id, :order_id, :actor)
on conflict (account_id, order_id) do nothing
""")
_OWNER = text("select claimed_by from pipeline.order_claims where account_id = :account_id and order_id = :order_id")
_TAKE_OVER = text("""
update pipeline.order_claims set claimed_by = :actor, claimed_at = clock_timestamp()
where account_id = :account_id and order_id = :order_id
""")
_UNCLAIM = text("delete from pipeline.order_claims where account_id = :account_id and order_id = :order_id")
# What is over needs nobody. There are as many claims as there is open work, so all of them are looked at.
_END_OVER = text(f"""
delete from pipeline.order_claims m using pipeline.orders o
where m.account_id = :account_id and o.account_id = m.account_id and o.order_id = m.order_id
  and o.status in ('SHIPPED', 'INVOICE_UNCONFIRMED', 'CANCELLED', 'UNFULFILLABLE')
  and o.order_id not in (
    select one.order_id from (select cast(:account_id as text) as account_id) a
    cross join lateral ({ATTENTION_IDS}) one where one.order_id is not null)
""")  # noqa: S608  # our own constants


class NotClaimed(Exception):
    """The claim was not taken, or not given back; the message says why. `owner` is who has it, as an actor."""

    def __init__(self, message: str, owner: str | None = None) -> None:
        super().__init__(message)
        self.owner = owner


@dataclass(frozen=True, slots=True)
class OrderName:
    """Which order, of which account."""

    account_id: str
    order_id: str


def person_shown(actor: str) -> str:
    """The name of an actor of the audit log: `maria` of `person:maria`."""
    return actor.partition(":")[2].partition("/")[0] or actor


def claim(database: Database, audit: AuditLog, order: OrderName, actor: str) -> None:
    """The actor works on this order from now on; once more is as well. Raises NotClaimed."""
    with database.transaction(order.account_id) as tx:
        _lock_open_order(tx, order)
        if tx.execute(_CLAIM, {**_named(order), "actor": actor}).rowcount:
            _record(audit, tx, order, actor, "claimed")
            return
        owner = tx.execute(_OWNER, _named(order)).scalar_one()
    if owner != actor:
        raise NotClaimed(f"{person_shown(owner)} has claimed order {order.order_id} already.", owner)


def unclaim(database: Database, audit: AuditLog, order: OrderName, actor: str) -> None:
    """The actor does not work on this order any more. Without a claim nothing happens.

    Raises NotClaimed where it is another's by now: a page of before does not end it.
    """
    with database.transaction(order.account_id) as tx:
        tx.execute(_ORDER, _named(order))
        owner = tx.execute(_OWNER, _named(order)).scalar_one_or_none()
        if owner == actor:
            tx.execute(_UNCLAIM, _named(order))
            _record(audit, tx, order, actor, "unclaimed", owner)
    if owner not in (None, actor):
        raise NotClaimed(f"{person_shown(owner)} has claimed order {order.order_id}: it is not yours.", owner)


def take_over(database: Database, audit: AuditLog, order: OrderName, actor: str, *, expected_owner: str) -> None:
    """The actor works on this order instead of its owner. The audit log says whose it was.

    Raises NotClaimed where it is not the expected owner's any more.
    """
    with database.transaction(order.account_id) as tx:
        _lock_open_order(tx, order)
        owner = tx.execute(_OWNER, _named(order)).scalar_one_or_none()
        if owner == expected_owner != actor:
            tx.execute(_TAKE_OVER, {**_named(order), "actor": actor})
            _record(audit, tx, order, actor, "taken_from_another", owner)
            return
    if owner != actor:
        now = f"{person_shown(owner)} has claimed order {order.order_id} by now" if owner else "Nobody has it by now"
        raise NotClaimed(f"{now}: look at it again.", owner)


def _named(order: OrderName) -> dict[str, str]:
    return {"account_id": order.account_id, "order_id": order.order_id}


def _lock_open_order(tx: AccountTransaction, order: OrderName) -> None:
    """Raises NotClaimed for an order that needs nobody."""
    row = tx.execute(_ORDER, _named(order)).one_or_none()
    tx.execute(_END_OVER, {"account_id": order.account_id})
    if row is None:
        raise NotClaimed(f"Order {order.order_id} is not known here any more.")
    card = read_card(tx.connection, order.account_id, order.order_id)
    if card is None or not card.is_claimable:
        raise NotClaimed(f"Order {order.order_id} is done: there is nothing left to work on.")


def _record(
    audit: AuditLog, tx: AccountTransaction, order: OrderName, actor: str, outcome: str, owner: str | None = None
) -> None:
    audit.record(
        tx.connection,
        action="claim_order",
        account_id=order.account_id,
        order_id=order.order_id,
        purpose="work on it",
        outcome=outcome,
        actor=actor,
        detail={} if owner is None else {"owner": owner},
    )
