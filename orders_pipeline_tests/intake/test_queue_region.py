"""The queue is asked in its own region, whichever region the rest of the deployment is in."""

from __future__ import annotations

import pytest

from orders_pipeline.intake.queue import CALLS, _client  # pyright: ignore[reportPrivateUsage]
from orders_pipeline.intake.queue_region import region_of_queue

ACCOUNT = "123456789012"


@pytest.mark.parametrize(
    ("url", "region"),
    [
        (f"https://sqs.eu-west-1.amazonaws.com/{ACCOUNT}/orders", "eu-west-1"),
        (f"https://SQS.EU-West-1.amazonaws.com:443/{ACCOUNT}/orders", "eu-west-1"),
        (f"https://sqs-fips.us-east-2.amazonaws.com/{ACCOUNT}/orders", "us-east-2"),
        (f"https://sqs.us-gov-west-1.amazonaws.com/{ACCOUNT}/orders", "us-gov-west-1"),
        (f"https://sqs.cn-north-1.amazonaws.com.cn/{ACCOUNT}/orders", "cn-north-1"),
        (f"https://sqs.ap-northeast-1.api.aws/{ACCOUNT}/orders", "ap-northeast-1"),
        (f"https://sqs.cn-northwest-1.api.amazonwebservices.com.cn/{ACCOUNT}/orders", "cn-northwest-1"),
        (f"https://vpce-0a1b-c2d3.sqs.eu-central-1.vpce.amazonaws.com/{ACCOUNT}/orders", "eu-central-1"),
        (f"https://eu-west-2.queue.amazonaws.com/{ACCOUNT}/orders", "eu-west-2"),
        (f"https://cn-north-1.queue.amazonaws.com.cn/{ACCOUNT}/orders", "cn-north-1"),
        (f"https://queue.amazonaws.com/{ACCOUNT}/orders", "us-east-1"),
        (f"https://sqs.eu-west-1.amazonaws.com.evil.example/{ACCOUNT}/orders", None),
        (f"https://sqs.eu-west-1.example.com/{ACCOUNT}/orders", None),
        (f"http://127.0.0.1:9324/{ACCOUNT}/orders", None),
        (f"/{ACCOUNT}/orders", None),
    ],
)
def test_the_region_is_read_from_every_form_of_url_that_aws_has_written(url: str, region: str | None):
    assert region_of_queue(url) == region


@pytest.mark.parametrize(
    ("url", "region"),
    [
        (f"https://sqs.eu-west-1.amazonaws.com/{ACCOUNT}/orders", "eu-west-1"),
        (f"https://eu-west-2.queue.amazonaws.com/{ACCOUNT}/orders", "eu-west-2"),
        # Behind an endpoint of one's own, as the sandbox's, the URL names none.
        (f"/{ACCOUNT}/orders", "us-west-2"),
    ],
)
def test_the_queues_region_comes_before_the_deployments(monkeypatch: pytest.MonkeyPatch, url: str, region: str):
    monkeypatch.setenv("AWS_REGION", "us-west-2")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-west-2")
    assert _client(url, CALLS["receive"]).meta.region_name == region
