"""Shred what is due, a rule and a page at a time, and have the warehouse's copy go with it.

One transaction holds: the orders' own state, the erasure that the warehouse owes from then on, the shred and its audit
entries. Killed in between, a run has done all of it or nothing, and the next one goes on.
"""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeVar

from psycopg2.errors import DeadlockDetected, LockNotAvailable
from sqlalchemy.exc import OperationalError

from orders_pipeline.audit.log import PURPOSE_CHARACTERS
from orders_pipeline.database.engine import AccountTransaction, Database
from orders_pipeline.orders.erasures import block_orders, mark_erased
from orders_pipeline.orders.rows import lock_orders
from orders_pipeline.privacy.erasure.rows import ask_warehouse_to_erase
from orders_pipeline.privacy.retention.retained import RetainedOrder, retained
from orders_pipeline.privacy.retention.rows import clear_addresses
from orders_pipeline.privacy.rules import WORDS, Rule
from orders_pipeline.vault.access import Vault
from orders_pipeline.vault.shipping_details import SHIPPING_DETAILS
from orders_pipeline.work.tally import Totals
from orders_pipeline.work.workers import error_location, is_infrastructure_error

log = logging.getLogger(__name__)

Item = TypeVar("Item")

# These were still to be shipped: without their address they wait for one, and everybody sees it.
_STILL_TO_SHIP = frozenset({Rule.NEVER_PUSHED, Rule.HELD})
_UNSHIPPED_NEEDS_A_PERSON = frozenset({*_STILL_TO_SHIP, Rule.HARD_LIMIT, Rule.ERASURE_REQUESTED})


@dataclass(slots=True)
class ShredTotals(Totals):
    """How many records went, by rule; how many erasures the warehouse owes more; how many orders failed."""

    shredded: Counter[Rule] = field(default_factory=Counter[Rule])
    warehouse_asked: int = 0
    failed: int = 0


def shred_due(
    database: Database,
    vault: Vault,
    *,
    account_id: str,
    orders: Sequence[RetainedOrder],
    at: datetime,
    totals: ShredTotals,
    reason: str | None = None,
) -> None:
    """Shred those whose time has come, at most SHRED_BATCH of them. One that fails stops no other."""
    by_rule: defaultdict[Rule, list[RetainedOrder]] = defaultdict(list)
    for order in orders:
        if order.must_go(at) or order.warehouse_must_erase(at):
            by_rule[order.due.rule].append(order)
    for rule in sorted(by_rule):

        def shred(some: Sequence[RetainedOrder], rule: Rule = rule) -> None:
            with database.transaction(account_id) as tx:
                gone, asked = _shred(tx, vault, rule, some, at, reason)
            totals.shredded[rule] += gone
            totals.warehouse_asked += asked

        totals.failed += each_alone_if_need_be(shred, by_rule[rule])


def each_alone_if_need_be(work: Callable[[Sequence[Item]], None], items: Sequence[Item]) -> int:
    """Do the work for all at once, and one by one if that fails; how many failed then."""
    try:
        work(items)
    except Exception as error:
        if _stops_all(error):
            raise
        if len(items) == 1:
            log.warning("Retention of one item failed (%s); it is tried again by the next run", error_location(error))
            return 1
    else:
        return 0
    return sum(each_alone_if_need_be(work, [item]) for item in items)


def _shred(
    tx: AccountTransaction, vault: Vault, rule: Rule, orders: Sequence[RetainedOrder], at: datetime, reason: str | None
) -> tuple[int, int]:
    order_ids = [order.order_id for order in orders]
    known = lock_orders(tx, order_ids)
    # Looked at again under the lock: since the page was read it may have been pushed, fetched anew, or shipped.
    orders = [order for order in retained(tx, order_ids) if order.due.rule is rule]
    to_shred = [order.order_id for order in orders if order.must_go(at)]
    to_erase = [order.order_id for order in orders if order.warehouse_must_erase(at)]
    if rule is Rule.ERASURE_REQUESTED:
        block_orders(tx, [order.order_id for order in orders])
    elif rule in _STILL_TO_SHIP:
        clear_addresses(tx, to_shred)
    note_erased(tx, {*to_shred, *to_erase} & known.keys(), rule)
    asked = ask_warehouse_to_erase(tx, to_erase)
    gone = vault.shred_many(tx, kind=SHIPPING_DETAILS, subject_ids=to_shred, reason=purpose(rule, reason))
    return len(gone), asked


def purpose(rule: Rule, reason: str | None = None) -> str:
    """The rule and the reason as an audit entry's purpose; a long reason is cut: the request's entry has it whole."""
    return f"{rule}: {reason or WORDS[rule]}"[:PURPOSE_CHARACTERS]


def note_erased(tx: AccountTransaction, order_ids: Iterable[str], rule: Rule) -> None:
    """Remember by which rule these orders, locked by the caller, lost their details before they may have been shipped.

    Such an order needs a person, for it cannot be pushed any more: the alert `order.erased` follows from it.
    """
    if rule in _UNSHIPPED_NEEDS_A_PERSON:
        mark_erased(tx, sorted(order_ids), rule)


def _stops_all(error: Exception) -> bool:
    if isinstance(error, OperationalError) and isinstance(error.orig, (LockNotAvailable, DeadlockDetected)):
        return False
    return is_infrastructure_error(error)
