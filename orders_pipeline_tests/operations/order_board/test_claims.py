"""Claims: one person an order, told apart under a race, and ended with the order."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from orders_pipeline.audit.log import AuditLog
from orders_pipeline.database.engine import Database
from orders_pipeline.operations.order_board.claims import NotClaimed, OrderName, claim, take_over, unclaim
from orders_pipeline_tests.conftest import SELLER
from orders_pipeline_tests.web.board.shop import Shop

ORDER = OrderName(SELLER, "111-1")


def _claims(shop: Shop) -> list[tuple[str, str]]:
    return [tuple(row) for row in shop.sql("select order_id, claimed_by from pipeline.order_claims order by 1")]


def test_of_many_who_claim_at_once_one_has_it_and_the_others_are_told_who(database: Database):
    shop, audit = Shop(database), AuditLog(database)
    shop.order(ORDER.order_id)
    together = Barrier(6)

    def try_it(number: int) -> str | None:
        together.wait()
        try:
            claim(database, audit, ORDER, f"person:p{number}")
        except NotClaimed as error:
            return error.owner
        return None

    with ThreadPoolExecutor(6) as threads:
        told = list(threads.map(try_it, range(6)))
    ((_, owner),) = _claims(shop)
    assert told.count(None) == 1
    assert told[int(owner.removeprefix("person:p"))] is None
    assert set(told) == {None, owner}
    # Once more by who has it is as well, and no second entry.
    claim(database, audit, ORDER, owner)
    assert shop.sql("select actor, outcome from audit.entries where action = 'claim_order'") == [(owner, "claimed")]


def test_another_persons_claim_is_ended_on_purpose_alone_and_the_log_says_whose_it_was(database: Database):
    shop, audit = Shop(database), AuditLog(database)
    shop.order(ORDER.order_id)
    claim(database, audit, ORDER, "person:maria")
    # By a button of a page that shows what was his an hour ago.
    with pytest.raises(NotClaimed) as told:
        unclaim(database, audit, ORDER, "person:peter")
    assert told.value.owner == "person:maria"
    with pytest.raises(NotClaimed, match="maria has claimed"):
        take_over(database, audit, ORDER, "person:peter", expected_owner="person:susan")
    assert _claims(shop) == [("111-1", "person:maria")]
    take_over(database, audit, ORDER, "person:peter", expected_owner="person:maria")
    assert _claims(shop) == [("111-1", "person:peter")]
    assert shop.sql("select actor, outcome, detail->>'owner' from audit.entries order by entry_id") == [
        ("person:maria", "claimed", None),
        ("person:peter", "taken_from_another", "person:maria"),
    ]


def test_a_claim_that_is_over_is_not_taken_over(database: Database):
    shop, audit = Shop(database), AuditLog(database)
    shop.order(ORDER.order_id)
    with pytest.raises(NotClaimed, match="Nobody has it"):
        take_over(database, audit, ORDER, "person:peter", expected_owner="person:maria")
    claim(database, audit, ORDER, "person:maria")
    shop.sql("update pipeline.orders set status = 'SHIPPED'")
    with pytest.raises(NotClaimed, match="is done"):
        take_over(database, audit, ORDER, "person:peter", expected_owner="person:maria")


@pytest.mark.parametrize("status", ["SHIPPED", "INVOICE_UNCONFIRMED", "CANCELLED", "UNFULFILLABLE"])
def test_a_claim_ends_with_its_order(database: Database, status: str):
    shop, audit = Shop(database), AuditLog(database)
    for order_id in ("111-1", "111-2", "111-3"):
        shop.order(order_id)
        claim(database, audit, OrderName(SELLER, order_id), "person:maria")
    shop.sql("update pipeline.orders set status = :status where order_id = '111-1'", status=status)
    with pytest.raises(NotClaimed, match="is done"):
        claim(database, audit, ORDER, "person:peter")
    unclaim(database, audit, OrderName(SELLER, "111-2"), "person:maria")
    claim(database, audit, OrderName(SELLER, "111-2"), "person:maria")
    assert [order_id for order_id, _ in _claims(shop)] == ["111-2", "111-3"]
    # A purged order takes its claim with it.
    shop.sql("delete from pipeline.orders where order_id = '111-3'")
    assert [order_id for order_id, _ in _claims(shop)] == ["111-2"]
