"""Amazon's answers are counted by operation and status, without a statement for each call."""

from __future__ import annotations

from sqlalchemy import event, text

from orders_pipeline.channels.amazon.quota.answer_counts import WRITTEN_EVERY_SECONDS, AnswerCounts
from orders_pipeline.counters.rows import counter_totals
from orders_pipeline.database.engine import Database


def written(database: Database) -> dict[tuple[str, ...], int]:
    with database.begin() as connection:
        return {tuple(row.labels): row.counted for row in counter_totals(connection, ["A1"])}


def test_a_hundred_answers_cost_no_statement_and_are_written_every_ten_seconds(database: Database):
    now = [0.0]
    counts = AnswerCounts(database, "A1", lambda: now[0])
    statements: list[str] = []
    event.listen(database.engine, "before_cursor_execute", lambda *given: statements.append(given[2]))
    for _ in range(100):
        counts.count("getOrder", 200)
    for status in (429, 503, None, 418):
        counts.count("getOrder", status)
    assert statements == []
    now[0] += WRITTEN_EVERY_SECONDS
    counts.count("searchOrders", 200)
    assert written(database) == {
        ("getOrder", "200"): 100,
        ("getOrder", "429"): 1,
        ("getOrder", "503"): 1,
        ("getOrder", "none"): 1,
        ("getOrder", "4xx"): 1,
        ("searchOrders", "200"): 1,
    }
    counts.write()
    assert sum(written(database).values()) == 105, "nothing is written twice"


def test_what_cannot_be_written_is_kept_and_takes_no_answer_away(database: Database):
    now = [0.0]
    counts = AnswerCounts(database, "A1", lambda: now[0])
    with database.begin() as connection:
        connection.execute(text("alter table pipeline.counter_increments rename to away"))
    for _ in range(3):
        now[0] += WRITTEN_EVERY_SECONDS
        counts.count("getOrder", 200)
    with database.begin() as connection:
        connection.execute(text("alter table pipeline.away rename to counter_increments"))
    counts.write()
    assert written(database) == {("getOrder", "200"): 3}
