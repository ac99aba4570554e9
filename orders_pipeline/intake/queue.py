"""The SQS queue that Amazon delivers to, over HTTP with boto3.

Endpoint and credentials are boto3's own (AWS_ENDPOINT_URL_SQS, AWS_ACCESS_KEY_ID, profiles, roles).
"""

from __future__ import annotations

import os
import re
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from threading import Lock
from typing import TYPE_CHECKING, Any

from orders_pipeline.http.aws import aws_client
from orders_pipeline.intake.queue_region import region_of_queue

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

# SQS's own maximum for one receive.
RECEIVE_BATCH = 10
LONGEST_POLL_SECONDS = 10
# Of one client: as many queues are waited at at once.
CONNECTIONS = 64


@dataclass(frozen=True, slots=True)
class Patience:
    """How long one call may take."""

    connect_seconds: float
    read_seconds: float
    attempts: int

    @property
    def longest(self) -> float:
        """At worst, with the waits between the attempts."""
        return self.attempts * (self.connect_seconds + self.read_seconds) + self.attempts - 1


# A tick waits for these, and has 60 s in all (defs.intake). Who only deletes has time: what is not deleted comes again.
CALLS = {"receive": Patience(2, LONGEST_POLL_SECONDS + 4, 2), "change": Patience(2, 5, 1)}
# Of the codes and names of failures that new credentials, or other rights, would mend.
_ABOUT_CREDENTIALS = ("Credential", "Token", "AccessDenied", "AccessKey", "Signature", "Unauthorized", "Profile", "SSO")
_CODE = re.compile(r"[A-Za-z0-9_.]{1,80}")


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


class QueueUnavailable(Exception):
    """SQS did not do what was asked. `code` is its own word for why, or the failure's name."""

    def __init__(self, code: str, what_to_do: str) -> None:
        self.code = code
        self.what_to_do = what_to_do
        super().__init__(f"SQS does not serve the queue ({code}). {what_to_do}")


class SqsClients:
    """boto3's clients, one for each region and kind of call: each takes ten megabytes, and fifty queues use the same.

    Thread-safe. Another endpoint in the environment is another client.
    """

    def __init__(self) -> None:
        self._guard = Lock()
        self._opened: dict[tuple[str | None, str | None, str], SQSClient] = {}

    def client(self, queue_url: str, what: str) -> SQSClient:
        """The one for this queue. Raises botocore's BotoCoreError."""
        with self._guard:
            key = _key(queue_url, what)
            if key not in self._opened:
                self._opened[key] = _client(queue_url, CALLS[what])
            return self._opened[key]

    def forget(self, queue_url: str) -> None:
        """The next call opens those of this queue anew."""
        with self._guard:
            for what in CALLS:
                self._opened.pop(_key(queue_url, what), None)


def _key(queue_url: str, what: str) -> tuple[str | None, str | None, str]:
    return region_of_queue(queue_url), os.environ.get("AWS_ENDPOINT_URL_SQS"), what


class NotificationQueue:
    """Thread-safe. Raises QueueUnavailable and nothing else. Nothing is sent before the first call."""

    def __init__(self, queue_url: str, clients: SqsClients | None = None, *, client: Any | None = None) -> None:
        """`clients`: shared with other queues. `client`: the one for all calls."""
        self._queue_url = queue_url
        self._given = client
        self._clients = clients or SqsClients()

    def receive(self, *, wait_seconds: int) -> list[QueueMessage]:
        """Up to ten messages; waits (long poll, at most 10 s) only while the queue is empty."""
        with self._asking("receive") as client:
            answer = client.receive_message(
                QueueUrl=self._queue_url,
                MaxNumberOfMessages=RECEIVE_BATCH,
                WaitTimeSeconds=min(wait_seconds, LONGEST_POLL_SECONDS),
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
        entries: Any = [
            {"Id": str(index), "ReceiptHandle": message.receipt_handle} for index, message in enumerate(messages)
        ]
        with self._asking("change") as client:
            answer = client.delete_message_batch(QueueUrl=self._queue_url, Entries=entries)
        return len(answer.get("Failed", []))

    def attributes(self) -> dict[str, str]:
        """Everything that SQS tells about the queue: its ARN, policy, encryption, redrive and time-outs."""
        with self._asking("change") as client:
            answer = client.get_queue_attributes(QueueUrl=self._queue_url, AttributeNames=["All"])
        return {str(name): value for name, value in answer["Attributes"].items()}

    def depth(self) -> QueueDepth:
        """Approximate counts, as SQS tells them."""
        with self._asking("change") as client:
            attributes = client.get_queue_attributes(
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

    @contextmanager
    def _asking(self, what: str) -> Generator[SQSClient]:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            if self._given is not None:
                yield self._given
                return
            yield self._clients.client(self._queue_url, what)
        except ClientError as error:
            raise self._unavailable(str(error.response.get("Error", {}).get("Code", ""))) from None
        except BotoCoreError as error:
            raise self._unavailable(type(error).__name__) from None

    def _unavailable(self, said: str) -> QueueUnavailable:
        # Opened anew: credentials that were renewed in a file, or by a login, are found by the next call.
        self._clients.forget(self._queue_url)
        code = said if _CODE.fullmatch(said) else "unknown"
        if any(word in code for word in _ABOUT_CREDENTIALS):
            what_to_do = (
                "Renew the AWS credentials, or let them have sqs:ReceiveMessage, sqs:DeleteMessage and "
                "sqs:GetQueueAttributes on this queue."
            )
        elif "NonExistentQueue" in code or "QueueDoesNotExist" in code or "Region" in code:
            what_to_do = "Check AMAZON_SQS_QUEUE_URL: it names the queue and its region."
        else:
            what_to_do = "Check this machine's network, AMAZON_SQS_QUEUE_URL and AWS's status page."
        return QueueUnavailable(code, f"{what_to_do} `orders-pipeline doctor` tells when it is well.")


def _client(queue_url: str, patience: Patience) -> SQSClient:
    # AWS_REGION is where the keys and buckets are; a queue of another region is not found there. Without either, the
    # profile's region counts, as boto3 reads it.
    in_environment = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    return aws_client(
        "sqs",
        region=region_of_queue(queue_url) or in_environment,
        connect_seconds=patience.connect_seconds,
        read_seconds=patience.read_seconds,
        attempts=patience.attempts,
        connections=CONNECTIONS,
    )


def _milliseconds(value: object) -> datetime | None:
    if value is None:
        return None
    try:
        return datetime.fromtimestamp(int(str(value)) / 1000, tz=UTC)
    except ValueError:
        return None
