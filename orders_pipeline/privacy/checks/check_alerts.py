"""A red compliance check is an alert, until it is green: nobody watches the UI at night."""

from __future__ import annotations

from datetime import timedelta

from orders_pipeline.alerts.kinds import AlertKind, Found
from orders_pipeline.alerts.reconcile import reconcile
from orders_pipeline.database.engine import Database
from orders_pipeline.privacy.checks.check_result import CheckOutcome

RED_CHECK = AlertKind(
    name="check",
    severity="error",
    query=None,
    message="The compliance check {check} is red. {description}",
    action="{what_to_do} The rule: {rule}.",
    runbook="Compliance",
    # A check is evaluated once a night, or because a person asks: each new red is told.
    quiet_for=timedelta(),
)


def alert_on(database: Database, outcome: CheckOutcome, *, account_id: str) -> None:
    """Open, update or close the alert of this check."""
    red = Found(
        outcome.name,
        {
            "check": outcome.name,
            "description": outcome.description,
            "what_to_do": outcome.what_to_do,
            "rule": outcome.source,
        },
        "error" if outcome.severity == "ERROR" else "warning",
    )
    with database.transaction(account_id) as tx:
        reconcile(tx, RED_CHECK, [] if outcome.passed else [red], looked_at=[outcome.name])
