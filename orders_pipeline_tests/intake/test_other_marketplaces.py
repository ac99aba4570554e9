"""Orders of marketplaces that are not configured are never queued, are shown, and come in once theirs is."""

from __future__ import annotations

from orders_pipeline.orders.other_marketplaces import other_marketplace_orders
from orders_pipeline_tests.conftest import MARKETPLACE, SELLER
from orders_pipeline_tests.told import tell
from orders_pipeline_tests.world import World

CANADA = "A2EUQ1WTGCTBG2"


def test_an_order_of_another_marketplace_is_counted_costs_no_call_and_is_never_queued(world: World):
    ours, theirs = world.order(), world.order(marketplace_id=CANADA)
    world.settle()
    assert world.state(ours) == "accepted"
    assert [row.order_id for row in world.rows("pipeline.fulfillment_queue", "order_id, state")] == [ours]
    assert theirs not in {order_id for order_id, _ in world.ports.asked}
    with world.database.transaction() as connection:
        (counted,) = other_marketplace_orders(connection, SELLER)
    assert (counted.marketplace_id, counted.status, counted.orders) == (CANADA, "UNSHIPPED", 1)
    assert "(CA)" in world.alerts()["marketplace.not_configured"].message


def test_once_its_marketplace_is_configured_the_order_is_fetched_and_pushed_and_the_alert_closes(world: World):
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


def test_an_order_that_amazon_shows_in_another_marketplace_than_its_message_is_not_queued_and_its_address_not_kept(
    world: World,
):
    order_id = world.order(marketplace_id=CANADA, hear=False)
    tell(world, order_id, "Unshipped", marketplace_id=MARKETPLACE)
    world.sync()
    assert world.rows("pipeline.fulfillment_queue") == []
    assert world.rows("vault.records", where="kind = 'shipping_details'") == []
    assert world.one("pipeline.orders", order_id).other_marketplace


def test_a_forged_message_of_another_marketplace_does_not_hide_an_order_of_ours(world: World):
    order_id = world.order(hear=False)
    tell(world, order_id, "Unshipped", marketplace_id="EVERYWHERE")
    world.sync()
    assert world.rows("pipeline.fulfillment_queue") == []
    assert "that Amazon does not have" in world.alerts()["marketplace.not_configured"].message
    world.hear()
    world.sync()
    assert world.state(order_id) == "accepted"
    world.absorb()
    assert "marketplace.not_configured" not in world.alerts()


def test_a_marketplace_that_is_taken_out_stops_what_is_not_at_the_warehouse_and_ends_what_is(world: World):
    accepted = world.accepted(marketplace_id=MARKETPLACE)
    queued = world.order(hear=False)
    world.hear()
    world.drain()
    world.absorb()
    world.fetch()
    world.derive()
    world.marketplace_ids = (CANADA,)
    world.sql("update pipeline.orders set queue_stale = true")
    world.sync()
    assert world.one("pipeline.fulfillment_queue", queued).hold_reasons == ["marketplace_not_configured"]
    world.amazon.cancel(accepted)
    world.hear()
    world.sync()
    assert (world.state(accepted), world.state(queued)) == ("cancelled", "held")
    world.marketplace_ids = (MARKETPLACE,)
    world.sql("update pipeline.orders set queue_stale = true")
    world.sync()
    assert world.state(queued) == "accepted"
