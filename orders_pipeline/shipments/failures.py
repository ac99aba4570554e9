"""What each failure of confirmShipment means for the package, for its job, and for the others."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from orders_pipeline.channels.amazon.auth.login import OPERATION as LOGIN
from orders_pipeline.channels.amazon.errors import (
    AmazonAuthError,
    AmazonBadRequest,
    AmazonError,
    AmazonNotFound,
    AmazonRevoked,
    AmazonThrottled,
    AmazonTokenExpired,
    LimitNotBefore,
)
from orders_pipeline.channels.amazon.failures import THROTTLED_POLICY
from orders_pipeline.shipments.states import PackageEvent
from orders_pipeline.work.failures import Does, FailureRule, FailureTable
from orders_pipeline.work.jobs import AMAZON
from orders_pipeline.work.retry import Policy

# An hour and a half until a person is asked: the ship-by time goes on.
CONFIRM_POLICY = Policy(first=timedelta(seconds=10), longest=timedelta(minutes=10), attempts=14)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfirmRule(FailureRule):
    """As a rule of any port; `event`: what happens to the package."""

    event: PackageEvent = PackageEvent.CALL_NOT_MADE


CONFIRM_RULES = (
    ConfirmRule(
        LimitNotBefore,
        Does.NOT_BEFORE,
        "no quota is left within the deadline, or the breaker is open; nothing was sent",
        until=lambda error: error.not_before,
    ),
    ConfirmRule(
        AmazonError,
        Does.REFUSED_WHOLE,
        "nothing can be confirmed without a token; nothing was sent",
        when="of Login with Amazon",
        applies=lambda error: error.operation == LOGIN,
    ),
    ConfirmRule(AmazonRevoked, Does.REFUSED_WHOLE, "the token itself is refused: the seller took it back"),
    ConfirmRule(AmazonTokenExpired, Does.REFUSED_WHOLE, "the token itself is refused, whatever it is used for"),
    ConfirmRule(
        AmazonAuthError,
        Does.REFUSED_WHOLE,
        "401 is about the token",
        when="401",
        applies=lambda error: error.status == 401,
    ),
    ConfirmRule(
        AmazonAuthError,
        Does.REFUSED,
        "403: a role is missing, or this one order is refused; only another order tells which",
        when="any other: `AmazonRoleMissing`, `AmazonWrongRegion`, 403",
    ),
    ConfirmRule(
        AmazonThrottled,
        Does.RETRY,
        "429 although our bucket allowed it, after 4 tries within the call; the bucket was emptied and rests",
        policy=THROTTLED_POLICY,
    ),
    ConfirmRule(
        AmazonBadRequest,
        Does.DONE,
        '400, 409, 413, 415, or wrong before it is sent; "already fulfilled" comes as a 400 too. Not shown, the '
        "package is refused, and a person is asked",
        event=PackageEvent.CALL_REFUSED,
    ),
    ConfirmRule(
        AmazonNotFound,
        Does.DONE,
        "Amazon does not know the order for this call; whether it shows the package decides",
        event=PackageEvent.CALL_REFUSED,
    ),
    ConfirmRule(
        AmazonError,
        Does.REFUSED,
        "500, 503, no answer, or none of the API's model: Amazon may have it. It is verified before the next call",
        when="any other",
        event=PackageEvent.CALL_UNKNOWN,
    ),
)
CONFIRM_FAILURES = FailureTable("Confirming a package at Amazon", AMAZON, CONFIRM_POLICY, CONFIRM_RULES)


def event_of(error: AmazonError) -> PackageEvent:
    """What happens to the package whose call failed so."""
    return next(rule.event for rule in CONFIRM_RULES if rule is CONFIRM_FAILURES.rule_of(error))
