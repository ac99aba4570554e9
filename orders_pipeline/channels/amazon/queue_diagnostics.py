"""Can Amazon deliver to this queue, and will nothing be lost in it?"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from orders_pipeline.channels.amazon.diagnostics import DiagnosticResult, bad, good

# The account that the Notifications API sends from (facts §5).
AMAZON_ACCOUNT = "437568002678"
NEEDED_ACTIONS = ("sqs:SendMessage", "sqs:GetQueueAttributes")
# A tick reads, commits and deletes well within this; less, and a slow tick sees its messages again.
LEAST_VISIBILITY_SECONDS = 30
# A weekend's outage must not empty the queue.
LEAST_RETENTION_SECONDS = 4 * 24 * 3600
LEAST_RECEIVES = 3


def check_queue(attributes: Mapping[str, str]) -> list[DiagnosticResult]:
    """What to do about the queue, from `GetQueueAttributes` with `All`."""
    arn = attributes.get("QueueArn", "")
    return [
        _type(attributes, arn),
        _policy(attributes, arn),
        _encryption(attributes),
        _dead_letters(attributes),
        _visibility(attributes),
        _retention(attributes),
    ]


def _type(attributes: Mapping[str, str], arn: str) -> DiagnosticResult:
    subject = "queue type"
    if attributes.get("FifoQueue", "").lower() == "true" or arn.endswith(".fifo"):
        return bad(
            subject,
            "FIFO",
            "Amazon delivers to standard queues only: make one, set AMAZON_SQS_QUEUE_URL, and run "
            "`orders-pipeline subscribe`.",
        )
    return good(subject, "standard")


def _policy(attributes: Mapping[str, str], arn: str) -> DiagnosticResult:
    subject = "queue policy"
    try:
        policy = json.loads(attributes.get("Policy") or "{}")
    except ValueError:
        policy = {}
    statements = policy.get("Statement", []) if isinstance(policy, dict) else []
    allowed: set[str] = set()
    for statement in statements if isinstance(statements, list) else [statements]:
        if (
            isinstance(statement, dict)
            and statement.get("Effect") == "Allow"
            and _is_amazon(statement.get("Principal"))
        ):
            allowed |= {action.lower() for action in _texts(statement.get("Action"))}
    missing = [action for action in NEEDED_ACTIONS if not allowed & {action.lower(), "sqs:*", "*"}]
    if missing:
        return bad(
            subject,
            f"Amazon's account {AMAZON_ACCOUNT} may not {' and '.join(missing)}",
            f"Add a statement to the queue's policy: Effect Allow, Principal AWS arn:aws:iam::{AMAZON_ACCOUNT}:root, "
            f"Action {' and '.join(NEEDED_ACTIONS)}, Resource {arn or 'the queue'}. Without it nothing arrives, and "
            "nobody says so.",
        )
    return good(subject, f"Amazon's account {AMAZON_ACCOUNT} may deliver")


def _encryption(attributes: Mapping[str, str]) -> DiagnosticResult:
    subject = "queue encryption"
    key = attributes.get("KmsMasterKeyId", "")
    if key.endswith("alias/aws/sqs"):
        return bad(
            subject,
            "the AWS-managed key",
            "Its policy cannot name Amazon's account, so nothing can be delivered: use SSE-SQS, or a customer-managed "
            f"KMS key that allows {AMAZON_ACCOUNT} kms:GenerateDataKey and kms:Decrypt.",
        )
    if key:
        return good(subject, f"KMS; its key policy must allow {AMAZON_ACCOUNT} kms:GenerateDataKey and kms:Decrypt")
    if attributes.get("SqsManagedSseEnabled", "").lower() == "true":
        return good(subject, "SSE-SQS")
    return bad(
        subject,
        "none",
        "Messages hold a buyer's postal code: switch on SSE-SQS (or SSE-KMS) for the queue and its DLQ.",
    )


def _dead_letters(attributes: Mapping[str, str]) -> DiagnosticResult:
    subject = "dead-letter queue"
    try:
        redrive = json.loads(attributes.get("RedrivePolicy") or "{}")
    except ValueError:
        redrive = {}
    if not isinstance(redrive, dict) or not redrive.get("deadLetterTargetArn"):
        return bad(
            subject,
            "none",
            "A message that makes its reader fail comes back until it expires: make a standard queue for dead letters "
            "and set it in the queue's redrive policy, with maxReceiveCount 10.",
        )
    receives = int(str(redrive.get("maxReceiveCount", 0)) or 0)
    if receives < LEAST_RECEIVES:
        return bad(
            subject,
            f"after {receives} receives",
            f"A restart or two would send good messages there: set maxReceiveCount to 10 (at least {LEAST_RECEIVES}).",
        )
    return good(subject, f"after {receives} receives")


def _visibility(attributes: Mapping[str, str]) -> DiagnosticResult:
    subject = "visibility time-out"
    seconds = _whole(attributes, "VisibilityTimeout")
    if seconds < LEAST_VISIBILITY_SECONDS:
        return bad(
            subject,
            f"{seconds} s",
            f"Set it to at least {LEAST_VISIBILITY_SECONDS} s, or messages come again while they are being recorded.",
        )
    return good(subject, f"{seconds} s")


def _retention(attributes: Mapping[str, str]) -> DiagnosticResult:
    subject = "queue retention"
    seconds = _whole(attributes, "MessageRetentionPeriod")
    if seconds < LEAST_RETENTION_SECONDS:
        return bad(
            subject, f"{seconds // 3600} h", "Set it to 4 days at least (14 days is the most): a weekend's outage fits."
        )
    return good(subject, f"{seconds // 86400} days")


def _is_amazon(principal: Any) -> bool:
    named = _texts(principal.get("AWS")) if isinstance(principal, dict) else _texts(principal)
    return any(name == "*" or AMAZON_ACCOUNT in name for name in named)


def _texts(value: Any) -> list[str]:
    return [str(one) for one in value] if isinstance(value, list) else [str(value)] if value else []


def _whole(attributes: Mapping[str, str], name: str) -> int:
    text = attributes.get(name, "0")
    return int(text) if text.isdecimal() else 0
