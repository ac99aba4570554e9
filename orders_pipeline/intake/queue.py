"""The SQS queue that Amazon delivers to, over HTTP with boto3.

Belongs here: receive, delete, depth. Elsewhere: what a message says (notification), the order of commit and delete
(drain). Endpoint and credentials are boto3's own (AWS_ENDPOINT_URL_SQS, AWS_ACCESS_KEY_ID, profiles, roles).
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

# SQS's own maximum for one receive.
RECEIVE_BATCH = 10
_QUEUE_HOST = re.compile(r"^sqs\.([a-z0-9-]+)\.amazonaws\.com")


@dataclass(frozen=True, slots=True)
class QueueMessage:
    """One delivery. `body` is not printed: it holds a postal code."""

    message_id: str
    receipt_handle: str
    body: str
    sent_at: datetime | None

    def __repr__(self) -> str:
        return f"QueueMessage({self.message_id})"


@dataclass(frozen=True, slots=True)
class QueueDepth:
    visible: int
    in_flight: int
    delayed: int


class NotificationQueue:
    """Thread-safe. Raises botocore's ClientError or BotoCoreError: the tick fails and nothing is deleted."""

    def __init__(self, queue_url: str, *, client: Any | None = None) -> None:
        self._queue_url = queue_url
        self._client: SQSClient = client if client is not None else _client(queue_url)

    def receive(self, *, wait_seconds: int) -> list[QueueMessage]:
        """Up to ten messages; waits (long poll, at most 20 s) only while the queue is empty."""
        answer = self._client.receive_message(
            QueueUrl=self._queue_url,
            MaxNumberOfMessages=RECEIVE_BATCH,
            WaitTimeSeconds=wait_seconds,
            MessageSystemAttributeNames=["SentTimestamp"],
        )
        return [
            QueueMessage(
                message_id=message.get("MessageId", ""),
                receipt_handle=message.get("ReceiptHandle", ""),
                body=message.get("Body", ""),
                sent_at=_milliseconds(message.get("Attributes", {}).get("SentTimestamp")),
            )
            for message in answer.get("Messages", [])
        ]

    def delete(self, messages: Sequence[QueueMessage]) -> int:
        """Delete up to ten; return how many SQS could not delete. Those come again, and are recognised."""
        if not messages:
            return 0
        answer = self._client.delete_message_batch(
            QueueUrl=self._queue_url,
            Entries=[
                {"Id": str(index), "ReceiptHandle": message.receipt_handle} for index, message in enumerate(messages)
            ],
        )
        return len(answer.get("Failed", []))

    def attributes(self) -> dict[str, str]:
        """Everything that SQS tells about the queue: its ARN, policy, encryption, redrive and time-outs."""
        answer = self._client.get_queue_attributes(QueueUrl=self._queue_url, AttributeNames=["All"])
        return {str(name): value for name, value in answer["Attributes"].items()}

    def depth(self) -> QueueDepth:
        """Approximate counts, as SQS tells them."""
        attributes = self._client.get_queue_attributes(
            QueueUrl=self._queue_url,
            AttributeNames=[
                "ApproximateNumberOfMessages",
                "ApproximateNumberOfMessagesNotVisible",
                "ApproximateNumberOfMessagesDelayed",
            ],
        )["Attributes"]
        return QueueDepth(
            visible=int(attributes.get("ApproximateNumberOfMessages", 0)),
            in_flight=int(attributes.get("ApproximateNumberOfMessagesNotVisible", 0)),
            delayed=int(attributes.get("ApproximateNumberOfMessagesDelayed", 0)),
        )


def _client(queue_url: str) -> SQSClient:
    import boto3  # 0.4 s: only a process that talks to SQS pays for it
    from botocore.config import Config

    host = urlsplit(queue_url).hostname or ""
    in_host = _QUEUE_HOST.match(host)
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or (in_host[1] if in_host else None)
    return boto3.client(
        "sqs",
        region_name=region,
        config=Config(connect_timeout=5, read_timeout=30, retries={"mode": "standard", "total_max_attempts": 3}),
    )


def _milliseconds(value: object) -> datetime | None:
    if value is None:
        return None
    try:
        return datetime.fromtimestamp(int(str(value)) / 1000, tz=UTC)
    except ValueError:
        return None
