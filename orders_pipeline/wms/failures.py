"""What each failure of the warehouse means for the order it is about, and for the others.

Not among them: the contract's own answers (409, 422), and any other 4xx to a push. These are no failures: the order
becomes `refused`, and a person acts.
"""

from __future__ import annotations

from datetime import timedelta

from orders_pipeline.wms.port import (
    WarehouseError,
    WarehouseForbidden,
    WarehouseRefused,
    WarehouseUnauthorized,
    WarehouseUnavailable,
)
from orders_pipeline.work.failures import Does, FailureRule, FailureTable
from orders_pipeline.work.jobs import WAREHOUSE
from orders_pipeline.work.retry import Policy

# Some eight hours of one order that always fails; then a person decides, and replays.
PUSH_POLICY = Policy(first=timedelta(seconds=5), longest=timedelta(minutes=10), attempts=50)
# Ten minutes: a rule that was just set may be taken back, but a payload that a firewall dislikes stays as it is.
FORBIDDEN_POLICY = Policy(first=timedelta(seconds=5), longest=timedelta(minutes=10), attempts=8)


def _is_limit(error: WarehouseError) -> bool:
    return error.status == 429


def _is_server_error(error: WarehouseError) -> bool:
    return error.status is not None and error.status >= 500


def _has_no_answer(error: WarehouseError) -> bool:
    return error.status is None


WAREHOUSE_FAILURES = FailureTable(
    heading="Asking the warehouse to ship, hold, release or cancel",
    dependency=WAREHOUSE,
    policy=PUSH_POLICY,
    rules=(
        FailureRule(
            WarehouseUnauthorized, Does.REFUSED_WHOLE, "the token is wrong, whatever it is used for", when="401"
        ),
        FailureRule(
            WarehouseForbidden,
            Does.REFUSED,
            "the token lacks a right, or a firewall dislikes this one payload; only another order tells which",
            when="403",
            policy=FORBIDDEN_POLICY,
        ),
        FailureRule(
            WarehouseUnavailable,
            Does.REFUSED_WHOLE,
            "it is called too often, by everybody together",
            when="429",
            applies=_is_limit,
        ),
        FailureRule(
            WarehouseUnavailable,
            Does.REFUSED,
            "an outage, or one order that makes it fail",
            when="500 and above",
            applies=_is_server_error,
        ),
        FailureRule(
            WarehouseUnavailable,
            Does.REFUSED,
            "it may have arrived: an order is looked for before it is pushed again",
            when="no connection, time-out",
            applies=_has_no_answer,
        ),
        FailureRule(
            WarehouseUnavailable,
            Does.REFUSED,
            "a proxy answers in the warehouse's place: a redirect, a page, a 404 without the contract's error",
            when="any other answer that is not in the contract",
        ),
        FailureRule(WarehouseRefused, Does.PARK, "the request is refused, and asking again cannot help"),
    ),
)
