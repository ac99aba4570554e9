"""What a warehouse writes into its events: bounded and marked, and never in the way of another package."""

from __future__ import annotations

import random
import string

from orders_pipeline.vault.shipping_details import SHIPPING_DETAILS
from orders_pipeline.work.backlog import parked
from orders_pipeline.work.jobs import Queue
from orders_pipeline.work.queue import unpark
from orders_pipeline_tests.conftest import SELLER
from orders_pipeline_tests.world import World

_chance = random.Random(9)
# Random, because an index compresses what repeats.
ENDLESS = "".join(_chance.choice(string.ascii_letters) for _ in range(9_000))


def test_an_overlong_carrier_blocks_no_other_package(world: World):
    hostile, plain = world.accepted(), world.accepted()
    first = world.ship(hostile, carrier=ENDLESS)
    second = world.ship(plain)
    world.confirm_and_verify()
    assert world.package(second).state == "confirmed"
    package = world.package(first)
    assert (package.state, package.carrier_code) == ("confirmed", "Other")
    assert len(package.carrier) == len(package.carrier_name) == 100
    assert package.carrier.endswith("…")
    assert ENDLESS[:200] not in world.everything_stored()


def _refuse(world: World, table: str, order_id: str) -> None:
    """The database takes no change of this order's row there any more: a defect of that one order."""
    world.sql(f"alter table pipeline.{table} add constraint refused check (order_id <> '{order_id}') not valid")


def _allow(world: World, table: str) -> None:
    world.sql(f"alter table pipeline.{table} drop constraint refused")


def _last_error(world: World, package_id: str) -> str:
    order_id = world.package(package_id).order_id
    (job,) = world.rows("pipeline.jobs", "last_error, queue", f"queue = 'verify' and subject = '{order_id}'")
    return str(job.last_error)


def test_an_event_that_the_database_refuses_is_alerted_and_retried_alone(world: World):
    hostile, plain = world.accepted(), world.accepted()
    first, second = world.ship(hostile), world.ship(plain)
    _refuse(world, "shipment_confirmations", hostile)
    world.confirm_and_verify()
    assert world.package(second).state == "confirmed"
    assert "package.event_defect" in world.alerts()
    _allow(world, "shipment_confirmations")
    world.sql("update pipeline.wms_shipments set processed_at = processed_at - interval '1 hour'")
    world.confirm_and_verify()
    assert world.package(first).state == "confirmed"
    assert world.alerts() == {}


def test_a_decision_that_the_store_refuses_is_told_and_the_other_orders_are_decided(world: World):
    hostile, plain = world.order(), world.order()
    _refuse(world, "fulfillment_orders", hostile)
    world.sync()
    assert world.state(plain) == "accepted"
    with world.database.transaction(SELLER) as tx:
        assert [(job.order_id, job.attempts) for job in parked(tx, queue=Queue.DECIDE)] == [(hostile, 1)]
        _allow(world, "fulfillment_orders")
        unpark(tx)
    world.sync()
    assert world.state(hostile) == "accepted"
    assert world.alerts() == {}


def test_a_verification_that_the_database_refuses_stops_no_other(world: World):
    hostile, plain = world.accepted(), world.accepted()
    first, second = world.ship(hostile), world.ship(plain)
    world.poll()
    world.confirm()
    world.make_due()
    confirmed_not = "state <> 'confirmed' or package_id <> '{}'"
    world.sql(
        f"alter table pipeline.shipment_confirmations add constraint refused check ({confirmed_not.format(first)})"
    )
    world.verify()
    assert (world.package(first).state, world.package(second).state) == ("accepted", "confirmed")
    assert _last_error(world, first).startswith("a defect of this program: IntegrityError")
    _allow(world, "shipment_confirmations")
    world.make_due()
    world.verify()
    assert world.package(first).state == "confirmed"
    assert world.alerts() == {}


def test_buyer_data_in_the_warehouses_text_is_masked_before_it_is_stored(world: World):
    order_id = world.accepted()
    buyer = world.amazon.orders[order_id].address
    name, street, phone = str(buyer.name), str(buyer.address_line1), str(buyer.phone)
    reads_before = world.rows("audit.entries", "count(*), 1", "action = 'reveal'")[0].count
    package_id = world.ship(order_id, carrier=f"Van for {name}", tracking=f"T1 {street.upper()}")
    world.warehouse.events[-1] |= {"service": f"call {phone}", "package_id": f"box of {name}"}
    world.warehouse.add_event(f"returned to {street}", order_id, {})
    world.confirm_and_verify()
    stored = world.everything_stored()
    (told,) = world.ports.told
    for value in (name, street, phone):
        assert value.casefold() not in f"{stored}{told}".casefold()
    assert told.carrier_name == "Van for •••"
    assert (told.shipping_method or "").startswith("call •••")
    assert told.tracking_number == "T1 •••"
    (package,) = world.rows("pipeline.shipment_confirmations", "package_id, state")
    assert package.state == "confirmed"
    assert package.package_id.startswith("id-") and package_id
    reads = world.rows("audit.entries", "count(*), 1", "action = 'reveal'")[0].count
    assert reads == reads_before, "nothing was opened to mask it"


def test_value_hashes_are_shredded_with_the_record_and_differ_by_order(world: World):
    first, second = world.accepted(), world.accepted()
    rows = world.rows("vault.records", "subject_id, value_hashes", "kind = 'shipping_details'")
    hashes = {row.subject_id: set(row.value_hashes) for row in rows}
    assert hashes.keys() == {first, second}
    assert all(hashes.values())
    mask = world.vault.buyer_mask(account_id=SELLER, kind=SHIPPING_DETAILS, subject_ids=[first, second])
    name = str(world.amazon.orders[first].address.name)
    assert mask.text(first, name) == "•••"
    with world.database.transaction(SELLER) as tx:
        world.vault.shred(tx, kind=SHIPPING_DETAILS, subject_id=first, reason="a test")
    mask = world.vault.buyer_mask(account_id=SELLER, kind=SHIPPING_DETAILS, subject_ids=[first])
    assert mask.text(first, name) == name
