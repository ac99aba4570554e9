"""A red compliance check is an alert, until it is green: nobody watches the UI at night."""

from __future__ import annotations

from datetime import timedelta

from orders_pipeline.alerts.kinds import AlertKind, Found
from orders_pipeline.alerts.reconcile import reconcile
from orders_pipeline.database.engine import Database
from orders_pipeline.privacy.check_result import CheckResult

RED_CHECK = AlertKind(
    name="check",
    severity="error",
    query=None,
    message="The compliance check {check} is red. {description}",
    action="{what_to_do} The rule: {rule}.",
    runbook="Compliance",
    is_cause=True,
    # A check is evaluated once a night, or because a person asks: each new red is told.
    quiet_for=timedelta(),
)


def alert_on(database: Database, result: CheckResult, *, account_id: str) -> None:
    """Open, update or close the alert of this check."""
    red = Found(
        result.name,
        {
            "check": result.name,
            "description": result.description,
            "what_to_do": result.what_to_do,
            "rule": result.source,
        },
        "error" if result.severity == "ERROR" else "warning",
    )
    with database.transaction(account_id) as tx:
        reconcile(tx, RED_CHECK, [] if result.passed else [red], examined=[result.name])
