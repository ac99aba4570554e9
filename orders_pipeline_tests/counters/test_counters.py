"""A counter never goes back, counts once, and makes nobody wait."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from sqlalchemy import text

from orders_pipeline.counters.rows import (
    BEYOND,
    ROWS_AT_MOST,
    Counted,
    add_counts,
    counter_totals,
    observe,
)
from orders_pipeline.database.engine import AnyRow, Database
from orders_pipeline_tests.conftest import SELLER


def totals(database: Database) -> dict[tuple[str, ...], AnyRow]:
    with database.begin() as connection:
        return {(row.counter, *row.labels): row for row in counter_totals(connection, [SELLER])}


def took(database: Database, *ages: float) -> None:
    with database.transaction(SELLER) as tx:
        for age in ages:
            observe(tx, Counted.MESSAGE_TO_ACCEPTED, database.now() - timedelta(seconds=age))


@pytest.mark.parametrize(
    ("seconds", "bucket"),
    [(-60, "1"), (0.5, "1"), (1.5, "2"), (59, "60"), (86_000, "86400"), (86_500, BEYOND), (99 * 86_400, BEYOND)],
)
def test_a_latency_stands_under_the_bound_that_it_does_not_exceed(database: Database, seconds: float, bucket: str):
    took(database, seconds)
    ((key, row),) = totals(database).items()
    assert key == ("message_to_accepted", bucket)
    # A clock of somebody else's neither subtracts anything nor adds more than a message can have waited.
    assert 0 <= row.seconds <= 14 * 86_400
    if 0 < seconds < 86_400:
        assert float(row.seconds) == pytest.approx(seconds, abs=0.5)


def test_what_was_rolled_back_is_not_counted(database: Database):
    with pytest.raises(ZeroDivisionError), database.transaction(SELLER) as tx:
        observe(tx, Counted.MESSAGE_TO_ACCEPTED, database.now())
        raise ZeroDivisionError
    assert totals(database) == {}


def test_sums_stay_and_rows_stay_few_while_many_count_at_once(database: Database):
    """Whoever reads meanwhile never sees a count, or a sum, go back."""
    seen: list[tuple[int, float]] = []
    over = threading.Event()

    def count() -> None:
        for _ in range(20):
            took(database, *[0.3] * 20)
            with database.transaction(SELLER) as tx:
                add_counts(tx, Counted.AMAZON_ANSWERS, {("getOrder", "200"): 1})

    def look() -> None:
        while not over.is_set():
            found = totals(database).values()
            seen.append((sum(row.counted for row in found), sum(float(row.seconds) for row in found)))

    workers = [threading.Thread(target=count) for _ in range(4)]
    reader = threading.Thread(target=look)
    for thread in (*workers, reader):
        thread.start()
    for thread in workers:
        thread.join()
    over.set()
    reader.join()
    assert seen == sorted(seen)
    assert {key: row.counted for key, row in totals(database).items()} == {
        ("message_to_accepted", "1"): 1600,
        (Counted.AMAZON_ANSWERS, "getOrder", "200"): 80,
    }
    with database.begin() as connection:
        rows = connection.execute(text("select count(*) from pipeline.counter_increments")).scalar_one()
    # One batch of each worker may have come since the last time that many were made one.
    assert rows <= ROWS_AT_MOST + 4 * 21


def test_one_that_counts_does_not_wait_for_another(database: Database):
    with database.transaction(SELLER) as tx:
        observe(tx, Counted.MESSAGE_TO_ACCEPTED, database.now())
        with database.transaction(SELLER) as other:
            other.execute(text("set local lock_timeout = '100ms'"))
            observe(other, Counted.MESSAGE_TO_ACCEPTED, database.now())
            add_counts(other, Counted.AMAZON_ANSWERS, {("getOrder", "200"): 1})
    assert sum(row.counted for row in totals(database).values()) == 3
