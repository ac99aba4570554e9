"""The client secret is rotated while orders go on: the new one is sealed before its message goes, the old one works."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from orders_pipeline.channels.amazon.auth.client_secrets import sealed_secrets
from orders_pipeline.channels.amazon.auth.credentials import StoredCredentials
from orders_pipeline.channels.amazon.errors import AmazonBadRequest
from orders_pipeline.database.engine import Database
from orders_pipeline.operations.client_secret_rotation import (
    RotationNotPossible,
    rotate_client_secret,
    secrets_wait,
    take_client_secrets,
)
from orders_pipeline.operations.deployment import Deployment
from orders_pipeline.privacy.access.client_secret import secret_life
from orders_pipeline.sandbox.sandbox import Sandbox
from orders_pipeline.settings import load_settings
from orders_pipeline_tests.pipeline import point_environment_at


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(time_scale=1000, subscribed=False) as running:
        yield running


@pytest.fixture
def deployment(
    sandbox: Sandbox, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Deployment]:
    url = sandbox.enroll_rotation()
    point_environment_at(sandbox, database_url, tmp_path, monkeypatch, AMAZON_ROTATION_QUEUE_URL=url)
    opened = Deployment(load_settings())
    opened.vault.prepare()
    yield opened
    opened.database.close()


def test_a_new_secret_is_used_from_its_arrival_on_and_the_old_one_as_long_as_it_works(
    deployment: Deployment, sandbox: Sandbox, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.DEBUG)
    account, application = deployment.account(), sandbox.amazon.accounts.application
    (old,) = application.client_secrets
    rotate_client_secret(account)
    new = application.client_secrets[0]
    _until(lambda: secrets_wait(deployment))
    (again,) = sandbox.queue.client().receive_message(
        QueueUrl=deployment.settings.application.rotation_queue_url, VisibilityTimeout=0
    )["Messages"]
    assert take_client_secrets(deployment).new_secrets == 1
    # A process that was killed between the commit and the deletion: it comes again, and changes nothing.
    sealed = _tokens(deployment.database)
    _send(sandbox, again["Body"])
    assert take_client_secrets(deployment).new_secrets == 1
    assert _tokens(deployment.database) == sealed
    assert [one.secret for one in sealed_secrets(deployment.database, deployment.keys, application.client_id)] == [new]
    assert not secrets_wait(deployment)
    assert _secrets(deployment) == [new, old]
    assert [line for line in caplog.messages if new in line] == []
    assert new not in json.dumps(_rows(deployment.database, "audit.entries"), default=str)
    assert new.encode() not in b"".join(bytes(row["ciphertext"]) for row in sealed)

    # Each works alone, in a client that was opened before.
    for secrets in ([old], [new]):
        application.client_secrets = secrets
        sandbox.amazon.accounts.expire_tokens()
        assert account.amazon.sellers.marketplace_participations()


def test_the_rule_about_a_secrets_age_learns_the_new_ones_end(deployment: Deployment):
    settings = deployment.account().settings
    before = secret_life(deployment.database, deployment.vault, settings)
    with deployment.database.begin() as connection:
        connection.execute(
            text("update pipeline.client_secrets set first_seen_at = first_seen_at - interval '100 days'")
        )
    assert secret_life(deployment.database, deployment.vault, settings).days_left == pytest.approx(80, abs=0.1)
    rotate_client_secret(deployment.account())
    _until(lambda: secrets_wait(deployment))
    take_client_secrets(deployment)
    after = secret_life(deployment.database, deployment.vault, settings)
    assert after.days_left == pytest.approx(180, abs=0.1)
    assert before.days_left == pytest.approx(180, abs=0.1)


def test_a_secret_that_a_person_sets_later_goes_before_the_sealed_one(
    deployment: Deployment, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
):
    rotate_client_secret(deployment.account())
    _until(lambda: secrets_wait(deployment))
    take_client_secrets(deployment)
    sealed, old = _secrets(deployment)
    monkeypatch.setenv("AMAZON_LWA_CLIENT_SECRET", "amzn1.oa2-cs.v1.set-by-a-person")
    monkeypatch.setenv("AMAZON_LWA_CLIENT_SECRET_PREVIOUS", old)
    assert _secrets(Deployment(load_settings())) == ["amzn1.oa2-cs.v1.set-by-a-person", sealed, old]


def test_whoever_can_write_to_the_queue_ends_no_secret_that_works(deployment: Deployment, sandbox: Sandbox):
    client_id = sandbox.amazon.accounts.application.client_id
    ended = (datetime.now(UTC) - timedelta(days=1)).isoformat()
    first = _secrets(deployment)
    _send(sandbox, _message(client_id, "amzn1.oa2-cs.v1.made-up", old_end=ended))
    take_client_secrets(deployment)
    _send(sandbox, _message(client_id, "amzn1.oa2-cs.v1.made-up-too", old_end=ended))
    take_client_secrets(deployment)
    assert _secrets(deployment)[-1:] == first
    assert "amzn1.oa2-cs.v1.made-up" in _secrets(deployment), "kept for seven days"
    assert deployment.account().amazon.sellers.marketplace_participations()


def test_what_is_no_message_of_ours_stays_for_the_dead_letters(deployment: Deployment, sandbox: Sandbox):
    _send(
        sandbox, "no JSON", json.dumps({"notificationType": "ORDER_CHANGE"}), _message("another application", "x" * 20)
    )
    taken = take_client_secrets(deployment)
    assert (taken.new_secrets, taken.notices, taken.left) == (0, 0, 3)


def test_without_a_queue_nothing_is_asked_and_one_that_is_not_enrolled_is_named(
    deployment: Deployment, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
):
    sandbox.amazon.accounts.application.rotation_queue_arn = None
    with pytest.raises(AmazonBadRequest, match=r"not enrolled.*AMAZON_ROTATION_QUEUE_URL"):
        rotate_client_secret(deployment.account())
    monkeypatch.delenv("AMAZON_ROTATION_QUEUE_URL")
    without = Deployment(load_settings())
    assert not secrets_wait(without)
    calls = len(sandbox.amazon.ledger.calls)
    with pytest.raises(RotationNotPossible, match="AMAZON_ROTATION_QUEUE_URL"):
        rotate_client_secret(without.account())
    assert len(sandbox.amazon.ledger.calls) == calls


def _secrets(deployment: Deployment) -> list[str]:
    return list(StoredCredentials(deployment.account().settings, deployment.database, deployment.keys).client_secrets())


def _message(client_id: str, secret: str, *, old_end: str | None = None) -> str:
    notice = {"clientId": client_id, "newClientSecret": secret, "oldClientSecretExpiryTime": old_end}
    return json.dumps(
        {
            "notificationType": "APPLICATION_OAUTH_CLIENT_NEW_SECRET",
            "payload": {"applicationOAuthClientNewSecret": notice},
        }
    )


def _send(sandbox: Sandbox, *bodies: str) -> None:
    client = sandbox.queue.client()
    arn = sandbox.amazon.accounts.application.rotation_queue_arn
    url = client.get_queue_url(QueueName=str(arn).rsplit(":", 1)[1])["QueueUrl"]
    for body in bodies:
        client.send_message(QueueUrl=url, MessageBody=body)


def _until(ready: Any) -> None:
    deadline = datetime.now(UTC) + timedelta(seconds=20)
    while not ready():
        assert datetime.now(UTC) < deadline


def _rows(database: Database, table: str) -> list[dict[str, Any]]:
    with database.begin() as connection:
        return [dict(row) for row in connection.execute(text(f"select * from {table}")).mappings()]


def _tokens(database: Database) -> list[dict[str, Any]]:
    return [row for row in _rows(database, "vault.amazon_tokens") if row["purpose"].startswith("client_secret:")]
