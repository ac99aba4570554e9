"""Between a look and the act that follows from it: nothing that is still needed goes, and nothing comes back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from orders_pipeline.database import engine
from orders_pipeline.database.engine import Database
from orders_pipeline.fulfillment.rows import begin_push, record_acceptance
from orders_pipeline.intake.fetch import fetch_due_orders
from orders_pipeline.orders.erasures import insert_erasure
from orders_pipeline.privacy.alerts import ERASED_UNSHIPPED
from orders_pipeline.privacy.checks.checks import erased_within_the_day, nothing_past_its_time
from orders_pipeline.privacy.erasure.erasure import ErasureTotals, erase_order, erase_seller
from orders_pipeline.privacy.erasure.shredding import ShredTotals, shred_due
from orders_pipeline.privacy.erasure.warehouse_erasure import erase_at_warehouse
from orders_pipeline.privacy.retention.retained import next_retained, retained
from orders_pipeline.privacy.rules import Rule
from orders_pipeline.privacy.shred_expired import apply_retention
from orders_pipeline.vault.access import Vault
from orders_pipeline.wms.port import WarehouseUnavailable
from orders_pipeline_tests.conftest import MARKETPLACE, SELLER
from orders_pipeline_tests.privacy.conftest import PutOrder, WarehouseInMemory, kept_ids
from orders_pipeline_tests.world import World, open_world


@pytest.fixture
def world(database: Database, tmp_path: Path) -> World:
    return open_world(database, tmp_path)


def one(database: Database, statement: str, **values: Any) -> Any:
    with database.begin() as connection:
        return connection.execute(text(statement), values).scalar()


def sql(database: Database, statement: str) -> None:
    with database.begin() as connection:
        connection.execute(text(statement))


def erase(world: World, order_id: str) -> ErasureTotals:
    return erase_order(world.database, world.vault, world.wms, account_id=SELLER, order_id=order_id, reason="buyer")


def queued_past_its_window(world: World) -> str:
    order_id = world.order()
    world.drain()
    world.absorb()
    world.fetch()
    world.decide()
    world.sql("update pipeline.orders set deliver_by = clock_timestamp() - interval '1 hour'")
    world.sql("update vault.records set stored_at = clock_timestamp() - interval '2 hours'")
    return order_id


def test_an_order_that_was_pushed_since_the_look_keeps_what_it_needs(world: World):
    order_id = queued_past_its_window(world)
    with world.database.transaction(SELLER) as tx:
        page = next_retained(tx, "")
    assert page[0].due.rule is Rule.NEVER_PUSHED
    world.push()
    shred_due(
        world.database, world.vault, account_id=SELLER, orders=page, at=world.database.now(), totals=ShredTotals()
    )
    world.run_until_idle()
    assert world.state(order_id) == "accepted"
    assert kept_ids(world.database) == {order_id}


def test_details_that_were_fetched_anew_since_the_look_stay(world: World):
    order_id = queued_past_its_window(world)
    with world.database.transaction(SELLER) as tx:
        page = next_retained(tx, "")
    # Amazon moves the window, and the details come anew.
    world.amazon.change_status(order_id, "UNSHIPPED")
    world.hear()
    world.drain()
    world.absorb()
    world.fetch()
    shred_due(
        world.database, world.vault, account_id=SELLER, orders=page, at=world.database.now(), totals=ShredTotals()
    )
    world.run_until_idle()
    assert world.state(order_id) == "accepted"


def test_an_order_that_loses_its_address_before_it_was_shipped_is_told_to_a_person(world: World):
    order_id = queued_past_its_window(world)
    apply_retention(world.database, world.vault, world.wms, account_id=SELLER)
    assert kept_ids(world.database) == set()
    assert world.alerts([ERASED_UNSHIPPED])["order.erased"].message.count(order_id) == 1
    # Until it is over at Amazon.
    world.amazon.cancel(order_id)
    world.hear()
    world.run_until_idle()
    assert "order.erased" not in world.alerts([ERASED_UNSHIPPED])


def test_an_order_erased_before_it_is_known_is_never_pushed(world: World):
    order_id = world.order(hear=False)
    assert erase(world, order_id).complete
    world.amazon.notify(order_id)
    world.hear()
    world.drain()
    world.absorb()
    for _ in range(3):
        _fetch(world)
        world.decide()
        world.push()
    assert len(world.ports.asked) == 1
    assert kept_ids(world.database) == set()
    assert order_id not in world.warehouse.orders


def test_an_order_erased_during_its_push_is_given_up(world: World):
    order_id = world.order()
    world.faults.fail("push", WarehouseUnavailable("away"))
    world.sync()
    assert world.state(order_id) == "pushing"
    erase(world, order_id)
    world.ports.asked.clear()
    for _ in range(3):
        world.make_due()
        _fetch(world)
        world.decide()
        world.push()
    assert len(world.ports.asked) <= 3
    assert kept_ids(world.database) == set()
    there = world.warehouse.orders.get(order_id)
    assert there is None or there.erased


def test_an_order_that_is_erased_while_amazon_is_asked_is_not_stored(world: World):
    order_id = world.order()
    world.drain()
    world.absorb()
    totals: list[ErasureTotals] = []

    def meanwhile(_: str) -> None:
        world.ports.meanwhile = None
        totals.append(erase(world, order_id))

    world.ports.meanwhile = meanwhile
    world.fetch()
    assert totals[0].complete
    assert kept_ids(world.database) == set()
    world.run_until_idle()
    assert kept_ids(world.database) == set()
    assert order_id not in world.warehouse.orders


def test_a_seller_who_left_and_is_listed_again_is_not_pushed_again(world: World):
    order_id = world.accepted()
    erase_seller(world.database, world.vault, world.wms, account_id=SELLER, reason="left", everything=True)
    apply_retention(world.database, world.vault, world.wms, account_id=SELLER)
    assert one(world.database, "select count(*) from pipeline.orders") == 0
    world.sweep()
    world.run_until_idle()
    assert kept_ids(world.database) == set()
    assert world.calls(order_id)["push"] == 1


def test_an_order_of_no_warehouse_is_never_stored_however_often_it_changes(world: World):
    order_id = world.order(programs=["FBM_SHIP_PLUS"])
    world.sync()
    for _ in range(2):
        world.amazon.request_cancellation(order_id)
        world.hear()
        world.sync()
        world.amazon.withdraw_cancellation_request(order_id)
        world.hear()
        world.sync()
    assert kept_ids(world.database) == set()
    restricted = [parts for _, parts in world.ports.asked if parts.name == "SHIPPING_DETAILS"]
    assert len(restricted) <= 1, "its programs are known after the first look"
    assert world.state(order_id) == "held"
    assert nothing_past_its_time(world.database, account_id=SELLER).passed


def test_an_order_four_weeks_past_its_window_is_not_fetched_anew_each_day(world: World):
    order_id = world.order()
    world.drain()
    world.absorb()
    world.sql("update pipeline.orders set deliver_by = clock_timestamp() - interval '40 days'")
    world.amazon.orders[order_id].deliver_by = tuple(  # type: ignore[assignment]
        moment.replace(year=moment.year - 1) for moment in world.amazon.orders[order_id].deliver_by or ()
    )
    for _ in range(3):
        world.make_due()
        world.sync()
    assert kept_ids(world.database) == set()
    assert len(world.ports.asked) <= 2
    assert world.state(order_id) == "held"


# --- the warehouse's copy


def test_an_order_that_is_sent_again_is_kept_there_whether_or_not_an_answer_came(
    database: Database, vault: Vault, warehouse: WarehouseInMemory, put_order: PutOrder
):
    put_order("r", queue="refused", deliver_by=1, sent=True)
    apply_retention(database, vault, warehouse, account_id=SELLER)
    assert warehouse.erased == ["r"]
    with database.transaction(SELLER) as tx:
        begin_push(tx, order_id="r", content_hash="y")
    assert nothing_past_its_time(database, account_id=SELLER).numbers["retained_at_warehouse"] == 1


def test_an_erasure_that_the_warehouse_owed_is_off_once_the_order_is_sent_again(
    database: Database, vault: Vault, warehouse: WarehouseInMemory, put_order: PutOrder
):
    put_order("r", queue="refused", deliver_by=1, sent=True)
    warehouse.answers["r"] = WarehouseUnavailable("away")
    apply_retention(database, vault, warehouse, account_id=SELLER)
    with database.transaction(SELLER) as tx:
        begin_push(tx, order_id="r", content_hash="y")
        record_acceptance(tx, order_id="r", answer="accepted")
    sql(database, "update pipeline.fulfillment_orders set state = 'accepted'")
    warehouse.answers.clear()
    apply_retention(database, vault, warehouse, account_id=SELLER)
    assert warehouse.erased == []
    with database.transaction(SELLER) as tx:
        (order,) = retained(tx, ["r"])
    assert (order.at_warehouse, order.erasure_requested) == (True, False)


def test_what_is_sent_while_the_warehouse_erases_counts_as_kept(
    database: Database, vault: Vault, warehouse: WarehouseInMemory, put_order: PutOrder, monkeypatch: pytest.MonkeyPatch
):
    put_order("r", status="CANCELLED", queue="cancelled", sent=True)
    really = warehouse.erase_pii

    def erases_and_is_sent_anew(order_ref: str) -> bool:
        answer = really(order_ref)
        with database.transaction(SELLER) as tx:
            begin_push(tx, order_id="r", content_hash="y")
        return answer

    monkeypatch.setattr(warehouse, "erase_pii", erases_and_is_sent_anew)
    apply_retention(database, vault, warehouse, account_id=SELLER)
    assert nothing_past_its_time(database, account_id=SELLER).numbers["retained_at_warehouse"] == 1
    assert erased_within_the_day(database, account_id=SELLER).passed


def test_an_order_that_arrives_late_at_the_warehouse_is_erased_by_the_next_run(
    world: World, monkeypatch: pytest.MonkeyPatch
):
    order_id = world.order()
    really = world.wms.push

    def arrives_late(order: Any) -> Any:
        erase_order(
            world.database, world.vault, world.wms, account_id=SELLER, order_id=order_id, reason="the buyer asked"
        )
        return really(order)

    monkeypatch.setattr(world.wms, "push", arrives_late)
    world.sync()
    assert not world.warehouse.orders[order_id].erased, "the erasure found nothing there yet"
    assert nothing_past_its_time(world.database, account_id=SELLER).numbers["retained_at_warehouse"] == 1
    apply_retention(world.database, world.vault, world.wms, account_id=SELLER)
    assert world.warehouse.orders[order_id].erased


def test_the_alert_of_an_erased_order_that_never_was_to_be_sent_ends_with_the_order(world: World):
    order_id = world.order()
    world.drain()
    world.absorb()
    erase_order(world.database, world.vault, world.wms, account_id=SELLER, order_id=order_id, reason="the buyer asked")
    assert "order.erased" in world.alerts([ERASED_UNSHIPPED])
    world.amazon.cancel(order_id)
    world.hear()
    world.run_until_idle()
    assert "order.erased" not in world.alerts([ERASED_UNSHIPPED])


def test_a_request_to_erase_is_done_as_soon_as_the_warehouse_is(
    database: Database, vault: Vault, warehouse: WarehouseInMemory, put_order: PutOrder
):
    put_order("r", queue="accepted", sent=True)
    warehouse.answers["r"] = WarehouseUnavailable("away")
    erase_order(database, vault, warehouse, account_id=SELLER, order_id="r", reason="the buyer asked")
    warehouse.answers.clear()
    sql(database, "update pipeline.jobs set due_at = clock_timestamp()")
    sql(database, "update pipeline.erasures set requested_at = requested_at - interval '25 hours'")
    assert not erased_within_the_day(database, account_id=SELLER).passed
    tally = erase_at_warehouse(database, vault.audit, warehouse, account_id=SELLER)
    assert tally.outcomes == {"erased": 1, "requests_finished": 1}
    assert erased_within_the_day(database, account_id=SELLER).passed


def test_a_request_that_meets_a_lock_holds_up_nobody_elses_data(
    database: Database,
    database_url: str,
    vault: Vault,
    warehouse: WarehouseInMemory,
    put_order: PutOrder,
    monkeypatch: pytest.MonkeyPatch,
):
    # It waits for the lock twice, in a deployment for ten seconds each time.
    monkeypatch.setattr(engine, "LOCK_TIMEOUT_MILLISECONDS", 500)
    impatient = Database(database_url)
    put_order("held")
    put_order("free", status="CANCELLED", queue="cancelled")
    with database.transaction(SELLER) as tx:
        insert_erasure(tx, "held")
    with database.begin() as connection:
        connection.execute(text("select from pipeline.orders where order_id = 'held' for update"))
        totals = apply_retention(impatient, Vault(impatient, vault.keys, vault.audit), warehouse, account_id=SELLER)
        assert totals.failed
    impatient.close()
    assert kept_ids(database) == {"held"}
    apply_retention(database, vault, warehouse, account_id=SELLER)
    assert kept_ids(database) == set()


def _fetch(world: World) -> None:
    """One batch that ends soon, however often the same order comes due."""
    fetch_due_orders(
        world.ports,
        world.database,
        world.vault,
        account_id=SELLER,
        marketplace_ids=(MARKETPLACE,),
        deadline_seconds=2.0,
    )
