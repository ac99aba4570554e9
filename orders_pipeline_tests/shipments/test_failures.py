"""What each failure of confirmShipment means: one table, gone through row by row."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from orders_pipeline.channels.amazon import errors
from orders_pipeline.channels.amazon.auth.login import OPERATION as LOGIN
from orders_pipeline.model.states import PackageState
from orders_pipeline.shipments.failures import CONFIRM_FAILURES, CONFIRM_POLICY, CONFIRM_RULES, event_of
from orders_pipeline.shipments.states import PACKAGE_STATES
from orders_pipeline.work.failures import Does
from orders_pipeline.work.retry import decide_retry
from orders_pipeline.work.runner import NotBefore, Refused, Retry

NOW = datetime(2026, 11, 1, tzinfo=UTC)
CALL = "confirmShipment"
S = PackageState
NO_QUOTA = errors.LimitNotBefore("no quota", operation=CALL, not_before=NOW)

FAILURES: list[tuple[errors.AmazonError, Does, PackageState]] = [
    (NO_QUOTA, Does.NOT_BEFORE, S.PENDING),
    (errors.AmazonUnavailable("no token", operation=LOGIN, status=503), Does.REFUSED_WHOLE, S.PENDING),
    (errors.AmazonClientInvalid("invalid_client", operation=LOGIN), Does.REFUSED_WHOLE, S.PENDING),
    (errors.AmazonRevoked("invalid_grant", operation=CALL), Does.REFUSED_WHOLE, S.PENDING),
    (errors.AmazonTokenExpired("expired", operation=CALL), Does.REFUSED_WHOLE, S.PENDING),
    (errors.AmazonAuthError("401", operation=CALL, status=401), Does.REFUSED_WHOLE, S.PENDING),
    (errors.AmazonAuthError("403", operation=CALL, status=403), Does.REFUSED, S.PENDING),
    (errors.AmazonRoleMissing("403", operation=CALL, status=403), Does.REFUSED, S.PENDING),
    (errors.AmazonWrongRegion("403", operation=CALL, status=403), Does.REFUSED, S.PENDING),
    (errors.AmazonThrottled("429", operation=CALL, status=429), Does.RETRY, S.PENDING),
    (errors.AmazonBadRequest("400", operation=CALL, status=400), Does.DONE, S.REFUSED_UNVERIFIED),
    (errors.AmazonBadRequest("not sent", operation=CALL, code="InvalidConfirmation"), Does.DONE, S.REFUSED_UNVERIFIED),
    (errors.AmazonConflict("409", operation=CALL, status=409), Does.DONE, S.REFUSED_UNVERIFIED),
    (errors.AmazonNotFound("404", operation=CALL, status=404), Does.DONE, S.REFUSED_UNVERIFIED),
    (errors.AmazonUnavailable("503", operation=CALL, status=503), Does.REFUSED, S.SENDING),
    (errors.AmazonUnavailable("no answer", operation=CALL), Does.REFUSED, S.SENDING),
    (errors.AmazonProtocolError("no answer of the model", operation=CALL), Does.REFUSED, S.SENDING),
]


@pytest.mark.parametrize(("error", "does", "state"), FAILURES, ids=lambda value: type(value).__name__)
def test_what_a_failed_confirmation_leads_to(error: errors.AmazonError, does: Does, state: PackageState):
    rule = CONFIRM_FAILURES.rule_of(error)
    assert rule is not None
    assert rule.does is does
    assert PACKAGE_STATES.next_state(S.SENDING, event_of(error)) is state
    if does is Does.DONE:
        return
    answer = CONFIRM_FAILURES.answer(error)
    assert isinstance(answer, {Does.NOT_BEFORE: NotBefore, Does.RETRY: Retry}.get(does, Refused))
    assert not isinstance(answer, Refused) or answer.whole is (does is Does.REFUSED_WHOLE)


def test_every_row_of_the_table_is_gone_through():
    assert {id(CONFIRM_FAILURES.rule_of(error)) for error, _, _ in FAILURES} == {id(rule) for rule in CONFIRM_RULES}


TEN_MINUTES, DAY = timedelta(minutes=10), timedelta(days=1)


@pytest.mark.parametrize(
    ("failed_before", "past_ship_by", "delay"),
    [
        (0, -DAY, timedelta(seconds=10)),
        (5, -DAY, timedelta(seconds=320)),
        # However often it failed, before its ship-by time and for a day after.
        (13, -20 * DAY, TEN_MINUTES),
        (2_000, -timedelta(seconds=1), TEN_MINUTES),
        (2_000, timedelta(), TEN_MINUTES),
        (2_000, DAY - timedelta(seconds=1), TEN_MINUTES),
        (2_000, DAY, None),
        # A package that is reported late has its tries all the same.
        (0, 3 * DAY, timedelta(seconds=10)),
        (12, 3 * DAY, TEN_MINUTES),
        (13, 3 * DAY, None),
        # Amazon gave no time.
        (12, None, TEN_MINUTES),
        (13, None, None),
    ],
)
def test_no_confirmation_is_given_up_before_its_ship_by_time_and_a_day(
    failed_before: int, past_ship_by: timedelta | None, delay: timedelta | None
):
    decision = decide_retry(CONFIRM_POLICY, failed_before, lambda: 0.0, past_ship_by=past_ship_by)
    assert decision.delay == delay
