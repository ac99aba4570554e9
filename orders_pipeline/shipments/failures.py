"""What each failure of confirmShipment means for the package, for its job, and for the others."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from orders_pipeline.channels.amazon.errors import AmazonBadRequest, AmazonError, AmazonNotFound
from orders_pipeline.channels.amazon.failures import CALL_RULES
from orders_pipeline.shipments.states import PackageEvent
from orders_pipeline.work.failures import Does, FailureRule, FailureTable
from orders_pipeline.work.jobs import AMAZON
from orders_pipeline.work.retry import Policy

# Decision: a confirmation is tried every ten minutes until a day after the ship-by time, since late is better than
# never, and only then parked; a person hears of it four hours before that time, by `package.late`. A package that is
# reported later than that, or whose order has no ship-by time, is parked after an hour and a half.
CONFIRM_POLICY = Policy(
    first=timedelta(seconds=10), longest=timedelta(minutes=10), attempts=14, kept_after_ship_by=timedelta(days=1)
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfirmRule(FailureRule):
    """A call that reached Amazon, or may have; `event`: what happens to the package."""

    event: PackageEvent


CONFIRM_RULES = (
    *CALL_RULES,
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
    rule = CONFIRM_FAILURES.rule_of(error)
    return rule.event if isinstance(rule, ConfirmRule) else PackageEvent.CALL_NOT_MADE
