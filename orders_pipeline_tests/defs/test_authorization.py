"""A seller takes the authorization back: calls stop, people are told, and within the day its buyers' data are gone."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest
from sqlalchemy import text

from orders_pipeline.channels.amazon.auth.revocation import Standing
from orders_pipeline.channels.amazon.errors import AmazonError, AmazonNotAuthorized
from orders_pipeline.database.engine import Database
from orders_pipeline.definitions import default_resources
from orders_pipeline.defs.resources import StoreResource
from orders_pipeline.operations.authorize import take_typed_token
from orders_pipeline.operations.deployment import Deployment, ServedAccount
from orders_pipeline.operations.revocation import Looked, look_at_authorization, not_revoked
from orders_pipeline.sandbox.sandbox import Sandbox
from orders_pipeline.settings import load_settings
from orders_pipeline_tests.pipeline import Pipeline, point_environment_at

LOOKS = "frequent_authorization_looks"


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(time_scale=100) as running:
        yield running


@pytest.fixture
def account(
    database_url: str, dagster_url: str, sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[ServedAccount]:
    """Authorized, by a token that a person typed."""
    point_environment_at(
        sandbox, database_url, tmp_path / "data", monkeypatch, DAGSTER_POSTGRES_URL=dagster_url,
        AMAZON_LWA_REFRESH_TOKEN="stored",
    )  # fmt: skip
    deployment = Deployment(load_settings())
    served = deployment.account()
    take_typed_token(served, sandbox.amazon.accounts.sellers[sandbox.seller_id].refresh_token, actor="person:susan")
    yield served
    deployment.database.close()


def test_a_revoked_account_ends_and_its_buyers_are_forgotten_here_and_at_the_warehouse(
    account: ServedAccount, sandbox: Sandbox, instance: dg.DagsterInstance, database: Database
):
    order = sandbox.add_order(status="UNSHIPPED")
    pipeline = Pipeline(instance)
    while order.order_id not in sandbox.warehouse.orders:
        pipeline.tick("drain_notifications_sensor")
    assert _ticked(pipeline) == 0
    assert _kept(database) == 1

    sandbox.amazon.accounts.revoke(sandbox.seller_id)
    with pytest.raises(AmazonError):
        account.amazon.sellers.marketplace_participations()
    assert _ticked(pipeline) == 1
    assert pipeline.run("end_revoked")
    assert _kept(database) == 1, "nothing is destroyed by the first refusals"
    _pass_half_a_day(database)
    assert pipeline.run("end_revoked")
    assert _kept(database) == 0
    assert sandbox.warehouse.orders[order.order_id].erased
    assert _ticked(pipeline) == 0

    # Nothing is asked any more, until it is authorized anew.
    asked = len(sandbox.amazon.ledger.calls)
    with pytest.raises(AmazonNotAuthorized, match="the authorization ended"):
        account.amazon.sellers.marketplace_participations()
    assert len(sandbox.amazon.ledger.calls) == asked
    sandbox.amazon.accounts.authorize_again(sandbox.seller_id)
    take_typed_token(account, sandbox.amazon.accounts.sellers[sandbox.seller_id].refresh_token, actor="person:susan")
    assert account.amazon.sellers.marketplace_participations()
    outcomes = text("select actor, outcome from audit.entries where action = 'authorize' order by entry_id")
    with database.begin() as connection:
        told = [(row.actor.partition(":")[0], row.outcome) for row in connection.execute(outcomes)]
    assert told == [("person", "done"), ("run", "ended"), ("person", "done")]


def test_what_works_again_before_the_end_was_no_revocation(
    account: ServedAccount, sandbox: Sandbox, database: Database
):
    sandbox.amazon.accounts.revoke(sandbox.seller_id)
    assert look_at_authorization(account) == Looked(Standing.WORKS), "nobody has asked yet"
    with pytest.raises(AmazonError):
        account.amazon.sellers.marketplace_participations()
    assert look_at_authorization(account).standing is Standing.REFUSED
    _pass_half_a_day(database)
    sandbox.amazon.accounts.authorize_again(sandbox.seller_id)
    account.amazon.login._refusals.clear()
    assert look_at_authorization(account) == Looked(Standing.WORKS)


def test_a_person_who_says_that_it_is_no_revocation_is_believed_for_a_week(
    account: ServedAccount, sandbox: Sandbox, database: Database
):
    sandbox.amazon.accounts.revoke(sandbox.seller_id)
    with pytest.raises(AmazonError):
        account.amazon.sellers.marketplace_participations()
    not_revoked(account, "the seller says so")
    with pytest.raises(AmazonError):
        account.amazon.login.seller_token(account.amazon.transport.deadline(5))
    _pass_half_a_day(database)
    assert look_at_authorization(account).standing is Standing.KEPT


def _pass_half_a_day(database: Database) -> None:
    """As if it had been asked for every ten minutes meanwhile."""
    with database.begin() as connection:
        connection.execute(
            text("""
                update pipeline.amazon_authorizations
                set refused_since = refused_since - interval '12 hours', worked_at = worked_at - interval '12 hours',
                  refusals = 72
            """)
        )


def _kept(database: Database) -> int:
    with database.begin() as connection:
        count = text("select count(*) from vault.records where kind = 'shipping_details'")
        return connection.execute(count).scalar_one()


def _ticked(pipeline: Pipeline) -> int:
    """How many runs the schedule asks for."""
    schedule = pipeline.repository.get_schedule_def(LOOKS)
    store = default_resources()["store"]
    assert isinstance(store, StoreResource)
    with dg.build_schedule_context(
        instance=pipeline.instance,
        scheduled_execution_time=datetime.now(UTC),
        resources={"store": store},
        repository_def=pipeline.repository,
    ) as context:
        return len(schedule.evaluate_tick(context).run_requests or [])
