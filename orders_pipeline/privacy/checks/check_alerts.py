"""A red compliance check is an alert, until it is green: nobody watches the UI at night."""

from __future__ import annotations

from orders_pipeline.alerts.rows import close_alert, raise_alert
from orders_pipeline.database.engine import Database
from orders_pipeline.privacy.checks.check_result import CheckOutcome


def alert_on(database: Database, outcome: CheckOutcome, *, seller_id: str) -> None:
    """Open, repeat or close the alert of this check."""
    key = f"check:{outcome.name}"
    with database.transaction() as connection:
        if outcome.passed:
            close_alert(connection, seller_id=seller_id, key=key)
            return
        raise_alert(
            connection,
            seller_id=seller_id,
            key=key,
            severity="error" if outcome.severity == "ERROR" else "warning",
            message=f"The compliance check {outcome.name} is red. {outcome.description}",
            what_to_do=f"{outcome.what_to_do} The rule: {outcome.source}.",
        )
