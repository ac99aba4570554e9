"""Orders live at Amazon, here and in a real Tryton: whatever happens there, the three end with the same story."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from orders_pipeline.database.engine import Database
from orders_pipeline.privacy.erasure.rows import ask_warehouse_to_erase
from orders_pipeline.privacy.erasure.warehouse_erasure import erase_at_warehouse
from orders_pipeline.sandbox.day.people import People
from orders_pipeline.sandbox.order_factory import OrderFactory
from orders_pipeline.shipments.poll import poll_shipments
from orders_pipeline_tests.conftest import MARKETPLACE, SELLER
from orders_pipeline_tests.wms.tryton.floor import Floor, line_to
from orders_pipeline_tests.world import World, open_world
from warehouses.tryton.server import TrytonServer
from warehouses.tryton.worker import Parcel

CUP, PLATE, SCARCE = "SKU-0", "SKU-1", "SKU-2"


@pytest.fixture(scope="module")
def floor(tryton: TrytonServer) -> Floor:
    floor = Floor(tryton)
    floor.add_products({CUP: 10_000, PLATE: 10_000, SCARCE: 1})
    return floor


@dataclass
class Lives:
    """The world of the stages, with Tryton as its warehouse."""

    world: World
    floor: Floor

    def order(self, *quantities: int) -> str:
        order_id = self.world.order(quantities=quantities)
        self.world.sync()
        return order_id

    def ends(self, order_id: str) -> tuple[str, str, list[str], list[str]]:
        """Once nothing changes any more: at Amazon, here, what Amazon shows, and the states in Tryton."""
        self.world.run_until_idle()
        return (
            self.world.amazon.orders[order_id].status,
            self.world.state(order_id),
            sorted(self.world.shown(order_id).values()),
            self.floor.states(order_id),
        )

    def shipped_at_amazon(self, order_id: str) -> dict[str, int]:
        """Pieces that Amazon counts as shipped, by SKU."""
        order = self.world.amazon.orders[order_id]
        return {str(item.sku): order.shipped_units(item.item_id) for item in order.items}


@pytest.fixture
def lives(floor: Floor, database: Database, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Lives]:
    world = open_world(database, tmp_path)
    # Each test has order ids of its own: they share one Tryton.
    world._factory = OrderFactory(
        clock=world.clock, people=People(canary=True), seller_id=SELLER, marketplace_id=MARKETPLACE,
        seed=hash(request.node.name) % 1_000_000,
    )  # fmt: skip
    warehouse = floor.warehouse()
    world.wms = warehouse  # type: ignore[assignment]
    yield Lives(world, floor)
    warehouse.close()
    if floor.server.pid is None:
        floor.server.restart()


def test_an_order_is_shipped_and_confirmed(lives: Lives):
    order_id = lives.order(2, 1)
    assert lives.world.state(order_id) == "accepted"
    lives.floor.worker.ship(order_id, carrier="UPS", tracking="1Z0000000000000001")
    assert lives.ends(order_id) == ("SHIPPED", "closed", ["1Z0000000000000001"], ["done"])


def test_a_shortage_is_told_to_the_seller_and_what_left_to_amazon(lives: Lives):
    order_id = lives.order(1, 1, 2)
    missing = lives.floor.worker.pick_what_is_there(order_id)
    assert missing == {SCARCE: 1}
    lives.floor.worker.ship(order_id, tracking="1Z0000000000000002")
    at_amazon, here, shown, in_tryton = lives.ends(order_id)
    assert (at_amazon, here) == ("PARTIALLY_SHIPPED", "accepted")
    assert (shown, in_tryton) == (["1Z0000000000000002"], ["done"])
    assert lives.shipped_at_amazon(order_id) == {CUP: 1, PLATE: 1, SCARCE: 1}
    assert "order.short" in lives.world.alerts()


def test_a_partial_pick_leaves_in_two_packages(lives: Lives):
    order_id = lives.order(3, 2)
    lives.floor.worker.start_packing(order_id, missing={PLATE: 1})
    lives.floor.worker.ship(
        order_id, [Parcel({CUP: 2}, "1Z0000000000000003"), Parcel({CUP: 1, PLATE: 1}, "1Z0000000000000004")]
    )
    at_amazon, here, shown, in_tryton = lives.ends(order_id)
    assert (at_amazon, here, in_tryton) == ("PARTIALLY_SHIPPED", "accepted", ["done"])
    assert shown == ["1Z0000000000000003", "1Z0000000000000004"]
    assert lives.shipped_at_amazon(order_id) == {CUP: 3, PLATE: 1}
    assert "order.short" in lives.world.alerts()


def test_a_cancellation_in_time_stops_the_shipment(lives: Lives):
    order_id = lives.order(1)
    lives.floor.worker.start_packing(order_id)
    lives.world.amazon.cancel(order_id)
    assert lives.ends(order_id) == ("CANCELLED", "cancelled", [], ["cancelled"])


def test_a_late_cancellation_is_a_persons_and_nothing_is_confirmed(lives: Lives):
    order_id = lives.order(1)
    lives.floor.worker.ship(order_id, tracking="1Z0000000000000005")
    lives.world.amazon.cancel(order_id)
    assert lives.ends(order_id) == ("CANCELLED", "too_late", [], ["done"])
    (package,) = lives.world.rows("pipeline.shipment_confirmations", "package_id, state", f"order_id = '{order_id}'")
    assert package.state == "blocked"


@pytest.mark.parametrize("confirmed", [True, False])
def test_a_voided_package_is_replaced_at_amazon(lives: Lives, confirmed: bool):
    order_id = lives.order(2)
    old, new = f"1Z000000000000001{confirmed:d}", f"1Z000000000000002{confirmed:d}"
    lives.floor.worker.ship(order_id, tracking=old)
    lives.world.poll()
    if confirmed:
        lives.world.confirm_and_verify()
        assert list(lives.world.shown(order_id).values()) == [old]
    lives.floor.worker.void(order_id)
    lives.world.poll()
    lives.floor.worker.send_again(order_id)
    lives.floor.worker.ship(order_id, tracking=new)
    assert lives.ends(order_id) == ("SHIPPED", "closed", [new], ["cancelled", "done"])


def test_a_new_label_edits_the_package_at_amazon(lives: Lives):
    order_id = lives.order(1)
    (number,) = lives.floor.worker.ship(order_id, tracking="1Z0000000000000031")
    lives.world.confirm_and_verify()
    lives.floor.worker.relabel(order_id, number, "1Z0000000000000032")
    assert lives.ends(order_id) == ("SHIPPED", "closed", ["1Z0000000000000032"], ["done"])


@pytest.mark.parametrize("step", ["stock.shipment.out.create", "party.party.create", "stock.shipment.out.wait"])
@pytest.mark.parametrize("before", [True, False])
def test_a_restart_of_tryton_in_mid_push_makes_neither_none_nor_two(lives: Lives, step: str, before: bool):
    """Killed before it did a step, or after it did and before it could say so."""
    world, server = lives.world, lives.floor.server
    with line_to(server) as line:
        world.wms = lives.floor.warehouse(line.url)  # type: ignore[assignment]
        order_id = world.order(quantities=(1,))
        _when(line, step, server.kill, before=before)
        world.sync()
        assert world.state(order_id) == "pushing"
        line.meanwhile = line.afterwards = lambda method: None
        server.restart()
        world.run_until_idle()
        assert (world.state(order_id), lives.floor.states(order_id)) == ("accepted", ["waiting"])
        lives.floor.worker.ship(order_id, tracking=f"1Z00000000000{abs(hash((step, before))) % 100000:05d}")
        at_amazon, here, shown, _ = lives.ends(order_id)
        assert (at_amazon, here, len(shown), lives.floor.states(order_id)) == ("SHIPPED", "closed", 1, ["done"])


def _when(line: Any, step: str, act: Callable[[], None], *, before: bool) -> None:
    def meanwhile(method: str) -> None:
        if method == step:
            act()
            raise ConnectionError("Tryton is gone")

    if before:
        line.meanwhile = meanwhile
    else:
        line.afterwards = meanwhile


def test_one_unknown_sku_holds_its_order_and_no_other(lives: Lives):
    unknown = lives.world.order(quantities=(1, 1, 1, 1))
    good = lives.order(1)
    assert (lives.world.state(unknown), lives.world.state(good)) == ("refused", "accepted")
    assert lives.world.one("pipeline.wms_orders", unknown).answer_code == "unknown_sku"


def test_a_page_of_an_upgrade_is_an_outage_that_ends_by_itself(lives: Lives):
    world = lives.world
    with line_to(lives.floor.server) as line:
        world.wms = lives.floor.warehouse(line.url)  # type: ignore[assignment]
        line.page = b"<html><body>We are upgrading</body></html>"
        order_id = world.order(quantities=(1,))
        world.sync()
        assert world.state(order_id) == "pushing"
        line.page = None
        world.run_until_idle()
        assert (world.state(order_id), lives.floor.states(order_id)) == ("accepted", ["waiting"])


def test_what_is_erased_here_is_erased_there(lives: Lives):
    order_id = lives.order(1)
    lives.floor.worker.ship(order_id, tracking="1Z0000000000000041")
    assert lives.ends(order_id)[:2] == ("SHIPPED", "closed")
    name = lives.floor.shipments(order_id)[0]["customer."]["name"]
    assert name in lives.floor.server.dump()
    world = lives.world
    with world.database.transaction(SELLER) as tx:
        assert ask_warehouse_to_erase(tx, [order_id]) == 1
    tally = erase_at_warehouse(world.database, world.vault.audit, world.wms, account_id=SELLER)
    assert tally.outcomes["erased"] == 1
    assert name not in lives.floor.server.dump()
    # The packages that were read before are not read as new ones.
    assert poll_shipments(world.wms, world.database, world.vault, account_id=SELLER).outcomes["new"] == 0
