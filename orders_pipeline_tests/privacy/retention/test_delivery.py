"""When a package arrived, as far as Amazon lets us know; asked with quota that nobody else wants."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from sqlalchemy import text

from orders_pipeline.channels.amazon.client import open_amazon
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
            connection.execute(text("update pipeline.orders set delivery_checked_at = null"))
    assert limit() <= before


def test_one_order_that_cannot_be_looked_at_stops_no_other(database: Database, put_order: PutOrder):
    for name in ("a", "b"):
        put_order(name, status="SHIPPED", queue="closed", bought=30, deliver_by=20)
    totals = fetch_deliveries(
        cast(Any, _Answers(TypeError("odd"), [package("DELIVERED")])), database, account_id=SELLER
    )
    assert (totals.failed, totals.examined, totals.delivered) == (1, 1, 1)


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
        assert 5 < first.examined < 30
        with database.begin() as connection:
            rows = connection.execute(
                text(
                    "select order_id, delivered_at, delivery_checked_at is not null as looked "
                    "from pipeline.orders order by order_id"
                )
            ).all()
        assert rows[0].delivered_at is not None
        assert abs(rows[0].delivered_at - (now - timedelta(days=3))) < timedelta(minutes=1)
        assert [row.delivered_at for row in rows[1:]] == [None] * 40
        # Those for which there was no quota are not said to be looked at.
        assert sum(row.looked for row in rows) == first.examined
        assert [row.looked for row in rows if row.order_id == "gone"] == [False]
        again = fetch_deliveries(client.orders, database, account_id=SELLER, deadline_seconds=1)
        assert again.examined < 5
        client.close()


def test_with_v0_nothing_is_asked(database: Database, put_order: PutOrder, tmp_path: Path):
    queue = "https://sqs.us-east-1.amazonaws.com/123456789012/orders"
    environment = {**Sandbox().environment(), "AMAZON_SQS_QUEUE_URL": queue, "AMAZON_ORDERS_API": "v0"}
    settings = load_settings(environment).require_amazon()
    client = open_amazon(settings, database, LocalKeyring(tmp_path / "other.json"))
    put_order("111-1", status="SHIPPED", queue="closed")
    assert fetch_deliveries(client.orders, database, account_id=SELLER).supported is False
    client.close()
