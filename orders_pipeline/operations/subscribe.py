"""Have Amazon deliver to an account's queue what the account wants to hear of."""

from __future__ import annotations

from collections.abc import Mapping

from orders_pipeline.channels.amazon.api.notifications import ORDER_CHANGE, SubscriptionReport
from orders_pipeline.channels.amazon.errors import AmazonError
from orders_pipeline.channels.amazon.notification_types import wanted_notifications
from orders_pipeline.operations.accounts import Numbers
from orders_pipeline.operations.deployment import ServedAccount


def subscribe_types(account: ServedAccount, *, replace: bool = False) -> Mapping[str, SubscriptionReport | AmazonError]:
    """Create what is missing, by type; running it again changes nothing. Raises AmazonError, QueueUnavailable.

    What Amazon refuses of a type that the account may do without is returned: no order waits for it.
    """
    queue_arn = account.queue.attributes()["QueueArn"]
    subscribe = account.amazon.notifications.subscribe
    found: dict[str, SubscriptionReport | AmazonError] = {}
    for notification_type in wanted_notifications(account.settings):
        try:
            found[notification_type] = subscribe(queue_arn, notification_type, replace=replace)
        except AmazonError as error:
            if notification_type == ORDER_CHANGE:
                raise
            found[notification_type] = error
    return found


def subscribe_account(account: ServedAccount) -> Numbers:
    """The same, as numbers and words for people."""
    reports = subscribe_types(account)
    done = [one for one in reports.values() if isinstance(one, SubscriptionReport)]
    return {
        "subscription_created": sum(one.subscription_created for one in done),
        "destination_created": sum(one.destination_created for one in done),
        "problem": "; ".join(problems_of(reports)) or "none",
    }


def problems_of(reports: Mapping[str, SubscriptionReport | AmazonError]) -> list[str]:
    """What a person must decide, or what Amazon refused, a sentence each."""
    return [
        one.problem if isinstance(one, SubscriptionReport) else f"{name} was not subscribed to: {one}"
        for name, one in reports.items()
        if not isinstance(one, SubscriptionReport) or one.problem
    ]
