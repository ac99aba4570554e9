"""What the flow does costs the same however many orders there ever were: no statement reads a table that grows.

The store holds what a shop has after a year and a half, and every statement is looked at as PostgreSQL executes it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from bench.filled_store import fill
from orders_pipeline.alert_settings import AlertSettings
from orders_pipeline.alerts.kinds import NOBODY
from orders_pipeline.alerts.reconcile import evaluate
from orders_pipeline.database.embedded import EmbeddedPostgres
from orders_pipeline.database.engine import Database
from orders_pipeline.intake.search_windows import given_up_searches
from orders_pipeline.intake.sweep import sweep_orders
from orders_pipeline.operations.alerting.deliver import tell_people
from orders_pipeline.operations.alerting.digest import make_digest
from orders_pipeline.operations.alerting.words import Places
from orders_pipeline.operations.alerts import ALERTS
from orders_pipeline.operations.board import ACTIONS_OF_THE_LAST_DAY, BOARD_REPORTS, FBA_REPORTS, board_numbers
from orders_pipeline.operations.deployment import Deployment, ServedAccount
from orders_pipeline.operations.metrics.scrape import GROUPS, Scraper
from orders_pipeline.operations.overdue import watch_scheduled_work
from orders_pipeline.operations.parked_work import parked_work
from orders_pipeline.operations.pending_work import pending_work
from orders_pipeline.operations.promises import PROMISES, count_for
from orders_pipeline.operations.retention import accounts_owed_erasures, plan, retain, watch_roles
from orders_pipeline.orders.ownership import note_start
from orders_pipeline.orders.rows import orders_of_the_last_day
from orders_pipeline.privacy.checks.checks import (
    audit_log_is_retained,
    erased_within_the_day,
    every_reading_is_audited,
    nothing_past_its_time,
)
from orders_pipeline.settings import load_settings
from orders_pipeline.work.progress import silent
from orders_pipeline_tests.conftest import MARKETPLACE, SELLER
from orders_pipeline_tests.copied_database import copied_database
from orders_pipeline_tests.statement_plans import watched
from orders_pipeline_tests.world import World, open_world

# Enough that the planner takes an index where there is one. A quarter of a year, so that what is kept of buyers for two
# weeks fills some pages too.
ORDERS, DAYS = 10_000, 90
# They have a row, or several, for each order, each change or each hour that ever was.
GROWING = {
    "orders", "order_items", "order_events", "fulfillment_orders", "wms_orders", "wms_shipments",
    "shipment_confirmations", "entries", "seals", "records", "data_keys", "alerts", "jobs", "search_windows",
}  # fmt: skip
_COUNTS = "hourly, for people: it counts all that there is"
_NIGHTLY = "nightly, and looks at all that is kept"
_FIRST_ROW = "it stops at the first row"
# What may, and why: it ships nothing, and nothing that ships waits for it.
READS_ALL = {
    "operations.board.board_rows": _COUNTS,
    "orders.rows.count_by_status": _COUNTS,
    "fulfillment.rows.queue_by_state": _COUNTS,
    "fulfillment.rows.answers_by_kind": _COUNTS,
    "shipments.event_rows.shipments_by_kind": _COUNTS,
    "shipments.rows.packages_by_state": _COUNTS,
    "intake.search_windows.finish_given_up": "hourly, and only where a search was given up: among a row for each hour",
    "database.clocks.count_future_times": _NIGHTLY,
    "database.clocks.mend_future_times": _NIGHTLY,
    "privacy.retention.purge.count_old": _NIGHTLY,
    "privacy.retention.purge.purge_orders": _NIGHTLY,
    "privacy.retention.purge.purge_by_age": _NIGHTLY,
    "privacy.retention.rows.other_records_due": _NIGHTLY,
    "privacy.retention.rows.count_other_records_due": _NIGHTLY,
    "privacy.retention.delivery_rows.undelivered_without_job": _NIGHTLY,
    "privacy.checks.rows._page": _NIGHTLY,
    "orders.rows.orders_of_the_last_day": _NIGHTLY,
    "operations.alerting.digest._changed": "once a day, with the digest, within a time",
    "operations.alerting.digest.make_digest": "once a day, with the digest, within a time",
    "orders.erasures.finish_erasures": "nightly, and only where an erasure is open",
    "privacy.checks.rows.audit_keeping": _FIRST_ROW,
    "vault.key_rows.holds_wrapped_keys": _FIRST_ROW,
}


# What waits may be much as well: of these nothing is due for hours.
_PEAK = text("""
    insert into pipeline.jobs (account_id, queue, subject, due_at)
    select account_id, queue, order_id, clock_timestamp() + interval '20 hours' from pipeline.orders
    cross join unnest(array['fetch', 'decide', 'push', 'verify']) queue where account_id = :account_id limit 8000
""")


@pytest.fixture(scope="module")
def filled_url(postgres: EmbeddedPostgres, postgres_admin: Engine) -> Iterator[str]:
    with copied_database(postgres, postgres_admin, "template") as url:
        filled = Database(url)
        fill(filled, account_id=SELLER, orders=ORDERS, days=DAYS)
        with filled.begin() as connection:
            connection.execute(_PEAK, {"account_id": SELLER})
            connection.execute(text("analyze pipeline.jobs"))
        filled.close()
        yield url


@pytest.fixture
def filled(filled_url: str) -> Iterator[Database]:
    opened = Database(filled_url)
    yield opened
    opened.close()


def test_no_step_of_the_flow_and_no_sensor_reads_a_table_that_grows(filled: Database, tmp_path: Path):
    world = open_world(filled, tmp_path)
    with watched(filled.engine) as statements:
        _sensors(world)
        _orders_live(world)
        _sensors(world)
    assert {one.caller.split(".")[0] for one in statements.executed} > {"intake", "fulfillment", "shipments", "alerts"}
    far = statements.far_reads(GROWING)
    assert {caller: how for caller, how in far.items() if caller not in READS_ALL} == {}


def test_a_scrape_of_the_metrics_reads_no_table_that_grows(
    filled_url: str, dagster_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Each statement in the transaction, with the role, and upon the rows of the scrape itself."""
    monkeypatch.setenv("DAGSTER_POSTGRES_URL", dagster_url)
    scraper = Scraper(_account(filled_url, tmp_path, monkeypatch).deployment.settings)
    with watched(scraper._opened("orders").engine) as statements:  # pyright: ignore[reportPrivateUsage]
        read = {sample.labels: sample.value for sample in scraper.read() if sample.family.name.endswith("group_read")}
    scraper.close()
    assert read == {(group.name,): 1 for group in GROUPS}
    assert {one.caller.split(".")[2] for one in statements.executed} > {"orders", "work", "alerts"}
    assert statements.far_reads(GROWING) == {}


def test_only_named_reports_read_whole_tables(filled_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    account = _account(filled_url, tmp_path, monkeypatch)
    with watched(account.database.engine) as statements:
        _hourly(account)
        _nightly(account)
    far = statements.far_reads(GROWING)
    assert {caller: how for caller, how in far.items() if caller not in READS_ALL} == {}
    hourly = {caller for caller, why in READS_ALL.items() if why == _COUNTS}
    assert hourly <= far.keys(), "what does not read whole tables any more needs no leave to"


def _orders_live(world: World) -> None:
    """Orders are pushed, changed, cancelled, shipped, confirmed and verified, and searched for."""
    ordered = [world.order() for _ in range(3)]
    cancelled, reduced = world.order(), world.order(quantities=(2, 1))
    world.sync()
    world.amazon.change_status(cancelled, "CANCELLED")
    world.fewer_pieces(reduced, 1)
    world.sync()
    for order_id in ordered:
        world.ship(order_id)
    world.poll()
    world.confirm()
    due = "update pipeline.jobs set due_at = clock_timestamp() where queue = 'verify' and subject = any(:ordered)"
    world.sql(due, ordered=ordered)
    world.verify()
    world.hear()
    world.sync()
    assert {world.status(order_id) for order_id in ordered} == {"SHIPPED"}
    assert [world.state(order_id) for order_id in (*ordered, cancelled)] == [*["closed"] * 3, "cancelled"]
    sweep_orders(world.ports, world.database, account_id=SELLER, marketplace_ids=(MARKETPLACE,))


def _sensors(world: World) -> None:
    """What sensors do beside the queue and the warehouse, every few seconds."""
    with world.database.transaction(SELLER) as tx:
        note_start(tx, None)
        pending_work(tx)
        watch_scheduled_work(tx)
    for who in (NOBODY, SELLER):
        assert evaluate(world.database, who, ALERTS).failed == {}
    tell_people(world.database, AlertSettings(), ALERTS, all_is_well=True)


def _hourly(account: ServedAccount) -> None:
    board_numbers(account)
    for report in (*BOARD_REPORTS, *FBA_REPORTS):
        report.read(account)
    for promise in PROMISES:
        count_for(promise)(account)
    with account.transaction() as tx:
        given_up_searches(tx)
        parked_work(tx)


def _nightly(account: ServedAccount) -> None:
    watch_roles(account.deployment)
    ACTIONS_OF_THE_LAST_DAY.read(account)
    account.deployment.stored_accounts()
    accounts_owed_erasures(account.deployment)
    plan(account)
    retain(account, silent)
    for check in (nothing_past_its_time, erased_within_the_day, every_reading_is_audited):
        check(account.database, account_id=SELLER)
    audit_log_is_retained(account.database)
    make_digest(account.database, [], {}, Places(), account.database.now().date())
    with account.database.begin() as connection:
        orders_of_the_last_day(connection)


def _account(database_url: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> ServedAccount:
    """As a deployment opens it. Nobody answers for Amazon or the warehouse, and no report asks them."""
    nobody = "http://127.0.0.1:9"
    for name, value in {
        "ORDERS_DATABASE_URL": database_url,
        "ORDERS_DATA_DIR": str(folder),
        "AMAZON_LWA_CLIENT_ID": "client",
        "AMAZON_LWA_CLIENT_SECRET": "secret",
        "AMAZON_LWA_REFRESH_TOKEN": "token",
        "AMAZON_SELLER_ID": SELLER,
        "AMAZON_MARKETPLACE_ID": MARKETPLACE,
        "AMAZON_SQS_QUEUE_URL": "https://sqs.us-east-1.amazonaws.com/000000000000/orders",
        "AMAZON_SPAPI_ENDPOINT": nobody,
        "AMAZON_LWA_ENDPOINT": nobody,
        "WMS_BASE_URL": nobody,
        "WMS_TOKEN": "token",
    }.items():
        monkeypatch.setenv(name, value)
    return Deployment(load_settings()).account()
