"""A Tryton of one's own in seconds: prepared once, copied for each server, killed and started again."""

from __future__ import annotations

import time
from pathlib import Path

from orders_pipeline.sandbox.day.catalogue import PRODUCTS
from warehouses.tryton.bare_client import BareClient
from warehouses.tryton.master_data import PIPELINE, UNITS_IN_STOCK
from warehouses.tryton.server import TrytonServer, running_tryton
from warehouses.tryton.worker import TrytonWorker


def test_a_server_starts_in_seconds_and_has_every_sku_of_the_catalogue_in_stock(tryton: TrytonServer, tmp_path: Path):
    # The fixture has prepared the database.
    began = time.monotonic()
    with running_tryton(tmp_path) as another:
        assert time.monotonic() - began < 20
        rpc = another.rpc()
        found = rpc.search("product.product", [("template.type", "=", "goods")], ["code"])
        assert {product["code"] for product in found} == {product.sku for product in PRODUCTS}
        assert TrytonWorker(rpc).stock("MUG-STONE-350") == UNITS_IN_STOCK


def test_two_servers_side_by_side_share_nothing(tryton: TrytonServer, tmp_path: Path):
    with running_tryton(tmp_path) as another:
        BareClient(another.rpc(PIPELINE)).push("111-0000001-0000001", {"MUG-STONE-350": 1})
        assert another.url != tryton.url
        assert len(TrytonWorker(another.rpc()).shipments("111-0000001-0000001")) == 1
        assert TrytonWorker(tryton.rpc()).shipments("111-0000001-0000001") == []
    assert another.pid is None


def test_what_was_answered_survives_a_kill_and_the_address_stays(tmp_path: Path):
    with running_tryton(tmp_path) as tryton:
        rpc, url = tryton.rpc(PIPELINE), tryton.url
        BareClient(rpc).push("111-0000002-0000002", {"TOWEL-SET-4": 2})
        tryton.kill()
        assert tryton.pid is None
        tryton.restart()
        assert tryton.url == url
        # So does the session: nobody logs in again.
        (found,) = rpc.search("stock.shipment.out", [("reference", "=", "111-0000002-0000002")], ["state"])
        assert found["state"] == "waiting"


def test_the_dump_shows_every_text_that_the_database_holds(tryton: TrytonServer):
    label = {"name": "Canary Brightwater", "street": "7 Quillfeather Lane"}
    BareClient(tryton.rpc(PIPELINE)).push("111-0000003-0000003", {"CANDLE-FIG": 1}, label)
    dump = tryton.dump()
    for text in (*label.values(), "111-0000003-0000003"):
        assert text in dump
    assert "Nobody Ever" not in dump
