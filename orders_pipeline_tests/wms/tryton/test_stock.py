"""What lies where, by SKU and location."""

from __future__ import annotations

from orders_pipeline.wms.port import StockLevel
from orders_pipeline.wms.tryton.adapter import TrytonWarehouse
from orders_pipeline_tests.wms.tryton.floor import Floor, an_order


def _levels(warehouse: TrytonWarehouse, limit: int) -> list[StockLevel]:
    levels: list[StockLevel] = []
    cursor: str | None = None
    while True:
        page = warehouse.read_stock(cursor, limit)
        levels += page.levels
        cursor = page.next_cursor
        if cursor is None:
            return levels


def test_stock_is_read_by_sku_and_what_is_promised_is_not_available(floor: Floor, warehouse: TrytonWarehouse):
    floor.add_products({"STOCKED-1": 10, "STOCKED-2": 4, "STOCKED-3": 7})
    order = an_order(("STOCKED-1", 3))
    warehouse.push(order)
    rpc = floor.server.rpc()
    rpc.press("stock.shipment.out", "assign_try", [floor.shipments(order.order_ref)[0]["id"]])
    for limit in (1, 2, 500):
        levels = [one for one in _levels(warehouse, limit) if one.sku.startswith("STOCKED")]
        assert sorted((one.sku, one.on_hand, one.available) for one in levels) == [
            ("STOCKED-1", 10, 7),
            ("STOCKED-2", 4, 4),
            ("STOCKED-3", 7, 7),
        ]
        assert len({one.location for one in levels}) == 1
