"""What must go goes, here and at the warehouse, whatever fails on the way; and all of it is accounted for."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, text

from orders_pipeline.alerts.kinds import NOBODY
from orders_pipeline.alerts.reconcile import evaluate
from orders_pipeline.audit.log import AuditLog
from orders_pipeline.database.engine import AccountTransaction, Database
from orders_pipeline.fulfillment.rows import begin_push
from orders_pipeline.orders.erasures import insert_erasure
from orders_pipeline.privacy.alerts import ALERTS
from orders_pipeline.privacy.checks.checks import nothing_past_its_time
from orders_pipeline.privacy.erasure import rows as queries
from orders_pipeline.privacy.retention.retained import sellers_with_data
from orders_pipeline.privacy.rules import Rule
from orders_pipeline.privacy.shred_expired import apply_retention, plan_retention
from orders_pipeline.vault.access import Vault
from orders_pipeline.vault.alerts import SHREDS_PENDING
from orders_pipeline.vault.errors import KeyCannotRotate
from orders_pipeline.vault.providers.keyring import LocalKeyring
from orders_pipeline.wms.port import WarehouseForbidden, WarehouseRefused, WarehouseUnauthorized, WarehouseUnavailable
from orders_pipeline.work.jobs import WAREHOUSE_ERASURES, Queue, dependencies_of, package_subject
from orders_pipeline.work.pauses import Gate, gate, paused
from orders_pipeline.work.queue import enqueue
from orders_pipeline_tests.conftest import SELLER
from orders_pipeline_tests.privacy.conftest import PutOrder, WarehouseInMemory, kept_ids

# A test does not wait for a back-off.
DUE_NOW = "update pipeline.jobs set due_at = clock_timestamp()"


def run(database: Database, vault: Vault, warehouse: WarehouseInMemory | None, **arguments: Any):
    return apply_retention(database, vault, warehouse, account_id=SELLER, **arguments)


def one(database: Database, statement: str, **values: Any) -> Any:
    with database.begin() as connection:
        return connection.execute(text(statement), values).scalar()


def sql(database: Database, statement: str) -> None:
    with database.begin() as connection:
        connection.execute(text(statement))


def open_alerts_of(database: Database) -> list[str]:
    evaluate(database, SELLER, ALERTS)
    with database.begin() as connection:
        statement = text("select key from pipeline.alerts where closed_at is null order by key")
        return list(connection.execute(statement).scalars())


def a_day_of_orders(put_order: PutOrder) -> None:
    """One order for each rule, and one beside it that stays."""
    put_order("01-cancelled", status="CANCELLED", queue="cancelled", deliver_by=-3)
    put_order("02-afn", fulfilled_by="AMAZON", queue=None, deliver_by=-3)
    put_order("03-read-back", status="SHIPPED", queue="closed", package="confirmed", left=12, deliver_by=8, sent=True)
    put_order("04-not-yet", status="SHIPPED", queue="closed", package="confirmed", left=6, deliver_by=5, sent=True)
    put_order("05-unconfirmed", status="SHIPPED", queue="closed", package="accepted", left=12, deliver_by=8, sent=True)
    put_order(
        "06-limit", status="SHIPPED", queue="closed", package="held", bought=40, left=29, deliver_by=20, sent=True
    )
    put_order("07-never-pushed", queue="refused", deliver_by=1)
    put_order("08-to-push", queue="queued", deliver_by=-1)
    put_order("09-held", queue="held", bought=20, deliver_by=10)
    put_order("10-held-too-long", queue="held", bought=40, deliver_by=29)
    put_order("11-warehouse-only", status="CANCELLED", queue="cancelled", sent=True, retained=False)


def test_each_order_goes_by_its_rule_and_the_others_stay(
    database: Database, vault: Vault, warehouse: WarehouseInMemory, put_order: PutOrder
):
    a_day_of_orders(put_order)
    planned = plan_retention(database, account_id=SELLER)
    totals = run(database, vault, warehouse)
    assert kept_ids(database) == {"04-not-yet", "05-unconfirmed", "08-to-push", "09-held"}
    assert totals.shredded == Counter(
        {
            Rule.CANCELLED: 1,
            Rule.NOT_OURS_TO_SHIP: 1,
            Rule.VERIFIED: 1,
            Rule.HARD_LIMIT: 1,
            Rule.NEVER_PUSHED: 1,
            Rule.HELD: 1,
        }
    )
    assert sorted(warehouse.erased) == ["03-read-back", "06-limit", "11-warehouse-only"]
    # The dry run had said exactly this.
    assert {
        rule: count for (what, rule), count in planned.counts.items() if what == "shipping_details"
    } == totals.shredded
    assert planned.counts["warehouse copy", Rule.CANCELLED] == 1
    # Whoever could still be shipped is seen to wait for an address.
    assert one(database, "select has_address from pipeline.orders where order_id = '07-never-pushed'") is False
    assert one(database, "select has_address from pipeline.orders where order_id = '08-to-push'") is True
    assert totals.shreds_pending == 0
    assert totals.shreds_completed == 6
    outcome = nothing_past_its_time(database, account_id=SELLER)
    assert (outcome.passed, outcome.numbers["retained_in_vault"], outcome.numbers["retained_at_warehouse"]) == (
        True,
        4,
        2,
    )
    # Again: nothing is left to do.
    again = run(database, vault, warehouse)
    assert sum(again.shredded.values()) == again.warehouse_asked == again.shreds_completed == 0


def test_the_dry_run_changes_nothing_and_looks_ahead(database: Database, put_order: PutOrder):
    put_order("08-to-push", queue="queued", deliver_by=-1)
    assert plan_retention(database, account_id=SELLER).counts == {}
    ahead = plan_retention(database, account_id=SELLER, at=database.now() + timedelta(days=2))
    assert [(row.subject, row.rule) for row in ahead.rows] == [("08-to-push", Rule.NEVER_PUSHED)]
    assert kept_ids(database) == {"08-to-push"}


def test_every_shred_is_in_the_audit_log_with_its_rule_and_nothing_of_the_buyer(
    database: Database, vault: Vault, audit: AuditLog, warehouse: WarehouseInMemory, put_order: PutOrder
):
    put_order("03-read-back", status="SHIPPED", queue="closed", package="confirmed", left=12, deliver_by=8, sent=True)
    run(database, vault, warehouse)
    with database.begin() as connection:
        rows = connection.execute(
            text("select action, outcome, purpose from audit.entries where order_id is not null order by entry_id")
        ).all()
    assert [(row.action, row.outcome) for row in rows[2:]] == [("shred", "done"), ("warehouse_erase", "done")]
    assert rows[2].purpose.startswith("verified: ")
    assert audit.verify().ok


def test_one_order_that_fails_stops_nobody(
    database: Database, vault: Vault, warehouse: WarehouseInMemory, put_order: PutOrder
):
    for number in range(4):
        put_order(f"c-{number}", status="CANCELLED", queue="cancelled")
    with database.begin() as locker:
        locker.execute(text("select 1 from vault.records where subject_id = 'c-1' for update"))
        impatient = _ImpatientDatabase(database)
        totals = run(impatient, Vault(impatient, vault.keys, AuditLog(impatient)), warehouse)
        assert (sum(totals.shredded.values()), totals.failed) == (3, 1)
        assert kept_ids(database) == {"c-1"}
    assert sum(run(database, vault, warehouse).shredded.values()) == 1


class _ImpatientDatabase(Database):
    """The same database, for a test that does not wait ten seconds for a lock."""

    def __init__(self, database: Database) -> None:
        super().__init__(database.engine.url.render_as_string(hide_password=False))

    @contextmanager
    def transaction(self, account_id: str) -> Generator[AccountTransaction]:
        with super().transaction(account_id) as tx:
            tx.execute(text("set local lock_timeout = '200ms'"))
            yield tx

    @contextmanager
    def begin(self) -> Generator[Connection]:
        with super().begin() as connection:
            connection.execute(text("set local lock_timeout = '200ms'"))
            yield connection


def test_a_failing_warehouse_is_asked_until_it_has_erased(
    database: Database, vault: Vault, warehouse: WarehouseInMemory, put_order: PutOrder
):
    for order_id in ("w-1", "w-2"):
        put_order(order_id, status="CANCELLED", queue="cancelled", sent=True)
    warehouse.answers["w-1"] = WarehouseUnavailable("The warehouse answered 503 to erase_pii.", status=503)
    totals = run(database, vault, warehouse)
    assert (totals.warehouse_erased, totals.warehouse_failed, totals.warehouse_waiting) == (1, 1, 1)
    assert kept_ids(database) == set()
    # Not before its back-off, whatever else is run meanwhile.
    assert run(database, vault, warehouse).warehouse_failed == 0
    assert open_alerts_of(database) == []
    with database.begin() as connection:
        connection.execute(
            text("update pipeline.wms_orders set erase_requested_at = erase_requested_at - interval '3 hours'")
        )
        connection.execute(text(DUE_NOW))
    run(database, vault, warehouse, complete_shreds=False)
    assert open_alerts_of(database) == ["erase.failed:w-1"]
    with database.begin() as connection:
        connection.execute(
            text("update pipeline.wms_orders set erase_requested_at = erase_requested_at - interval '2 days'")
        )
    outcome = nothing_past_its_time(database, account_id=SELLER)
    assert (outcome.passed, outcome.numbers["warehouse_waiting_over_a_day"]) == (False, 1)
    del warehouse.answers["w-1"]
    with database.begin() as connection:
        connection.execute(text(DUE_NOW))
    assert run(database, vault, warehouse).warehouse_erased == 1
    assert nothing_past_its_time(database, account_id=SELLER).passed
    assert open_alerts_of(database) == []


@pytest.mark.parametrize("refusal", [WarehouseUnauthorized, WarehouseForbidden])
def test_a_wrong_token_stops_asking_the_warehouse_but_not_the_shredding(
    database: Database,
    vault: Vault,
    warehouse: WarehouseInMemory,
    put_order: PutOrder,
    refusal: type[WarehouseUnauthorized | WarehouseForbidden],
):
    for number in range(30):
        put_order(f"w-{number}", status="CANCELLED", queue="cancelled", sent=True)
        warehouse.answers[f"w-{number}"] = refusal("The warehouse refused our token.")
    totals = run(database, vault, warehouse)
    assert sum(totals.shredded.values()) == 30
    assert totals.warehouse_waiting == 30
    asked = one(database, "select count(*) from audit.entries where action = 'warehouse_erase'")
    assert 2 <= asked <= 8, "two orders show that it refuses all; what was under way ends"
    with database.transaction(SELLER) as tx:
        (pause,) = paused(tx)
        assert gate(tx, dependencies_of(Queue.PUSH)) is Gate.OPEN, "what erases holds up nothing that ships"
    assert pause.dependency == WAREHOUSE_ERASURES
    warehouse.answers.clear()
    sql(database, "update pipeline.paused_dependencies set until = clock_timestamp()")
    sql(database, DUE_NOW)
    assert run(database, vault, warehouse).warehouse_waiting == 0


@pytest.mark.parametrize("answer", [False, TypeError("odd"), WarehouseRefused("no", status=422, code="unknown_field")])
def test_an_erasure_is_never_parked_and_is_red_and_an_alert_while_it_is_owed(
    database: Database, vault: Vault, warehouse: WarehouseInMemory, put_order: PutOrder, answer: Exception | bool
):
    put_order("w-1", status="CANCELLED", queue="cancelled", sent=True)
    warehouse.answers["w-1"] = answer
    for _ in range(8):
        run(database, vault, warehouse)
        sql(database, DUE_NOW)
    assert one(database, "select attempts from pipeline.jobs where queue = 'erase' and parked_at is null") == 8
    sql(database, "update pipeline.wms_orders set erase_requested_at = erase_requested_at - interval '2 days'")
    # Even if its job is parked, as one that kills its workers is, or lost: the next run takes it up.
    for lost in ("update pipeline.jobs set parked_at = clock_timestamp()", "delete from pipeline.jobs"):
        sql(database, lost)
        assert open_alerts_of(database) == ["erase.failed:w-1"]
        assert not nothing_past_its_time(database, account_id=SELLER).passed
        run(database, vault, None)
        assert one(database, "select count(*) from pipeline.jobs where queue = 'erase' and parked_at is null") == 1
    del warehouse.answers["w-1"]
    run(database, vault, warehouse)
    assert open_alerts_of(database) == []
    assert nothing_past_its_time(database, account_id=SELLER).passed


def test_a_run_killed_between_any_two_statements_is_gone_on_with(
    database: Database, vault: Vault, warehouse: WarehouseInMemory, put_order: PutOrder, monkeypatch: pytest.MonkeyPatch
):
    for number in range(3):
        put_order(f"c-{number}", status="CANCELLED", queue="cancelled", sent=True)
    # Dies when the warehouse is told, after its own shred was committed; then while shredding; then not at all.
    steps = itertools.count()

    class Killed(BaseException):
        pass

    original = queries.ask_warehouse_to_erase

    def dies_once(tx: AccountTransaction, order_ids: Any) -> int:
        asked = original(tx, order_ids)
        if next(steps) == 0:
            raise Killed
        return asked

    monkeypatch.setattr("orders_pipeline.privacy.erasure.shredding.ask_warehouse_to_erase", dies_once)
    with pytest.raises(Killed):
        run(database, vault, warehouse)
    # All of the transaction, or nothing: neither is anything shredded that the warehouse would not be told of.
    assert kept_ids(database) == {"c-0", "c-1", "c-2"}
    assert one(database, "select count(*) from pipeline.jobs where queue = 'erase'") == 0
    run(database, vault, None)
    assert kept_ids(database) == set()
    assert warehouse.erased == []
    totals = run(database, vault, warehouse)
    assert sorted(warehouse.erased) == ["c-0", "c-1", "c-2"]
    assert totals.warehouse_waiting == 0


def test_an_order_sent_again_after_its_erasure_is_erased_again(
    database: Database, vault: Vault, warehouse: WarehouseInMemory, put_order: PutOrder
):
    put_order("w-1", status="CANCELLED", queue="cancelled", sent=True)
    run(database, vault, warehouse)
    with database.transaction(SELLER) as tx:
        begin_push(tx, order_id="w-1", content_hash="x")
    assert nothing_past_its_time(database, account_id=SELLER).numbers["retained_at_warehouse"] == 1
    run(database, vault, warehouse)
    assert warehouse.erased == ["w-1", "w-1"]


def test_parked_messages_go_when_their_time_is_up_or_they_were_used(
    database: Database, vault: Vault, warehouse: WarehouseInMemory
):
    with database.transaction(SELLER) as tx:
        for number, (days, used) in enumerate([(-1, False), (3, False), (3, True)]):
            parked_id = f"00000000-0000-0000-0000-00000000000{number}"
            tx.execute(
                text(
                    "insert into pipeline.parked_messages (parked_id, account_id, message_id, reason, body_bytes, "
                    "replayed_at) values (:id, :seller, :id, 'x', 1, case when :used then clock_timestamp() end)"
                ),
                {"id": parked_id, "seller": SELLER, "used": used},
            )
            vault.store(
                tx, kind="parked_message", subject_id=parked_id, plaintext=b"x",
                expires_at=database.now() + timedelta(days=days))  # fmt: skip
    assert run(database, vault, warehouse).shredded == Counter({Rule.PARKED_MESSAGE: 2})
    assert one(database, "select count(*) from vault.records where kind = 'parked_message'") == 1


def test_an_order_is_purged_after_eighteen_months_and_after_its_pii(
    database: Database, vault: Vault, warehouse: WarehouseInMemory, put_order: PutOrder
):
    put_order("old", status="SHIPPED", queue="closed", bought=600, left=590, deliver_by=590, package="confirmed",
              sent=True, retained=False)  # fmt: skip
    put_order(
        "old-at-warehouse", status="SHIPPED", queue="closed", bought=600, deliver_by=590, sent=True, retained=False
    )
    put_order("young", status="SHIPPED", queue="closed", bought=500, deliver_by=490, retained=False)
    warehouse.answers["old-at-warehouse"] = WarehouseUnavailable("away")
    with database.transaction(SELLER) as tx:
        for queue in set(Queue) - {Queue.ERASE}:
            enqueue(tx, queue, ["old"])
        enqueue(tx, Queue.CONFIRM, [package_subject("old", "1")])
        enqueue(tx, Queue.FETCH, ["older"])
    totals = run(database, vault, warehouse)
    assert totals.purged["orders"] == 1
    # Their work goes with them, of every queue; another order's stays.
    jobs = "select string_agg(queue || ' ' || subject, ', ' order by queue, subject) from pipeline.jobs"
    assert one(database, jobs) == "erase old-at-warehouse, fetch older"
    with database.begin() as connection:
        for table in ("orders", "fulfillment_orders", "wms_orders", "shipment_confirmations"):
            ids = connection.execute(text(f"select order_id from pipeline.{table}")).scalars().all()
            assert "old" not in ids
    assert one(database, "select string_agg(order_id, ',' order by order_id) from pipeline.orders") == (
        "old-at-warehouse,young"
    )
    assert one(database, "select detail->>'orders' from audit.entries where action = 'purge'") == "1"


def test_a_deadline_ends_a_run_and_the_next_goes_on(
    database: Database, vault: Vault, warehouse: WarehouseInMemory, put_order: PutOrder
):
    put_order("c-0", status="CANCELLED", queue="cancelled", sent=True)
    assert run(database, vault, warehouse, deadline_seconds=-1).unfinished
    assert not run(database, vault, warehouse).unfinished
    assert kept_ids(database) == set()


@pytest.mark.parametrize(
    ("left", "reported", "goes"),
    [
        # The warehouse's clock is years ahead: what it says is not believed, and nothing is kept for ever.
        (-10_000, 40, True),
        (-10_000, 3, False),
        # It says 1970, of an order that was bought the other day.
        (20_000, 3, False),
        # It says nothing at all.
        (None, 40, True),
        (None, 3, False),
    ],
)
def test_the_warehouses_clock_is_believed_between_the_purchase_and_its_report_only(
    database: Database,
    vault: Vault,
    warehouse: WarehouseInMemory,
    put_order: PutOrder,
    left: float | None,
    reported: int,
    goes: bool,
):
    put_order(
        "p", status="SHIPPED", queue="closed", package="held", bought=reported + 1, left=left, deliver_by=-5, sent=True
    )
    with database.begin() as connection:
        connection.execute(
            text(
                "update pipeline.shipment_confirmations set reported_at = clock_timestamp() - make_interval(days => :d)"
            ),
            {"d": reported},
        )
    run(database, vault, warehouse)
    assert (kept_ids(database) == set()) is goes
    assert (warehouse.erased == ["p"]) is goes
    assert nothing_past_its_time(database, account_id=SELLER).passed


def test_a_partly_shipped_order_keeps_its_address_at_the_warehouse(
    database: Database, vault: Vault, warehouse: WarehouseInMemory, put_order: PutOrder
):
    put_order("p", status="PARTIALLY_SHIPPED", queue="accepted", package="confirmed", bought=30, left=28.5,
              deliver_by=-10, sent=True)  # fmt: skip
    run(database, vault, warehouse)
    assert warehouse.erased == []


def test_a_package_that_amazon_was_told_of_and_that_will_not_travel_is_still_open(
    database: Database, vault: Vault, warehouse: WarehouseInMemory, put_order: PutOrder
):
    put_order(
        "v",
        status="SHIPPED",
        queue="closed",
        package="awaits_replacement",
        bought=15,
        left=12,
        deliver_by=7.5,
        sent=True,
    )
    run(database, vault, warehouse)
    assert warehouse.erased == []
    assert kept_ids(database) == {"v"}


def test_the_dry_run_says_what_the_run_then_does(
    database: Database, vault: Vault, warehouse: WarehouseInMemory, put_order: PutOrder
):
    # Old, and its details go in the same run; old, without details; young, of a seller who left.
    put_order("old-1", status="SHIPPED", queue="closed", bought=600, deliver_by=590)
    put_order("old-2", status="SHIPPED", queue="closed", bought=600, deliver_by=590, retained=False)
    put_order("left-1", status="SHIPPED", queue="closed", bought=20, deliver_by=15, retained=False)
    with database.transaction(SELLER) as tx:
        insert_erasure(tx, None, everything=True)
        tx.execute(text("update pipeline.erasures set shredded_at = clock_timestamp()"))
        # More than one batch of parked messages.
        tx.execute(
            text(
                "insert into pipeline.parked_messages (parked_id, account_id, message_id, reason, body_bytes) "
                "select gen_random_uuid(), :seller, n::text, 'x', 1 from generate_series(1, 6000) n"
            ),
            {"seller": SELLER},
        )
        tx.execute(
            text(
                "insert into vault.records (account_id, kind, subject_id, key_reference, aad_version, nonce, "
                "ciphertext, expires_at) "
                "select account_id, 'parked_message', parked_id::text, gen_random_uuid(), 1, '', '', "
                "now() - interval '1 day' from pipeline.parked_messages"
            )
        )
    planned = plan_retention(database, account_id=SELLER)
    totals = run(database, vault, warehouse, complete_shreds=False)
    assert planned.counts["orders", Rule.NON_PII] == totals.purged["orders"] == 3
    assert planned.counts["parked_message", Rule.PARKED_MESSAGE] == totals.shredded[Rule.PARKED_MESSAGE] == 6000


def test_a_key_that_cannot_be_rotated_does_not_stop_the_shredding(
    database: Database, vault: Vault, warehouse: WarehouseInMemory, put_order: PutOrder, monkeypatch: pytest.MonkeyPatch
):
    def refuses(self: LocalKeyring) -> str:
        raise KeyCannotRotate("make an alias for it")

    put_order("c-1", status="CANCELLED", queue="cancelled", sent=True)
    monkeypatch.setattr(LocalKeyring, "add_key", refuses)
    totals = run(database, vault, warehouse)
    assert (sum(totals.shredded.values()), totals.shreds_completed, totals.shreds_pending) == (1, 0, 1)
    assert warehouse.erased == ["c-1"]
    told = "select message from pipeline.alerts where key = 'shreds.pending' and closed_at is null"
    evaluate(database, NOBODY, [SHREDS_PENDING])
    assert "make an alias" in one(database, told)
    monkeypatch.undo()
    assert run(database, vault, warehouse).shreds_completed == 1
    evaluate(database, NOBODY, [SHREDS_PENDING])
    assert one(database, told) is None


def test_what_a_former_seller_left_is_seen_by_the_check_and_goes_by_the_same_clock(
    database: Database, vault: Vault, warehouse: WarehouseInMemory, put_order: PutOrder
):
    put_order("f", status="CANCELLED", queue=None, stored=60)
    with database.begin() as connection:
        for table in ("vault.records", "pipeline.orders"):
            connection.execute(text(f"update {table} set account_id = 'AFORMERSELLER' where account_id = '{SELLER}'"))
    outcome = nothing_past_its_time(database, account_id=SELLER)
    assert (outcome.passed, outcome.numbers["late"]) == (False, 1)
    assert sellers_with_data(database, SELLER) == [SELLER, "AFORMERSELLER"]
    for seller in sellers_with_data(database, SELLER):
        apply_retention(database, vault, warehouse, account_id=seller)
    assert nothing_past_its_time(database, account_id=SELLER).passed
    assert kept_ids(database) == set()


def test_a_parked_message_past_its_time_is_seen_by_the_check(database: Database, vault: Vault):
    with database.transaction(SELLER) as tx:
        vault.store(
            tx, kind="parked_message", subject_id="00000000-0000-0000-0000-000000000001",
            plaintext=b"48104", expires_at=database.now() - timedelta(days=2))  # fmt: skip
    outcome = nothing_past_its_time(database, account_id=SELLER)
    assert (outcome.passed, outcome.numbers["late_parked_message"]) == (False, 1)
