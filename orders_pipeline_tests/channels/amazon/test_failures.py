"""What a queue does about each failure of a reading call, row by row."""

from __future__ import annotations

import inspect
from datetime import UTC, datetime
from typing import Any

import pytest

from orders_pipeline.channels.amazon import errors
from orders_pipeline.channels.amazon.auth.login import OPERATION as LOGIN
from orders_pipeline.channels.amazon.errors import (
    AmazonAuthError,
    AmazonBadRequest,
    AmazonClientInvalid,
    AmazonCodeRefused,
    AmazonConflict,
    AmazonError,
    AmazonNotAuthorized,
    AmazonNotFound,
    AmazonPageTokenInvalid,
    AmazonProtocolError,
    AmazonRevoked,
    AmazonRoleMissing,
    AmazonThrottled,
    AmazonTokenExpired,
    AmazonUnavailable,
    AmazonWrongRegion,
    LimitNotBefore,
)
from orders_pipeline.channels.amazon.failures import (
    NOT_FOUND_POLICY,
    PROTOCOL_POLICY,
    READ_FAILURES,
    THROTTLED_POLICY,
)
from orders_pipeline.work.jobs import AMAZON
from orders_pipeline.work.runner import NotBefore, Park, Refused, Retry

BACK = datetime(2026, 3, 1, tzinfo=UTC)


def failure(kind: type[AmazonError], status: int | None = None, operation: str = "getOrder") -> AmazonError:
    if kind is LimitNotBefore:
        return LimitNotBefore("no quota", operation=operation, not_before=BACK)
    return kind("it failed", operation=operation, status=status)


def answered(error: Exception) -> tuple[Any, ...]:
    answer = READ_FAILURES.answer(error)
    if isinstance(answer, Refused):
        assert answer.dependency == AMAZON
        return Refused, answer.whole
    if isinstance(answer, Retry):
        return Retry, answer.policy
    return (type(answer), answer.at) if isinstance(answer, NotBefore) else (type(answer),)


ROWS = [
    (failure(LimitNotBefore), (NotBefore, BACK)),
    (failure(AmazonUnavailable, None, LOGIN), (Refused, True)),
    (failure(AmazonRoleMissing, 400, LOGIN), (Refused, True)),
    (failure(AmazonAuthError, 400, LOGIN), (Refused, True)),
    (failure(AmazonClientInvalid, 401, LOGIN), (Refused, True)),
    (failure(AmazonNotAuthorized, None, LOGIN), (Refused, True)),
    (failure(AmazonCodeRefused, 400, LOGIN), (Refused, True)),
    (failure(AmazonRevoked, 403), (Refused, True)),
    (failure(AmazonTokenExpired, 403), (Refused, True)),
    (failure(AmazonAuthError, 401), (Refused, True)),
    (failure(AmazonRoleMissing, 401), (Refused, True)),
    (failure(AmazonRoleMissing, 403), (Refused, False)),
    (failure(AmazonWrongRegion, 403), (Refused, False)),
    (failure(AmazonAuthError, 403), (Refused, False)),
    (failure(AmazonThrottled, 429), (Retry, THROTTLED_POLICY)),
    (failure(AmazonUnavailable, 500), (Refused, False)),
    (failure(AmazonUnavailable, 503), (Refused, False)),
    (failure(AmazonUnavailable), (Refused, False)),
    (failure(AmazonNotFound, 404), (Retry, NOT_FOUND_POLICY)),
    (failure(AmazonProtocolError, 200), (Retry, PROTOCOL_POLICY)),
    (failure(AmazonBadRequest, 400), (Park,)),
    (failure(AmazonConflict, 409), (Park,)),
    (failure(AmazonPageTokenInvalid, 400), (Park,)),
]


@pytest.mark.parametrize(
    ("error", "answer"), ROWS, ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None
)
def test_what_the_queue_does_about_each_failure(error: AmazonError, answer: tuple[Any, ...]):
    assert answered(error) == answer


def test_every_error_of_amazons_and_every_rule_has_its_row():
    kinds = {
        kind
        for _, kind in inspect.getmembers(errors, inspect.isclass)
        if issubclass(kind, AmazonError) and kind is not AmazonError
    }
    assert {type(error) for error, _ in ROWS} == kinds
    met = [READ_FAILURES.rule_of(error) for error, _ in ROWS]
    assert [rule.why for rule in READ_FAILURES.rules if rule not in met] == []


def test_an_error_that_is_none_of_amazons_stays_what_it_is():
    defect = ValueError("a defect")
    assert READ_FAILURES.answer(defect) is defect
