"""AWS by boto3: nothing of it goes through the environment's proxy on this machine, and no call outlasts a tick."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from orders_pipeline.defs.resources import s3_client
from orders_pipeline.intake.queue import CALLS, NotificationQueue, QueueUnavailable
from orders_pipeline.settings import load_settings
from orders_pipeline.vault.errors import VaultError
from orders_pipeline.vault.providers.kms import AwsKmsKeys
from orders_pipeline_tests.hostile_server import HostileServer, answer

USES: dict[str, Callable[[str], Any]] = {
    "SQS": lambda url: NotificationQueue(f"{url}/123456789012/orders").receive(wait_seconds=0),
    "KMS": lambda _: AwsKmsKeys("alias/orders").current_key_id(),
    "SECRETS_MANAGER": lambda _: load_settings({"ORDERS_SECRETS_ARN": "a-secret-of-this-test"}),
    "S3": lambda _: s3_client().head_bucket(Bucket="exports"),
}


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "the-key")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")


@pytest.mark.parametrize("service", USES)
def test_no_request_to_this_machine_goes_through_the_environments_proxy(monkeypatch: pytest.MonkeyPatch, service: str):
    refused = answer(b"{}", "400 Bad Request")
    with HostileServer.answering(refused) as proxy, HostileServer.answering(refused) as server:
        for name in ("http_proxy", "https_proxy", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        monkeypatch.setenv(f"AWS_ENDPOINT_URL_{service}", server.url)
        with suppress(BotoCoreError, ClientError, QueueUnavailable, VaultError):
            USES[service](server.url)
        assert (len(proxy.requests), len(server.requests) > 0) == (0, True)


def test_a_queue_that_hangs_is_told_within_what_a_call_may_take(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(CALLS, "receive", type(CALLS["receive"])(0.2, 0.2, 2))
    server: HostileServer
    with HostileServer.answering(lambda _: server.drip(b"", b"", every=0.1)) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL_SQS", server.url)
        with pytest.raises(QueueUnavailable, match="ReadTimeoutError"):
            NotificationQueue(f"{server.url}/123456789012/orders").receive(wait_seconds=0)
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        ("ExpiredToken", "Renew the AWS credentials"),
        ("InvalidClientTokenId", "Renew the AWS credentials"),
        ("AccessDenied", "sqs:ReceiveMessage"),
        ("AWS.SimpleQueueService.NonExistentQueue", "AMAZON_SQS_QUEUE_URL"),
        ("ServiceUnavailable", "network"),
        ("<b>7 Nightingale Row", "network"),
    ],
)
def test_a_refusal_says_what_to_do_and_the_next_call_finds_renewed_credentials(
    monkeypatch: pytest.MonkeyPatch, code: str, advice: str
):
    refused = answer(
        f'{{"__type": "com.amazonaws.sqs#{code}", "message": "of key the-key"}}'.encode(),
        "400 Bad Request",
        Content_Type="application/x-amz-json-1.0",
    )
    with HostileServer.answering(refused) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL_SQS", server.url)
        queue = NotificationQueue(f"{server.url}/123456789012/orders")
        with pytest.raises(QueueUnavailable, match=advice) as caught:
            queue.receive(wait_seconds=0)
        assert "the-key" not in str(caught.value)
        assert "Nightingale" not in str(caught.value)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "another-key")
        server.answer = lambda _: [answer(b"{}", Content_Type="application/x-amz-json-1.0")]
        assert queue.receive(wait_seconds=0) == []
    assert b"Credential=another-key/" in server.requests[-1]


def test_without_credentials_or_a_region_it_is_told_the_same_way(monkeypatch: pytest.MonkeyPatch):
    queue = NotificationQueue("http://127.0.0.1:9/123456789012/orders")
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    with pytest.raises(QueueUnavailable, match="region"):
        queue.receive(wait_seconds=0)
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("AWS_PROFILE", "nobodys")
    with pytest.raises(QueueUnavailable, match="ProfileNotFound"):
        queue.receive(wait_seconds=0)
