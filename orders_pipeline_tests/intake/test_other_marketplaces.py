"""Orders of marketplaces that are not configured are never queued, are shown, and come in once theirs is."""

from __future__ import annotations

import pytest

from orders_pipeline.channels.amazon.errors import AmazonUnavailable
from orders_pipeline.intake.sweep import sweep_orders
from orders_pipeline.operations.pending_work import pending_work
from orders_pipeline.operations.replay import recover_order
from orders_pipeline.orders.ownership import other_marketplace_orders
from orders_pipeline_tests.announced import announce
from orders_pipeline_tests.conftest import MARKETPLACE, SELLER
from orders_pipeline_tests.world import World

CANADA = "A2EUQ1WTGCTBG2"


def test_an_order_of_another_marketplace_costs_no_call(world: World):
    ours, theirs = world.order(), world.order(marketplace_id=CANADA)
    world.run_until_idle()
    assert world.state(ours) == "accepted"
    assert [row.order_id for row in world.rows("pipeline.fulfillment_orders", "order_id, state")] == [ours]
    assert theirs not in {order_id for order_id, _ in world.ports.asked}
    with world.database.transaction(SELLER) as tx:
        (counted,) = other_marketplace_orders(tx)
    assert (counted.marketplace_id, counted.status, counted.orders) == (CANADA, "UNSHIPPED", 1)
    assert "(CA)" in world.alerts()["marketplace.not_configured"].message


def test_configuring_its_marketplace_fetches_and_pushes_the_order(world: World):
    order_id = world.order(marketplace_id=CANADA)
    over = world.order(marketplace_id=CANADA, status="Shipped")
    world.sync()
    world.marketplace_ids = (MARKETPLACE, CANADA)
    # Found by the next run, and then due like any other.
    world.absorb()
    world.sync()
    assert world.state(order_id) == "accepted"
    assert over not in {asked for asked, _ in world.ports.asked}
    assert "marketplace.not_configured" not in world.alerts()


def test_an_order_shown_in_another_marketplace_is_neither_queued_nor_stored(
    world: World,
):
    order_id = world.order(marketplace_id=CANADA, hear=False)
    announce(world, order_id, "Unshipped", marketplace_id=MARKETPLACE)
    world.sync()
    assert world.rows("pipeline.fulfillment_orders") == []
    assert world.rows("vault.records", where="kind = 'shipping_details'") == []
    assert world.one("pipeline.orders", order_id).other_marketplace


def test_a_forged_message_of_another_marketplace_does_not_hide_an_order_of_ours(world: World):
    order_id = world.order(hear=False)
    announce(world, order_id, "Unshipped", marketplace_id="EVERYWHERE")
    world.sync()
    assert world.rows("pipeline.fulfillment_orders") == []
    assert "that Amazon does not have" in world.alerts()["marketplace.not_configured"].message
    world.hear()
    world.sync()
    assert world.state(order_id) == "accepted"
    world.absorb()
    assert "marketplace.not_configured" not in world.alerts()


def test_a_removed_marketplace_stops_only_orders_not_yet_at_the_warehouse(world: World):
    accepted = world.accepted(marketplace_id=MARKETPLACE)
    queued = world.order(hear=False)
    world.hear()
    world.drain()
    world.absorb()
    world.fetch()
    world.decide()
    world.marketplace_ids = (CANADA,)
    # Its push is due, and finds that it is not to be pushed any more.
    world.sync()
    world.sync()
    assert world.one("pipeline.fulfillment_orders", queued).hold_reasons == ["marketplace_not_configured"]
    world.absorb()
    assert "(US)" in world.alerts()["marketplace.not_configured"].message
    world.amazon.cancel(accepted)
    world.hear()
    world.sync()
    assert (world.state(accepted), world.state(queued)) == ("cancelled", "held")
    asked = len(world.ports.asked)
    world.marketplace_ids = (MARKETPLACE,)
    world.sync()
    assert world.state(queued) == "accepted"
    assert {order_id for order_id, _ in world.ports.asked[asked:]} == {queued}, "as Amazon shows it by now"
    world.absorb()
    assert "marketplace.not_configured" not in world.alerts()


def test_an_idle_sweep_takes_in_orders_of_a_new_marketplace(world: World):
    order_id = world.order(marketplace_id=CANADA)
    world.sync()
    with world.database.transaction(SELLER) as tx:
        assert not pending_work(tx).for_sync
    world.faults.fail("search_orders", AmazonUnavailable("answered 503", operation="searchOrders", status=503))
    with pytest.raises(AmazonUnavailable):
        sweep_orders(world.ports, world.database, account_id=SELLER, marketplace_ids=(MARKETPLACE, CANADA))
    with world.database.transaction(SELLER) as tx:
        assert pending_work(tx).for_sync
    world.marketplace_ids = (MARKETPLACE, CANADA)
    world.sync()
    assert world.state(order_id) == "accepted"


def test_an_answer_without_marketplace_takes_the_messages(world: World):
    world.ports.alter = lambda body: body["salesChannel"].pop("marketplaceId", None)
    order_id = world.order()
    world.sync()
    assert world.one("pipeline.orders", order_id).marketplace_id == MARKETPLACE
    assert world.state(order_id) == "accepted"


def test_an_order_without_marketplace_is_held_with_an_alert(world: World):
    world.ports.alter = lambda body: body["salesChannel"].pop("marketplaceId", None)
    order_id = world.order(hear=False)
    announce(world, order_id, "Unshipped")
    world.sync()
    assert "unknown_marketplace" in world.one("pipeline.fulfillment_orders", order_id).hold_reasons
    assert not world.one("pipeline.orders", order_id).has_address, "it is not kept"
    world.absorb()
    assert order_id in world.alerts()["order.no_marketplace"].message
    world.ports.alter = None
    recover_order(world.database, world.vault.audit, account_id=SELLER, order_id=order_id)
    world.sync()
    world.make_due()
    world.sync()
    assert world.state(order_id) == "accepted"
    assert "order.no_marketplace" not in world.alerts()
