"""When a refusal counts as a revocation: never at once, never for a token that never worked, and within the day."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from orders_pipeline.channels.amazon.auth.authorizations import Authorization
from orders_pipeline.channels.amazon.auth.revocation import (
    REFUSALS_AT_LEAST,
    REFUSED_FOR,
    Standing,
    ends_at,
    standing,
)

NOW = datetime(2026, 12, 1, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
WORKED = Authorization(
    "A1", "f", "consent", NOW - 30 * 24 * HOUR, "person:susan", None, None, NOW - 14 * HOUR, None, None, 0, None, None,
    None, NOW,
)  # fmt: skip
REFUSED = replace(WORKED, refused_since=NOW - REFUSED_FOR, refused_at=NOW, refusals=REFUSALS_AT_LEAST)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, Standing.REVOKED),
        ({"refused_since": None, "refused_at": None, "refusals": 0}, Standing.WORKS),
        ({"worked_at": None}, Standing.NEVER_WORKED),
        ({"refused_since": NOW - REFUSED_FOR + timedelta(minutes=1)}, Standing.REFUSED),
        ({"refusals": REFUSALS_AT_LEAST - 1}, Standing.REFUSED),
        # Nobody could ask for hours: what it was refused then says nothing of now.
        ({"refused_at": NOW - 2 * HOUR}, Standing.REFUSED),
        ({"kept_until": NOW + HOUR}, Standing.KEPT),
        ({"kept_until": NOW - HOUR}, Standing.REVOKED),
        ({"ended_at": NOW - HOUR, "kept_until": NOW + HOUR}, Standing.ENDED),
    ],
)
def test_a_token_that_worked_and_is_refused_for_half_a_day_is_revoked(change: dict[str, Any], expected: Standing):
    assert standing(replace(REFUSED, **change), others_work=True) is expected


def test_where_every_account_is_refused_a_person_decides():
    assert standing(REFUSED, others_work=False) is Standing.ALL_REFUSED


def test_the_data_can_go_within_the_day_and_what_a_person_says_puts_it_off():
    assert REFUSED_FOR <= 12 * HOUR
    assert ends_at(REFUSED) == NOW
    assert ends_at(replace(REFUSED, kept_until=NOW + HOUR)) == NOW + HOUR
    assert ends_at(WORKED) is None
