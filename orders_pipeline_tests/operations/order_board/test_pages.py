"""Pages among many orders: each order once, however they change meanwhile, and at the cost of what is shown."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy.exc import InternalError, ProgrammingError

from bench.filled_store import fill
from orders_pipeline.database.engine import Database
from orders_pipeline.operations.order_board.columns import Column
from orders_pipeline.operations.order_board.filters import OrderFilter, read_filter, read_place
from orders_pipeline.operations.order_board.panel import read_panel
from orders_pipeline.operations.order_board.reading import ReaderRole
from orders_pipeline.operations.order_board.rows import count_orders, place_of, read_card, read_page
from orders_pipeline_tests.conftest import SELLER
from orders_pipeline_tests.statement_plans import watched
from orders_pipeline_tests.web.board.shop import Shop, one_of_each

OTHER = "A2OTHERSELLER"
CANADA = "A2EUQ1WTGCTBG2"
EVERYTHING = OrderFilter(account_ids=(SELLER, OTHER))
GROWING = {
    "orders", "order_items", "order_events", "fulfillment_orders", "wms_orders", "wms_shipments",
    "shipment_confirmations", "entries", "jobs",
}  # fmt: skip


def _all(database: Database, column: Column, limit: int) -> list[str]:
    found: list[str] = []
    after = None
    with database.begin() as connection:
        while True:
            page = read_page(connection, column, EVERYTHING, limit=limit, after=after)
            found += [card.order_id for card in page.cards]
            if page.next is None:
                return found
            after = read_place(page.next.cursor())


def test_pages_of_two_accounts_are_one_list_by_ship_by(database: Database):
    shop = Shop(database)
    for number in range(7):
        for account_id in (SELLER, OTHER):
            # Two of a time, and some without one.
            due = timedelta(hours=number // 2)
            shop.order(f"111-{number}-{account_id[:2]}", ship_in=due, account_id=account_id)
    shop.sql("update pipeline.orders set ship_by = null where order_id like '111-6-%'")
    shop.sql("update pipeline.orders set ship_by = date_trunc('hour', ship_by)")
    once = _all(database, Column.UNSHIPPED, 100)
    assert len(set(once)) == 14
    assert set(once[-2:]) == {"111-6-A2", "111-6-A3"}
    for limit in (1, 3, 5):
        assert _all(database, Column.UNSHIPPED, limit) == once


def test_newest_first_pages_go_on_where_they_ended(database: Database):
    shop = Shop(database)
    for number in range(6):
        shop.order(f"111-{number}", "SHIPPED", delivered=number % 2 == 0)
    shop.sql(
        "update pipeline.orders set last_updated_at = clock_timestamp() - right(order_id, 1)::int * interval '1 h'"
    )
    assert _all(database, Column.SHIPPED, 2) == ["111-1", "111-3", "111-5"]
    assert len(_all(database, Column.DELIVERED, 1)) == 3


def test_a_card_names_what_is_to_be_packed_and_not_what_is_cancelled(database: Database):
    shop = Shop(database)
    for order_id in ("111-1", "111-2"):
        shop.order(order_id, sku="SKU-A", quantity=1)
    shop.sql("update pipeline.order_items set cancelled = true")
    shop.item("111-1", position=2, sku="SKU-B", quantity=2)
    with database.begin() as connection:
        in_part = read_card(connection, SELLER, "111-1")
        whole = read_card(connection, SELLER, "111-2")
    assert in_part is not None
    assert [(line.sku, line.quantity) for line in in_part.items] == [("SKU-B", 2)]
    assert (in_part.item_count, in_part.quantity) == (1, 2)
    # Nothing is left of it: what it was, and nothing to pack.
    assert whole is not None
    assert ([line.sku for line in whole.items], whole.item_count, whole.quantity) == (["SKU-A"], 1, 0)


def test_of_a_sku_with_more_orders_than_are_looked_up_every_open_one_is_found(database: Database):
    shop = Shop(database)
    for number in range(6):
        shop.order(f"111-{number}", "SHIPPED", sku="BEST-1")
    for number in range(6, 9):
        shop.order(f"111-{number}", sku="BEST-1", ship_in=timedelta(hours=number))
    shop.order("111-9", sku="OTHER-1")
    chosen = OrderFilter(account_ids=(SELLER,), search="best-1")
    with database.begin() as connection:
        page = read_page(connection, Column.UNSHIPPED, chosen, limit=10, ids_at_most=3)
        assert [card.order_id for card in page.cards] == ["111-6", "111-7", "111-8"]
        assert count_orders(connection, Column.UNSHIPPED, chosen, ids_at_most=3) == 3


def test_a_section_keeps_its_ends_while_orders_come_and_go(database: Database):
    shop = Shop(database)
    for number in range(6):
        shop.order(f"111-{number}", ship_in=timedelta(hours=number))
    with database.begin() as connection:
        first = read_page(connection, Column.UNSHIPPED, EVERYTHING, limit=3)
        second = read_page(connection, Column.UNSHIPPED, EVERYTHING, limit=3, after=first.next)
    assert first.next is not None
    shop.sql("update pipeline.orders set status = 'SHIPPED' where order_id = '111-1'")
    shop.order("111-9", ship_in=timedelta(hours=1, minutes=30))
    with database.begin() as connection:
        again = read_page(connection, Column.UNSHIPPED, EVERYTHING, limit=50, until=first.next)
        after = read_page(connection, Column.UNSHIPPED, EVERYTHING, limit=50, after=first.next)
    assert [card.order_id for card in again.cards] == ["111-0", "111-9", "111-2"]
    assert [card.order_id for card in after.cards] == [card.order_id for card in second.cards]
    assert place_of(Column.UNSHIPPED, again.cards[-1]) == first.next


def test_no_page_no_count_and_no_panel_reads_a_table_that_grows(database: Database):
    shop = Shop(database)
    fill(database, account_id=SELLER, orders=10_000, days=90)
    one_of_each(shop)
    shop.sql("analyze pipeline.orders, pipeline.order_items, pipeline.fulfillment_orders")
    accounts = {"account_ids": (SELLER, OTHER), "marketplace_ids": ("ATVPDKIKX0DER", CANADA)}
    filters = [
        read_filter(given, **accounts)
        for given in (
            # Of Canada there is no order at all.
            {}, {"marketplace": CANADA}, {"needs": "tracking"}, {"fulfillment": "AFN"},
            {"hold": "buyer_asks_to_cancel"}, {"q": "late-1"}, {"q": "1Z999AA10123456784"}, {"q": "0000007"},
        )
    ]  # fmt: skip
    shown: set[Column] = set()
    with watched(database.engine) as statements, database.begin() as connection:
        for column in Column:
            for chosen in filters:
                page = read_page(connection, column, chosen, limit=30)
                if page.next is not None:
                    read_page(connection, column, chosen, limit=30, after=page.next)
                if page.cards:
                    shown.add(column)
                count_orders(connection, column, chosen)
        read_panel(connection, SELLER, "111-0000007-0000007")
    assert shown == set(Column)
    assert statements.far_reads(GROWING) == {}


def test_the_board_reads_by_the_reader_role_and_cannot_write(database: Database):
    Shop(database).order("111-1")
    reader = ReaderRole(database)
    with reader.reading() as connection:
        assert connection.exec_driver_sql("select current_user").scalar_one() == "orders_pipeline_reader"
        panel = read_panel(connection, SELLER, "111-1")
        assert panel is not None
        assert len(panel.items) == 1
        for column in Column:
            count_orders(connection, column, EVERYTHING)
            read_page(connection, column, EVERYTHING, limit=5)
    for statement, error in (
        ("select ciphertext from vault.records", ProgrammingError),
        ("select purpose from audit.entries", ProgrammingError),
        ("delete from pipeline.orders", (InternalError, ProgrammingError)),
    ):
        with pytest.raises(error), reader.reading() as connection:
            connection.exec_driver_sql(statement)
