"""When a package arrived, as far as Amazon lets us know; asked with quota that nobody else wants."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from sqlalchemy import text

from orders_pipeline.channels.amazon.client import open_amazon
from orders_pipeline.channels.amazon.errors import AmazonRoleMissing
from orders_pipeline.channels.amazon.quota.operations import GET_ORDER
from orders_pipeline.database.engine import Database
from orders_pipeline.model.order import Package, Priority
from orders_pipeline.privacy.retention.delivery import delivered_at, fetch_deliveries
from orders_pipeline.privacy.retention.retained import retained
from orders_pipeline.sandbox.amazon.order import Package as SandboxPackage
from orders_pipeline.sandbox.sandbox import Sandbox
from orders_pipeline.sandbox.warehouse.floor import FloorOptions
from orders_pipeline.settings import load_settings
from orders_pipeline.vault.providers.keyring import LocalKeyring
from orders_pipeline.work.jobs import AMAZON_DELIVERIES, Queue, dependencies_of
from orders_pipeline.work.pauses import Gate, gate
from orders_pipeline.work.queue import find
from orders_pipeline.work.tally import Tally
from orders_pipeline_tests.conftest import SELLER
from orders_pipeline_tests.privacy.conftest import PutOrder

LEFT = datetime(2026, 11, 1, tzinfo=UTC)
DAY = timedelta(days=1)


def package(status: str, left: datetime | None = LEFT) -> Package:
    return Package("1", status=status, shipped_at=left)


@pytest.mark.parametrize(
    ("packages", "on_its_way", "expected"),
    [
        ([package("DELIVERED")], None, LEFT),
        ([package("DELIVERED")], LEFT + 2 * DAY, LEFT + 2 * DAY),
        ([package("DELIVERED"), package("DELIVERED", LEFT + DAY)], None, LEFT + DAY),
        ([package("DELIVERED"), package("IN_TRANSIT")], LEFT + DAY, None),
        ([package("DELIVERED"), package("CANCELLED", LEFT + 9 * DAY)], None, LEFT),
        ([package("UNDELIVERABLE")], None, None),
        ([package("DELIVERED", None)], None, None),
        ([], LEFT, None),
    ],
)
def test_a_delivery_is_never_told_later_than_it_was(
    packages: list[Package], on_its_way: datetime | None, expected: datetime | None
):
    assert delivered_at(packages, on_its_way) == expected


class _Answers:
    """OrdersPort that answers each look with the next of these packages, or raises."""

    api_version = "2026-01-01"

    def __init__(self, *answers: list[Package] | Exception) -> None:
        self._answers = list(answers)

    def get_order(self, *arguments: Any, **named: Any) -> Any:
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return SimpleNamespace(order=SimpleNamespace(packages=answer))


@pytest.mark.parametrize(
    "looks",
    [
        # Arrived, and Amazon never tells when it left; or shows no package at first; or a word that we do not know.
        [[package("DELIVERED", None)], [package("DELIVERED", None)]],
        [[], [package("DELIVERED", None)]],
        [[package("HANDED_TO_NEIGHBOUR", None)], [package("DELIVERED", None)]],
    ],
)
def test_what_amazon_does_not_say_never_moves_the_limit(
    database: Database, put_order: PutOrder, looks: list[list[Package]]
):
    put_order("d", status="SHIPPED", queue="closed", package="held", bought=30, left=27.5, deliver_by=20, sent=True)

    def limit() -> datetime:
        with database.transaction(SELLER) as tx:
            return retained(tx, ["d"])[0].due.limit

    before, orders = limit(), _Answers(*looks)
    for _ in looks:
        fetch_deliveries(cast(Any, orders), database, account_id=SELLER)
        with database.begin() as connection:
            connection.execute(text("update pipeline.jobs set due_at = clock_timestamp()"))
    assert limit() <= before


def test_one_order_that_cannot_be_looked_at_stops_no_other(database: Database, put_order: PutOrder):
    for name in ("a", "b"):
        put_order(name, status="SHIPPED", queue="closed", bought=30, deliver_by=20)
    for _ in range(6):
        tally = fetch_deliveries(cast(Any, _Answers(TypeError("odd"), TypeError("odd"))), database, account_id=SELLER)
        assert tally.outcomes == {"retry": 2}, "it is never parked"
        make_due(database)
    tally = fetch_deliveries(cast(Any, _Answers(TypeError("odd"), [package("DELIVERED")])), database, account_id=SELLER)
    assert tally.outcomes == {"retry": 1, "delivered": 1}


def make_due(database: Database) -> None:
    with database.begin() as connection:
        connection.execute(text("update pipeline.jobs set due_at = clock_timestamp()"))


def test_an_order_whose_details_are_gone_is_not_asked_about_any_more(database: Database, put_order: PutOrder):
    put_order("a", status="SHIPPED", queue="closed", bought=30, deliver_by=20)
    assert fetch_deliveries(cast(Any, _Answers([])), database, account_id=SELLER).outcomes == {"travelling": 1}
    assert fetch_deliveries(cast(Any, _Answers()), database, account_id=SELLER).outcomes == {}, "once a day"
    make_due(database)
    with database.begin() as connection:
        connection.execute(text("delete from vault.records"))
    assert fetch_deliveries(cast(Any, _Answers()), database, account_id=SELLER).outcomes == {"not_needed": 1}
    with database.transaction(SELLER) as tx:
        assert find(tx, Queue.DELIVERY, "a") is None


def test_a_role_that_is_missing_for_deliveries_holds_up_nothing_else(database: Database, put_order: PutOrder):
    for number in range(5):
        put_order(f"a-{number}", status="SHIPPED", queue="closed", bought=30, deliver_by=20)
    refusal = AmazonRoleMissing("no", operation="getOrder", status=403)
    tally = fetch_deliveries(cast(Any, _Answers(refusal, refusal)), database, account_id=SELLER)
    assert (tally.outcomes, list(tally.paused)) == ({"refused": 2}, [AMAZON_DELIVERIES])
    with database.transaction(SELLER) as tx:
        assert gate(tx, dependencies_of(Queue.FETCH)) is Gate.OPEN


def test_orders_still_kept_are_looked_up_once_a_day_and_events_keep_their_quota(
    database: Database, put_order: PutOrder, tmp_path: Path
):
    sandbox = Sandbox(floor=FloorOptions(automatic=False), subscribed=False)
    with sandbox:
        settings = load_settings(sandbox.environment()).require_amazon()
        client = open_amazon(settings, database, LocalKeyring(tmp_path / "other.json"))
        now = sandbox.clock.now()
        for number in range(40):
            order = sandbox.add_order(notify=False, order_id=f"115-{number:07d}-0000000")
            left = now - timedelta(days=3)
            order.packages["1"] = SandboxPackage(
                "1", "UPS", None, None, "1Z", left, left, left, {order.items[0].item_id: 1}, status="SHIPPED"
            )
            order.status = "SHIPPED"
            put_order(order.order_id, status="SHIPPED", queue="closed", package="confirmed", left=3, deliver_by=-2)
        put_order("gone", status="SHIPPED", queue="closed", retained=False)
        sandbox.amazon.mark_delivered("115-0000000-0000000")
        first = fetch_deliveries(client.orders, database, account_id=SELLER, deadline_seconds=2)
        # Of a burst of thirty something is left for the events.
        (tokens,) = [limit.tokens for limit in client.limits.report() if limit.operation == GET_ORDER.name]
        assert tokens >= GET_ORDER.tokens_left_by(Priority.BACKFILL) - 1
        asked = first.outcomes["delivered"] + first.outcomes["travelling"]
        assert 5 < asked < 30
        assert first.not_before is not None
        with database.begin() as connection:
            rows = connection.execute(
                text(
                    "select order_id, delivered_at, j.due_at > now() + interval '19 hours' as travelling "
                    "from pipeline.orders left join pipeline.jobs j on j.subject = order_id order by order_id"
                )
            ).all()
        assert rows[0].delivered_at is not None
        assert abs(rows[0].delivered_at - (now - timedelta(days=3))) < timedelta(minutes=1)
        assert [row.delivered_at for row in rows[1:]] == [None] * 40
        # Those for which there was no quota are due as they were, and one without details was not asked about.
        assert sum(bool(row.travelling) for row in rows) == first.outcomes["travelling"]
        assert [row.travelling for row in rows if row.order_id == "gone"] == [None]
        again = fetch_deliveries(client.orders, database, account_id=SELLER, deadline_seconds=1)
        assert sum(again.outcomes.values()) < 5
        client.close()


def test_with_v0_nothing_is_asked(database: Database, put_order: PutOrder, tmp_path: Path):
    queue = "https://sqs.us-east-1.amazonaws.com/123456789012/orders"
    environment = {**Sandbox().environment(), "AMAZON_SQS_QUEUE_URL": queue, "AMAZON_ORDERS_API": "v0"}
    settings = load_settings(environment).require_amazon()
    client = open_amazon(settings, database, LocalKeyring(tmp_path / "other.json"))
    put_order("111-1", status="SHIPPED", queue="closed")
    assert fetch_deliveries(client.orders, database, account_id=SELLER) == Tally()
    with database.transaction(SELLER) as tx:
        assert find(tx, Queue.DELIVERY, "111-1") is None
    client.close()
