"""What is away holds up only what needs it, is one alert, and is forgotten when it is back: through the sensors."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy import text

from orders_pipeline.alerts.reconcile import evaluate
from orders_pipeline.alerts.rows import open_alerts
from orders_pipeline.audit.log import AuditLog
from orders_pipeline.database.engine import AnyRow, Database
from orders_pipeline.intake.alerts import QUEUE_UNAVAILABLE
from orders_pipeline.sandbox.amazon.state import AmazonOptions
from orders_pipeline.sandbox.sandbox import WAREHOUSE_TOKEN, Sandbox
from orders_pipeline.sandbox.warehouse.floor import FloorOptions
from orders_pipeline.shipments.alerts import ALERTS as PACKAGE_ALERTS
from orders_pipeline.shipments.poll import poll_shipments
from orders_pipeline.vault.access import Vault
from orders_pipeline.vault.alerts import ALERTS as KEYS_ALERTS
from orders_pipeline.vault.errors import KeyProviderUnavailable
from orders_pipeline.vault.providers.keyring import LocalKeyring
from orders_pipeline.wms.rest.adapter import RestWarehouse
from orders_pipeline_tests.due import make_jobs_due
from orders_pipeline_tests.hostile_server import HostileServer, answer
from orders_pipeline_tests.pipeline import Pipeline, pipeline_for

# Nobody listens there.
CLOSED = "http://127.0.0.1:9"
DRAIN, POLL = "drain_notifications_sensor", "poll_warehouse_sensor"
EXPIRED = answer(
    b'{"__type": "com.amazonaws.sqs#ExpiredToken", "message": "The security token is expired"}',
    "403 Forbidden",
    Content_Type="application/x-amz-json-1.0",
)


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    options = AmazonOptions(listing_delay_seconds=0)
    with Sandbox(time_scale=1000, amazon=options, floor=FloorOptions(automatic=False)) as running:
        yield running


@pytest.fixture
def pipeline(
    sandbox: Sandbox, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Pipeline]:
    with pipeline_for(sandbox, database_url, tmp_path, monkeypatch) as running:
        yield running


def alerts(database: Database, sandbox: Sandbox) -> dict[str, AnyRow]:
    assert evaluate(database, sandbox.seller_id, PACKAGE_ALERTS).failed == {}
    evaluate(database, sandbox.seller_id, (*KEYS_ALERTS, QUEUE_UNAVAILABLE))
    with database.transaction(sandbox.seller_id) as tx:
        return {row.key: row for row in open_alerts(tx)}


def due_now(database: Database) -> None:
    with database.begin() as connection:
        make_jobs_due(connection)


def accepted_order(sandbox: Sandbox, pipeline: Pipeline) -> str:
    order_id = sandbox.add_order(status="UNSHIPPED").order_id
    pipeline.tick(DRAIN)
    assert sandbox.warehouse.orders[order_id].status == "accepted"
    return order_id


def listed_by_now(sandbox: Sandbox, order_id: str) -> None:
    sandbox.amazon.orders[order_id].last_updated -= timedelta(minutes=30)


@pytest.mark.parametrize("trouble", ["away", "credentials"])
def test_without_sqs_what_a_sweep_found_is_pushed_and_packages_are_confirmed(
    sandbox: Sandbox, pipeline: Pipeline, database: Database, monkeypatch: pytest.MonkeyPatch, trouble: str
):
    shipped = accepted_order(sandbox, pipeline)
    sandbox.floor.ship_now(shipped)
    lost = sandbox.add_order(status="UNSHIPPED", notify=False).order_id
    listed_by_now(sandbox, lost)
    with HostileServer.answering(EXPIRED) as refusing, monkeypatch.context() as away:
        away.setenv("AWS_ENDPOINT_URL_SQS", refusing.url if trouble == "credentials" else CLOSED)
        # Other settings: a deployment of its own, with clients of its own.
        away.setenv("ORDERS_START_AT", "2020-01-01T00:00:00Z")
        assert pipeline.run("sweep_orders")
        for _ in range(3):
            pipeline.tick(DRAIN)
        assert sandbox.warehouse.orders[lost].status == "accepted"
        pipeline.tick(POLL)
        assert len(sandbox.amazon.orders[shipped].packages) == 1
        told = alerts(database, sandbox)
        assert told.keys() == {"queue.unavailable"}
        if trouble == "credentials":
            assert "Renew the AWS credentials" in told["queue.unavailable"].message
        later = sandbox.add_order(status="UNSHIPPED").order_id
    pipeline.tick(DRAIN)
    assert sandbox.warehouse.orders[later].status == "accepted"
    assert alerts(database, sandbox) == {}
    assert pipeline.failed_runs == []


def test_without_the_warehouse_known_packages_are_still_confirmed(
    sandbox: Sandbox, pipeline: Pipeline, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    order_id = accepted_order(sandbox, pipeline)
    sandbox.floor.ship_now(order_id)
    warehouse = RestWarehouse(sandbox.warehouse_url, SecretStr(WAREHOUSE_TOKEN))
    vault = Vault(database, LocalKeyring(tmp_path / "keyring.json"), AuditLog(database))
    poll_shipments(warehouse, database, vault, account_id=sandbox.seller_id)
    warehouse.close()
    with monkeypatch.context() as away:
        away.setenv("WMS_BASE_URL", CLOSED)
        other = sandbox.add_order(status="UNSHIPPED").order_id
        for _ in range(2):
            pipeline.tick(POLL)
            pipeline.tick(DRAIN)
        assert len(sandbox.amazon.orders[order_id].packages) == 1
        told = alerts(database, sandbox)
        assert told.keys() == {"warehouse.shipments_unread"}
        assert "WMS_BASE_URL" in told["warehouse.shipments_unread"].what_to_do
        # As a person would start it.
        assert pipeline.run("confirm_shipments")
    due_now(database)
    pipeline.tick(DRAIN)
    pipeline.tick(POLL)
    assert sandbox.warehouse.orders[other].status == "accepted"
    assert alerts(database, sandbox) == {}
    assert pipeline.failed_runs == []


@pytest.mark.parametrize("endpoint", ["AMAZON_LWA_ENDPOINT", "AMAZON_SPAPI_ENDPOINT"])
def test_without_amazon_known_orders_are_still_pushed(
    sandbox: Sandbox, pipeline: Pipeline, database: Database, monkeypatch: pytest.MonkeyPatch, endpoint: str
):
    shipped = accepted_order(sandbox, pipeline)
    sandbox.warehouse.faults.add("error_503", "put_order", times=1)
    known = sandbox.add_order(status="UNSHIPPED").order_id
    pipeline.tick(DRAIN)
    assert known not in sandbox.warehouse.orders
    sandbox.floor.ship_now(shipped)
    unheard = sandbox.add_order(status="UNSHIPPED").order_id
    with monkeypatch.context() as away:
        away.setenv(endpoint, CLOSED)
        # A token that was obtained before would do for an hour.
        if endpoint == "AMAZON_LWA_ENDPOINT":
            away.setenv("AMAZON_LWA_REFRESH_TOKEN", "Atzr|another-authorisation")
        monkeypatch.setattr("time.sleep", lambda _: None)
        due_now(database)
        pipeline.tick(DRAIN)
        assert sandbox.warehouse.orders[known].status == "accepted"
        pipeline.tick(POLL)
        with database.begin() as connection:
            count = "select (select count(*) from pipeline.order_events), (select count(*) from pipeline.wms_shipments)"
            assert tuple(connection.execute(text(count)).one()) == (3, 1)
    assert unheard not in sandbox.warehouse.orders
    assert pipeline.failed_runs == []


def test_without_keys_cancellations_reach_the_warehouse_and_new_orders_wait(
    sandbox: Sandbox, pipeline: Pipeline, database: Database, monkeypatch: pytest.MonkeyPatch
):
    at_the_warehouse = accepted_order(sandbox, pipeline)
    sandbox.warehouse.faults.add("error_503", "put_order", times=1)
    sealed = sandbox.add_order(status="UNSHIPPED").order_id
    pipeline.tick(DRAIN)
    with monkeypatch.context() as away:

        def unavailable(*_: object) -> None:
            raise KeyProviderUnavailable("AWS KMS did not serve the key (EndpointConnectionError).")

        away.setattr(LocalKeyring, "wrap", unavailable)
        away.setattr(LocalKeyring, "unwrap", unavailable)
        new = sandbox.add_order(status="UNSHIPPED").order_id
        sandbox.amazon.change_status(at_the_warehouse, "CANCELLED")
        due_now(database)
        pipeline.tick(DRAIN)
        assert sandbox.warehouse.orders[at_the_warehouse].status == "cancelled"
        assert not {sealed, new} & sandbox.warehouse.orders.keys()
        assert alerts(database, sandbox).keys() == {"vault.keys_unavailable"}
    due_now(database)
    pipeline.tick(DRAIN)
    assert {sandbox.warehouse.orders[one].status for one in (sealed, new)} == {"accepted"}
    assert alerts(database, sandbox) == {}
    assert pipeline.failed_runs == []
