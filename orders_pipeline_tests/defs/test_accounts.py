"""Two accounts side by side: one account's trouble is its own."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from click.testing import CliRunner
from sqlalchemy import text

from orders_pipeline.audit.log import AuditLog
from orders_pipeline.cli.main import main
from orders_pipeline.database.engine import Database
from orders_pipeline.defs.accounts import DEFECTS_TAG
from orders_pipeline.operations import sync
from orders_pipeline.operations.deployment import Deployment, ServedAccount
from orders_pipeline.sandbox.amazon.state import AmazonOptions
from orders_pipeline.sandbox.sandbox import Sandbox
from orders_pipeline.sandbox.warehouse.floor import FloorOptions
from orders_pipeline.settings import load_settings
from orders_pipeline_tests.due import make_jobs_due
from orders_pipeline_tests.pipeline import Pipeline, point_environment_at

OTHER = "A2OTHERSELLER01"
DRAIN, POLL, ALERTS = "drain_notifications_sensor", "poll_warehouse_sensor", "deliver_alerts_sensor"


@pytest.fixture
def sandboxes() -> Iterator[tuple[Sandbox, Sandbox]]:
    """Two sellers, each with an Amazon and a queue; the warehouse is the first one's."""
    options = AmazonOptions(listing_delay_seconds=0)
    with (
        Sandbox(time_scale=1000, amazon=options, floor=FloorOptions(automatic=False)) as served,
        Sandbox(time_scale=1000, amazon=options, seed=2, seller_id=OTHER) as other,
    ):
        yield served, other


class AccountsFile:
    """AMAZON_ACCOUNTS_FILE of this test; `name` says who is in it from now on."""

    def __init__(self, file: Path, *sandboxes: Sandbox) -> None:
        self._file = file
        self._entries = {one.seller_id: self._entry(one) for one in sandboxes}

    def _entry(self, sandbox: Sandbox) -> dict[str, object]:
        return {
            "seller": sandbox.seller_id,
            "marketplaces": list(sandbox.marketplace_ids),
            "queue": sandbox.queue.url,
            "spapi_endpoint": sandbox.url,
            "lwa_endpoint": sandbox.url,
            "secrets": {"refresh_token": f"TOKEN_OF_{sandbox.seller_id}"},
        }

    def name(self, *seller_ids: str) -> None:
        self._file.write_text(yaml.safe_dump({"accounts": [self._entries[one] for one in seller_ids]}))


@pytest.fixture
def accounts(
    sandboxes: tuple[Sandbox, Sandbox], database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AccountsFile:
    served, other = sandboxes
    file = tmp_path / "accounts.yaml"
    point_environment_at(served, database_url, tmp_path, monkeypatch, AMAZON_ACCOUNTS_FILE=str(file))
    monkeypatch.setattr("orders_pipeline.operations.watch.LONGEST_POLL_SECONDS", 0)
    for one in sandboxes:
        token = one.environment()["AMAZON_LWA_REFRESH_TOKEN"]
        monkeypatch.setenv(f"TOKEN_OF_{one.seller_id}", token)
    named = AccountsFile(file, served, other)
    named.name(OTHER, served.seller_id)
    return named


@pytest.fixture
def pipeline(accounts: AccountsFile, sandboxes: tuple[Sandbox, Sandbox]) -> Iterator[Pipeline]:
    def await_sent() -> None:
        for sandbox in sandboxes:
            sandbox.queue.await_sent()

    with dg.DagsterInstance.ephemeral() as instance:
        yield Pipeline(instance, before_tick=await_sent)


def _shown(pipeline: Pipeline, asset: str) -> dict[str, object]:
    event = pipeline.instance.get_latest_materialization_event(dg.AssetKey(asset))
    assert event is not None
    assert event.asset_materialization is not None
    return {name: value.value for name, value in event.asset_materialization.metadata.items()}


@pytest.mark.parametrize("refusal", ["revoked", "403 at login"])
def test_the_other_accounts_orders_are_shipped_and_confirmed_while_amazon_refuses_one(
    sandboxes: tuple[Sandbox, Sandbox], pipeline: Pipeline, database: Database, refusal: str
):
    served, other = sandboxes
    if refusal == "revoked":
        other.amazon.accounts.revoke(OTHER)
    else:
        other.amazon.faults.add("forbidden", "token", times=None)
    order_id = served.add_order(status="UNSHIPPED").order_id
    refused = other.add_order(status="UNSHIPPED").order_id
    for _ in range(2):
        pipeline.tick(DRAIN)
    assert served.warehouse.orders[order_id].status == "accepted"
    assert refused not in served.warehouse.orders
    served.floor.ship_now(order_id)
    pipeline.tick(POLL)
    assert len(served.amazon.orders[order_id].packages) == 1
    with database.begin() as connection:
        make_jobs_due(connection)
    pipeline.tick(POLL)
    with database.begin() as connection:
        confirmed = connection.execute(text("select account_id, state from pipeline.shipment_confirmations")).all()
    assert [tuple(row) for row in confirmed] == [(served.seller_id, "confirmed")]
    with database.begin() as connection:
        paused = connection.execute(text("select account_id, dependency from pipeline.paused_dependencies")).all()
        assert {tuple(row) for row in paused} == {(OTHER, "amazon")}
        connection.execute(text("update pipeline.paused_dependencies set since = since - interval '10 minutes'"))
        # What waits behind it has waited as long.
        connection.execute(text("update pipeline.jobs set due_at = due_at - interval '10 minutes'"))
    pipeline.tick(ALERTS)
    with database.begin() as connection:
        told = connection.execute(text("select account_id, key from pipeline.alerts where closed_at is null")).all()
        # The other's package, which it reads of too, is none of its own.
        assert [tuple(row) for row in told] == [(OTHER, "dependency.paused:amazon")]
    assert pipeline.failed_runs == [], "a refusal is no defect"


def test_a_defect_in_one_account_fails_the_run_at_its_end_and_names_the_account(
    sandboxes: tuple[Sandbox, Sandbox], pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
):
    served, _ = sandboxes
    derive = sync.decide_orders

    def broken(database: Database, audit: AuditLog, *, account_id: str, **more: Any):
        if account_id == OTHER:
            raise ZeroDivisionError("Canary Quillfeather")
        return derive(database, audit, account_id=account_id, **more)

    monkeypatch.setattr(sync, "decide_orders", broken)
    order_id = served.add_order(status="UNSHIPPED").order_id
    pipeline.tick(DRAIN)
    assert served.warehouse.orders[order_id].status == "accepted", "the step after it ran, for the others"
    assert pipeline.failed_runs == ["sync_orders"]
    shown = _shown(pipeline, "fulfillment_queue")
    assert shown["accounts_with_a_defect"] == 1
    (run,) = pipeline.instance.get_runs(limit=1)
    assert run.tags[DEFECTS_TAG] == OTHER
    assert "Quillfeather" not in str(pipeline.instance.all_logs(run.run_id)), "a stranger's text"


def test_a_tick_in_which_one_account_fails_still_asks_for_the_others_run(
    sandboxes: tuple[Sandbox, Sandbox], pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, database: Database
):
    served, _ = sandboxes
    real = ServedAccount.queue.fget
    assert real is not None

    def queue(account: ServedAccount):
        if account.account_id == OTHER:
            raise ZeroDivisionError
        return real(account)

    monkeypatch.setattr(ServedAccount, "queue", property(queue))
    order_id = served.add_order(status="UNSHIPPED").order_id
    pipeline.tick(ALERTS)
    pipeline.tick(DRAIN)
    assert served.warehouse.orders[order_id].status == "accepted"
    with database.begin() as connection:
        connection.execute(text("update pipeline.work_done set watched_since = watched_since - interval '2 hours'"))
    pipeline.tick(DRAIN)
    pipeline.tick(ALERTS)
    with database.begin() as connection:
        rows = connection.execute(
            text(
                "select account_id from pipeline.alerts where key = 'work.overdue:notifications' and closed_at is null"
            )
        )
        assert list(rows.scalars()) == [OTHER]


def _calls(sandbox: Sandbox) -> int:
    return sum(sandbox.ledger()["amazon"]["requests"].values())


def test_an_account_that_is_added_is_served_at_the_next_tick_and_one_that_is_taken_out_is_not_called_any_more(
    sandboxes: tuple[Sandbox, Sandbox], pipeline: Pipeline, accounts: AccountsFile, database: Database
):
    served, other = sandboxes
    accounts.name(served.seller_id)
    first = other.add_order(status="UNSHIPPED").order_id
    pipeline.tick(DRAIN)
    assert (_calls(other), first in served.warehouse.orders) == (0, False), "it is not known yet"
    accounts.name(served.seller_id, OTHER)
    pipeline.tick(DRAIN)
    assert served.warehouse.orders[first].status == "accepted"
    accounts.name(served.seller_id)
    other.add_order(status="UNSHIPPED")
    calls = _calls(other)
    pipeline.tick(DRAIN)
    assert _calls(other) == calls, "Amazon is not asked for it any more"
    assert not other.queue.drained(), "nor is its queue"
    # The nightly retention works for every account that is stored, and a buyer can ask to be forgotten.
    assert OTHER in {one.account_id for one in Deployment(load_settings()).stored_accounts()}
    erased = CliRunner().invoke(main, ["erase", first, "--reason", "asked by the buyer"])
    with database.begin() as connection:
        kept = (
            "select (select count(*) from pipeline.orders), (select count(*) from vault.records where subject_id = :id)"
        )
        assert tuple(connection.execute(text(kept), {"id": first}).one()) == (1, 0), erased.output


def test_what_is_wrong_with_one_account_is_seen_and_stops_no_other(
    sandboxes: tuple[Sandbox, Sandbox], pipeline: Pipeline, database: Database, monkeypatch: pytest.MonkeyPatch
):
    served, _ = sandboxes
    monkeypatch.setenv(f"TOKEN_OF_{OTHER}", "")
    order_id = served.add_order(status="UNSHIPPED").order_id
    pipeline.tick(DRAIN)
    assert served.warehouse.orders[order_id].status == "accepted"
    assert f"Account {OTHER} is not served" in (pipeline.tick(DRAIN).skip_message or "")
    pipeline.tick(ALERTS)
    with database.begin() as connection:
        told = connection.execute(text("select key from pipeline.alerts where closed_at is null")).scalars()
        assert list(told) == [f"account.not_served:{OTHER}"]
    listed = CliRunner().invoke(main, ["accounts"])
    assert listed.exit_code == 1
    assert f"{OTHER}: secrets.refresh_token: the variable TOKEN_OF_{OTHER} is not set" in listed.output
    doctor = CliRunner().invoke(main, ["doctor"])
    assert doctor.exit_code == 1
    assert f"account {OTHER}: it is not served" in doctor.output


@pytest.mark.usefixtures("accounts")
def test_the_accounts_are_listed_and_with_check_each_has_asked_amazon_and_its_queue(
    sandboxes: tuple[Sandbox, Sandbox],
):
    served, other = sandboxes
    listed = CliRunner().invoke(main, ["accounts"])
    assert listed.exit_code == 0, listed.output
    for shown in (served.seller_id, OTHER, "ATVPDKIKX0DER", other.queue.url, f"TOKEN_OF_{OTHER}"):
        assert shown in listed.output
    assert "Atzr" not in listed.output
    asked = CliRunner().invoke(main, ["accounts", "--check"])
    assert asked.exit_code == 0, asked.output
    other.amazon.accounts.revoke(OTHER)
    checked = CliRunner().invoke(main, ["accounts", "--check"])
    assert checked.exit_code == 1
    assert f"{OTHER}: order role:" in checked.output, checked.output
    assert f"{served.seller_id}: " not in checked.output, "the other one is ok"


def test_a_sellers_first_order_waits_for_no_other_sellers_quiet_queue(
    sandboxes: tuple[Sandbox, Sandbox], pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
):
    served, _ = sandboxes
    monkeypatch.setattr("orders_pipeline.operations.watch.LONGEST_POLL_SECONDS", 12)
    order_id = served.add_order(status="UNSHIPPED").order_id
    began = time.monotonic()
    pipeline.tick(DRAIN)
    assert served.warehouse.orders[order_id].status == "accepted"
    assert time.monotonic() - began < 10, "the other's queue is waited at for twelve seconds"


def test_an_order_comes_before_those_of_a_seller_whose_every_call_hangs(
    sandboxes: tuple[Sandbox, Sandbox], pipeline: Pipeline
):
    served, other = sandboxes
    other.amazon.faults.add("slow", "getOrder", times=None, seconds=3)
    slow = [other.add_order(status="UNSHIPPED").order_id for _ in range(3)]
    order_id = served.add_order(status="UNSHIPPED").order_id
    accepted = list[str]()
    served.warehouse.on_accepted.append(accepted.append)
    for one in sandboxes:
        one.queue.await_sent()
    for _ in range(20):
        # A tick ends once somebody's messages wait for a run; the others' are that run's too, or the next one's.
        pipeline.tick(DRAIN)
        if len(accepted) > len(slow):
            break
    assert accepted[0] == order_id
    assert set(accepted) == {order_id, *slow}, "slow is not refused"
