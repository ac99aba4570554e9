"""Have Amazon deliver an account's order changes to its queue."""

from __future__ import annotations

from orders_pipeline.operations.accounts import Numbers
from orders_pipeline.operations.deployment import ServedAccount


def subscribe_account(account: ServedAccount) -> Numbers:
    """Create what is missing; running it again changes nothing. Raises AmazonError, QueueUnavailable."""
    report = account.amazon.notifications.subscribe(account.queue.attributes()["QueueArn"])
    return {
        "subscription_created": int(report.subscription_created),
        "destination_created": int(report.destination_created),
        "problem": report.problem or "none",
    }
