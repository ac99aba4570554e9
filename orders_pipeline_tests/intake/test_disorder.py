"""Never backwards: whatever the order in which events and answers arrive, the newest state is the end."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine

from orders_pipeline.database.embedded import EmbeddedPostgres
from orders_pipeline.database.engine import Database
from orders_pipeline.intake.apply_events import apply_events
from orders_pipeline.model.order import Order, OrderItem
from orders_pipeline.orders.answers import item_values, order_values
from orders_pipeline.orders.event_rows import NewOrderEvent, insert_order_events
from orders_pipeline.orders.rows import item_rows, order_row, save_fetched_order
from orders_pipeline.work.jobs import Queue
from orders_pipeline.work.queue import find
from orders_pipeline_tests.conftest import MARKETPLACE, SELLER
from orders_pipeline_tests.copied_database import copied_database

START = datetime(2026, 11, 21, 8, tzinfo=UTC)
TOLD_AS = {
    "PENDING": "Pending",
    "UNSHIPPED": "Unshipped",
    "PARTIALLY_SHIPPED": "PartiallyShipped",
    "SHIPPED": "Shipped",
    "CANCELLED": "Canceled",
}
LIVES = [
    ("PENDING", "UNSHIPPED", "SHIPPED"),
    ("PENDING", "UNSHIPPED", "PARTIALLY_SHIPPED", "SHIPPED"),
    ("PENDING", "CANCELLED"),
    ("PENDING", "UNSHIPPED", "UNSHIPPED", "CANCELLED"),
    ("UNSHIPPED", "PARTIALLY_SHIPPED", "CANCELLED"),
]
numbers: Iterator[int] = count(1)


@pytest.fixture(scope="module")
def shared(postgres: EmbeddedPostgres, postgres_admin: Engine) -> Iterator[Database]:
    with copied_database(postgres, postgres_admin, "template") as url:
        database = Database(url)
        yield database
        database.close()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(life=st.sampled_from(LIVES), data=st.data())
def test_any_permutation_of_events_and_answers_ends_in_the_newest_state(
    shared: Database, life: tuple[str, ...], data: st.DataObject
):
    order_id = f"116-0000000-{next(numbers):07d}"
    # Every step is told, some twice; an answer may have been read at any step, and arrive whenever it likes.
    told = [("told", step) for step in range(len(life))]
    answers = [("answer", step) for step in data.draw(st.lists(st.integers(0, len(life) - 1), max_size=4))]
    # The last look at Amazon was asked for after the last event that wants one, so its answer is the newest.
    arrivals = data.draw(st.permutations([*told, *told[:2], *answers]))
    for index, (kind, step) in enumerate(arrivals):
        if kind == "told":
            _announce(shared, order_id, life[step], step, index)
            apply_events(shared, account_id=SELLER, marketplace_ids=(MARKETPLACE,))
        elif _known(shared, order_id):
            _answer(shared, order_id, life[step], step)
    with shared.transaction(SELLER) as tx:
        is_due = find(tx, Queue.FETCH, order_id) is not None
    if is_due:
        _answer(shared, order_id, life[-1], len(life) - 1)
    assert _row(shared, order_id).status == life[-1]


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(arrivals=st.permutations(range(5)), again=st.integers(0, 4))
def test_of_answers_in_any_order_the_newest_is_kept_whole(shared: Database, arrivals: list[int], again: int):
    order_id = f"117-0000000-{next(numbers):07d}"
    _announce(shared, order_id, "UNSHIPPED", 0, 0)
    apply_events(shared, account_id=SELLER, marketplace_ids=(MARKETPLACE,))
    for step in [*arrivals, again]:
        _answer(shared, order_id, "UNSHIPPED", step)
    row = _row(shared, order_id)
    with shared.transaction(SELLER) as tx:
        (item,) = item_rows(tx, order_id)
    assert (row.last_updated_at, row.ship_by, item.quantity_ordered) == (_at(4), _at(4), 5)


def _at(step: int) -> datetime:
    return START + timedelta(minutes=step)


def _announce(database: Database, order_id: str, status: str, step: int, index: int) -> None:
    event = NewOrderEvent(
        account_id=SELLER,
        order_id=order_id,
        source="notification",
        deduplication_key=f"notification:{index}",
        published_at=_at(step),
        partition_day=START.date(),
        change_type="OrderStatusChange",
        status_told=TOLD_AS[status],
        fulfilled_by_told="MERCHANT",
        changed_at=_at(step),
    )
    with database.begin() as connection:
        insert_order_events(connection, [event])


def _answer(database: Database, order_id: str, status: str, step: int) -> None:
    order = Order(
        order_id=order_id,
        marketplace_id="ATVPDKIKX0DER",
        status=status,
        fulfilled_by="MERCHANT",
        purchased_at=START,
        last_updated_at=_at(step),
        ship_by=_at(step),
        items=(OrderItem("1", step + 1, 0, sku="SKU"),),
    )
    with database.transaction(SELLER) as tx:
        save_fetched_order(tx, order_values(SELLER, order), item_values(SELLER, order))


def _row(database: Database, order_id: str):
    with database.transaction(SELLER) as tx:
        row = order_row(tx, order_id)
    assert row is not None
    return row


def _known(database: Database, order_id: str) -> bool:
    with database.transaction(SELLER) as tx:
        return order_row(tx, order_id) is not None
