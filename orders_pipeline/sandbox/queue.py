"""The queue between Amazon and the seller: SQS over HTTP by the moto server, and Amazon's hand that fills it."""

from __future__ import annotations

import heapq
import json
import random
import secrets
import threading
import uuid
from dataclasses import dataclass
from typing import Any

import boto3
from botocore.config import Config

from orders_pipeline.sandbox.clock import Clock
from orders_pipeline.sandbox.sqs_server import SqsServer

REGION = "us-east-1"
ACCESS_KEY = "sandbox"
SECRET_KEY = "sandbox-secret"  # noqa: S105 - moto checks no signature
ACCOUNT = "123456789012"

# The account from which Amazon delivers notifications (Notifications API use case guide).
AMAZON_PRINCIPAL = "437568002678"
VISIBILITY_SECONDS = 60
MAX_RECEIVES = 20
BATCH = 10
LARGE_BODY_BYTES = 256 * 1024 - 1024
REORDER_SECONDS = 3.0


@dataclass
class QueueOptions:
    """How badly the queue behaves. The defaults are a standard queue on a good day."""

    copies: int = 1
    duplicate_share: float = 0.0
    disorder_share: float = 0.0
    disorder_seconds: float = REORDER_SECONDS
    # Hostile extras, each a share of the messages that are accompanied by one.
    malformed_share: float = 0.0
    unknown_type_share: float = 0.0
    large_body_share: float = 0.0
    sns_envelope_share: float = 0.0
    eventbridge_envelope_share: float = 0.0

    @classmethod
    def hostile(cls) -> QueueOptions:
        return cls(
            copies=5,
            disorder_share=1.0,
            malformed_share=0.05,
            unknown_type_share=0.02,
            large_body_share=0.01,
            sns_envelope_share=0.1,
            eventbridge_envelope_share=0.2,
        )


class Queue:
    def __init__(self, *, clock: Clock, options: QueueOptions, port: int = 0, seed: int = 0) -> None:
        self._clock = clock
        self.options = options
        self._random = random.Random(seed)
        self._server = SqsServer(port)
        # moto keeps one set of queues for the whole process; each sandbox has queues of its own.
        self.name = f"amazon-notifications-{secrets.token_hex(4)}"
        self.dead_letter_name = f"{self.name}-dead-letters"
        self.arn = f"arn:aws:sqs:{REGION}:{ACCOUNT}:{self.name}"
        self.endpoint = self._server.endpoint
        self.url = ""
        self.dead_letter_url = ""
        self._client: Any = None
        self._attributes: dict[str, str] = {}
        self.sent = 0
        self.junk_sent = 0
        self._condition = threading.Condition()
        self._pending: list[tuple[float, int, str, str]] = []
        self._in_hand = 0
        self._sequence = 0
        self._stopping = False
        self._sender = threading.Thread(target=self._deliver, name="sandbox-amazon-notifications", daemon=True)

    def start(self) -> None:
        self._server.start()
        client = self.client()
        self.dead_letter_url = client.create_queue(QueueName=self.dead_letter_name)["QueueUrl"]
        policy = {
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Sid": "AmazonNotifications",
                    "Effect": "Allow",
                    "Principal": {"AWS": f"arn:aws:iam::{AMAZON_PRINCIPAL}:root"},
                    "Action": ["sqs:SendMessage", "sqs:GetQueueAttributes"],
                    "Resource": self.arn,
                }
            ],
        }
        redrive = {
            "deadLetterTargetArn": f"arn:aws:sqs:{REGION}:{ACCOUNT}:{self.dead_letter_name}",
            "maxReceiveCount": MAX_RECEIVES,
        }
        self._attributes = {
            "Policy": json.dumps(policy),
            "RedrivePolicy": json.dumps(redrive),
            "VisibilityTimeout": str(VISIBILITY_SECONDS),
            "MessageRetentionPeriod": "1209600",
        }
        self.url = client.create_queue(QueueName=self.name, Attributes=self._attributes)["QueueUrl"]
        self._sender.start()

    def add(self, suffix: str) -> tuple[str, str]:
        """Another queue at the same server, (ARN, URL): Amazon delivers to each what was subscribed to it."""
        name = f"{self.name}-{suffix}"
        url = self.client().create_queue(QueueName=name, Attributes=self._attributes)["QueueUrl"]
        return f"arn:aws:sqs:{REGION}:{ACCOUNT}:{name}", url

    def stop(self) -> None:
        with self._condition:
            self._stopping = True
            self._condition.notify_all()
        self._sender.join(timeout=5)
        self._server.stop()

    def client(self) -> Any:
        """One boto3 client for all threads: it may be shared, and making one takes longer than many calls."""
        if self._client is None:
            self._client = boto3.client(
                "sqs",
                endpoint_url=self.endpoint,
                region_name=REGION,
                aws_access_key_id=ACCESS_KEY,
                aws_secret_access_key=SECRET_KEY,
                config=Config(retries={"max_attempts": 2}, connect_timeout=5, read_timeout=30, proxies={}),
            )
        return self._client

    def publish(self, queue_arn: str, message: dict[str, Any]) -> None:
        """Amazon's side: deliver this message soon, with all that the options do to it on the way."""
        options, chance = self.options, self._random
        with self._condition:
            copies = options.copies + (1 if chance.random() < options.duplicate_share else 0)
            for _ in range(copies):
                body = json.dumps(message)
                if chance.random() < options.sns_envelope_share:
                    body = sns_envelope(body)
                elif chance.random() < options.eventbridge_envelope_share:
                    body = eventbridge_envelope(body)
                self._enqueue(queue_arn, body)
            for share, junk in (
                (options.malformed_share, malformed_body),
                (options.unknown_type_share, unknown_type_body),
                (options.large_body_share, large_body),
            ):
                if chance.random() < share:
                    self._enqueue(queue_arn, junk(chance))
                    self.junk_sent += 1
            self._condition.notify()

    def send(self, *bodies: str) -> None:
        """Put these bodies on the queue now, as they are."""
        client = self.client()
        for body in bodies:
            client.send_message(QueueUrl=self.url, MessageBody=body)
            self.sent += 1

    def drained(self) -> bool:
        """Nothing waits to be sent, and nothing is on the queue, visible or in flight."""
        with self._condition:
            if self._pending or self._in_hand:
                return False
        return self.depth() == 0

    def await_sent(self, timeout_seconds: float = 30.0) -> None:
        """Return once whatever is due is on the queue. Raises TimeoutError if that takes longer."""
        with self._condition:
            if not self._condition.wait_for(lambda: not self._in_hand and not self._due(), timeout_seconds):
                raise TimeoutError(f"{self._in_hand} messages were not sent within {timeout_seconds:.0f} s")

    def depth(self) -> int:
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        attributes = self.client().get_queue_attributes(QueueUrl=self.url, AttributeNames=names)["Attributes"]
        return sum(int(value) for value in attributes.values())

    def accepts_amazon(self, arn: str) -> bool:
        """What Amazon finds out when a destination is made: the queue is there and lets Amazon's principal send."""
        client = self.client()
        name = arn.rsplit(":", 1)[-1]
        if name.endswith(".fifo"):
            return False
        try:
            url = client.get_queue_url(QueueName=name)["QueueUrl"]
        except client.exceptions.QueueDoesNotExist:
            return False
        attributes = client.get_queue_attributes(QueueUrl=url, AttributeNames=["Policy"]).get("Attributes", {})
        return AMAZON_PRINCIPAL in attributes.get("Policy", "")

    def _enqueue(self, queue_arn: str, body: str) -> None:
        delay = 0.0
        if self._random.random() < self.options.disorder_share:
            delay = self._random.uniform(0.0, self.options.disorder_seconds)
        self._sequence += 1
        heapq.heappush(self._pending, (self._clock.monotonic() + delay, self._sequence, queue_arn, body))

    def _deliver(self) -> None:
        client = self.client()
        urls = {self.arn: self.url}
        while True:
            with self._condition:
                while not self._stopping and not self._due():
                    wait = self._pending[0][0] - self._clock.monotonic() if self._pending else None
                    self._condition.wait(wait if wait is None else max(0.005, wait))
                if self._stopping:
                    return
                due = [heapq.heappop(self._pending) for _ in range(BATCH) if self._due()]
                self._in_hand = len(due)
            by_queue: dict[str, list[str]] = {}
            for _, _, arn, body in due:
                by_queue.setdefault(arn, []).append(body)
            for arn, bodies in by_queue.items():
                if arn not in urls:
                    urls[arn] = client.get_queue_url(QueueName=arn.rsplit(":", 1)[-1])["QueueUrl"]
                self._send(client, urls[arn], bodies)
            with self._condition:
                self._in_hand = 0
                self._condition.notify_all()

    def _due(self) -> bool:
        return bool(self._pending) and self._pending[0][0] <= self._clock.monotonic()

    def _send(self, client: Any, url: str, bodies: list[str]) -> None:
        large = [body for body in bodies if len(body) > 16 * 1024]
        small = [body for body in bodies if len(body) <= 16 * 1024]
        for body in large:
            client.send_message(QueueUrl=url, MessageBody=body)
        if small:
            entries = [{"Id": str(index), "MessageBody": body} for index, body in enumerate(small)]
            client.send_message_batch(QueueUrl=url, Entries=entries)
        self.sent += len(bodies)


def sns_envelope(body: str) -> str:
    """What arrives when someone put SNS between Amazon and the queue."""
    return json.dumps(
        {
            "Type": "Notification",
            "MessageId": str(uuid.uuid4()),
            "TopicArn": f"arn:aws:sns:{REGION}:{ACCOUNT}:notifications",
            "Message": body,
            "Timestamp": "2026-01-01T00:00:00.000Z",
        }
    )


def eventbridge_envelope(body: str) -> str:
    """What arrives when a rule on the partner's event bus sends to the queue (amzn/selling-partner-api-models#4516)."""
    detail = json.loads(body)
    return json.dumps(
        {
            "version": "0",
            "id": str(uuid.uuid4()),
            "detail-type": detail["NotificationType"],
            "source": f"aws.partner/sellingpartnerapi.amazon.com/{ACCOUNT}/amzn1.sellerapps.app.sandbox",
            "account": ACCOUNT,
            "time": "2026-01-01T00:00:00Z",
            "region": REGION,
            "resources": [],
            "detail": detail,
        }
    )


def malformed_body(chance: random.Random) -> str:
    return chance.choice(
        [
            "not json at all",
            '{"NotificationType": "ORDER_CHANGE", "Payload": {"OrderChangeNotification": {',
            "[]",
            "null",
            '{"NotificationType": "ORDER_CHANGE", "NotificationVersion": "1.0"}',
            '{"NotificationType": 7, "Payload": "text"}',
            json.dumps(
                {
                    "NotificationVersion": "1.0",
                    "NotificationType": "ORDER_CHANGE",
                    "PayloadVersion": "1.0",
                    "EventTime": "x",
                    "Payload": {"OrderChangeNotification": {"AmazonOrderId": 12}},
                    "NotificationMetadata": {},
                }
            ),
        ]
    )


def unknown_type_body(chance: random.Random) -> str:
    if chance.random() < 0.5:
        return json.dumps(
            {
                "notificationVersion": "1.0",
                "notificationType": "REPORT_PROCESSING_FINISHED",
                "payloadVersion": "2020-09-04",
                "eventTime": "2026-01-01T00:00:00.000Z",
                "payload": {"reportProcessingFinishedNotification": {"reportId": "1", "processingStatus": "DONE"}},
                "notificationMetadata": {"notificationId": str(uuid.uuid4())},
            }
        )
    return json.dumps({"NotificationType": "NEVER_HEARD_OF", "NotificationVersion": "9.0", "Payload": {"A": 1}})


def large_body(chance: random.Random) -> str:
    filler = chance.choice("xyz") * LARGE_BODY_BYTES
    return json.dumps({"NotificationType": "NEVER_HEARD_OF", "NotificationVersion": "1.0", "Payload": {"Data": filler}})
