"""Whoever asked to be forgotten is, within the request; and does not come back."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from sqlalchemy import text

from orders_pipeline.alerts.reconcile import evaluate
from orders_pipeline.audit.log import PURPOSE_CHARACTERS, AuditLog
from orders_pipeline.database.engine import Database
from orders_pipeline.fulfillment.decide import decide_orders
from orders_pipeline.orders.erasures import insert_erasure
from orders_pipeline.privacy.alerts import ERASED_UNSHIPPED
from orders_pipeline.privacy.checks.checks import erased_within_the_day
from orders_pipeline.privacy.erasure.erasure import erase, erase_order, erase_seller
from orders_pipeline.privacy.shred_expired import apply_retention
from orders_pipeline.sandbox.sandbox import Sandbox
from orders_pipeline.sandbox.warehouse.floor import FloorOptions
from orders_pipeline.settings import load_settings
from orders_pipeline.vault.access import Vault
from orders_pipeline.vault.errors import VaultRecordMissing
from orders_pipeline.vault.providers.choice import open_key_provider
from orders_pipeline.wms.connect import open_warehouse
from orders_pipeline.wms.port import (
    WarehouseError,
    WarehouseForbidden,
    WarehouseRefused,
    WarehouseUnauthorized,
    WarehouseUnavailable,
)
from orders_pipeline_tests.conftest import MARKETPLACE, SELLER
from orders_pipeline_tests.pipeline import Pipeline, point_environment_at
from orders_pipeline_tests.privacy.conftest import KIND, NAME, PutOrder, WarehouseInMemory, kept_ids


def one(database: Database, statement: str) -> Any:
    with database.begin() as connection:
        return connection.execute(text(statement)).scalar()


def test_one_order_is_erased_here_and_at_the_warehouse_and_audited(
    database: Database, vault: Vault, warehouse: WarehouseInMemory, put_order: PutOrder
):
    put_order("111-1", queue="accepted", sent=True)
    put_order("111-2", queue="accepted", sent=True)
    totals = erase_order(database, vault, warehouse, account_id=SELLER, order_id="111-1", reason="buyer, ticket 4711")
    assert totals.as_metadata() == {
        "shredded": 1,
        "warehouse_erased": 1,
        "warehouse_waiting": 0,
        "shreds_completed": 1,
        "failed": 0,
        "complete": True,
    }
    assert kept_ids(database) == {"111-2"}
    assert warehouse.erased == ["111-1"]
    with database.begin() as connection:
        rows = connection.execute(
            text(
                "select action, outcome, purpose from audit.entries where action in ('erase', 'shred', "
                "'warehouse_erase', 'complete_shreds') order by entry_id"
            )
        ).all()
    assert [(row.action, row.outcome) for row in rows] == [
        ("erase", "requested"),
        ("shred", "done"),
        ("warehouse_erase", "done"),
        ("complete_shreds", "done"),
        ("erase", "done"),
    ]
    assert rows[0].purpose == "buyer, ticket 4711"
    assert erased_within_the_day(database, account_id=SELLER).numbers["open"] == 0
    with pytest.raises(VaultRecordMissing):
        vault.reveal(account_id=SELLER, kind=KIND, subject_id="111-1", purpose="test")


@pytest.mark.parametrize("refused", [WarehouseRefused, WarehouseUnauthorized, WarehouseForbidden, WarehouseUnavailable])
def test_what_the_warehouse_says_of_an_erasure_is_not_stored(
    database: Database, vault: Vault, warehouse: WarehouseInMemory, put_order: PutOrder, refused: type[WarehouseError]
):
    for order_id in ("111-1", "111-2"):
        put_order(order_id, queue="accepted", sent=True)
        # Its code is free text, and may name the buyer. The hashes that would mask it went with the details.
        warehouse.answers[order_id] = refused(f"422 no_order_of_{NAME}", status=422, code=f"no_order_of_{NAME}")
        erase_order(database, vault, warehouse, account_id=SELLER, order_id=order_id, reason="buyer")
    tables = ("pipeline.jobs", "pipeline.paused_dependencies", "audit.entries")
    stored = " ".join(str(one(database, f"select string_agg(t::text, ' ') from {table} t")) for table in tables)
    assert [word for word in NAME.split() if word in stored] == []
    assert (refused.__name__ in stored, "422" in stored) == (True, True)


def test_retention_finishes_an_open_erasure_which_is_red_after_a_day(
    database: Database, vault: Vault, warehouse: WarehouseInMemory, put_order: PutOrder
):
    put_order("111-1", queue="accepted", sent=True)
    warehouse.answers["111-1"] = WarehouseUnavailable("away")
    totals = erase_order(database, vault, warehouse, account_id=SELLER, order_id="111-1", reason="Amazon's notice")
    assert (totals.complete, totals.warehouse_waiting) == (False, 1)
    assert erased_within_the_day(database, account_id=SELLER).passed
    with database.begin() as connection:
        connection.execute(text("update pipeline.erasures set requested_at = requested_at - interval '25 hours'"))
        connection.execute(text("update pipeline.jobs set due_at = clock_timestamp()"))
    assert not erased_within_the_day(database, account_id=SELLER).passed
    warehouse.answers.clear()
    assert apply_retention(database, vault, warehouse, account_id=SELLER).erasures_finished == 1
    assert erased_within_the_day(database, account_id=SELLER).passed


def test_details_that_come_back_all_the_same_go_with_the_next_run(
    database: Database, vault: Vault, warehouse: WarehouseInMemory, put_order: PutOrder
):
    put_order("111-1", queue="accepted", sent=True)
    erase_order(database, vault, warehouse, account_id=SELLER, order_id="111-1", reason="buyer")
    with database.transaction(SELLER) as tx:
        vault.store(tx, kind=KIND, subject_id="111-1", plaintext=b"{}", expires_at=None)
    apply_retention(database, vault, warehouse, account_id=SELLER)
    assert kept_ids(database) == set()


def test_erasing_a_seller_erases_its_past_orders_only(
    database: Database, vault: Vault, warehouse: WarehouseInMemory, put_order: PutOrder
):
    for number in range(5):
        put_order(f"old-{number}", queue="queued", sent=number % 2 == 0)
    put_order("no-details", queue="queued", retained=False)
    totals = erase_seller(database, vault, warehouse, account_id=SELLER, reason="authorisation ended")
    assert (totals.shredded, totals.warehouse_erased, totals.complete) == (5, 3, True)
    assert kept_ids(database) == set()
    assert one(database, "select count(*) from pipeline.orders where not has_address") == 6
    assert one(database, "select count(*) from pipeline.jobs where queue = 'decide'") == 6
    decide_orders(database, vault.audit, account_id=SELLER, marketplace_ids=(MARKETPLACE,))
    assert one(database, "select string_agg(distinct state, ',') from pipeline.fulfillment_orders") == "cancelled"
    gave_up = "select count(*) from audit.entries where action = 'fulfillment_state' and purpose = 'erase'"
    assert one(database, gave_up) == 6
    evaluate(database, SELLER, [ERASED_UNSHIPPED])
    assert one(database, "select count(*) from pipeline.alerts where key like 'order.erased:%'") == 6
    put_order("new", queue="queued", bought=-0.01, deliver_by=-5, stored=0)
    apply_retention(database, vault, warehouse, account_id=SELLER)
    assert kept_ids(database) == {"new"}


def test_a_seller_who_left_leaves_nothing(
    database: Database, vault: Vault, warehouse: WarehouseInMemory, put_order: PutOrder
):
    put_order("old", queue="queued", sent=True)
    warehouse.answers["old"] = WarehouseUnavailable("away")
    erase_seller(database, vault, warehouse, account_id=SELLER, reason="left", everything=True)
    assert one(database, "select count(*) from pipeline.orders") == 1
    warehouse.answers.clear()
    with database.begin() as connection:
        connection.execute(text("update pipeline.jobs set due_at = clock_timestamp()"))
    apply_retention(database, vault, warehouse, account_id=SELLER)
    assert one(database, "select count(*) from pipeline.orders") == 0


@pytest.mark.parametrize("order_id", [None, "no-details"])
def test_a_request_whose_process_died_is_carried_out_whole_by_the_retention(
    database: Database, vault: Vault, warehouse: WarehouseInMemory, put_order: PutOrder, order_id: str | None
):
    put_order("no-details", queue="queued", retained=False)
    put_order("with-details", queue="queued", deliver_by=-5, sent=True)
    parked_id = "00000000-0000-0000-0000-000000000001"
    with database.transaction(SELLER) as tx:
        tx.execute(
            text(
                "insert into vault.amazon_tokens (application_id, account_id, purpose, key_id, wrapped_key, nonce, "
                "ciphertext, expires_at) values ('a', :seller, 'access', :key, '', '', '', now() + interval '1 hour')"
            ),
            {"seller": SELLER, "key": vault.keys.current_key_id()},
        )
        vault.store(
            tx, kind="parked_message", subject_id=parked_id, plaintext=b"48104",
            expires_at=database.now() + timedelta(days=14))  # fmt: skip
    with database.transaction(SELLER) as tx:
        # Killed right after the request was written down.
        insert_erasure(tx, order_id)
    totals = apply_retention(database, vault, warehouse, account_id=SELLER, complete_shreds=False)
    assert totals.erasures_finished == 1
    decide_orders(database, vault.audit, account_id=SELLER, marketplace_ids=(MARKETPLACE,))
    states = "select string_agg(order_id || ' ' || state, ', ' order by order_id) from pipeline.fulfillment_orders"
    if order_id is None:
        assert one(database, "select count(*) from vault.records where kind <> 'fingerprint_key'") == 0
        assert one(database, "select count(*) from vault.amazon_tokens") == 0
        assert warehouse.erased == ["with-details"]
        assert one(database, states) == "no-details cancelled, with-details cancelled"
    else:
        assert kept_ids(database) == {"with-details"}
        assert one(database, "select count(*) from vault.amazon_tokens") == 1
        assert one(database, states) == "no-details cancelled, with-details queued"


@pytest.mark.parametrize("whole_seller", [False, True])
def test_a_reason_as_long_as_an_entry_takes_stops_nothing(
    database: Database, vault: Vault, warehouse: WarehouseInMemory, put_order: PutOrder, whole_seller: bool
):
    put_order("r", queue="accepted", sent=True)
    totals = erase(
        database, vault, warehouse, account_id=SELLER, order_id=None if whole_seller else "r",
        reason="x" * PURPOSE_CHARACTERS,
    )  # fmt: skip
    assert (totals.failed, totals.complete, totals.shredded) == (0, True, 1)


def test_a_request_is_complete_whatever_the_warehouse_owes_of_others(
    database: Database, vault: Vault, warehouse: WarehouseInMemory, put_order: PutOrder
):
    put_order("other", status="CANCELLED", queue="cancelled", sent=True)
    warehouse.answers["other"] = WarehouseUnavailable("away")
    apply_retention(database, vault, warehouse, account_id=SELLER)
    put_order("mine", queue="accepted", sent=True)
    totals = erase_order(database, vault, warehouse, account_id=SELLER, order_id="mine", reason="buyer")
    assert (totals.complete, totals.warehouse_waiting) == (True, 1)


def test_without_a_warehouse_our_own_copy_goes_and_what_it_owes_stays_due(
    database: Database, vault: Vault, put_order: PutOrder
):
    put_order("111-1", queue="accepted", sent=True)
    totals = erase_order(database, vault, None, account_id=SELLER, order_id="111-1", reason="buyer")
    assert (totals.shredded, totals.complete, totals.warehouse_waiting) == (1, False, 1)
    assert kept_ids(database) == set()


def test_after_an_erasure_no_event_fetches_the_details_again(
    database: Database, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    sandbox = Sandbox(time_scale=1000, floor=FloorOptions(automatic=False))
    with sandbox, dg.DagsterInstance.ephemeral() as instance:
        point_environment_at(sandbox, database_url, tmp_path, monkeypatch)
        pipeline = Pipeline(instance)
        pushed = sandbox.add_order()
        # It waits here, not at the warehouse.
        waiting = sandbox.add_order(notify=False)
        sandbox.amazon.request_cancellation(waiting.order_id)
        pipeline.run_until_idle()
        settings = load_settings()
        vault = Vault(database, open_key_provider(settings), AuditLog(database))
        warehouse = open_warehouse(settings.require_warehouse())
        assert sandbox.warehouse.orders[pushed.order_id].ship_to["name"]
        assert kept_ids(database) == {pushed.order_id, waiting.order_id}
        for order in (pushed, waiting):
            totals = erase_order(
                database, vault, warehouse, account_id=sandbox.seller_id, order_id=order.order_id, reason="buyer"
            )
            assert totals.complete
        assert sandbox.warehouse.orders[pushed.order_id].erased
        asked_before = one(database, "select count(*) from audit.entries where action = 'amazon_restricted_call'")
        sandbox.amazon.request_cancellation(pushed.order_id)
        for order in (pushed, waiting):
            sandbox.amazon.withdraw_cancellation_request(order.order_id)
        for _ in range(3):
            pipeline.run_until_idle()
        assert pipeline.failed_runs == []
        assert kept_ids(database) == set()
        asked = one(database, "select count(*) from audit.entries where action = 'amazon_restricted_call'")
        assert asked == asked_before
        assert waiting.order_id not in sandbox.warehouse.orders
