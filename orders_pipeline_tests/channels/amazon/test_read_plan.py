"""Which orders are asked one by one, and which are answered by pages: a table."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from orders_pipeline.channels.amazon.read_plan import PATIENCE, SETTLE, Waiting, page_comes_at, page_worth, plan_reads
from orders_pipeline.model.order import AMAZON, LIST_LAG, MERCHANT, Bucket, Priority, ReadQuota
from orders_pipeline_tests.conftest import MARKETPLACE

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
FULL = (29.0, 19.0)


def quota(single: float, listing: float) -> ReadQuota:
    return ReadQuota(single=Bucket(single, 0.5, 30), listing=Bucket(listing, 0.0056, 20))


def orders(
    count: int,
    *,
    ago: timedelta = timedelta(minutes=10),
    ship_in: timedelta = timedelta(days=1),
    alone: bool = False,
    marketplace_id: str | None = MARKETPLACE,
    fulfilled_by: str = MERCHANT,
) -> list[Waiting]:
    return [
        Waiting(f"{ago}-{alone}-{number}", NOW - ago, NOW + ship_in, alone, fulfilled_by, marketplace_id)
        for number in range(count)
    ]


SECOND, SECONDS, LONG_AGO = timedelta(seconds=1), timedelta(seconds=30), timedelta(days=2)


@pytest.mark.parametrize(
    ("waiting", "tokens", "listed", "pages", "single"),
    [
        # A quiet shop: asked at once.
        (orders(1), FULL, 0, 0, 1),
        (orders(29), FULL, 0, 0, 29),
        # A crowd: a page answers a hundred. One more, and a quarter, for orders that nobody waits for.
        (orders(60), FULL, 60, 2, 0),
        (orders(1000), FULL, 1000, 13, 0),
        (orders(5000), FULL, 1500, 15, 3500),
        # Its last tokens are the sweep's, and what is scarce is dear.
        (orders(1000), (29, 4.9), 0, 0, 1000),
        (orders(80), (0, 5.0), 0, 0, 80),
        (orders(90), (0, 5.5), 90, 1, 0),
        (orders(30), (0, 19), 30, 2, 0),
        (orders(30), (0, 12), 0, 0, 30),
        # What changed a moment ago is not listed.
        (orders(1000, ago=SECONDS), FULL, 0, 0, 1000),
        (orders(1000, ago=LIST_LAG - timedelta(seconds=1)), FULL, 0, 0, 1000),
        (orders(1000, ago=LIST_LAG), FULL, 1000, 13, 0),
        (orders(200) + orders(100, ago=SECONDS), FULL, 200, 3, 100),
        # The urgent go first, as many as are answered at once; for the others a page is the quicker way.
        (orders(10, ship_in=timedelta(hours=1)) + orders(200, ago=timedelta(minutes=9)), FULL, 200, 3, 10),
        (orders(200, ship_in=timedelta(hours=1)), FULL, 171, 3, 29),
        (orders(200, ship_in=timedelta(hours=1)), (0, 19), 200, 3, 0),
        # To be stopped, failed before, or not on a page: by its id. So is an order of another marketplace.
        (orders(100, alone=True) + orders(100), FULL, 100, 2, 100),
        (orders(100, marketplace_id="A2EUQ1WTGCTBG2"), FULL, 0, 0, 100),
        (orders(100, marketplace_id=None), FULL, 100, 2, 0),
        # A few of long ago would pay for all that changed since.
        (orders(300) + orders(19, ago=LONG_AGO), FULL, 300, 4, 19),
        (orders(300) + orders(20, ago=LONG_AGO), FULL, 320, 6, 0),
    ],
)
def test_the_plan(waiting: list[Waiting], tokens: tuple[float, float], listed: int, pages: int, single: int):
    plan = plan_reads(waiting, quota(*tokens), NOW, [MARKETPLACE])
    assert (len(plan.listed), plan.pages, plan.single) == (listed, pages, single), plan.reason


@pytest.mark.parametrize(
    ("count", "tokens", "listed", "pages"),
    [
        # Of the listing it leaves eight tokens, and no more than three pages are read before live orders are looked at.
        (1000, (0, 19), 300, 3),
        (150, (0, 9), 100, 1),
        (1000, (0, 8.9), 0, 0),
        # Of the single calls, ten: the others would not answer a crowd at once.
        (20, (29, 19), 20, 2),
        (19, (29, 19), 0, 0),
        (20, (30, 19), 0, 0),
    ],
)
def test_what_a_backfill_asks_for_has_what_live_orders_leave(
    count: int, tokens: tuple[float, float], listed: int, pages: int
):
    left = ReadQuota(Bucket(tokens[0], 0.5, 30, kept=10), Bucket(tokens[1], 0.0056, 20, kept=8))
    plan = plan_reads(orders(count), left, NOW, [MARKETPLACE], priority=Priority.BACKFILL)
    assert (len(plan.listed), plan.pages) == (listed, pages), plan.reason


def test_an_order_whose_change_is_not_known_is_asked_by_its_id():
    unknown = [Waiting(f"{number}", None) for number in range(100)]
    assert plan_reads(unknown, quota(*FULL), NOW, [MARKETPLACE]).listed == ()


def test_the_window_reaches_from_before_the_first_change_to_what_is_listed_by_now():
    waiting = orders(60, ago=timedelta(minutes=40)) + orders(60, ago=timedelta(minutes=3))
    window = plan_reads(waiting, quota(*FULL), NOW, [MARKETPLACE]).window
    assert window is not None
    assert window.updated_after < NOW - timedelta(minutes=40)
    assert window.updated_before == NOW - LIST_LAG
    assert (window.marketplace_ids, window.fulfilled_by) == ((MARKETPLACE,), (MERCHANT,))
    both = plan_reads(orders(60) + orders(1, fulfilled_by=AMAZON), quota(*FULL), NOW, [MARKETPLACE]).window
    assert both is not None
    assert both.fulfilled_by == ()


def test_orders_are_listed_by_ids_where_a_listing_takes_them():
    plan = plan_reads(
        orders(120), ReadQuota(Bucket(0, 0.5, 30), Bucket(6, 0.0167, 20)), NOW, [MARKETPLACE], by_ids=True
    )
    assert (len(plan.listed), plan.pages, plan.single, plan.window) == (100, 2, 20, None)


@pytest.mark.parametrize(("tokens", "worth"), [(19, 20), (25, 20), (11.5, 55), (4, 89), (-3, 89)])
def test_a_page_is_worth_more_the_fewer_are_left(tokens: float, worth: int):
    assert page_worth(quota(0, tokens)) == worth


def test_what_can_wait_is_not_asked_one_by_one_though_it_could_be_at_once():
    assert plan_reads(orders(25), quota(30, 19), NOW, [MARKETPLACE]).single == 25
    assert plan_reads(orders(25), quota(30, 19), NOW, [MARKETPLACE], in_haste=False).single == 0


@pytest.mark.parametrize(
    ("waiting", "tokens", "comes_in"),
    [
        (orders(19, ago=SECONDS), FULL, None),
        (orders(20, ago=SECONDS), FULL, LIST_LAG + SETTLE - SECONDS),
        # All of them are waited for, but no more than a page holds.
        (orders(90, ago=LIST_LAG) + orders(10, ago=SECONDS), FULL, LIST_LAG + SETTLE - SECONDS),
        (orders(100, ago=LIST_LAG) + orders(10, ago=SECONDS), FULL, SETTLE),
        # Nobody waits for ever.
        (orders(20, ago=PATIENCE) + orders(10, ago=SECONDS), FULL, timedelta()),
        (orders(20, ago=PATIENCE + SECOND) + orders(25, ago=SECONDS), FULL, -SECOND),
        # The fewer tokens are left, the more it takes; the last are the sweep's.
        (orders(50, ago=SECONDS), (30, 11.5), None),
        (orders(1000, ago=SECONDS), (30, 4.5), None),
        # Neither the urgent wait nor those that are asked for by their id.
        (orders(20, ago=SECONDS, alone=True), FULL, None),
        (orders(20, ago=SECONDS, ship_in=timedelta(hours=1)), FULL, None),
    ],
)
def test_when_a_page_comes(waiting: list[Waiting], tokens: tuple[float, float], comes_in: timedelta | None):
    comes_at = page_comes_at(waiting, quota(*tokens), NOW, 100)
    assert comes_at == (NOW + comes_in if comes_in is not None else None)
