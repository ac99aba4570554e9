"""What an alert is about needs a person at the board as well, for as long, and can be claimed there."""

from __future__ import annotations

from pathlib import Path

import pytest

from orders_pipeline.alerts.kinds import AlertKind
from orders_pipeline.alerts.reconcile import evaluate
from orders_pipeline.database.engine import Database
from orders_pipeline.operations.order_board.cards import Card
from orders_pipeline.operations.order_board.claims import NotClaimed, OrderName, claim
from orders_pipeline.operations.order_board.columns import Column
from orders_pipeline.operations.order_board.filters import Needs, OrderFilter
from orders_pipeline.operations.order_board.rows import count_orders, read_page
from orders_pipeline_tests.alerts.case import Case
from orders_pipeline_tests.conftest import SELLER
from orders_pipeline_tests.fulfillment import alert_cases as fulfillment
from orders_pipeline_tests.shipments import alert_cases as shipments
from orders_pipeline_tests.world import World, open_world

# Of these no order is stored, or what is wrong is not an order's.
NO_ORDER = ("package.unknown_order", "package.unknown_kind")
CASES = {
    case.kind.name: case
    for case in (*fulfillment.CASES, *shipments.CASES)
    if case.kind.severity == "error"
    and case.kind.name.split(".")[0] in ("order", "package")
    and case.kind.name not in NO_ORDER
}


@pytest.fixture
def world(database: Database, tmp_path: Path) -> World:
    return open_world(database, tmp_path)


@pytest.mark.parametrize("name", CASES)
def test_what_an_alert_is_about_needs_a_person(world: World, name: str):
    case = CASES[name]
    case.begin(world)
    (order_id,) = _alerted(world, case.kind)
    page, count = _attention(world)
    assert [card.order_id for card in page] == [order_id]
    assert count == 1
    (card,) = page
    assert card.attention, "it says why"
    claim(world.database, world.vault.audit, OrderName(SELLER, order_id), "person:maria")
    # Somebody claims another one: what is over ends, and not this.
    with pytest.raises(NotClaimed, match="not known"):
        claim(world.database, world.vault.audit, OrderName(SELLER, "999-1"), "person:maria")
    assert [row.order_id for row in world.rows("pipeline.order_claims")] == [order_id]


@pytest.mark.parametrize(
    "case",
    [fulfillment.A_MONTH_PASSES, shipments.A_MONTH_PASSES, shipments.BLOCKED_FOR_A_MONTH],
    ids=["too late", "voided", "blocked"],
)
def test_what_nobody_hears_the_end_of_needs_a_person_for_a_month(world: World, case: Case):
    case.begin(world)
    assert _attention(world)[1] == 1
    case.end(world)
    assert _attention(world) == ((), 0)


def test_a_late_order_that_left_is_among_those_that_need_tracking(world: World):
    """The link of the alert `order.late`."""
    CASES["package.late"].begin(world)
    world.sql("update pipeline.fulfillment_orders set state = 'shipped'")
    world.sql("update pipeline.orders set ship_by = clock_timestamp() - interval '1 minute'")
    chosen = OrderFilter(account_ids=(SELLER,), needs=Needs.TRACKING)
    with world.database.begin() as connection:
        (card,) = read_page(connection, Column.UNSHIPPED, chosen, limit=10).cards
    assert (card.state, card.needs_tracking, card.is_late) == ("shipped", True, True)


def _alerted(world: World, kind: AlertKind) -> set[str]:
    assert evaluate(world.database, SELLER, [kind]).failed == {}
    keys = [row.key for row in world.rows("pipeline.alerts", where="closed_at is null")]
    return {key.split(":")[1] for key in keys}


def _attention(world: World) -> tuple[tuple[Card, ...], int]:
    chosen = OrderFilter(account_ids=(SELLER,))
    with world.database.begin() as connection:
        page = read_page(connection, Column.ATTENTION, chosen, limit=10)
        return page.cards, count_orders(connection, Column.ATTENTION, chosen)
