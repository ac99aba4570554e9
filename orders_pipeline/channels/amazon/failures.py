"""What each failure of a call means for the order that it is about, and for the others."""

from __future__ import annotations

from datetime import timedelta

from orders_pipeline.channels.amazon.auth.login import OPERATION as LOGIN
from orders_pipeline.channels.amazon.errors import (
    AmazonAuthError,
    AmazonBadRequest,
    AmazonError,
    AmazonNotFound,
    AmazonProtocolError,
    AmazonRevoked,
    AmazonThrottled,
    AmazonTokenExpired,
    AmazonUnavailable,
    LimitNotBefore,
)
from orders_pipeline.work.failures import Does, FailureRule, FailureTable
from orders_pipeline.work.jobs import AMAZON
from orders_pipeline.work.retry import Policy

# 30 s, 1 min, 2 min … 1 h: some nine hours in all.
READ_POLICY = Policy(first=timedelta(seconds=30), longest=timedelta(hours=1), attempts=15)
# An order may be announced before it can be read.
NOT_FOUND_POLICY = Policy(first=timedelta(seconds=30), longest=timedelta(hours=1), attempts=3)
# A proxy on the way may answer in Amazon's place for minutes; a form that Amazon changed stays.
PROTOCOL_POLICY = Policy(first=timedelta(seconds=30), longest=timedelta(hours=1), attempts=4)
# Whoever uses up the quota beside us is not this order's fault.
THROTTLED_POLICY = Policy(first=timedelta(seconds=5), longest=timedelta(minutes=5), attempts=None)


def _is_login(error: AmazonError) -> bool:
    return error.operation == LOGIN


# What any call can meet, and what it is then sure not to have done.
CALL_RULES = (
    FailureRule(
        LimitNotBefore,
        Does.NOT_BEFORE,
        "no quota is left within the deadline, or the breaker is open; nothing was sent",
        until=lambda error: error.not_before,
    ),
    FailureRule(
        AmazonError,
        Does.REFUSED_WHOLE,
        "no call can be made without a token; nothing was sent",
        when="of Login with Amazon",
        applies=_is_login,
    ),
    FailureRule(AmazonRevoked, Does.REFUSED_WHOLE, "the token itself is refused: the seller took it back"),
    FailureRule(AmazonTokenExpired, Does.REFUSED_WHOLE, "the token itself is refused, whatever it is used for"),
    FailureRule(
        AmazonAuthError,
        Does.REFUSED_WHOLE,
        "401 is about the token",
        when="401",
        applies=lambda error: error.status == 401,
    ),
    FailureRule(
        AmazonAuthError,
        Does.REFUSED,
        "403: a role is missing, or this one order is refused; only another order tells which",
        when="any other: `AmazonRoleMissing`, `AmazonWrongRegion`, 403",
    ),
    FailureRule(
        AmazonThrottled,
        Does.RETRY,
        "429 although our bucket allowed it, after 4 tries within the call; the bucket was emptied and rests",
        policy=THROTTLED_POLICY,
    ),
)

READ_FAILURES = FailureTable(
    heading="Reading an order at Amazon (to fetch it, or to verify its packages)",
    dependency=AMAZON,
    policy=READ_POLICY,
    rules=(
        *CALL_RULES,
        FailureRule(
            AmazonUnavailable,
            Does.REFUSED,
            "500, 503 or no answer: an outage, or one order that Amazon cannot read",
        ),
        FailureRule(AmazonNotFound, Does.RETRY, "it may be announced before it can be read", policy=NOT_FOUND_POLICY),
        FailureRule(AmazonProtocolError, Does.RETRY, "not an answer of the API's model", policy=PROTOCOL_POLICY),
        FailureRule(AmazonBadRequest, Does.PARK, "what was sent is wrong, and sending it again cannot help"),
    ),
)
